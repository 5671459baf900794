//! An address of an ENI that several pods share, without the node's stack in between: the ENI stays on the node, and the
//! pod gets a child of it (IPVlan, mode L2), which has the ENI's MAC and sends to the VPC by itself.
//!
//! ```text
//!   pod                                  node
//!   eth0 = child of the ENI -----------> eth1 = the ENI ------------------> VPC
//!     services, the node:                eth1, as if it came in by it -----> node's stack --- source NAT ---> uplink
//!     the ENI's own MAC ---------------->
//!   eth0 <------------------------------ caliX = child of the ENI
//! ```
//!
//! What only the node's stack can do goes to a next hop nobody has, with the ENI's own MAC: the kernel hands such frames
//! to the child with that address, and those of no child to the ENI itself, on the node (`ipvlan_xmit_mode_l2`). The
//! other way the ENI cannot send to its children, so the node has a child of its own for each pod. A pod's own leaves with
//! its mark like the end of a pair; one for all pods would need to be counted.

use ipnetwork::IpNetwork;
use terway_types::{AttachmentKey, InterfacePlan, IpFamily, PodRef};

use super::exclusive::{eni, nothing_but_lo, translate};
use super::pair::ipv6_switches;
use super::ways::{add, by_the_node, node, route};
use super::{leads_to_the_node, own_table, shared_nic};
use crate::describe::{Layout, Link, LinkKind, NamespaceLayout, Neighbour, Route, Sysctl};
use crate::facts::{HostFacts, NicFacts};
use crate::kernel::IpvlanMode;
use crate::kernel::sysctl::{ipv4_conf, ipv6_conf};
use crate::mark::Mark;
use crate::names;

/// `arp_ignore`: answers for no address of the node (`ip-sysctl.rst`).
const NO_ADDRESS: &str = "8";

/// Lays out a plan that [`super::validate`] found possible.
pub(super) fn layout(
    plan: &InterfacePlan,
    key: &AttachmentKey,
    pod: &PodRef,
    facts: &HostFacts,
    nic: &NicFacts,
) -> Layout {
    let mode = IpvlanMode::L2;
    let mut layout = pods_child(mode, plan, key, facts, nic);
    let neighbours = same_vswitch(plan);
    if plan.default_route || !plan.own_table {
        for way in &neighbours {
            add(&mut layout.pod.routes, way.clone());
        }
    }
    if leads_to_the_node(plan, key) {
        to_the_node(plan, facts, &mut layout.pod);
        let end = nodes_child(mode, plan, key, pod, nic);
        to_the_pod(plan, facts, end, &nic.name, &mut layout.host);
        translate(plan, facts, &mut layout.host);
    }
    if plan.own_table {
        own_table::of_interface(plan, &neighbours, &mut layout.pod);
    }
    if plan.own_table && !plan.default_route {
        beside_another(plan, &mut layout.pod);
    }
    layout
}

/// What both modes begin with: the ENI, which forwards for the pod's child of it.
pub(super) fn pods_child(
    mode: IpvlanMode,
    plan: &InterfacePlan,
    key: &AttachmentKey,
    facts: &HostFacts,
    nic: &NicFacts,
) -> Layout {
    let mut layout = nothing_but_lo(key, facts);
    shared_nic::add(plan, nic, facts, &mut layout.host);
    shared_nic::forward(plan, nic, facts, &mut layout.host);
    eni(kind(mode, nic), plan, key, &mut layout.pod);
    layout
}

/// The node's own child for the pod, named as if the interface were the attachment's only one.
pub(super) fn nodes_child(
    mode: IpvlanMode,
    plan: &InterfacePlan,
    key: &AttachmentKey,
    pod: &PodRef,
    nic: &NicFacts,
) -> Link {
    let own = AttachmentKey { ifname: plan.ifname.clone(), ..key.clone() };
    Link {
        name: names::host_link(&plan.host_prefix, &own, pod),
        kind: kind(mode, nic),
        mac: plan.mac,
        mtu: plan.mtu,
        mark: Mark::of(key),
        group: None,
    }
}

fn kind(mode: IpvlanMode, nic: &NicFacts) -> LinkKind {
    LinkKind::Ipvlan { parent: nic.name.clone(), mode }
}

/// Of several interfaces in one vSwitch one has the way to it in the main table. By the others IPv6 takes no next hop for
/// onlink then (`ip6_route_check_nh_onlink`), but finds it by the way in the interface's own table.
fn beside_another(plan: &InterfacePlan, pod: &mut NamespaceLayout) {
    let Some((subnet, gateway)) = plan.subnets.v6.zip(plan.gateways.v6) else { return };
    let by_gateway = |route: &&mut Route| route.via == Some(gateway.into());
    for route in pod.routes.iter_mut().filter(by_gateway).filter(|_| subnet.contains(gateway)) {
        route.onlink = false;
    }
}

/// Children of one ENI reach each other directly, and only so: an ENI need not get its own packets back from a gateway.
fn same_vswitch(plan: &InterfacePlan) -> Vec<Route> {
    let used = IpFamily::BOTH.into_iter().filter(|family| plan.addresses.get(*family).is_some());
    let subnets = used.filter_map(|family| plan.subnets.get(family));
    let networks = subnets.filter_map(|subnet| IpNetwork::new(subnet.network(), subnet.prefix()).ok());
    networks.map(|network| route(network, plan.ifname.as_str())).collect()
}

/// The ways by the node's stack, and the MAC that leads there.
fn to_the_node(plan: &InterfacePlan, facts: &HostFacts, pod: &mut NamespaceLayout) {
    let link = plan.ifname.as_str();
    for address in plan.addresses.iter() {
        let family = IpFamily::of(&address);
        by_the_node(plan, facts, family, link, &mut pod.routes);
        pod.neighbours.push(Neighbour { link: link.to_owned(), address: node(family), mac: plan.mac });
    }
}

/// The node's own child, by which it speaks to the pod with its own address. The pod's packets do not come back by it
/// but by the ENI, and the answers of services elsewhere by the uplink.
pub(super) fn to_the_pod(
    plan: &InterfacePlan,
    facts: &HostFacts,
    end: Link,
    nic: &str,
    host: &mut NamespaceLayout,
) {
    let mut set = |path: String, value: &str| host.sysctls.push(Sysctl { path, value: value.to_owned() });
    if plan.addresses.v4.is_some() {
        // What the VPC asks all, this link hears too.
        set(ipv4_conf(&end.name, "arp_ignore"), NO_ADDRESS);
        set(ipv4_conf(nic, "forwarding"), "1");
        if nic != facts.uplink {
            set(ipv4_conf(&facts.uplink, "forwarding"), "1");
        }
    }
    if plan.addresses.v6.is_some() {
        set(ipv6_conf("all", "forwarding"), "1");
    }
    ipv6_switches(&end.name, plan.addresses.v6.is_some(), &mut host.sysctls);
    for family in IpFamily::BOTH {
        let (Some(pod), Some(node)) = (plan.addresses.get(family), facts.addresses.get(family)) else {
            continue;
        };
        host.routes.push(Route { source: Some(node), ..route(IpNetwork::from(pod), &end.name) });
        host.neighbours.push(Neighbour { link: end.name.clone(), address: pod, mac: plan.mac });
    }
    host.links.push(end);
}
