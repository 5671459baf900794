//! What the pool is told.

use terway_types::{
    Addresses, AttachmentKey, CloudFailure, EniId, Gateways, MacAddr, NetworkName, PodRef, SecurityGroupId,
    Subnets, Timestamp, VSwitchId,
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
    /// New settings. Running work goes on; targets change at once.
    Reconfigure(PoolSettings),
    /// Time passed; nothing else happened.
    Tick,
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
    /// Its addresses.
    pub addresses: Addresses,
    /// Its vSwitch's CIDRs.
    pub subnets: Subnets,
    /// Its vSwitch's gateways.
    pub gateways: Gateways,
    /// Whether the cloud has it attached to this node already (a repeated create after a crash).
    pub attached: bool,
}
