//! Why the cloud refuses a call, in its own codes.

use ipnetwork::IpNetwork;
use terway_types::{EniId, InstanceId, SecurityGroupId, VSwitchId};

use super::eni::Status;

/// A call the cloud does not carry out. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No such ENI.
    #[error("the specified ENI {0} does not exist")]
    NoEni(EniId),
    /// No such instance.
    #[error("the specified instance {0} does not exist")]
    NoInstance(InstanceId),
    /// No such vSwitch.
    #[error("the specified vSwitch {0} does not exist")]
    NoVSwitch(VSwitchId),
    /// No such security group.
    #[error("the specified security group {0} does not exist")]
    NoSecurityGroup(SecurityGroupId),
    /// The ENI's state does not allow the call.
    #[error("the operation is not allowed: ENI {eni} is {status}")]
    EniState {
        /// The ENI.
        eni: EniId,
        /// Its state.
        status: Status,
    },
    /// The ENI is attached, but to another instance.
    #[error("ENI {eni} is not attached to instance {instance}")]
    NotAttachedThere {
        /// The ENI.
        eni: EniId,
        /// The instance named in the call.
        instance: InstanceId,
    },
    /// Primary ENIs live and die with their instance.
    #[error("ENI {0} is the primary ENI of its instance")]
    PrimaryEni(EniId),
    /// The instance carries as many ENIs as its type allows.
    #[error("instance {instance} already has {limit} ENIs, the limit of its type")]
    EniPerInstance {
        /// The instance.
        instance: InstanceId,
        /// The limit of its type.
        limit: u32,
    },
    /// The ENI has more IPv4 addresses than the instance's type allows.
    #[error("ENI {eni} has {count} IPv4 addresses, the instance type allows {limit}")]
    Ipv4PerEni {
        /// The ENI.
        eni: EniId,
        /// What it has.
        count: usize,
        /// The limit of the type.
        limit: u32,
    },
    /// The ENI has more IPv6 addresses than the instance's type allows.
    #[error("ENI {eni} has {count} IPv6 addresses, the instance type allows {limit}")]
    Ipv6PerEni {
        /// The ENI.
        eni: EniId,
        /// What it has.
        count: usize,
        /// The limit of the type.
        limit: u32,
    },
    /// The account has as many ENIs as it may.
    #[error("the account already has {0} ENIs in this region, its quota")]
    EniQuota(u32),
    /// No free address in the vSwitch.
    #[error("vSwitch {vswitch} has {free} free addresses, {wanted} wanted")]
    SubnetExhausted {
        /// The vSwitch.
        vswitch: VSwitchId,
        /// Free ones.
        free: u128,
        /// Wanted ones.
        wanted: usize,
    },
    /// The vSwitch has no IPv6.
    #[error("vSwitch {0} has no IPv6 CIDR")]
    NoIpv6(VSwitchId),
    /// ENI and instance live in different zones.
    #[error("ENI {eni} is in zone {eni_zone}, instance in zone {instance_zone}")]
    ZoneMismatch {
        /// The ENI.
        eni: EniId,
        /// Its zone.
        eni_zone: String,
        /// The instance's zone.
        instance_zone: String,
    },
    /// ENI and instance live in different VPCs.
    #[error("ENI {eni} is in VPC {eni_vpc}, the instance in {instance_vpc}")]
    VpcMismatch {
        /// The ENI.
        eni: EniId,
        /// Its VPC.
        eni_vpc: String,
        /// The instance's VPC.
        instance_vpc: String,
    },
    /// A security group is of another VPC than the ENI.
    #[error("security group {group} is in VPC {home}, the ENI in {vpc}")]
    GroupVpc {
        /// The group.
        group: SecurityGroupId,
        /// Its VPC.
        home: String,
        /// The ENI's VPC.
        vpc: String,
    },
    /// The instance is on its way up or down.
    #[error("the operation is not allowed: instance {0} is neither running nor stopped")]
    InstanceState(InstanceId),
    /// What the call does cannot be done with an ENI of this kind.
    #[error("the operation is not allowed for ENI {eni} of type {kind}")]
    EniType {
        /// The ENI.
        eni: EniId,
        /// Its kind.
        kind: &'static str,
    },
    /// The account has as many private addresses as it may.
    #[error("the account may have {0} private IPv4 addresses, its quota")]
    AddressQuota(u32),
    /// The primary address stays for the ENI's life.
    #[error("the primary address of ENI {0} cannot be unassigned")]
    PrimaryAddress(EniId),
    /// The ENI does not have the address or prefix.
    #[error("{address} is not assigned to ENI {eni}")]
    NotAssigned {
        /// The ENI.
        eni: EniId,
        /// What it does not have.
        address: IpNetwork,
    },
    /// An address that was chosen is not free, or not of the vSwitch.
    #[error("not all of the specified addresses are free addresses of vSwitch {0}")]
    AddressTaken(VSwitchId),
    /// A task on the ENI still runs.
    #[error("another task on ENI {0} is running")]
    Busy(EniId),
    /// The instance's type has no trunks.
    #[error("the type of instance {0} does not support trunk ENIs")]
    NoTrunks(InstanceId),
    /// The idempotency token was used with other parameters.
    #[error("the client token {0} was used before with different parameters")]
    TokenReused(String),
}

impl Refusal {
    /// The vendor's code (API reference of ECS 2014-05-26, error tables of the ENI actions).
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoEni(_) => "InvalidEniId.NotFound",
            Self::NoInstance(_) => "InvalidEcsId.NotFound",
            Self::NoVSwitch(_) => "InvalidVSwitchId.NotFound",
            Self::NoSecurityGroup(_) => "InvalidSecurityGroupId.NotFound",
            Self::EniState { .. } => "InvalidOperation.InvalidEniState",
            Self::NotAttachedThere { .. } => "InvalidOperation.EniNotAttachedToInstance",
            Self::PrimaryEni(_) => "InvalidOperation.DetachPrimaryEniNotAllowed",
            Self::EniPerInstance { .. } => "EniPerInstanceLimitExceeded",
            Self::Ipv4PerEni { .. } => "InvalidOperation.Ipv4CountExceeded",
            Self::Ipv6PerEni { .. } => "InvalidOperation.Ipv6CountExceeded",
            Self::EniQuota(_) => "MaxEniCountExceeded",
            Self::SubnetExhausted { .. } => "InvalidVSwitchId.IpNotEnough",
            Self::NoIpv6(_) => "InvalidOperation.VSwitchIpv6NotEnabled",
            Self::ZoneMismatch { .. } => "InvalidOperation.AvailabilityZoneMismatch",
            Self::VpcMismatch { .. } | Self::GroupVpc { .. } => "InvalidOperation.VpcMismatch",
            Self::InstanceState(_) => "InvalidOperation.InvalidEcsState",
            Self::EniType { .. } => "InvalidOperation.InvalidEniType",
            Self::AddressQuota(_) => "QuotaExceeded.PrivateIpAddress",
            Self::PrimaryAddress(_) => "InvalidIp.Address",
            Self::NotAssigned { .. } => "InvalidIp.IpUnassigned",
            Self::AddressTaken(_) => "InvalidIp.IpAssigned",
            Self::Busy(_) => "Operation.Conflict",
            Self::NoTrunks(_) => "InvalidOperation.InstanceTypeNotSupportTrunk",
            Self::TokenReused(_) => "IdempotentParameterMismatch",
        }
    }
}
