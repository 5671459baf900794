//! The pool of addresses on shared ENIs: what is asked of the cloud and when, who gets which address, what goes
//! when it is too much. The addresses themselves are kept in `crate::stock`.

mod adoption;
mod answers;
mod asking;
mod demand;
mod following;
mod looks;
pub(crate) mod numbers;
mod serving;
mod supplying;
mod viewing;

use std::collections::BTreeMap;

use terway_types::{AssignIntent, IntentToken, Timestamp};

use crate::books::EniNo;
use crate::effect::OperationId;
use crate::engine::Pool;
use crate::eni::{Eni, Service};
use crate::outbox::Outbox;
use crate::settings::{EniPolicy, Mode, PoolSettings, Sharing};
use crate::stock::{Rules, Stock};

pub(crate) use demand::Gather;

/// What the pool knows besides addresses to share ENIs.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    pub(crate) stock: Stock,
    /// Assign and unassign calls under way.
    operations: BTreeMap<OperationId, IntentToken>,
    /// Demand is gathered for a moment, so that many askers cost few calls.
    gather: Gather,
    /// No assign call before then: the cloud refused for a reason that holds for every ENI.
    paused: Timestamp,
    /// Whether the pause is the cloud's pace, which passes by itself.
    throttled: bool,
    /// Refusals of that kind in a row.
    failures: u32,
}

impl Shared {
    pub(crate) fn new(settings: &PoolSettings) -> Self {
        Self {
            stock: Stock::new(rules(settings)),
            operations: BTreeMap::new(),
            gather: Gather::default(),
            paused: Timestamp(0),
            throttled: false,
            failures: 0,
        }
    }

    /// Operations under way.
    pub(crate) fn operations(&self) -> usize {
        self.operations.len()
    }
}

/// The stock knows ENIs by their tokens, the books by numbers.
impl Pool {
    fn edit_eni(&mut self, token: &IntentToken, change: impl FnOnce(&mut Eni)) {
        if let Some(number) = self.books.by_token(token) {
            self.books.edit(number, &self.settings, change);
        }
    }

    /// Changes an ENI's intent to assign, in the ledger too.
    fn set_assigning(&mut self, token: &IntentToken, intent: Option<AssignIntent>, out: &mut Outbox) {
        self.edit_eni(token, |eni| eni.record.assigning = intent);
        if let Some(number) = self.books.by_token(token) {
            out.put_eni(number);
        }
    }

    fn advance_eni(&mut self, token: &IntentToken, out: &mut Outbox) {
        if let Some(number) = self.books.by_token(token) {
            self.advance(number, out);
        }
    }

    /// An ENI changed: its addresses follow, if it has any to share.
    pub(crate) fn follow_if_shared(&mut self, number: EniNo, out: &mut Outbox) {
        let shared = self.books.get(number).filter(|eni| eni.service != Service::Whole);
        if let Some(token) = shared.map(|eni| eni.record.token.clone()) {
            self.follow(&token, out);
        }
    }
}

/// How ENIs are shared, if they are.
pub(crate) fn sharing(settings: &PoolSettings) -> Option<Sharing> {
    match settings.mode {
        Mode::Exclusive => None,
        Mode::Shared(sharing) => Some(sharing),
        // The ranges are prefixes of one ENI that asks for nothing and gives nothing back.
        Mode::Routed(_) => Some(Sharing { prefixes: true, ..NOTHING }),
    }
}

/// Sharing that asks for nothing.
const NOTHING: Sharing =
    Sharing { per_eni: 0, prefixes: false, assign_batch: 0, eni_policy: EniPolicy::MostIps, min_enis: 0 };

/// What the settings say about sharing. In exclusive mode nothing is asked for; addresses of an earlier shared mode
/// are served until their release.
fn rules(settings: &PoolSettings) -> Rules {
    let sharing = sharing(settings).unwrap_or(NOTHING);
    Rules {
        dual: settings.ipv6,
        per_eni: sharing.per_eni,
        prefixes: sharing.prefixes,
        batch: sharing.assign_batch,
        policy: sharing.eni_policy,
        subnets: matches!(settings.mode, Mode::Routed(_)),
    }
}
