//! The pool as plain data, for people: `terway-cli show`, `explain`, the watch stream. Built on demand
//! from the books; nothing in the engine reads it.

use terway_types::{AttachmentKey, AttachmentRecord, EniRecord, Fault, PodRef, Timestamp};

use crate::effect::Capacity;

/// The whole pool at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolView {
    /// Every ENI, sorted by token.
    pub enis: Vec<EniView>,
    /// Every waiting attachment, the next to be served first.
    pub waiters: Vec<WaiterView>,
    /// Idle ENIs to keep at least.
    pub min_idle: u32,
    /// Idle ENIs to keep at most.
    pub max_idle: u32,
    /// ENIs at most, in any phase.
    pub max_enis: u32,
    /// ENIs that can be given at once.
    pub idle: u32,
    /// ENIs that attachments hold.
    pub in_use: u32,
    /// How many more pods could be served.
    pub capacity: Capacity,
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
    /// Its place in the queue; 1 is served next.
    pub place: u32,
    /// What it waits for, in words, with the numbers.
    pub waits_for: String,
}
