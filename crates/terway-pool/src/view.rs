//! The pool as plain data, for people: `terway-cli show`, `explain`, the watch stream. Built on demand
//! from the books; nothing in the engine reads it.

use std::collections::BTreeMap;

use terway_types::{
    AddressRecord, AttachmentKey, AttachmentRecord, EniPhase, EniRecord, Fault, NodeMode, PodRef,
    PrefixRecord, Timestamp, VSwitchId,
};

use crate::effect::Capacity;
use crate::engine::Pool;
use crate::settings::Mode;

/// The whole pool at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolView {
    /// What attachments get, and so what the numbers below count: ENIs, or addresses of shared ones.
    pub mode: NodeMode,
    /// Every ENI, sorted by token.
    pub enis: Vec<EniView>,
    /// Every waiting attachment, in the order in which they came.
    pub waiters: Vec<WaiterView>,
    /// Idle ENIs or addresses to keep at least.
    pub min_idle: u32,
    /// Idle ENIs or addresses to keep at most.
    pub max_idle: u32,
    /// ENIs of ours at most, in any phase: the limit less the ENIs of others.
    pub max_enis: u32,
    /// ENIs, or addresses of shared ones, that can be given at once.
    pub idle: u32,
    /// ENIs, or addresses of shared ones, that attachments hold.
    pub in_use: u32,
    /// How many more pods could be served.
    pub capacity: Capacity,
    /// Cloud operations under way.
    pub operations: u32,
    /// vSwitches that no ENI is made in for a while, and until when.
    pub set_aside: Vec<(VSwitchId, Timestamp)>,
}

/// One ENI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EniView {
    /// What the ledger knows of it.
    pub record: EniRecord,
    /// The attachment that holds it.
    pub attachment: Option<AttachmentRecord>,
    /// Whether its netdev is in the host's namespace, as far as the pool was told.
    pub link_present: bool,
    /// The last failure since it was last ready.
    pub last_fault: Option<Fault>,
    /// Its addresses, if it is shared: all single ones, and those out of prefixes that are not idle. Sorted.
    pub addresses: Vec<AddressView>,
    /// Its prefixes, if it is shared. Sorted.
    pub prefixes: Vec<PrefixRecord>,
}

/// One address of a shared ENI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressView {
    /// What the ledger knows of it.
    pub record: AddressRecord,
    /// The pod whose attachment holds it.
    pub pod: Option<PodRef>,
}

/// One attachment that waits for an ENI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaiterView {
    /// Which.
    pub key: AttachmentKey,
    /// For which pod.
    pub pod: PodRef,
    /// Since when.
    pub since: Timestamp,
    /// Its place among those who want the same; 1 is served next.
    pub place: u32,
    /// What it waits for, in words, with the numbers.
    pub waits_for: String,
}

impl Pool {
    /// The pool as plain data.
    pub fn view(&self, now: Timestamp) -> PoolView {
        let tally = self.books.tally();
        let holders = self.holders();
        let attachment = |eni: &EniRecord| match &eni.phase {
            EniPhase::InUse(key) => self.holdings.get(key).cloned(),
            _ => None,
        };
        let enis = self.books.iter().map(|(_, eni)| EniView {
            record: eni.record.clone(),
            attachment: attachment(&eni.record),
            link_present: eni.link,
            last_fault: eni.last_fault.as_deref().cloned(),
            addresses: self.addresses_of(&eni.record.token, &holders),
            prefixes: self.prefixes_of(&eni.record.token),
        });
        let mut places = BTreeMap::new();
        let waiters = self.waiters.iter().map(|waiter| {
            let line = (waiter.wish, waiter.claim.as_ref().map(|claim| claim.id.clone()));
            let place = places.entry(line).and_modify(|place| *place += 1).or_insert(1);
            WaiterView {
                key: waiter.key.clone(),
                pod: waiter.pod.clone(),
                since: waiter.since,
                place: *place,
                waits_for: self.reason(waiter).to_string(),
            }
        });
        let shared = self.shared.stock.totals();
        let (idle, in_use) = match self.settings.mode {
            Mode::Exclusive => (tally.idle, tally.held),
            Mode::Shared(_) | Mode::Routed(_) => (shared.idle, shared.in_use + tally.held),
        };
        PoolView {
            mode: match self.settings.mode {
                Mode::Exclusive => NodeMode::Exclusive,
                Mode::Shared(_) => NodeMode::Shared,
                Mode::Routed(_) => NodeMode::VpcRoute,
            },
            enis: enis.collect(),
            waiters: waiters.collect(),
            min_idle: self.settings.min_idle,
            max_idle: self.settings.max_idle,
            max_enis: self.limit(),
            idle,
            in_use,
            capacity: self.capacity(now),
            operations: u32::try_from(self.operations.len() + self.shared.operations()).unwrap_or(u32::MAX),
            set_aside: self.supply.set_aside_at(now),
        }
    }
}
