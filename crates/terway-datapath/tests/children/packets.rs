//! Where the packets of children go.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use terway_datapath::kernel::Netns;

use crate::world::{Kind, Pod, World};

/// A datagram of full size of each family: 1500 bytes with all headers.
const FULL: [usize; 2] = [1472, 1452];

/// Two pods, as they should be.
fn pods(kind: Kind) -> (World, Pod, Pod) {
    let world = World::new(kind, &[7, 8]);
    let (one, other) = (world.pod("one", 7), world.pod("other", 8));
    for pod in [&one, &other] {
        let layout = world.add(pod);
        assert_eq!(world.check(pod, &layout), Vec::<String>::new());
    }
    (world, one, other)
}

/// The same, and the node serves a service of each family and a node-local agent itself.
pub(crate) fn two_pods(kind: Kind) -> (World, Pod, Pod) {
    let (world, one, other) = pods(kind);
    for address in ["172.16.0.10/32", "169.254.20.10/32", "fd00:172::10/128"] {
        world.node(&format!("addr add {address} dev lo"));
    }
    (world, one, other)
}

/// The pod reaches the node, its services and its agent; the node speaks to the pod with its own address.
pub(crate) fn talks_with_the_node(world: &World, pod: &Pod, pod4: &str, pod6: &str) {
    for (from, to) in [
        (pod4, "10.0.0.9:7000"),
        (pod6, "[fd00::9]:7000"),
        (pod4, "172.16.0.10:7000"),
        (pod6, "[fd00:172::10]:7000"),
        (pod4, "169.254.20.10:7000"),
    ] {
        talk((&pod.netns, from), (&world.node, to));
    }
    talk((&world.node, "10.0.0.9:7000"), (&pod.netns, pod4));
    talk((&world.node, "[fd00::9]:7000"), (&pod.netns, pod6));
}

pub(crate) fn members_reach_all_they_should() {
    let (world, one, other) = two_pods(Kind::Vlan);
    let (pod4, pod6) = ("10.0.7.1:7000", "[fd00:7::1]:7000");
    for (from, at, to) in [
        // The gateway: what arrives by VLAN 7 was tagged so.
        (pod4, &world.vpc, "10.0.7.253:7000"),
        (pod6, &world.vpc, "[fd00:7::fffd]:7000"),
        // Another member on the same node, by the VPC.
        (pod4, &other.netns, "10.0.8.1:7000"),
        (pod6, &other.netns, "[fd00:8::1]:7000"),
    ] {
        talk((&one.netns, from), (at, to));
    }
    talks_with_the_node(&world, &one, pod4, pod6);
    // Nothing but the trunk led to the gateway.
    let said = world.vpc("neigh show 10.0.7.1");
    assert!(said.contains("dev trunk.7") && said.contains("00:16:3e:00:03:01"), "{said}");
}

/// The pods 7 and 8 reach the gateway and what is behind it, and each other; the VPC speaks to the pod by its ENI.
fn children_reach_by_the_eni(world: &World, one: &Pod, other: &Pod) {
    let (pod4, pod6) = ("10.0.1.7:7000", "[fd00:1::7]:7000");
    for (from, at, to) in [
        (pod4, &world.vpc, "10.0.1.253:7000"),
        (pod6, &world.vpc, "[fd00:1::fffd]:7000"),
        (pod4, &world.vpc, "10.0.0.253:7000"),
        (pod4, &other.netns, "10.0.1.8:7000"),
        (pod6, &other.netns, "[fd00:1::8]:7000"),
    ] {
        talk((&one.netns, from), (at, to));
    }
    talk((&world.vpc, "10.0.1.253:7001"), (&one.netns, pod4));
    talk((&world.vpc, "[fd00:1::fffd]:7001"), (&one.netns, pod6));
}

pub(crate) fn children_reach_all_they_should() {
    let (world, one, other) = two_pods(Kind::Ipvlan);
    // A backend of a service elsewhere: the node's stack sends on what it does not serve itself.
    world.vpc("link set lo up");
    for address in ["172.16.0.20/32", "fd00:172::20/128"] {
        world.vpc(&format!("addr add {address} dev lo"));
    }
    world.node("route add 172.16.0.20 via 10.0.0.253");
    world.node("route add fd00:172::20 via fd00::fffd dev eth0");
    children_reach_by_the_eni(&world, &one, &other);
    let (pod4, pod6) = ("10.0.1.7:7000", "[fd00:1::7]:7000");
    talk((&one.netns, pod4), (&world.vpc, "172.16.0.20:7000"));
    talk((&one.netns, pod6), (&world.vpc, "[fd00:172::20]:7000"));
    talks_with_the_node(&world, &one, pod4, pod6);
    let said = world.vpc("neigh show 10.0.1.7");
    assert!(said.contains("dev trunk") && said.contains("00:16:3e:00:03:01"), "{said}");
    // Two children of one ENI did not meet in the VPC.
    assert_eq!(world.vpc("neigh show 10.0.1.8"), "");
}

/// What the node serves itself under an address of the service range is not among them: that would have to be translated
/// first, as kube-proxy does (`services`).
pub(crate) fn routed_children_reach_all_they_should() {
    let (world, one, other) = pods(Kind::IpvlanL3s);
    world.node("addr add 169.254.20.10/32 dev lo");
    children_reach_by_the_eni(&world, &one, &other);
    let (pod4, pod6) = ("10.0.1.7:7000", "[fd00:1::7]:7000");
    for (from, to) in [
        // The node and a node-local agent.
        (pod4, "10.0.0.9:7000"),
        (pod6, "[fd00::9]:7000"),
        (pod4, "169.254.20.10:7000"),
    ] {
        talk((&one.netns, from), (&world.node, to));
    }
    // The node speaks to the pod with its own address.
    talk((&world.node, "10.0.0.9:7000"), (&one.netns, pod4));
    talk((&world.node, "[fd00::9]:7000"), (&one.netns, pod6));
    // Nothing was resolved in the pod.
    assert!(one.ip("link show dev eth0").contains("NOARP"));
}

/// Full-sized datagrams there and back; both sides see the other under the address it has.
pub(crate) fn talk((near, from): (&Netns, &str), (far, to): (&Netns, &str)) {
    let bind = |netns: &Netns, address: &str| {
        let socket = netns
            .run(|| UdpSocket::bind(address))
            .unwrap()
            .unwrap_or_else(|error| panic!("{address}: {error}"));
        socket.set_read_timeout(Some(Duration::from_millis(2500))).unwrap();
        socket
    };
    let (client, server) = (bind(near, from), bind(far, to));
    let [from, to] = [from, to].map(|address| address.parse::<SocketAddr>().unwrap());
    let payload = vec![7; FULL[usize::from(from.is_ipv6())]];
    let mut buffer = [0; 2000];
    // UDP promises nothing: who hears no answer asks again.
    let answered = (0..8).any(|_| {
        client.send_to(&payload, to).unwrap();
        let Ok((length, peer)) = server.recv_from(&mut buffer) else { return false };
        assert_eq!((length, peer), (payload.len(), from));
        server.send_to(&payload, peer).unwrap();
        matches!(client.recv_from(&mut buffer), Ok(answer) if answer == (payload.len(), to))
    });
    assert!(answered, "{from} hears nothing from {to}");
}
