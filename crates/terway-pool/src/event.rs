//! What the pool is told.

use std::net::IpAddr;

use terway_types::{
    AddressSet, Addresses, AttachmentKey, ClaimId, CloudFailure, EniId, Gateways, IntentToken, MacAddr,
    NetworkName, PodRef, SecurityGroupId, Subnets, Timestamp, VSwitchId,
};

use crate::effect::{OperationId, RequestId};
use crate::settings::PoolSettings;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// An attachment wants an ENI. Repeating it for a key that holds one answers the same ENI.
    Allocate {
        /// Names the answer.
        request: RequestId,
        /// Who wants.
        key: AttachmentKey,
        /// For which pod.
        pod: PodRef,
        /// The namespace path, kept for people.
        netns: String,
        /// What it must be.
        wants: Wants,
        /// When the asker stops waiting.
        deadline: Timestamp,
    },
    /// The asker of a waiting request has gone away; nobody will hear the answer.
    Cancel {
        /// The request.
        request: RequestId,
    },
    /// An attachment gives back what it holds. Unknown keys succeed.
    Release {
        /// Names the answer.
        request: RequestId,
        /// Who gives back.
        key: AttachmentKey,
    },
    /// The control plane is done with a claim. What is kept for it is let go; what is in use for it stays until
    /// its release.
    Unclaim {
        /// The claim.
        claim: ClaimId,
        /// What becomes of its ENI.
        fate: ClaimFate,
    },
    /// Only these attachments of this network are still valid; release the others.
    Collect {
        /// Names the answer.
        request: RequestId,
        /// The network it is about; other networks are not touched.
        network: NetworkName,
        /// The valid keys.
        valid: Vec<AttachmentKey>,
    },
    /// A cloud operation ended.
    CloudDone {
        /// Which one. Operations of an earlier life of the daemon are ignored.
        operation: OperationId,
        /// How.
        outcome: Result<CloudAnswer, CloudFailure>,
    },
    /// A NIC with this hardware address is on the node, in the host's namespace.
    LinkUp {
        /// Its address.
        mac: MacAddr,
    },
    /// A NIC left the host's namespace.
    LinkGone {
        /// Its address.
        mac: MacAddr,
    },
    /// What somebody sees who can see ENIs. Compared with the books; every difference is resolved by the table
    /// in `adoption`.
    Inventory(Inventory),
    /// How many addresses vSwitches have left, as read just now.
    VSwitches(Vec<VSwitchSeen>),
    /// Resting addresses that connections or neighbours still mention: they rest longer, up to the bound.
    Mentioned {
        /// The addresses.
        addresses: Vec<IpAddr>,
    },
    /// The node goes away: serve nobody new, and let every ENI go as soon as nobody holds it.
    Retire,
    /// New settings. Running work goes on; targets change at once.
    Reconfigure(PoolSettings),
    /// Time passed; nothing else happened.
    Tick,
}

/// What an attachment's ENI must be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wants {
    /// One of these vSwitches; empty: those of the settings.
    pub vswitches: Vec<VSwitchId>,
    /// Exactly these security groups; empty: those of the settings.
    pub security_groups: Vec<SecurityGroupId>,
    /// The control plane's claim it is for: an ENI of its own, outside the pool.
    pub claim: Option<Claim>,
}

/// A claim of the control plane on an ENI of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Names it.
    pub id: ClaimId,
    /// The ENI it has already; none: one is made.
    pub eni: Option<EniId>,
    /// What becomes of the ENI when its attachment is released.
    pub keep: Keep,
}

/// What becomes of a claimed ENI when its attachment is released.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Keep {
    /// Detached and deleted.
    Elastic,
    /// Detached and kept with its addresses, until the claim ends or is attached elsewhere.
    Fixed,
}

/// What becomes of a claim's ENI when the claim ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClaimFate {
    /// It is deleted.
    Delete,
    /// Another node has it now: it is forgotten, once the cloud says so too.
    Moved,
}

/// How many addresses a vSwitch has left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VSwitchSeen {
    /// Which.
    pub id: VSwitchId,
    /// Free IPv4 addresses.
    pub free_ipv4: u32,
}

/// One look at the ENIs, by one witness. A look that began before an ENI's last change says nothing about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inventory {
    /// The cloud: every ENI attached to this instance, and every ENI with this node's marks.
    Cloud {
        /// When the reading began.
        began: Timestamp,
        /// All of them.
        enis: Vec<SeenEni>,
    },
    /// The node's metadata service: the NICs it lists, including the primary one. Lags by seconds.
    Metadata {
        /// When the reading began.
        began: Timestamp,
        /// All of them.
        macs: Vec<MacAddr>,
    },
}

/// An ENI as the cloud describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenEni {
    /// Its id.
    pub id: EniId,
    /// The intent its tags name.
    pub token: Option<IntentToken>,
    /// Whether its tags say that this node made it.
    pub ours: bool,
    /// Whether it is an instance's primary ENI, never ours.
    pub primary: bool,
    /// Its hardware address.
    pub mac: MacAddr,
    /// Its vSwitch.
    pub vswitch: VSwitchId,
    /// Its security groups.
    pub security_groups: Vec<SecurityGroupId>,
    /// Its primary addresses.
    pub addresses: Addresses,
    /// Everything it has, the primary addresses included.
    pub assigned: AddressSet,
    /// Its vSwitch's CIDRs.
    pub subnets: Subnets,
    /// Its vSwitch's gateways.
    pub gateways: Gateways,
    /// Where it is attached.
    pub place: Place,
}

/// Where an ENI is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// To nothing.
    Nowhere,
    /// To this instance.
    Here,
    /// To another instance.
    Elsewhere,
    /// On its way to or off an instance, or being made or deleted.
    Moving,
}

/// What a successful cloud operation brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CloudAnswer {
    /// The ENI exists; attached to nothing unless said otherwise.
    Created(CloudEni),
    /// The ENI is attached, as the cloud says.
    Attached,
    /// The ENI is attached to nothing, as the cloud says.
    Detached,
    /// The ENI is gone, as the cloud says.
    Deleted,
    /// The ENI has the security groups asked for.
    Regrouped,
    /// The ENI has these addresses and prefixes besides those it had; perhaps fewer than asked for.
    Assigned {
        /// Those that were added.
        added: AddressSet,
        /// Why not all.
        short: Option<CloudFailure>,
    },
    /// The ENI does not have the addresses and prefixes any more: the call was accepted, and a later look does
    /// not show them.
    Unassigned,
}

/// An ENI as the create call brought it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloudEni {
    /// Its id.
    pub id: EniId,
    /// Its hardware address.
    pub mac: MacAddr,
    /// Its vSwitch.
    pub vswitch: VSwitchId,
    /// Its security groups.
    pub security_groups: Vec<SecurityGroupId>,
    /// Its primary addresses.
    pub addresses: Addresses,
    /// Everything it has, the primary addresses included.
    pub assigned: AddressSet,
    /// Its vSwitch's CIDRs.
    pub subnets: Subnets,
    /// Its vSwitch's gateways.
    pub gateways: Gateways,
    /// Whether the cloud has it attached to this node already (a repeated create after a crash).
    pub attached: bool,
}
