//! The narrow door to a cloud: what the node agent needs of it, in the agent's own words. Providers
//! translate; nothing above knows a vendor.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::net::Ipv4Addr;

use async_trait::async_trait;
use terway_types::{
    AddressCounts, AddressSet, Addresses, CloudFailure, EniId, Gateways, InstanceId, IntentToken, MacAddr,
    SecurityGroupId, Subnets, VSwitchId, ZoneId,
};

/// The outcome of a cloud call.
pub type CloudResult<T> = Result<T, CloudFailure>;

/// What a new ENI should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateEni {
    /// Idempotency token: the same token and parameters give the same ENI.
    pub token: IntentToken,
    /// Where its addresses come from.
    pub vswitch: VSwitchId,
    /// At least one, all of the vSwitch's VPC.
    pub security_groups: Vec<SecurityGroupId>,
    /// How many addresses and prefixes it gets at birth. The primary IPv4 address counts, so `ipv4` is at
    /// least 1.
    pub counts: AddressCounts,
    /// Its primary IPv4 address, where it must be a certain free one of the vSwitch.
    pub primary_ipv4: Option<Ipv4Addr>,
    /// [`EniKind::Secondary`] or [`EniKind::Trunk`]; others are not made by this call.
    pub kind: EniKind,
    /// Ownership marks; the provider adds none of its own.
    pub tags: BTreeMap<String, String>,
}

/// What an ENI is to the instance it belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EniKind {
    /// The interface the instance was born with, which is never ours.
    Primary,
    /// An interface added later.
    #[default]
    Secondary,
    /// Added later, and carries members on VLANs.
    Trunk,
    /// Carried by a trunk.
    Member,
}

/// Further addresses or prefixes for an ENI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Assign {
    /// So many single IPv4 addresses.
    Ipv4(u32),
    /// So many single IPv6 addresses.
    Ipv6(u32),
    /// So many IPv4 prefixes of 16 addresses.
    Ipv4Prefixes(u32),
    /// So many IPv6 prefixes.
    Ipv6Prefixes(u32),
}

impl Assign {
    /// How many are asked for.
    pub fn amount(self) -> u32 {
        match self {
            Self::Ipv4(amount)
            | Self::Ipv6(amount)
            | Self::Ipv4Prefixes(amount)
            | Self::Ipv6Prefixes(amount) => amount,
        }
    }
}

/// An ENI's state as the cloud tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EniStatus {
    /// Being made; not usable yet.
    Creating,
    /// Attached to nothing.
    Available,
    /// On its way to an instance.
    Attaching,
    /// Attached.
    InUse,
    /// On its way off an instance.
    Detaching,
    /// Going away.
    Deleting,
}

/// An ENI as the cloud describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EniDescription {
    /// Its id.
    pub id: EniId,
    /// Its state.
    pub status: EniStatus,
    /// Its hardware address.
    pub mac: MacAddr,
    /// Its vSwitch.
    pub vswitch: VSwitchId,
    /// Its zone.
    pub zone: ZoneId,
    /// Its security groups.
    pub security_groups: Vec<SecurityGroupId>,
    /// Its primary address per family.
    pub addresses: Addresses,
    /// All its single addresses, the primary one among them, and its prefixes; sorted.
    pub assigned: AddressSet,
    /// The instance it is, or is being, attached to.
    pub instance: Option<InstanceId>,
    /// What it is to its instance.
    pub kind: EniKind,
    /// For a member: the VLAN its trunk carries it on.
    pub vlan_id: Option<u32>,
    /// For a member: the trunk that carries it.
    pub trunk: Option<EniId>,
    /// What people read about it.
    pub description: String,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

impl EniDescription {
    /// Whether it is an instance's primary interface, which is never ours.
    pub fn primary(&self) -> bool {
        self.kind == EniKind::Primary
    }
}

