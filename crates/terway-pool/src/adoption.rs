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
//! The second and third row never come from our own commits, which change both sides at once.

use std::collections::BTreeSet;

use terway_types::{EniPhase, LedgerSnapshot};

use crate::engine::Pool;
use crate::eni_life::Step;
use crate::outbox::Outbox;

/// Fills an empty pool from what is durable.
pub(crate) fn adopt(pool: &mut Pool, snapshot: LedgerSnapshot, out: &mut Outbox) {
    let unsettled_until = pool.now + pool.settings.retry_max;
    let of_records = snapshot.addresses.iter().map(|record| &record.eni);
    let served: BTreeSet<_> = of_records.chain(snapshot.prefixes.iter().map(|record| &record.eni)).collect();
    for record in &snapshot.enis {
        let service = pool.service_of(record, served.contains(&record.token));
        let number = pool.books.insert(record.clone(), pool.now, &pool.settings);
        pool.books.edit(number, &pool.settings, |eni| {
            eni.service = service;
            eni.doubt = matches!(eni.record.phase, EniPhase::Creating | EniPhase::Regrouping);
            // Calls of the life before may still land.
            eni.unsettled_until = unsettled_until;
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
