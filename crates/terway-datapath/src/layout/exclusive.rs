//! A whole ENI for one pod. The ENI's netdev moves into the pod; beside it a pair of links leads to the
//! node, for what only the node's stack can do: service translation, and talking with the node itself.
//!
//! ```text
//!   pod                                  node
//!   eth0 = the ENI ---------> VPC
//!   veth1 <------ pair ----------> caliX  --- source NAT ---> uplink
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::IpNetwork;
use terway_types::{AttachmentKey, InterfacePlan, IpFamily, PodRef};

use super::{bandwidth, has_host_pair};
use crate::describe::{
    Address, IngressRedirect, Layout, Link, LinkKind, Loopback, NamespaceLayout, Neighbour, Route, SourceNat,
    Sysctl,
};
use crate::facts::HostFacts;
use crate::kernel::objects::any;
use crate::kernel::sysctl::{ipv4_conf, ipv6_conf};
use crate::mark::Mark;
use crate::names::{self, OwnLink, POD_PEER};

/// The node as the pod sees it on the pair: an address nobody has, with a permanent neighbour entry.
const NODE_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(169, 254, 1, 1));
/// The same for IPv6.
const NODE_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1));

const FAMILIES: [IpFamily; 2] = [IpFamily::V4, IpFamily::V6];

/// Lays out a plan that [`super::validate`] found possible.
pub(super) fn layout(plan: &InterfacePlan, key: &AttachmentKey, pod: &PodRef, facts: &HostFacts) -> Layout {
    let mut layout = Layout {
        key: key.clone(),
        uplink: facts.uplink.clone(),
        host: NamespaceLayout::default(),
        pod: NamespaceLayout { loopback: Some(Loopback), ..NamespaceLayout::default() },
    };
    eni(plan, key, &mut layout.pod);
    if has_host_pair(plan, key) {
        let pair = Pair { plan, key, facts, host_end: names::host_link(key, pod) };
        pair.pod_side(&mut layout.pod);
        pair.host_side(&mut layout.host);
    }
    layout
}

/// The ENI inside the pod.
fn eni(plan: &InterfacePlan, key: &AttachmentKey, pod: &mut NamespaceLayout) {
    let name = plan.ifname.as_str();
    pod.links.push(Link {
        name: name.to_owned(),
        kind: LinkKind::Nic { home: names::nic_home(plan.mac) },
        mac: plan.mac,
        mtu: plan.mtu,
        mark: Mark::of(key),
    });
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
        });
        pod.limits.push(bandwidth::limit(&detour, limit, plan.mtu));
        pod.redirects.push(IngressRedirect { from: name.to_owned(), to: detour });
    }
}

/// The VPC answers for its gateway only; the pod's own prefix covers no one else, so every next hop is onlink.
fn eni_routes(plan: &InterfacePlan, family: IpFamily, gateway: IpAddr, pod: &mut NamespaceLayout) {
    let name = plan.ifname.as_str();
    if family == IpFamily::V6 {
        add_route(&mut pod.routes, route(IpNetwork::from(gateway), name));
    }
    if plan.default_route {
        add_route(&mut pod.routes, via(any(family), gateway, name));
    }
    for destination in of_family(&plan.extra_routes, family) {
        add_route(&mut pod.routes, via(destination, gateway, name));
    }
}

/// The two links between pod and node.
struct Pair<'a> {
    plan: &'a InterfacePlan,
    key: &'a AttachmentKey,
    facts: &'a HostFacts,
    host_end: String,
}

