//! Which cloud the simulated one speaks for, and all that the bench must know because of it: how things are named,
//! where a node finds its metadata, by which code a refusal is known. Scenarios are handed a [`Cloud`] and ask it;
//! they name no vendor.

use std::fmt;
use std::str::FromStr;

use anyhow::{Result, bail};

/// The annotation by which a pod asks for a class of traffic, on every cloud.
pub const CLASS: &str = "k8s.aliyun.com/network-priority";

/// A cloud there is a provider for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cloud {
    /// Alibaba Cloud.
    #[default]
    Aliyun,
    /// Tencent Cloud.
    Tencent,
}

/// What the world of a cloud is made of, in the forms its vendor gives to names.
#[derive(Debug)]
pub struct Names {
    /// The region.
    pub region: &'static str,
    /// The zone all nodes are in.
    pub zone: &'static str,
    /// A zone of the region no node is in.
    pub other_zone: &'static str,
    /// The VPC.
    pub vpc: &'static str,
    /// The vSwitch of pods.
    pub pods: &'static str,
    /// The vSwitch of nodes.
    pub nodes: &'static str,
    /// A vSwitch in the other zone.
    pub elsewhere: &'static str,
    /// A vSwitch there is none of.
    pub nowhere: &'static str,
    /// Another VPC of the account.
    pub other_vpc: &'static str,
    /// A vSwitch there, in the zone of the nodes.
    pub foreign: &'static str,
    /// A security group there.
    pub foreign_group: &'static str,
    /// The security group.
    pub group: &'static str,
    /// Another security group.
    pub other_group: &'static str,
    /// The type of all nodes.
    pub kind: &'static str,
    /// What ids of instances begin with.
    pub instance: &'static str,
    /// The gateways of the vSwitch of pods, by the cloud's rule.
    pub gateways: [&'static str; 2],
    /// The IPv4 gateway of the vSwitch of nodes, by that rule.
    pub home_gateway: &'static str,
    /// The address of the instance metadata service.
    pub metadata: &'static str,
    /// The ends of the paths by which it tells region and zone.
    pub places: [&'static str; 2],
    /// The headers by which it hands out a session token and by which it wants it back, if it has any.
    pub session: Option<[&'static str; 2]>,
    /// Whether a new ENI gets its IPv6 addresses by a call of their own.
    pub ipv6_apart: bool,
    /// The action that tells what an instance can carry.
    pub limits: &'static str,
    /// The action that tells of vSwitches.
    pub vswitches: &'static str,
    /// The action that tells what became of a change that was accepted, where changes are carried out later.
    pub task: Option<&'static str>,
}

/// A way in which clouds refuse, each by a code of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Too many calls.
    Throttled,
    /// No permission for the action.
    Denied,
    /// The caller's clock is off.
    ClockSkew,
    /// The signature was made with another secret.
    WrongSecret,
    /// No further ENI in this account.
    EniQuota,
    /// Trouble within.
    Outage,
    /// The object is in no state for this.
    State,
    /// Another change of the object is under way.
    Busy,
    /// No free address in the vSwitch.
    Dry,
}

/// What not every cloud has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    /// Prefixes on ENIs.
    Prefixes,
    /// An encrypted token file that clusters mount for their add-ons.
    AddonToken,
    /// Security groups that belong to a VPC, not to a region.
    GroupsOfVpcs,
    /// Limits that are asked for by the type of an instance, not by its id.
    LimitsByType,
    /// Nodes whose ENIs come from an API of their own.
    OwnApi,
}

const ALIYUN: Names = Names {
    region: "cn-sim",
    zone: "cn-sim-a",
    other_zone: "cn-sim-b",
    vpc: "vpc-sim",
    pods: "vsw-a",
    nodes: "vsw-b",
    elsewhere: "vsw-c",
    nowhere: "vsw-nowhere",
    other_vpc: "vpc-other",
    foreign: "vsw-foreign",
    foreign_group: "sg-foreign",
    group: "sg-sim",
    other_group: "sg-other",
    kind: "ecs.sim",
    instance: "i-",
    gateways: ["10.1.15.253", "fd00:10:0:1:ffff:ffff:ffff:fffd"],
    home_gateway: "10.2.0.253",
    metadata: "100.100.100.200",
    places: ["region-id", "zone-id"],
    session: Some(["X-aliyun-ecs-metadata-token-ttl-seconds", "X-aliyun-ecs-metadata-token"]),
    ipv6_apart: false,
    limits: "DescribeInstanceTypes",
    vswitches: "DescribeVSwitches",
    task: None,
};

const TENCENT: Names = Names {
    region: "ap-sim",
    zone: "ap-sim-3",
    other_zone: "ap-sim-4",
    vpc: "vpc-3sim0000",
    pods: "subnet-a1pods00",
    nodes: "subnet-b2nodes0",
    elsewhere: "subnet-c3other0",
    nowhere: "subnet-n0where0",
    other_vpc: "vpc-0ther000",
    foreign: "subnet-f0reign0",
    foreign_group: "sg-f0reign0",
    group: "sg-sim00000",
    other_group: "sg-0ther000",
    kind: "S5.SIM",
    instance: "ins-",
    gateways: ["10.1.0.1", "fe80::feee:ffff:feff:ffff"],
    home_gateway: "10.2.0.1",
    metadata: "169.254.0.23",
    places: ["placement/region", "placement/zone"],
    session: None,
    ipv6_apart: true,
    limits: "DescribeNetworkInterfaceLimit",
    vswitches: "DescribeSubnets",
    task: Some("DescribeVpcTaskResult"),
};

impl Cloud {
    /// All of them.
    pub const ALL: &[Self] = &[Self::Aliyun, Self::Tencent];

