//! The facts that outlive the daemon: which ENIs are ours and where each is in its life, and which
//! attachment holds which. The ledger stores them, the pool rebuilds itself from them.

use crate::address::{Addresses, Gateways, MacAddr, Subnets};
use crate::attachment::{AttachmentKey, PodRef};
use crate::eni::{EniId, IntentToken, SecurityGroupId, VSwitchId};
use crate::time::Timestamp;

/// Where an ENI is in its life. A phase that needs a cloud call is recorded before the call is sent, so
/// it is the intent: recovery finishes or undoes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EniPhase {
    /// Wanted; the cloud may or may not have it yet. The token makes the call repeatable.
    Creating,
    /// Exists in the cloud, attached to nothing.
    Detached,
    /// The attach call is out, or about to be.
    Attaching,
    /// Attached as the cloud says; its netdev has not been seen on the node yet.
    Attached,
    /// Idle in the pool: attached, netdev at home.
    Ready,
    /// Held by an attachment.
    InUse(AttachmentKey),
    /// Given back; not given again before this time, nor before its netdev is home.
    Quarantined {
        /// The earliest time of reuse.
        until: Timestamp,
    },
    /// The detach call is out, or about to be.
    Detaching,
    /// The delete call is out, or about to be.
    Deleting,
}

impl EniPhase {
    /// A short, stable name for people, metrics and the wire.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Creating => "Creating",
            Self::Detached => "Detached",
            Self::Attaching => "Attaching",
            Self::Attached => "Attached",
            Self::Ready => "Ready",
            Self::InUse(_) => "InUse",
            Self::Quarantined { .. } => "Quarantined",
            Self::Detaching => "Detaching",
            Self::Deleting => "Deleting",
        }
    }
}

/// An ENI of ours, from the intent to create it until it is proven gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EniRecord {
    /// Its identity for us; also the idempotency token of its creation and a tag in the cloud.
    pub token: IntentToken,
    /// The cloud's id, once the create call was answered.
    pub id: Option<EniId>,
    /// Its hardware address, once known.
    pub mac: Option<MacAddr>,
    /// Its vSwitch.
    pub vswitch: VSwitchId,
    /// Its security groups.
    pub security_groups: Vec<SecurityGroupId>,
    /// Its addresses, once known.
    pub addresses: Addresses,
    /// The CIDRs of its vSwitch, once known.
    pub subnets: Subnets,
    /// The gateways of its vSwitch, once known.
    pub gateways: Gateways,
    /// Where it is in its life.
    pub phase: EniPhase,
    /// Since when it is in this phase.
    pub since: Timestamp,
}

/// An attachment and what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttachmentRecord {
    /// Its name.
    pub key: AttachmentKey,
    /// The pod it serves.
    pub pod: PodRef,
    /// The network namespace's path as the runtime gave it; may be stale.
    pub netns: String,
    /// The ENI it holds.
    pub eni: IntentToken,
    /// Since when.
    pub since: Timestamp,
}

/// One change to the durable state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LedgerChange {
    /// Insert or replace the ENI with this token.
    PutEni(EniRecord),
    /// Forget the ENI with this token.
    RemoveEni(IntentToken),
    /// Insert or replace the attachment with this key.
    PutAttachment(AttachmentRecord),
    /// Forget the attachment with this key.
    RemoveAttachment(AttachmentKey),
}

/// Everything the ledger holds, as read at start. Sorted by token and key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LedgerSnapshot {
    /// All ENIs.
    pub enis: Vec<EniRecord>,
    /// All attachments.
    pub attachments: Vec<AttachmentRecord>,
}
