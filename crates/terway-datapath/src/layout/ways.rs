//! Routes of layouts: how they are written, and the node's address as pods see it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::IpNetwork;
use terway_types::{InterfacePlan, IpFamily};

use crate::describe::{Route, Table};
use crate::facts::HostFacts;

/// The node as the pod sees it on the pair: an address nobody has, with a permanent neighbour entry.
const NODE_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(169, 254, 1, 1));
/// The same for IPv6.
const NODE_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1));

/// The node's address on a pod's pair of links.
pub(super) fn node(family: IpFamily) -> IpAddr {
    match family {
        IpFamily::V4 => NODE_V4,
        IpFamily::V6 => NODE_V6,
    }
}

/// To what is on a link.
pub(super) fn route(destination: IpNetwork, link: &str) -> Route {
    Route {
        table: Table::Main,
        destination,
        via: None,
        link: link.to_owned(),
        onlink: false,
        source: None,
        local: false,
        shared: false,
    }
}

/// To what is behind a gateway that no address of the link says is there.
pub(super) fn via(destination: IpNetwork, gateway: IpAddr, link: &str) -> Route {
    Route { via: Some(gateway), onlink: true, ..route(destination, link) }
}

/// The ways of one family that only the node's stack can go, by the link that leads there: services, the node itself,
/// host-stack CIDRs.
pub(super) fn by_the_node(
    plan: &InterfacePlan,
    facts: &HostFacts,
    family: IpFamily,
    link: &str,
    routes: &mut Vec<Route>,
) {
    add(routes, route(IpNetwork::from(node(family)), link));
    let services = of_family(&plan.service_cidrs, family);
    let itself = facts.addresses.get(family).map(IpNetwork::from);
    let host_stack = of_family(&plan.host_stack_cidrs, family);
    for destination in services.chain(itself).chain(host_stack) {
        add(routes, via(destination, node(family), link));
    }
}

/// Settings may name a destination twice; the kernel takes it once.
pub(super) fn add(routes: &mut Vec<Route>, route: Route) {
    let same = |other: &Route| (other.destination, &other.table) == (route.destination, &route.table);
    if !routes.iter().any(same) {
        routes.push(route);
    }
}

/// The networks of one family, without stray host bits, which the kernel refuses.
pub(super) fn of_family(networks: &[IpNetwork], family: IpFamily) -> impl Iterator<Item = IpNetwork> {
    let of_it = networks.iter().filter(move |network| IpFamily::of(&network.ip()) == family);
    of_it.filter_map(|network| IpNetwork::new(network.network(), network.prefix()).ok())
}