/// Which ENIs to describe. Empty parts do not filter; all given parts must match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EniFilter {
    /// Only these.
    pub ids: Vec<EniId>,
    /// Only those attached to this instance.
    pub instance: Option<InstanceId>,
    /// Only those with all of these tags.
    pub tags: BTreeMap<String, String>,
}

/// A subnet's CIDRs and gateways, which never change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ranges {
    /// Its CIDRs.
    pub subnets: Subnets,
    /// Its gateways.
    pub gateways: Gateways,
}

/// A vSwitch as the cloud describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VSwitch {
    /// Its id.
    pub id: VSwitchId,
    /// Its zone.
    pub zone: ZoneId,
    /// Its VPC.
    pub vpc: String,
    /// Its CIDRs.
    pub subnets: Subnets,
    /// Its gateways, by the cloud's own rule; none where a CIDR is too small to have one.
    pub gateways: Gateways,
    /// Free IPv4 addresses when asked; old the moment it is read.
    pub free_ipv4: u32,
}

/// An instance as the cloud describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceDescription {
    /// Its id.
    pub id: InstanceId,
    /// Its type.
    pub instance_type: String,
    /// Its zone.
    pub zone: ZoneId,
    /// Its VPC.
    pub vpc: String,
    /// The vSwitch of its primary ENI.
    pub vswitch: VSwitchId,
    /// Whether ENIs may be attached now.
    pub status: InstanceStatus,
}

/// An instance's state, as far as ENIs go: they come and go while it runs or is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InstanceStatus {
    /// Runs.
    Running,
    /// Is stopped.
    Stopped,
    /// Is being made, started, stopped or released.
    Changing,
}

/// What an instance type can carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InstanceLimits {
    /// ENIs including the primary one.
    pub enis: u32,
    /// IPv4 addresses per ENI.
    pub ipv4_per_eni: u32,
    /// IPv6 addresses per ENI.
    pub ipv6_per_eni: u32,
    /// Members of trunk ENIs; 0 where the type has no trunks.
    pub members: u32,
    /// Whether an ENI of the instance may be a trunk.
    pub trunk: bool,
    /// Prefixes per ENI; an ENI's addresses and prefixes together are at most `ipv4_per_eni`.
    pub prefixes_per_eni: u32,
    /// Addresses or prefixes that one assign call gives at most.
    pub assign_batch: u32,
}

/// What the node agent asks of a cloud. Every call may fail with any [`CloudFailure`]; calls that act on
/// an object succeed when the object already is as wanted.
#[async_trait]
pub trait Cloud: Debug + Send + Sync {
    /// The provider's name, `aliyun` or `tencent`.
    fn provider(&self) -> &'static str;

    /// Makes an ENI. Returns it in whatever state it is in by then.
    async fn create_eni(&self, request: &CreateEni) -> CloudResult<EniDescription>;

    /// Asks for an ENI to be attached; returns when the request is accepted, not when it is done.
    async fn attach_eni(&self, eni: &EniId, instance: &InstanceId) -> CloudResult<()>;

    /// Asks for an ENI to be detached; returns when the request is accepted. An ENI that is gone or
    /// attached to nothing is a success.
    async fn detach_eni(&self, eni: &EniId, instance: &InstanceId) -> CloudResult<()>;

    /// Deletes a detached ENI. One that is gone is a success.
    async fn delete_eni(&self, eni: &EniId) -> CloudResult<()>;

    /// All ENIs that match, over all pages. May be stale: absence is a hint, not a proof.
    async fn describe_enis(&self, filter: &EniFilter) -> CloudResult<Vec<EniDescription>>;

    /// Gives an ENI further addresses or prefixes, at most [`InstanceLimits::assign_batch`]; returns those
    /// that were added, which may be fewer. The same token and amount give the same ones.
    async fn assign(&self, eni: &EniId, token: &IntentToken, what: Assign) -> CloudResult<AddressSet>;

