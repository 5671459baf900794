//! Requests about routes.

use netlink_packet_core::NLM_F_REPLACE;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteProtocol, RouteScope, RouteType,
};

use super::{ADD, REPLACE, Request, Words};
use crate::kernel::decode::family_number;
use crate::kernel::objects::{Route, RouteKind, Scope};

impl Request {
    /// Adds a route; refused if one with the same destination, table and metric is there.
    pub fn add_route(route: &Route) -> Self {
        Self::new(Words::about("add route", route), ADD, &RouteNetlinkMessage::NewRoute(message(route)))
    }

    /// Adds a route or puts it in the place of the one with the same destination, table and metric, whatever
    /// link that one used.
    pub fn replace_route(route: &Route) -> Self {
        Self::new(Words::about("set route", route), REPLACE, &RouteNetlinkMessage::NewRoute(message(route)))
    }

    /// Makes the route of the same destination, table and metric like this; refused if there is none.
    pub fn change_route(route: &Route) -> Self {
        Self::new(
            Words::about("change route", route),
            NLM_F_REPLACE,
            &RouteNetlinkMessage::NewRoute(message(route)),
        )
    }

    /// Deletes the route that is like this one in everything said.
    pub fn delete_route(route: &Route) -> Self {
        let mut message = message(route);
        if route.scope == Scope::Universe {
            // The kernel compares scopes unless told that any will do.
            message.header.scope = RouteScope::NoWhere;
        }
        Self::new(Words::about("delete route", route), 0, &RouteNetlinkMessage::DelRoute(message))
    }
}

fn message(route: &Route) -> RouteMessage {
    let mut message = RouteMessage::default();
    let header = &mut message.header;
    header.address_family = family_number(route.family());
    header.destination_prefix_length = route.destination.prefix();
    header.protocol = RouteProtocol::from(route.protocol);
    header.scope = scope(route.scope);
    header.kind = kind(route.kind);
    if route.onlink {
        header.flags = RouteFlags::Onlink;
    }
    if !route.is_default() {
        let destination = RouteAddress::from(route.destination.network());
        message.attributes.push(RouteAttribute::Destination(destination));
    }
    let attributes = &mut message.attributes;
    attributes.push(RouteAttribute::Table(route.table));
    attributes.extend(route.gateway.map(|address| RouteAttribute::Gateway(address.into())));
    attributes.extend(route.oif.map(RouteAttribute::Oif));
    attributes.extend(route.prefsrc.map(|address| RouteAttribute::PrefSource(address.into())));
    attributes.extend((route.metric != 0).then_some(RouteAttribute::Priority(route.metric)));
    message
}

fn scope(scope: Scope) -> RouteScope {
    match scope {
        Scope::Universe => RouteScope::Universe,
        Scope::Link => RouteScope::Link,
        Scope::Host => RouteScope::Host,
        Scope::Other(number) => RouteScope::from(number),
    }
}

fn kind(kind: RouteKind) -> RouteType {
    match kind {
        RouteKind::Unicast => RouteType::Unicast,
        RouteKind::Local => RouteType::Local,
        RouteKind::Blackhole => RouteType::BlackHole,
        RouteKind::Unreachable => RouteType::Unreachable,
        RouteKind::Other(number) => RouteType::from(number),
    }
}
