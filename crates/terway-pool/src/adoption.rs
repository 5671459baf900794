//! Recovery: takes over what the ledger holds and resumes every phase.
//!
//! | in the ledger | becomes |
//! |---|---|
//! | attachment and ENI that name each other | held, as before |
//! | ENI in use by an attachment that is not there | released, in quarantine; a claim's: detached |
//! | attachment whose ENI is not there, or not its own | forgotten |
//! | `Creating` | the create call is repeated with its token; an earlier one may have worked |
//! | `Creating` with an id: sought for a claim | forgotten, for nothing was done to it |
//! | `Attaching`, `Regrouping`, `Detaching`, `Deleting` | the call is repeated |
//! | `Detached` | attached if wanted, else deleted, or kept for its claim |
//! | `Attached`, `Ready`, `Quarantined` | as before; netdevs are awaited anew. A claim's ENI that nobody waits for is detached |
//! | `Kept` | as before; one that moved away is looked for again |
//!
//! Times in the future are those of a clock that was set back since: what rests until then rests as if it had been
//! released now, or a node could lose its pool for as long as the clock was ahead.
//!
//! The second and third row never come from our own commits, which change both sides at once.

use std::collections::BTreeSet;

use terway_types::{AddressPhase, EniPhase, LedgerSnapshot, Timestamp};

use crate::engine::Pool;
use crate::eni_life::Step;
use crate::outbox::Outbox;

/// Fills an empty pool from what is durable.
pub(crate) fn adopt(pool: &mut Pool, mut snapshot: LedgerSnapshot, out: &mut Outbox) {
    bring_to_the_present(&mut snapshot, pool.now, pool.now + pool.settings.quarantine);
    let of_records = snapshot.addresses.iter().map(|record| &record.eni);
    let served: BTreeSet<_> = of_records.chain(snapshot.prefixes.iter().map(|record| &record.eni)).collect();
    for record in &snapshot.enis {
        let service = pool.service_of(record, served.contains(&record.token));
        let number = pool.books.insert(record.clone(), pool.now, &pool.settings);
        pool.books.edit(number, &pool.settings, |eni| {
            eni.service = service;
            eni.doubt = matches!(eni.record.phase, EniPhase::Creating | EniPhase::Regrouping);
        });
    }
    pool.adopt_addresses(&snapshot, out);
    for attachment in snapshot.attachments {
        let eni = pool.books.by_token(&attachment.eni).and_then(|eni| pool.books.get(eni));
        if eni.map(|eni| &eni.record.phase) == Some(&EniPhase::InUse(attachment.key.clone())) {
            pool.holdings.adopt(attachment);
        } else if pool.shared.stock.number(&attachment.eni).is_none() {
            out.remove_attachment(&attachment.key);
        }
    }
    let until = pool.now + pool.settings.quarantine;
    for number in pool.books.numbers() {
        if let Some(eni) = pool.books.get(number)
            && let EniPhase::InUse(key) = &eni.record.phase
            && pool.holdings.get(key).is_none_or(|holding| holding.eni != eni.record.token)
        {
            let claimed = eni.record.claim.is_some();
            pool.step(number, if claimed { Step::Dismiss } else { Step::Release { until } }, out);
        }
        pool.advance(number, out);
    }
}

/// Corrects times of a clock that was ahead of ours.
fn bring_to_the_present(snapshot: &mut LedgerSnapshot, now: Timestamp, rested: Timestamp) {
    for eni in snapshot.enis.iter_mut().filter(|eni| eni.since > now) {
        eni.since = now;
        if let EniPhase::Quarantined { until } = &mut eni.phase {
            *until = rested;
        }
    }
    for address in snapshot.addresses.iter_mut().filter(|address| address.since > now) {
        address.since = now;
        if let AddressPhase::Quarantined { until } = &mut address.phase {
            *until = rested;
        }
    }
    for attachment in snapshot.attachments.iter_mut().filter(|attachment| attachment.since > now) {
        attachment.since = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{attachment, record};
    use terway_types::AddressRecord;

    #[test]
    fn a_rest_that_ends_in_a_future_of_another_clock_starts_anew() {
        let (now, rested) = (Timestamp(100), Timestamp(130));
        let resting = |since, until| {
            let mut eni = record("t", EniPhase::Quarantined { until: Timestamp(until) });
            eni.since = Timestamp(since);
            eni
        };
        let address = |since, until| AddressRecord {
            address: [10, 0, 0, 1].into(),
            eni: "t".into(),
            phase: AddressPhase::Quarantined { until: Timestamp(until) },
            since: Timestamp(since),
        };
        let held = |since| terway_types::AttachmentRecord { since: Timestamp(since), ..attachment(1, "t") };
        let mut snapshot = LedgerSnapshot {
            enis: vec![resting(90, 120), resting(5_000, 5_030)],
            addresses: vec![address(90, 120), address(5_000, 5_030)],
            attachments: vec![held(50), held(5_000)],
            ..LedgerSnapshot::default()
        };
        bring_to_the_present(&mut snapshot, now, rested);
        assert_eq!(snapshot.enis, [resting(90, 120), resting(100, 130)]);
        assert_eq!(snapshot.addresses, [address(90, 120), address(100, 130)]);
        assert_eq!(snapshot.attachments, [held(50), held(100)]);
    }
}