    /// Its name in configurations and on command lines.
    pub fn name(self) -> &'static str {
        match self {
            Self::Aliyun => "aliyun",
            Self::Tencent => "tencent",
        }
    }

    /// How things are named in it.
    pub fn names(self) -> &'static Names {
        match self {
            Self::Aliyun => &ALIYUN,
            Self::Tencent => &TENCENT,
        }
    }

    /// Whether it has this.
    pub fn has(self, feature: Feature) -> bool {
        match feature {
            Feature::Prefixes
            | Feature::AddonToken
            | Feature::GroupsOfVpcs
            | Feature::LimitsByType
            | Feature::OwnApi => self == Self::Aliyun,
        }
    }

    /// The code by which it refuses.
    pub fn code(self, refusal: Refusal) -> &'static str {
        let [aliyun, tencent] = match refusal {
            Refusal::Throttled => ["Throttling.User", "RequestLimitExceeded"],
            Refusal::Denied => ["Forbidden.RAM", "UnauthorizedOperation"],
            Refusal::ClockSkew => ["InvalidTimeStamp.Expired", "AuthFailure.SignatureExpire"],
            Refusal::WrongSecret => ["SignatureDoesNotMatch", "AuthFailure.SignatureFailure"],
            Refusal::EniQuota => ["MaxEniCountExceeded", "LimitExceeded.NetworkInterfaceLimitExceeded"],
            Refusal::Outage => ["ServiceUnavailable", "InternalError"],
            Refusal::State => ["InvalidOperation.InvalidEniState", "UnsupportedOperation.InvalidState"],
            Refusal::Busy => ["Operation.Conflict", "UnsupportedOperation.MutexOperationTaskRunning"],
            Refusal::Dry => ["InvalidVSwitchId.IpNotEnough", "ResourceInsufficient.Subnet"],
        };
        match self {
            Self::Aliyun => aliyun,
            Self::Tencent => tencent,
        }
    }
}

impl fmt::Display for Cloud {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Cloud {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        match Self::ALL.iter().find(|cloud| cloud.name() == text) {
            Some(cloud) => Ok(*cloud),
            None => bail!("there is no cloud {text:?}; there are aliyun and tencent"),
        }
    }
}
