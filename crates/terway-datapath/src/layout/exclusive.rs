//! A whole ENI for one pod. The ENI's netdev moves into the pod; beside it a pair of links leads to the
//! node, for what only the node's stack can do: service translation, and talking with the node itself.
//!
//! ```text
//!   pod                                  node
//!   eth0 = the ENI ---------> VPC
//!   veth1 <------ pair ----------> caliX  --- source NAT ---> uplink
//! ```

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use terway_types::{AttachmentKey, InterfacePlan, IpFamily, PodRef};

use super::pair::{Pair, SourceCheck, ipv6_switches};
use super::ways::{add, by_the_node, of_family, via};
use super::{bandwidth, leads_to_the_node, own_table};
use crate::describe::{
    Address, IngressRedirect, Layout, Link, LinkKind, Loopback, NamespaceLayout, Queues, SourceNat,
};
use crate::facts::HostFacts;
use crate::kernel::objects::any;
use crate::mark::Mark;
use crate::names::{self, OwnLink, POD_PEER};

/// Lays out a plan that [`super::validate`] found possible.
pub(super) fn layout(plan: &InterfacePlan, key: &AttachmentKey, pod: &PodRef, facts: &HostFacts) -> Layout {
    let mut layout = around(LinkKind::Nic { home: names::nic_home(plan.mac) }, plan, key, pod, facts);
    // Nobody else's packets leave by it: classes would have nobody to go before.
    if plan.queueing.paced {
        let link = plan.ifname.to_string();
        layout.pod.queues.push(Queues { link, paced: true, classes: false });
    }
    layout
}

/// Lays out what belongs around a link of this kind that leads the pod to the VPC.
pub(super) fn around(
    kind: LinkKind,
    plan: &InterfacePlan,
    key: &AttachmentKey,
    pod: &PodRef,
    facts: &HostFacts,
) -> Layout {
    let mut layout = nothing_but_lo(key, facts);
    eni(kind, plan, key, &mut layout.pod);
    if leads_to_the_node(plan, key) {
        let pair = Pair::new(plan, key, pod, facts, POD_PEER);
        pair.pod_side(&mut layout.pod);
        pair_in_pod(plan, facts, &mut layout.pod);
        pair.host_side(&facts.uplink, SourceCheck::Off, &mut layout.host);
        translate(plan, facts, &mut layout.host);
    }
    if plan.own_table {
        own_table::of_interface(plan, &[], &mut layout.pod);
    }
    layout
}

/// What every layout begins with.
pub(super) fn nothing_but_lo(key: &AttachmentKey, facts: &HostFacts) -> Layout {
    Layout {
        key: key.clone(),
        uplink: facts.uplink.clone(),
        host: NamespaceLayout::default(),
        pod: NamespaceLayout { loopback: Some(Loopback), ..NamespaceLayout::default() },
    }
}

/// The ENI inside the pod.
pub(super) fn eni(kind: LinkKind, plan: &InterfacePlan, key: &AttachmentKey, pod: &mut NamespaceLayout) {
    let name = plan.ifname.as_str();
    let (mac, mtu, mark) = (plan.mac, plan.mtu, Mark::of(key));
    pod.links.push(Link { name: name.to_owned(), kind, mac, mtu, mark, group: None });
    ipv6_switches(name, plan.addresses.v6.is_some(), &mut pod.sysctls);
    for address in plan.addresses.iter() {
        pod.addresses.push(Address { link: name.to_owned(), address: IpNetwork::from(address) });
        let family = IpFamily::of(&address);
        if let Some(gateway) = plan.gateways.get(family) {
            eni_routes(plan, family, gateway, pod);
        }
    }
    if let Some(limit) = plan.egress {
        pod.limits.push(bandwidth::limit(name, limit, plan.mtu));
    }
    if let Some(limit) = plan.ingress {
        let detour = names::ingress_link(&plan.ifname);
        pod.links.push(Link {
            name: detour.clone(),
            kind: LinkKind::Ifb,
            mac: names::own_mac(key, OwnLink::Ingress),
            mtu: plan.mtu,
            mark: Mark::of(key),
            group: None,
        });
        pod.limits.push(bandwidth::limit(&detour, limit, plan.mtu));
        pod.redirects.push(IngressRedirect { from: name.to_owned(), to: detour });
    }
}

/// The VPC answers for its gateway only; the pod's own prefix covers no one else, so every next hop is onlink. The
/// gateway has no route of its own: IPv6 would take no second interface of the same vSwitch for onlink then.
fn eni_routes(plan: &InterfacePlan, family: IpFamily, gateway: IpAddr, pod: &mut NamespaceLayout) {
    let name = plan.ifname.as_str();
    if plan.default_route {
        add(&mut pod.routes, via(any(family), gateway, name));
    }
    for destination in of_family(&plan.extra_routes, family) {
        add(&mut pod.routes, via(destination, gateway, name));
    }
}

/// The pair's side in the pod: the ways that only the node's stack can go.
fn pair_in_pod(plan: &InterfacePlan, facts: &HostFacts, pod: &mut NamespaceLayout) {
    for address in plan.addresses.iter() {
        // Before those of the ENI: asked for the link of an address (joining a multicast group by it, say), the
        // kernel answers with the link that got it last.
        let own = Address { link: POD_PEER.to_owned(), address: IpNetwork::from(address) };
        pod.addresses.insert(0, own);
        by_the_node(plan, facts, IpFamily::of(&address), POD_PEER, &mut pod.routes);
    }
}

/// What passes the node with the pod's address gets the node's.
pub(super) fn translate(plan: &InterfacePlan, facts: &HostFacts, host: &mut NamespaceLayout) {
    for family in IpFamily::BOTH {
        if let (Some(pod), Some(node)) = (plan.addresses.get(family), facts.addresses.get(family)) {
            host.source_nat.push(SourceNat { pod, node, of_services: false });
        }
    }
}