    /// Takes addresses and prefixes off an ENI. Those it does not have, or an ENI that is gone, are a
    /// success. The primary IPv4 address cannot be taken: `Invalid`.
    async fn unassign(&self, eni: &EniId, what: &AddressSet) -> CloudResult<()>;

    /// Replaces an ENI's security groups.
    async fn set_security_groups(&self, eni: &EniId, groups: &[SecurityGroupId]) -> CloudResult<()>;

    /// Says whether an ENI is deleted together with the instance it is attached to. New ones are, where the cloud
    /// has such a thing; where it has none: `Invalid`.
    async fn set_delete_on_release(&self, eni: &EniId, on: bool) -> CloudResult<()>;

    /// Members of trunk ENIs; `None`: this cloud, or this kind of node, has none.
    fn trunking(&self) -> Option<&dyn Trunking>;

    /// Instances, in as few calls as the cloud allows; unknown ones are left out.
    async fn describe_instances(&self, ids: &[InstanceId]) -> CloudResult<Vec<InstanceDescription>>;

    /// Several vSwitches, in as few calls as the cloud allows; unknown ones are left out.
    async fn describe_vswitches(&self, ids: &[VSwitchId]) -> CloudResult<Vec<VSwitch>>;

    /// One vSwitch; `None` when the cloud does not know it.
    async fn describe_vswitch(&self, id: &VSwitchId) -> CloudResult<Option<VSwitch>> {
        let found = self.describe_vswitches(std::slice::from_ref(id)).await?;
        Ok(found.into_iter().find(|vswitch| vswitch.id == *id))
    }

    /// What an instance type can carry; `None` when the cloud does not know the type.
    async fn instance_limits(&self, instance_type: &str) -> CloudResult<Option<InstanceLimits>>;
}

/// What is asked of a cloud whose trunk ENIs carry members, each on a VLAN of the trunk's link.
#[async_trait]
pub trait Trunking: Debug + Send + Sync {
    /// Asks for an ENI to be attached to a trunk of this instance as a member; returns when the request is
    /// accepted. The cloud chooses the VLAN and tells it by [`EniDescription::vlan_id`].
    async fn attach_member(&self, member: &EniId, trunk: &EniId, instance: &InstanceId) -> CloudResult<()>;

    /// Asks for a member to be taken off its trunk; returns when the request is accepted. One that is gone or
    /// attached to nothing is a success.
    async fn detach_member(&self, member: &EniId, trunk: &EniId, instance: &InstanceId) -> CloudResult<()>;
}

/// The node as its metadata service describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceIdentity {
    /// The instance's id.
    pub id: InstanceId,
    /// Its type.
    pub instance_type: String,
    /// Its region.
    pub region: String,
    /// Its zone.
    pub zone: ZoneId,
    /// The VPC it lives in.
    pub vpc: String,
    /// The vSwitch of its primary ENI; empty where the service does not tell (Lingjun nodes).
    pub vswitch: VSwitchId,
    /// The hardware address of its primary ENI, which is never ours.
    pub primary_mac: MacAddr,
    /// CIDRs and gateways of the subnet of its primary ENI, as far as the service tells them.
    pub ranges: Ranges,
}

/// What an instance is seen to carry now: it may carry at least that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Carried {
    /// ENIs, the primary one among them.
    pub enis: u32,
    /// The most IPv4 addresses that one of them has.
    pub ipv4_per_eni: u32,
    /// The most IPv6 addresses that one of them has.
    pub ipv6_per_eni: u32,
}

/// The instance metadata service, seen from this node.
#[async_trait]
pub trait Metadata: Debug + Send + Sync {
    /// Who this node is. Constant for the life of the instance.
    async fn identity(&self) -> CloudResult<InstanceIdentity>;

    /// The hardware addresses of all ENIs the service lists; lags behind attach by seconds.
    async fn macs(&self) -> CloudResult<Vec<MacAddr>>;

    /// What the instance carries, by the same listing.
    async fn carried(&self) -> CloudResult<Carried>;
}
