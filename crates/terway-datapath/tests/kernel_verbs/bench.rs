//! What the tests stand on: namespaces, pairs between them, and an independent view of them.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use terway_datapath::kernel::{LinkRef, Netlink, Netns, NewLink, Request};
use terway_types::MacAddr;

pub(crate) use crate::needs::trial;

/// The longest anything here is waited for. Reached only when a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) fn mac(last: u8) -> MacAddr {
    MacAddr([2, 0, 0, 0, 0, last])
}

pub(crate) fn netns() -> Netns {
    Netns::create_anonymous().unwrap()
}

/// What a program of iproute2 prints as JSON inside a namespace.
pub(crate) fn json(netns: &Netns, command: &str) -> Value {
    let mut words = command.split_whitespace();
    let output = netns
        .run(|| Command::new(words.next().unwrap()).args(words).output())
        .unwrap()
        .unwrap_or_else(|error| panic!("{command} (Debian package iproute2): {error}"));
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    if output.stdout.is_empty() {
        Value::Array(Vec::new())
    } else {
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

/// The first object of the list a program prints; null if the list is empty.
pub(crate) fn first(netns: &Netns, command: &str) -> Value {
    json(netns, command)
        .as_array()
        .and_then(|all| all.iter().find(|one| **one != serde_json::json!({})).cloned())
        .unwrap_or_default()
}

pub(crate) fn index(netns: &Netns, name: &str) -> u32 {
    Netlink::open(netns).unwrap().link_by_name(name).unwrap().unwrap().index
}

/// A pair of links that are up, `a` in one namespace and `b` in another, with addresses.
pub(crate) fn connect(near: (&Netns, &str, &[&str]), far: (&Netns, &str, &[&str])) {
    let one = NewLink { name: near.1, up: true, ..NewLink::default() };
    let two = NewLink { name: far.1, netns: Some(far.0), ..NewLink::default() };
    Netlink::open(near.0).unwrap().transact(&[Request::add_veth(&one, &two)]).unwrap();
    set_up(far.0, far.1);
    for (netns, name, addresses) in [near, far] {
        let index = index(netns, name);
        let requests: Vec<_> =
            addresses.iter().map(|text| Request::add_address(index, text.parse().unwrap())).collect();
        Netlink::open(netns).unwrap().transact(&requests).unwrap();
    }
}

pub(crate) fn set_up(netns: &Netns, name: &str) {
    let change = terway_datapath::kernel::LinkChange { up: Some(true), ..Default::default() };
    Netlink::open(netns).unwrap().transact(&[Request::set_link(LinkRef::Name(name), &change)]).unwrap();
}

/// A UDP socket in a namespace that waits as long as [`PATIENCE`].
pub(crate) fn socket(netns: &Netns, address: &str) -> UdpSocket {
    let address = SocketAddr::new(address.parse::<IpAddr>().unwrap(), 0);
    let socket =
        netns.run(|| UdpSocket::bind(address)).unwrap().unwrap_or_else(|error| panic!("{address}: {error}"));
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// The text of the next datagram and where it says it comes from.
pub(crate) fn receive(socket: &UdpSocket) -> (String, SocketAddr) {
    let mut buffer = [0; 64];
    let (length, from) = socket.recv_from(&mut buffer).expect("a datagram arrives in time");
    (String::from_utf8_lossy(&buffer[..length]).into_owned(), from)
}
