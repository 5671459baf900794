//! From the netlink library's messages to our own values. Attributes we do not know are skipped; an object
//! of another sort (an AF_BRIDGE neighbour, a rule that is not a lookup) gives none where it has no value here.

mod link;

pub(super) use link::link;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::IpNetwork;
use netlink_packet_core::Nla as _;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteNextHop, RouteType, RouteVia,
};
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use netlink_packet_route::tc::{
    TcActionAttribute, TcActionMirrorOption, TcActionOption, TcAttribute, TcFilterU32Option, TcMessage,
    TcOption,
};
use terway_types::{IpFamily, MacAddr};

use super::objects::{Address, Neighbour, Qdisc, Route, RouteKind, Rule, Scope};
use super::tbf::Tbf;

pub(super) fn address(message: &AddressMessage) -> Option<Address> {
    let mut flags = AddressFlags::from_bits_retain(message.header.flags.bits().into());
    let (mut address, mut local) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Address(ip) => address = Some(*ip),
            AddressAttribute::Local(ip) => local = Some(*ip),
            AddressAttribute::Flags(all) => flags = *all,
            _ => {}
        }
    }
    Some(Address {
        index: message.header.index,
        // On point-to-point links the address is the other side's and the local one ours.
        network: IpNetwork::new(local.or(address)?, message.header.prefix_len).ok()?,
        scope: scope(message.header.scope.into()),
        secondary: flags.contains(AddressFlags::Secondary),
        nodad: flags.contains(AddressFlags::Nodad),
        tentative: flags.contains(AddressFlags::Tentative),
        dadfailed: flags.contains(AddressFlags::Dadfailed),
        permanent: flags.contains(AddressFlags::Permanent),
    })
}

pub(super) fn route(message: &RouteMessage) -> Option<Route> {
    let header = &message.header;
    if header.flags.contains(RouteFlags::Cloned) {
        return None;
    }
    let family = family(header.address_family)?;
    let mut route = Route {
        table: header.table.into(),
        kind: route_kind(header.kind),
        scope: scope(header.scope.into()),
        protocol: header.protocol.into(),
        onlink: header.flags.contains(RouteFlags::Onlink),
        ..Route::default_of(family)
    };
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(to) => {
                route.destination =
                    IpNetwork::new(route_address(to)?, header.destination_prefix_length).ok()?;
            }
            RouteAttribute::Table(table) => route.table = *table,
            RouteAttribute::PrefSource(address) => route.prefsrc = route_address(address),
            RouteAttribute::Priority(metric) => route.metric = *metric,
            RouteAttribute::MultiPath(hops) => first_hop(&mut route, hops),
            other => hop_attribute(&mut route, other),
        }
    }
    Some(route)
}

fn hop_attribute(route: &mut Route, attribute: &RouteAttribute) {
    match attribute {
        RouteAttribute::Gateway(address) => route.gateway = route_address(address),
        RouteAttribute::Via(RouteVia::Inet(address)) => route.gateway = Some((*address).into()),
        RouteAttribute::Via(RouteVia::Inet6(address)) => route.gateway = Some((*address).into()),
        RouteAttribute::Oif(index) => route.oif = Some(*index),
        _ => {}
    }
}

fn first_hop(route: &mut Route, hops: &[RouteNextHop]) {
    if let Some(hop) = hops.first() {
        route.oif = Some(hop.interface_index);
        hop.attributes.iter().for_each(|attribute| hop_attribute(route, attribute));
    }
}

pub(super) fn neighbour(message: &NeighbourMessage) -> Option<Neighbour> {
    family(message.header.family)?;
    let (mut address, mut hardware) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(ip)) => address = Some(IpAddr::V4(*ip)),
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(ip)) => address = Some(IpAddr::V6(*ip)),
            NeighbourAttribute::LinkLayerAddress(bytes) => hardware = mac(bytes),
            _ => {}
        }
    }
    Some(Neighbour {
        index: message.header.ifindex,
        address: address?,
        mac: hardware,
        permanent: message.header.state == NeighbourState::Permanent,
    })
}

