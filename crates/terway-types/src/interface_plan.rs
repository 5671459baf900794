//! What one interface of a pod should be: the daemon decides it, the plugin builds it, CHECK compares
//! the kernel with it.

use ipnetwork::IpNetwork;

use crate::address::{Addresses, Gateways, MacAddr, Subnets};
use crate::attachment::IfName;
use crate::eni::EniId;

/// How a pod's interface is connected to its ENI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Datapath {
    /// The pod gets the whole ENI: its netdev moves into the pod.
    Exclusive,
    /// The pod gets an address of an ENI that stays on the node: a pair of links, and rules that send the pod's
    /// packets out by that ENI.
    PolicyRoute,
    /// The pod gets an address of a range that the VPC's route table leads to the node: a pair of links, and a route
    /// to it on the node.
    VpcRoute,
    /// The pod gets an address of an ENI that stays on the node: a child of the ENI's netdev (IPVlan, mode L2).
    Ipvlan,
    /// The same in mode L3S: what the child sends is routed by the node, whose packet filter sees it both ways.
    IpvlanL3s,
    /// The pod gets a member of a trunk ENI: what the trunk, which stays on the node, sends and receives in one VLAN.
    Vlan {
        /// The VLAN's id on the trunk, 1 to 4094.
        id: u16,
    },
    /// The same without a link for the VLAN: a pair of links and rules as of an ENI that is shared; the trunk puts the
    /// tag on what bears the pod's addresses, and takes tags off.
    VlanTag {
        /// The VLAN's id on the trunk, 1 to 4094.
        id: u16,
    },
}

impl Datapath {
    /// Whether the ENI's netdev stays on the node and serves other pods too.
    pub fn shares_the_eni(self) -> bool {
        !matches!(self, Self::Exclusive | Self::VpcRoute)
    }

    /// Whether the pod's interface itself is a pair of links to the node, through which everything goes.
    pub fn is_a_pair(self) -> bool {
        self.is_by_policy() || self == Self::VpcRoute
    }

    /// Whether a pair of links and rules on the node lead the pod to its ENI.
    pub fn is_by_policy(self) -> bool {
        matches!(self, Self::PolicyRoute | Self::VlanTag { .. })
    }

    /// The VLAN on the trunk, of a trunk's member.
    pub fn vlan(self) -> Option<u16> {
        match self {
            Self::Vlan { id } | Self::VlanTag { id } => Some(id),
            Self::Exclusive | Self::PolicyRoute | Self::VpcRoute | Self::Ipvlan | Self::IpvlanL3s => None,
        }
    }

    /// Whether the pod's interface is a child of a shared ENI with addresses of its own (IPVlan).
    pub fn is_ipvlan(self) -> bool {
        matches!(self, Self::Ipvlan | Self::IpvlanL3s)
    }
}

/// A traffic limit in one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Bandwidth {
    /// Long-term rate in bytes per second; never zero.
    pub bytes_per_second: u64,
    /// Bucket size in bytes; `None` lets the data path choose one that fits rate and MTU.
    pub burst_bytes: Option<u32>,
}

/// How what an interface sends waits at its ENI, beside what others send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Queueing {
    /// Whether packets leave at the time they bear, set by an eBPF agent or by the sender (`SO_TXTIME`).
    pub paced: bool,
    /// The class of its packets among those that leave by the same ENI; none where there are no classes.
    pub class: Option<PriorityClass>,
}

/// Whose packets leave an ENI first. What waits in a class holds up all classes behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PriorityClass {
    /// Before all others.
    Guaranteed,
    /// The usual one.
    Burstable,
    /// When nothing else waits.
    BestEffort,
}

impl PriorityClass {
    /// All classes; the first one goes first.
    pub const ALL: [Self; 3] = [Self::Guaranteed, Self::Burstable, Self::BestEffort];

    /// The word for it in annotations and on the wire.
    pub fn word(self) -> &'static str {
        match self {
            Self::Guaranteed => "guaranteed",
            Self::Burstable => "burstable",
            Self::BestEffort => "best-effort",
        }
    }

    /// The class that a word stands for.
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.word() == word)
    }
}

/// The complete wish for one interface of an attachment. No kernel index, no namespace: those are facts
/// of the moment, found when the plan is applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfacePlan {
    /// The interface's name inside the pod.
    pub ifname: IfName,
    /// The way it is connected.
    pub datapath: Datapath,
    /// The ENI, if the daemon told its id (the existing implementation's daemon does not).
    pub eni: Option<EniId>,
    /// The ENI's hardware address, by which its netdev is found.
    pub mac: MacAddr,
    /// The pod's addresses.
    pub addresses: Addresses,
    /// The vSwitch's CIDRs.
    pub subnets: Subnets,
    /// The vSwitch's gateways.
    pub gateways: Gateways,
    /// The gateways of the vSwitch that the ENI's netdev itself is in: a trunk may be in another one than its members.
    pub eni_gateways: Gateways,
    /// Whether this interface carries the pod's default route.
    pub default_route: bool,
    /// Further destinations routed by the gateway of this interface.
    pub extra_routes: Vec<IpNetwork>,
    /// Service CIDRs that the host's stack translates; reached through the host pair.
    pub service_cidrs: Vec<IpNetwork>,
    /// Further destinations that must pass the host's stack (e.g. a node-local DNS cache).
    pub host_stack_cidrs: Vec<IpNetwork>,
    /// Whether a pod with a whole ENI gets the pair of links (`veth1` and its host end) to the node.
    pub host_peer: bool,
    /// What the name of the pod's link on the node begins with: 1 to 4 letters or digits.
    pub host_prefix: String,
    /// Whether the pod has several interfaces, so that this one needs a routing table of its own.
    pub own_table: bool,
    /// MTU in bytes of every link of this attachment: 1280 to 9600 with IPv6, 576 to 9600 without.
    pub mtu: u32,
    /// Limit of traffic into the pod.
    pub ingress: Option<Bandwidth>,
    /// Limit of traffic out of the pod.
    pub egress: Option<Bandwidth>,
    /// How its packets wait at the ENI.
    pub queueing: Queueing,
    /// Whether the pod uses the ENI's RDMA device (eRDMA); with policy routing only.
    pub erdma: bool,
    /// Kernel link kinds that count as a NIC besides those without any kind. Empty on real nodes;
    /// a simulated cloud says `veth` here.
    pub nic_kinds: Vec<String>,
}
