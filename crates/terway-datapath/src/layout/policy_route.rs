//! An address of an ENI that several pods share. The ENI stays on the node; a pair of links leads to the pod, and
//! rules by the pod's address send its packets out by its own ENI and by nothing else. Everything passes the node's
//! stack, so services, the node itself and node-local agents need no further ways.
//!
//! ```text
//!   pod                       node
//!   eth0 <------ pair ------> caliX -- rule from the pod --> table of the ENI --> eth1 = the ENI --> VPC
//!                             caliX <-- rule to the pod ---- table main <--------- eth1
//! ```
//!
//! Priorities and tables are those of the existing implementation: chained agents find the ENI of a pod by them.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use terway_types::{AttachmentKey, InterfacePlan, IpFamily, PodRef};

use super::exclusive::nothing_but_lo;
use super::pair::{Pair, SourceCheck};
use super::ways::{add, node, of_family, route, via};
use super::{bandwidth, own_table, shared_nic};
use crate::describe::{Address, Layout, NamespaceLayout, Route, Rule, SmcEntry, SmcMember, Table};
use crate::facts::{HostFacts, NicFacts};
use crate::kernel::objects::any;
use crate::rules::{FROM_POD, TO_POD};

/// Lays out a plan that [`super::validate`] found possible.
pub(super) fn layout(
    plan: &InterfacePlan,
    key: &AttachmentKey,
    pod: &PodRef,
    facts: &HostFacts,
    nic: &NicFacts,
) -> Layout {
    let mut layout = nothing_but_lo(key, facts);
    let pair = Pair::new(plan, key, pod, facts, plan.ifname.as_str());
    pair.pod_side(&mut layout.pod);
    pod_ways(plan, &mut layout.pod);
    shared_nic::add(plan, nic, facts, &mut layout.host);
    shared_nic::forward(plan, nic, facts, &mut layout.host);
    shared_nic::can_solicit(plan, facts, &mut layout.host);
    pair.host_side(&nic.name, SourceCheck::Strict, &mut layout.host);
    over_rdma(plan, nic, &mut layout);
    for address in plan.addresses.iter() {
        let family = IpFamily::of(&address);
        steer(address, &nic.name, &mut layout.host.rules);
        if let Some(gateway) = plan.eni_gateways.get(family) {
            layout.host.routes.extend(table_of_nic(gateway, &nic.name));
        }
    }
    layout
}

/// What the pod's connections need to go over the ENI's RDMA device by SMC-R, where the kernel has that. The device's entry
/// is there for all pods on the ENI, whoever makes it.
fn over_rdma(plan: &InterfacePlan, nic: &NicFacts, layout: &mut Layout) {
    let rdma = nic.rdma.as_ref().filter(|_| plan.erdma);
    let Some((device, network)) = rdma.and_then(|rdma| Some((&rdma.device, rdma.network.as_ref()?))) else {
        return;
    };
    let entry = |member| SmcEntry { network: network.clone(), member };
    layout.host.smc.push(entry(SmcMember::Device(device.clone())));
    layout.pod.smc.push(entry(SmcMember::Link(plan.ifname.to_string())));
}

/// The pod's address, and the node as its only next hop: what the interface is for is decided on the node.
pub(super) fn pod_ways(plan: &InterfacePlan, pod: &mut NamespaceLayout) {
    let link = plan.ifname.as_str();
    for family in IpFamily::BOTH {
        let Some(address) = plan.addresses.get(family) else { continue };
        pod.addresses.push(Address { link: link.to_owned(), address: IpNetwork::from(address) });
        let by_node = |destination| by_node(destination, family, link);
        if plan.default_route {
            add(&mut pod.routes, by_node(any(family)));
        }
        for destination in of_family(&plan.extra_routes, family) {
            add(&mut pod.routes, by_node(destination));
        }
        if plan.own_table {
            own_table::add(address, link, [by_node(any(family))], pod);
        }
    }
    pod.limits.extend(plan.egress.map(|limit| bandwidth::limit(link, limit, plan.mtu)));
}

/// A link-local next hop of IPv6 is on its link by definition, and several links may have the same.
fn by_node(destination: IpNetwork, family: IpFamily, link: &str) -> Route {
    Route { onlink: family == IpFamily::V4, ..via(destination, node(family), link) }
}

/// To the pod by the table that knows its link, from the pod by the table of its ENI.
fn steer(pod: IpAddr, nic: &str, rules: &mut Vec<Rule>) {
    let (family, prefix) = (IpFamily::of(&pod), Some(IpNetwork::from(pod)));
    let rule = |priority, table| Rule { family, priority, from: None, to: None, oif: None, table };
    rules.push(Rule { to: prefix, ..rule(TO_POD, Table::Main) });
    rules.push(Rule { from: prefix, ..rule(FROM_POD, Table::OfLink(nic.to_owned())) });
}

/// All that is in the table of an ENI. IPv6 takes a next hop for granted only if the main table does not know it by
/// another link, which it does where node and pods are in one vSwitch; so there the table itself says where it is.
pub(super) fn table_of_nic(gateway: IpAddr, nic: &str) -> Vec<Route> {
    let shared = |route: Route| Route { table: Table::OfLink(nic.to_owned()), shared: true, ..route };
    let family = IpFamily::of(&gateway);
    let default = shared(via(any(family), gateway, nic));
    match family {
        IpFamily::V4 => vec![default],
        IpFamily::V6 => {
            vec![shared(route(IpNetwork::from(gateway), nic)), Route { onlink: false, ..default }]
        }
    }
}
