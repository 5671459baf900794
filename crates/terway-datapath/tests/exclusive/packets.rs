//! Real packets over an attachment, in a VPC that drops what a VPC drops.

use std::net::{IpAddr, SocketAddr};

use terway_types::IpFamily;

use crate::talk::{ask, translate};
use crate::world::World;

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
