//! What was: who held which ENI or address from when to when, and what was asked of the cloud. Kept bounded by the
//! ledger, for people who ask afterwards.

use std::time::Duration;

use crate::address::Addresses;
use crate::attachment::{AttachmentKey, PodRef};
use crate::cloud::CloudFailure;
use crate::eni::{EniId, IntentToken};
use crate::time::Timestamp;

/// One line of history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HistoryEntry {
    /// An attachment gave back what it held.
    Held(PastHolding),
    /// A call to the cloud ended.
    Called(PastCall),
}

impl HistoryEntry {
    /// When it ended.
    pub fn ended(&self) -> Timestamp {
        match self {
            Self::Held(holding) => holding.to,
            Self::Called(call) => call.at,
        }
    }
}

/// What an attachment held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastHolding {
    /// The attachment.
    pub key: AttachmentKey,
    /// The pod it served.
    pub pod: PodRef,
    /// The ENI.
    pub token: IntentToken,
    /// The ENI's id, if it had one.
    pub eni: Option<EniId>,
    /// The addresses.
    pub addresses: Addresses,
    /// From when.
    pub from: Timestamp,
    /// Until when.
    pub to: Timestamp,
}

/// One call to the cloud that may have changed something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastCall {
    /// The cloud's name of the action.
    pub action: String,
    /// What it was about: ids in the request.
    pub object: String,
    /// The intent it was made for.
    pub intent: Option<IntentToken>,
    /// The cloud's request id, if it answered.
    pub request_id: Option<String>,
    /// Why it failed, if it did.
    pub failure: Option<CloudFailure>,
    /// When it ended.
    pub at: Timestamp,
    /// How long it took.
    pub took: Duration,
}
