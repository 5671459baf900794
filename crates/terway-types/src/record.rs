//! The facts that outlive the daemon: which ENIs are ours and where each is in its life, and which
//! attachment holds which. The ledger stores them, the pool rebuilds itself from them.

use std::net::IpAddr;

use ipnetwork::IpNetwork;

use crate::address::{AddressCounts, Addresses, Gateways, MacAddr, Subnets};
use crate::attachment::{AttachmentKey, PodRef};
use crate::eni::{ClaimId, EniId, IntentToken, SecurityGroupId, VSwitchId};
use crate::history::HistoryEntry;
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
    /// Attached, netdev at home: idle in the pool, or serving addresses to several attachments.
    Ready,
    /// Held whole by an attachment.
    InUse(AttachmentKey),
    /// Given back; not given again before this time, nor before its netdev is home.
    Quarantined {
        /// The earliest time of reuse.
        until: Timestamp,
    },
    /// Idle; the call that gives it the recorded security groups is out, or about to be.
    Regrouping,
    /// Detached and kept for its claim.
    Kept,
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
            Self::Regrouping => "Regrouping",
            Self::Kept => "Kept",
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
    /// The addresses and prefixes its creation asks for. A repeated create call must ask for the same.
    pub counts: AddressCounts,
    /// The claim it belongs to. Such an ENI serves nobody else.
    pub claim: Option<ClaimHold>,
    /// The call for further addresses that is out, or about to be.
    pub assigning: Option<AssignIntent>,
}

/// A claim's hold on an ENI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimHold {
    /// The claim.
    pub id: ClaimId,
    /// What becomes of the ENI once no attachment has it.
    pub then: AfterClaim,
}

/// What becomes of a claimed ENI once no attachment has it. Durable, so that a crash cannot turn one into another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AfterClaim {
    /// Detached and deleted.
    Delete,
    /// Detached and kept.
    Keep,
    /// Another node has it: forgotten, once the cloud says that it is not attached here.
    Forget,
}

/// An intent to give an ENI further addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssignIntent {
    /// The idempotency token of the calls.
    pub token: IntentToken,
    /// How many.
    pub counts: AddressCounts,
}

/// Where a single address of a shared ENI is in its life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AddressPhase {
    /// Can be given.
    Idle,
    /// Held by an attachment.
    InUse(AttachmentKey),
    /// Given back; not given again before this time.
    Quarantined {
        /// The earliest time of reuse.
        until: Timestamp,
    },
    /// The call that takes it off its ENI is out, or about to be.
    Unassigning,
}

impl AddressPhase {
    /// A short, stable name for people, metrics and the wire.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Idle => "Idle",
            Self::InUse(_) => "InUse",
            Self::Quarantined { .. } => "Quarantined",
            Self::Unassigning => "Unassigning",
        }
    }
}

/// An address of a shared ENI. An address out of a prefix has a record only while it is not idle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressRecord {
    /// The address; unique among all ENIs of the node.
    pub address: IpAddr,
    /// Its ENI.
    pub eni: IntentToken,
    /// Where it is in its life.
    pub phase: AddressPhase,
    /// Since when it is in this phase.
    pub since: Timestamp,
}

/// Where a prefix of a shared ENI is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PrefixPhase {
    /// Its addresses can be given.
    Ready,
    /// It serves those who have an address and takes nobody new; it goes when it is empty.
    Frozen,
    /// The call that takes it off its ENI is out, or about to be.
    Unassigning,
}

impl PrefixPhase {
    /// A short, stable name for people, metrics and the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::Frozen => "Frozen",
            Self::Unassigning => "Unassigning",
        }
    }
}

/// A prefix of a shared ENI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrefixRecord {
    /// The prefix; overlaps no other one of the node.
    pub prefix: IpNetwork,
    /// Its ENI.
    pub eni: IntentToken,
    /// Where it is in its life.
    pub phase: PrefixPhase,
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
    /// The ENI it holds, or whose addresses it holds.
    pub eni: IntentToken,
    /// The addresses it holds: all of a whole ENI's primary ones, or its own of a shared one.
    pub addresses: Addresses,
    /// The claim it was made under.
    pub claim: Option<ClaimId>,
    /// Since when.
    pub since: Timestamp,
}

/// How a node serves its pods. Decided once; what it owns then is of that kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NodeMode {
    /// Every pod has an ENI of its own.
    Exclusive,
    /// Pods have addresses of ENIs they share.
    Shared,
    /// Pods have addresses of a range that the VPC's route table leads to the node.
    VpcRoute,
}

impl NodeMode {
    /// A short, stable name for people, metrics and the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Exclusive => "exclusive",
            Self::Shared => "shared",
            Self::VpcRoute => "vpc-route",
        }
    }
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
    /// Insert or replace this address.
    PutAddress(AddressRecord),
    /// Forget this address.
    RemoveAddress(IpAddr),
    /// Insert or replace this prefix.
    PutPrefix(PrefixRecord),
    /// Forget this prefix.
    RemovePrefix(IpNetwork),
    /// Add to the history. The oldest entries beyond its bound are forgotten.
    Remember(HistoryEntry),
}

/// Everything the ledger holds besides its history, as read at start. Sorted by token, key, address and prefix.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LedgerSnapshot {
    /// All ENIs.
    pub enis: Vec<EniRecord>,
    /// All attachments.
    pub attachments: Vec<AttachmentRecord>,
    /// Addresses of shared ENIs: all single ones, and those out of prefixes that are not idle.
    pub addresses: Vec<AddressRecord>,
    /// Prefixes of shared ENIs.
    pub prefixes: Vec<PrefixRecord>,
}
