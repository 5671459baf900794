//! Real packets over an attachment, in a VPC that drops what a VPC drops.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use ipnetwork::IpNetwork;
use terway_datapath::kernel::Netns;
use terway_datapath::kernel::nft::{
    Base, Batch, Chain, Family, Hook, Kind, Nft, Policy, RuleBody, Table, priority,
};
use terway_types::IpFamily;

use crate::world::{PATIENCE, World};

const UDP: u8 = 17;

pub(crate) fn ipv4() {
    talk(IpFamily::V4, "10.0.1.253", "10.0.0.9", "172.16.0.10", "10.0.1.100");
}

pub(crate) fn ipv6() {
    talk(IpFamily::V6, "fd00:1::fffd", "fd00::9", "fd00:172::10", "fd00:1::100");
}

fn talk(family: IpFamily, gateway: &str, node: &str, service: &str, other: &str) {
    let world = World::new();
    let (one, two) = (world.pod(&[family]), world.pod(&[family]));
    world.add(&one);
    world.add(&two);
    let address = |text: &str| -> IpAddr { text.parse().unwrap() };
    let (gateway, node, service, other) = (address(gateway), address(node), address(service), address(other));
    let of = |pod: &crate::world::Pod| pod.eni.addresses.get(family).unwrap();
    let at = SocketAddr::new;

    // Straight to the VPC, each with its own address.
    let seen = ask(&one.netns, at(gateway, 7000), &world.vpc, at(gateway, 7000));
    assert_eq!(seen, of(&one), "pod to gateway");
    let seen = ask(&one.netns, at(of(&two), 7000), &two.netns, at(of(&two), 7000));
    assert_eq!(seen, of(&one), "pod to pod");

    // With the node itself, both ways.
    let seen = ask(&one.netns, at(node, 7000), &world.node, at(node, 7000));
    assert_eq!(seen, of(&one), "pod to node");
    let seen = ask(&world.node, at(of(&one), 7001), &one.netns, at(of(&one), 7001));
    assert_eq!(seen, node, "node to pod");

    // Services: the node translates, and whoever is behind sees the node.
    translate(&world.node, service, 81, at(of(&two), 8080));
    let seen = ask(&one.netns, at(service, 81), &two.netns, at(of(&two), 8080));
    assert_eq!(seen, node, "pod to a service on the same node");
    translate(&world.node, service, 82, at(other, 8080));
    let seen = ask(&one.netns, at(service, 82), &world.vpc, at(other, 8080));
    assert_eq!(seen, node, "pod to a service elsewhere");
    translate(&world.node, service, 83, at(of(&one), 8083));
    let seen = ask(&one.netns, at(service, 83), &one.netns, at(of(&one), 8083));
    assert_eq!(seen, node, "pod to a service it serves itself");
    translate(&world.node, node, 30080, at(of(&one), 8084));
    let seen = ask(&world.vpc, at(node, 30080), &one.netns, at(of(&one), 8084));
    assert_eq!(seen, node, "a node port from outside");
}

/// Sends a datagram and its answer; gives the address the server saw. The answer must come from where the question
/// went. UDP promises nothing, so who hears no answer asks again, as any resolver does.
fn ask(client: &Netns, to: SocketAddr, server: &Netns, listen: SocketAddr) -> IpAddr {
    let socket = |netns: &Netns, address: SocketAddr| {
        let socket = netns.run(|| UdpSocket::bind(address)).unwrap().unwrap();
        socket.set_read_timeout(Some(PATIENCE / 8)).unwrap();
        socket
    };
    let any: IpAddr = if to.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
    let (server, client) = (socket(server, listen), socket(client, SocketAddr::new(any, 0)));
    let mut buffer = [0; 16];
    let mut heard = None;
    for _ in 0..8 {
        client.send_to(b"question", to).unwrap();
        let Ok((length, peer)) = server.recv_from(&mut buffer) else { continue };
        assert_eq!(&buffer[..length], b"question");
        heard = Some(peer);
        server.send_to(b"answer", peer).unwrap();
        let Ok((_, from)) = client.recv_from(&mut buffer) else { continue };
        assert_eq!(from, to);
        return peer.ip();
    }
    panic!("no answer from {to}; its server heard {heard:?}")
}

/// What kube-proxy does for a service of one backend.
fn translate(node: &Netns, service: IpAddr, port: u16, backend: SocketAddr) {
    let family = if service.is_ipv4() { Family::Ip } else { Family::Ip6 };
    let table = Table::new(family, "services");
    let base =
        Base { kind: Kind::Nat, hook: Hook::Prerouting, priority: priority::DSTNAT, policy: Policy::Accept };
    let chain = Chain::base(&table, "prerouting", base);
    let rule = RuleBody::new()
        .daddr(IpNetwork::from(service))
        .l4proto(UDP)
        .dport(port)
        .dnat_to(backend.ip(), Some(backend.port()));
    let batch = Batch::new().add_table(&table).add_chain(&chain).add_rule(&chain, &rule, None);
    Nft::open(node).unwrap().commit(&batch).unwrap();
}
