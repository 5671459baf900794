//! What makes a plan impossible, found before anything is changed. Everything wrong is reported at once.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use ipnetwork::IpNetwork;
use terway_types::{AttachmentKey, Bandwidth, Datapath, InterfacePlan, IpFamily, MacAddr};

use super::bandwidth::{LATENCY_MS, least_rate};
use super::{leads_to_the_node, meets_the_node};
use crate::facts::HostFacts;
use crate::names;

/// One thing wrong with a plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Neither family has an address.
    #[error("it has no address")]
    NoAddress,
    /// An address without gateway.
    #[error("address {0} has no {1} gateway")]
    NoGateway(IpAddr, IpFamily),
    /// The node has no address the host pair could use.
    #[error("pod address {0} needs an {1} address of the node, which has none")]
    NoNodeAddress(IpAddr, IpFamily),
    /// The pod would have the node's address.
    #[error("pod address {0} is the node's own")]
    NodesOwnAddress(IpAddr),
    /// The pod would have the gateway's address.
    #[error("pod address {0} is the gateway's")]
    GatewaysAddress(IpAddr),
    /// The ENI's MAC cannot belong to a NIC.
    #[error("{0} is not the MAC address of one card")]
    Mac(MacAddr),
    /// The ENI that shall be shared is not on the node.
    #[error("no NIC of the node has MAC {0}")]
    NoNic(MacAddr),
    /// An ENI of a pod, where the VPC's route table is to lead to the node. An answer without a type reads so too.
    #[error(
        "type TypeVPCIP, which is also that of an answer without a type, wants the node's own NIC, {own}, but the ENI is {eni}"
    )]
    NotTheNodesNic {
        /// The MAC of the ENI named.
        eni: MacAddr,
        /// That of the node's uplink.
        own: MacAddr,
    },
    /// The VLAN cannot be one.
    #[error("VLAN {0} is not within 1 to 4094")]
    Vlan(u16),
    /// Only pods connected by policy routing can use their ENI's RDMA device.
    #[error("eRDMA goes with policy routing only")]
    Erdma,
    /// The name cannot be used.
    #[error("the name {0:?} {1}")]
    Name(String, &'static str),
    /// The node's links cannot be called so.
    #[error("{0:?} is not 1 to 4 letters or digits, so no link's name can begin with it")]
    Prefix(String),
    /// The MTU is out of range.
    #[error("MTU {mtu} is not within {} to {}", range.start(), range.end())]
    Mtu {
        /// The MTU asked for.
        mtu: u32,
        /// The usable ones.
        range: RangeInclusive<u32>,
    },
    /// A destination of a family the pod does not have.
    #[error("{list} {cidr} is {family}, but the pod has no {family} address")]
    WrongFamily {
        /// Where the CIDR comes from.
        list: &'static str,
        /// The CIDR.
        cidr: IpNetwork,
        /// Its family.
        family: IpFamily,
    },
    /// A destination that would take over the default route.
    #[error("{list} {cidr} would send all traffic through the host")]
    Everything {
        /// Where the CIDR comes from.
        list: &'static str,
        /// The CIDR.
        cidr: IpNetwork,
    },
    /// A destination that would send the VPC's traffic through the host.
    #[error("{list} {cidr} contains the gateway {gateway}")]
    ContainsGateway {
        /// Where the CIDR comes from.
        list: &'static str,
        /// The CIDR.
        cidr: IpNetwork,
        /// The pod's gateway.
        gateway: IpAddr,
    },
    /// A destination that would send neighbours' traffic through the host.
    #[error("{list} {cidr} overlaps the pod's subnet {subnet}")]
    OverlapsSubnet {
        /// Where the CIDR comes from.
        list: &'static str,
        /// The CIDR.
        cidr: IpNetwork,
        /// The pod's subnet.
        subnet: IpNetwork,
    },
    /// A destination asked to go both ways.
    #[error("{0} is asked to go both through the host and by the gateway")]
    TwoWays(IpNetwork),
    /// A limit nothing gets through.
    #[error("{direction} limit of {rate} bytes/s passes less than one packet of {mtu} bytes within {LATENCY_MS} ms; the least is {} bytes/s", least_rate(*mtu))]
    TooSlow {
        /// `ingress` or `egress`.
        direction: &'static str,
        /// The rate asked for.
        rate: u64,
        /// The MTU.
        mtu: u32,
    },
}

const SERVICE: &str = "service CIDR";
const HOST_STACK: &str = "host-stack CIDR";
const EXTRA: &str = "extra route";

/// Everything wrong with the plan.
pub(super) fn problems(plan: &InterfacePlan, key: &AttachmentKey, facts: &HostFacts) -> Vec<Problem> {
    let mut all = Vec::new();
    links(plan, key, &mut all);
    addresses(plan, key, facts, &mut all);
    destinations(plan, key, &mut all);
    for (direction, limit) in [("ingress", plan.ingress), ("egress", plan.egress)] {
        all.extend(limit.and_then(|limit| too_slow(direction, limit, plan.mtu)));
    }
    all
}

