//! Requests about addresses. Duplicate address detection is always off: the cloud owns the addresses, and a
//! pod must not wait a second for its own.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage};
use terway_types::IpFamily;

use super::{ADD, REPLACE, Request};
use crate::kernel::decode::family_number;

impl Request {
    /// Adds an address to the link with this index.
    pub fn add_address(index: u32, network: IpNetwork) -> Self {
        let what = move || format!("add address {network} to link #{index}");
        Self::new(what, ADD, &RouteNetlinkMessage::NewAddress(message(index, network)))
    }

    /// Adds an address, or renews the one that is there.
    pub fn replace_address(index: u32, network: IpNetwork) -> Self {
        let what = move || format!("add address {network} to link #{index}");
        Self::new(what, REPLACE, &RouteNetlinkMessage::NewAddress(message(index, network)))
    }

    /// Takes an address from a link.
    pub fn delete_address(index: u32, network: IpNetwork) -> Self {
        let what = move || format!("delete address {network} of link #{index}");
        Self::new(what, 0, &RouteNetlinkMessage::DelAddress(message(index, network)))
    }
}

fn message(index: u32, network: IpNetwork) -> AddressMessage {
    let address: IpAddr = network.ip();
    let mut message = AddressMessage::default();
    message.header.family = family_number(IpFamily::of(&address));
    message.header.prefix_len = network.prefix();
    message.header.index = index;
    if address.is_ipv6() {
        message.header.flags = AddressHeaderFlags::Nodad;
    }
    message.attributes = vec![AddressAttribute::Local(address), AddressAttribute::Address(address)];
    message
}
