//! Recovery: takes over what the ledger holds and resumes every phase.
//!
//! | in the ledger | becomes |
//! |---|---|
//! | attachment and ENI that name each other | held, as before |
//! | ENI in use by an attachment that is not there | released, in quarantine |
//! | attachment whose ENI is not there, or not its own | forgotten |
//! | `Creating` | the create call is repeated with its token; an earlier one may have worked |
//! | `Attaching`, `Detaching`, `Deleting` | the call is repeated |
//! | `Detached` | attached if wanted, else deleted |
//! | `Attached`, `Ready`, `Quarantined` | as before; netdevs are awaited anew |
//!
//! The second and third row never come from our own commits, which change both sides at once.

use std::collections::BTreeSet;

use terway_types::{EniPhase, LedgerSnapshot};

use crate::engine::Pool;
use crate::eni::Eni;
use crate::eni_life::Step;
use crate::outbox::Outbox;

/// Fills an empty pool from what is durable.
pub(crate) fn adopt(pool: &mut Pool, snapshot: LedgerSnapshot, out: &mut Outbox) {
    let mut tokens = Vec::with_capacity(snapshot.enis.len());
    let of_records = snapshot.addresses.iter().map(|record| &record.eni);
    let served: BTreeSet<_> = of_records.chain(snapshot.prefixes.iter().map(|record| &record.eni)).collect();
    for record in &snapshot.enis {
        tokens.push(record.token.clone());
        let mut eni = Eni::new(record.clone(), pool.now);
        eni.service = pool.service_of(record, served.contains(&record.token));
        eni.doubt = eni.record.phase == EniPhase::Creating;
        pool.books.insert(eni, &pool.settings);
    }
    pool.adopt_addresses(&snapshot, out);
    for attachment in snapshot.attachments {
        let phase = pool.books.get(&attachment.eni).map(|eni| &eni.record.phase);
        if phase == Some(&EniPhase::InUse(attachment.key.clone())) {
            pool.holdings.adopt(attachment);
        } else if pool.shared.stock.number(&attachment.eni).is_none() {
            out.remove_attachment(&attachment.key);
        }
    }
    let until = pool.now + pool.settings.quarantine;
    for token in tokens {
        if let Some(EniPhase::InUse(key)) = pool.books.get(&token).map(|eni| &eni.record.phase)
            && pool.holdings.get(key).is_none_or(|holding| holding.eni != token)
        {
            pool.step(&token, Step::Release { until }, out);
        }
        pool.advance(&token, out);
    }
}