impl Pair<'_> {
    fn pod_side(&self, pod: &mut NamespaceLayout) {
        let plan = self.plan;
        pod.links.push(self.end(POD_PEER, &self.host_end, OwnLink::PodEnd));
        ipv6_switches(POD_PEER, plan.addresses.v6.is_some(), &mut pod.sysctls);
        for address in plan.addresses.iter() {
            let family = IpFamily::of(&address);
            let node_side = if family == IpFamily::V4 { NODE_V4 } else { NODE_V6 };
            // Before those of the ENI: asked for the link of an address (joining a multicast group by it, say), the
            // kernel answers with the link that got it last.
            let own = Address { link: POD_PEER.to_owned(), address: IpNetwork::from(address) };
            pod.addresses.insert(0, own);
            pod.neighbours.push(Neighbour {
                link: POD_PEER.to_owned(),
                address: node_side,
                mac: names::own_mac(self.key, OwnLink::HostEnd),
            });
            add_route(&mut pod.routes, route(IpNetwork::from(node_side), POD_PEER));
            let services = of_family(&plan.service_cidrs, family);
            let node = self.facts.addresses.get(family).map(IpNetwork::from);
            let host_stack = of_family(&plan.host_stack_cidrs, family);
            for destination in services.chain(node).chain(host_stack) {
                add_route(&mut pod.routes, via(destination, node_side, POD_PEER));
            }
        }
    }

    fn host_side(&self, node: &mut NamespaceLayout) {
        let plan = self.plan;
        node.links.push(self.end(&self.host_end, POD_PEER, OwnLink::HostEnd));
        self.host_switches(&mut node.sysctls);
        for family in FAMILIES {
            let (Some(pod), Some(own)) = (plan.addresses.get(family), self.facts.addresses.get(family))
            else {
                continue;
            };
            node.routes.push(Route { source: Some(own), ..route(IpNetwork::from(pod), &self.host_end) });
            node.neighbours.push(Neighbour {
                link: self.host_end.clone(),
                address: pod,
                mac: names::own_mac(self.key, OwnLink::PodEnd),
            });
            node.source_nat.push(SourceNat { pod, node: own });
        }
        if let Some(limit) = plan.ingress {
            node.limits.push(bandwidth::limit(&self.host_end, limit, plan.mtu));
        }
    }

    /// Whatever passes between the pair and the uplink is forwarded by both. IPv6 forwards as a whole node or not
    /// at all; the switch of the link alone would do nothing. A reverse-path check inherited from the node's
    /// defaults has no business on a link to one pod.
    fn host_switches(&self, switches: &mut Vec<Sysctl>) {
        let (link, uplink) = (&self.host_end, &self.facts.uplink);
        let mut set = |path: String, value: &str| switches.push(Sysctl { path, value: value.to_owned() });
        if self.plan.addresses.v4.is_some() {
            set(ipv4_conf(link, "forwarding"), "1");
            set(ipv4_conf(link, "rp_filter"), "0");
            set(ipv4_conf(uplink, "forwarding"), "1");
        }
        set(ipv6_conf(link, "accept_ra"), "0");
        if self.plan.addresses.v6.is_some() {
            set(ipv6_conf(link, "disable_ipv6"), "0");
            set(ipv6_conf("all", "forwarding"), "1");
            set(ipv6_conf(link, "forwarding"), "1");
        }
    }

    fn end(&self, name: &str, peer: &str, which: OwnLink) -> Link {
        Link {
            name: name.to_owned(),
            kind: LinkKind::PairEnd { peer: peer.to_owned() },
            mac: names::own_mac(self.key, which),
            mtu: self.plan.mtu,
            mark: Mark::of(self.key),
        }
    }
}

/// No router but the layout's gateway, and no waiting for duplicate detection: the VPC gives out each address once.
fn ipv6_switches(link: &str, has_ipv6: bool, switches: &mut Vec<Sysctl>) {
    let mut set = |name: &str, value: &str| {
        switches.push(Sysctl { path: ipv6_conf(link, name), value: value.to_owned() });
    };
    set("accept_ra", "0");
    if has_ipv6 {
        set("accept_dad", "0");
        set("disable_ipv6", "0");
    }
}

fn route(destination: IpNetwork, link: &str) -> Route {
    Route { destination, via: None, link: link.to_owned(), onlink: false, source: None }
}

fn via(destination: IpNetwork, gateway: IpAddr, link: &str) -> Route {
    Route { via: Some(gateway), onlink: true, ..route(destination, link) }
}

/// Settings may name a destination twice; the kernel takes it once.
fn add_route(routes: &mut Vec<Route>, route: Route) {
    if !routes.iter().any(|other| other.destination == route.destination) {
        routes.push(route);
    }
}

/// The networks of one family, without stray host bits, which the kernel refuses.
fn of_family(networks: &[IpNetwork], family: IpFamily) -> impl Iterator<Item = IpNetwork> {
    let of_it = networks.iter().filter(move |network| IpFamily::of(&network.ip()) == family);
    of_it.filter_map(|network| IpNetwork::new(network.network(), network.prefix()).ok())
}