pub(super) fn qdisc(message: &TcMessage) -> Option<Qdisc> {
    let kind = message.attributes.iter().find_map(|attribute| match attribute {
        TcAttribute::Kind(kind) => Some(kind.clone()),
        _ => None,
    })?;
    let tbf = message.attributes.iter().find_map(|attribute| match attribute {
        // The library has no decoder for this kind: it gives the options as one attribute whose value is the nest.
        TcAttribute::Options(options) if kind == "tbf" => options.iter().find_map(tbf_options),
        _ => None,
    });
    Some(Qdisc {
        index: message.header.index.cast_unsigned(),
        parent: message.header.parent.into(),
        handle: message.header.handle.into(),
        kind,
        tbf,
    })
}

fn tbf_options(option: &TcOption) -> Option<Tbf> {
    let TcOption::Other(nest) = option else { return None };
    let mut bytes = vec![0; nest.value_len()];
    nest.emit_value(&mut bytes);
    Tbf::decode(&bytes)
}

/// The link a u32 filter redirects to.
pub(super) fn redirect(message: &TcMessage) -> Option<u32> {
    let options = message.attributes.iter().find_map(|attribute| match attribute {
        TcAttribute::Options(options) => Some(options),
        _ => None,
    })?;
    let actions = options.iter().find_map(|option| match option {
        TcOption::U32(TcFilterU32Option::Action(actions)) => Some(actions),
        _ => None,
    })?;
    let parts = actions.iter().flat_map(|action| &action.attributes);
    let options = parts.filter_map(|part| match part {
        TcActionAttribute::Options(options) => Some(options),
        _ => None,
    });
    options.flatten().find_map(|option| match option {
        TcActionOption::Mirror(TcActionMirrorOption::Parms(mirror)) => Some(mirror.ifindex),
        _ => None,
    })
}

pub(super) fn rule(message: &RuleMessage) -> Option<Rule> {
    let header = &message.header;
    let mut rule = Rule::lookup(family(header.family)?, 0, header.table.into());
    rule.protocol = 0;
    let (mut mark, mut mask) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            RuleAttribute::Priority(priority) => rule.priority = *priority,
            RuleAttribute::Source(ip) => rule.from = IpNetwork::new(*ip, header.src_len).ok(),
            RuleAttribute::Destination(ip) => rule.to = IpNetwork::new(*ip, header.dst_len).ok(),
            RuleAttribute::Iifname(name) => rule.iif = Some(name.clone()),
            RuleAttribute::Oifname(name) => rule.oif = Some(name.clone()),
            RuleAttribute::FwMark(value) => mark = Some(*value),
            RuleAttribute::FwMask(value) => mask = Some(*value),
            RuleAttribute::Table(table) => rule.table = *table,
            RuleAttribute::Protocol(protocol) => rule.protocol = (*protocol).into(),
            _ => {}
        }
    }
    if header.action != RuleAction::ToTable {
        rule.table = 0;
    }
    rule.mark = mark.map(|mark| (mark, mask.unwrap_or(u32::MAX)));
    Some(rule)
}

pub(super) fn family(number: AddressFamily) -> Option<IpFamily> {
    match number {
        AddressFamily::Inet => Some(IpFamily::V4),
        AddressFamily::Inet6 => Some(IpFamily::V6),
        _ => None,
    }
}

pub(super) fn family_number(family: IpFamily) -> AddressFamily {
    match family {
        IpFamily::V4 => AddressFamily::Inet,
        IpFamily::V6 => AddressFamily::Inet6,
    }
}

fn scope(number: u8) -> Scope {
    match number {
        0 => Scope::Universe,
        253 => Scope::Link,
        254 => Scope::Host,
        other => Scope::Other(other),
    }
}

fn route_kind(kind: RouteType) -> RouteKind {
    match kind {
        RouteType::Unicast => RouteKind::Unicast,
        RouteType::Local => RouteKind::Local,
        RouteType::BlackHole => RouteKind::Blackhole,
        RouteType::Unreachable => RouteKind::Unreachable,
        other => RouteKind::Other(other.into()),
    }
}

fn route_address(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(ip) => Some(Ipv4Addr::into(*ip)),
        RouteAddress::Inet6(ip) => Some(Ipv6Addr::into(*ip)),
        _ => None,
    }
}

fn mac(bytes: &[u8]) -> Option<MacAddr> {
    bytes.try_into().ok().map(MacAddr)
}