fn links(plan: &InterfacePlan, key: &AttachmentKey, all: &mut Vec<Problem>) {
    let name = plan.ifname.as_str();
    let mut refuse = |why| all.push(Problem::Name(name.to_owned(), why));
    if name == "lo" {
        refuse("is the loopback link's");
    }
    if name == names::POD_PEER && !plan.datapath.is_ipvlan() && leads_to_the_node(plan, key) {
        refuse("is needed for the link to the host");
    }
    if name.contains('%') {
        refuse("contains '%', which the kernel takes for a pattern");
    }
    let is_short = (1..=4).contains(&plan.host_prefix.len());
    if !is_short || !plan.host_prefix.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        all.push(Problem::Prefix(plan.host_prefix.clone()));
    }
    if plan.erdma && plan.datapath != Datapath::PolicyRoute {
        all.push(Problem::Erdma);
    }
    if !plan.mac.is_unicast() {
        all.push(Problem::Mac(plan.mac));
    }
    // IEEE 802.1Q reserves the first and the last of the 12 bits' numbers.
    all.extend(plan.datapath.vlan().filter(|id| !(1..=4094).contains(id)).map(Problem::Vlan));
    // RFC 8200 section 5 and RFC 791 section 3.1 give the least, the clouds' jumbo frames the most.
    let range = if plan.addresses.v6.is_some() { 1280..=9600 } else { 576..=9600 };
    if !range.contains(&plan.mtu) {
        all.push(Problem::Mtu { mtu: plan.mtu, range });
    }
}

fn addresses(plan: &InterfacePlan, key: &AttachmentKey, facts: &HostFacts, all: &mut Vec<Problem>) {
    if plan.datapath == Datapath::VpcRoute {
        let other = facts.uplink_mac.filter(|own| *own != plan.mac);
        all.extend(other.map(|own| Problem::NotTheNodesNic { eni: plan.mac, own }));
    }
    if plan.addresses.is_empty() {
        all.push(Problem::NoAddress);
    }
    for address in plan.addresses.iter() {
        let family = IpFamily::of(&address);
        match plan.gateways.get(family) {
            // There the node itself is the only next hop.
            None if plan.datapath == Datapath::VpcRoute => {}
            None => all.push(Problem::NoGateway(address, family)),
            Some(gateway) if gateway == address => all.push(Problem::GatewaysAddress(address)),
            Some(_) => {}
        }
        match facts.addresses.get(family) {
            None if meets_the_node(plan, key) => all.push(Problem::NoNodeAddress(address, family)),
            Some(node) if node == address => all.push(Problem::NodesOwnAddress(address)),
            _ => {}
        }
    }
}

/// Service and host-stack CIDRs are settings of the cluster and of the node, so one of a family this pod does not
/// have is none of its business. Extra routes are the interface's own, so there it is a mistake.
fn destinations(plan: &InterfacePlan, key: &AttachmentKey, all: &mut Vec<Problem>) {
    let has = |cidr: &IpNetwork| plan.addresses.get(family_of(cidr)).is_some();
    for cidr in plan.extra_routes.iter().filter(|cidr| !has(cidr)) {
        all.push(Problem::WrongFamily { list: EXTRA, cidr: *cidr, family: family_of(cidr) });
    }
    if !leads_to_the_node(plan, key) {
        return;
    }
    let services = plan.service_cidrs.iter().map(|cidr| (SERVICE, cidr));
    let host_stack = plan.host_stack_cidrs.iter().map(|cidr| (HOST_STACK, cidr));
    for (list, cidr) in services.chain(host_stack).filter(|(_, cidr)| has(cidr)) {
        all.extend(by_the_host(plan, list, *cidr));
    }
}

/// What is wrong with a destination reached through the host pair.
fn by_the_host(plan: &InterfacePlan, list: &'static str, cidr: IpNetwork) -> Option<Problem> {
    let family = family_of(&cidr);
    let gateway = plan.gateways.get(family).filter(|gateway| cidr.contains(*gateway));
    let subnet = plan.subnets.get(family);
    if cidr.prefix() == 0 {
        Some(Problem::Everything { list, cidr })
    } else if let Some(gateway) = gateway {
        Some(Problem::ContainsGateway { list, cidr, gateway })
    } else if let Some(subnet) = subnet.filter(|subnet| overlap(subnet, &cidr)) {
        Some(Problem::OverlapsSubnet { list, cidr, subnet })
    } else {
        let network = |one: &IpNetwork| (one.network(), one.prefix());
        let twice = plan.extra_routes.iter().any(|extra| network(extra) == network(&cidr));
        twice.then_some(Problem::TwoWays(cidr))
    }
}

fn too_slow(direction: &'static str, limit: Bandwidth, mtu: u32) -> Option<Problem> {
    let rate = limit.bytes_per_second;
    (rate < least_rate(mtu)).then_some(Problem::TooSlow { direction, rate, mtu })
}

fn overlap(one: &IpNetwork, other: &IpNetwork) -> bool {
    one.contains(other.network()) || other.contains(one.network())
}

fn family_of(cidr: &IpNetwork) -> IpFamily {
    IpFamily::of(&cidr.ip())
}
