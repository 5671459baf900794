//! Requests about neighbours: permanent entries, which spare a link the question who has an address.

use std::net::IpAddr;

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::neighbour::{NeighbourAttribute, NeighbourMessage, NeighbourState};
use netlink_packet_route::route::RouteType;
use terway_types::{IpFamily, MacAddr};

use super::{REPLACE, Request};
use crate::kernel::decode::family_number;

impl Request {
    /// Says for good which hardware address has an IP address on a link.
    pub fn replace_neighbour(index: u32, address: IpAddr, mac: MacAddr) -> Self {
        let mut message = message(index, address);
        message.header.state = NeighbourState::Permanent;
        message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.0.to_vec()));
        let what = move || format!("set neighbour {address} at {mac} on link #{index}");
        Self::new(what, REPLACE, &RouteNetlinkMessage::NewNeighbour(message))
    }

    /// Forgets a neighbour.
    pub fn delete_neighbour(index: u32, address: IpAddr) -> Self {
        let what = move || format!("delete neighbour {address} of link #{index}");
        Self::new(what, 0, &RouteNetlinkMessage::DelNeighbour(message(index, address)))
    }
}

fn message(index: u32, address: IpAddr) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = family_number(IpFamily::of(&address));
    message.header.ifindex = index;
    message.header.kind = RouteType::Unicast;
    message.attributes.push(NeighbourAttribute::Destination(address.into()));
    message
}
