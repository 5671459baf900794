//! Where the packets of trunk members go.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use terway_datapath::kernel::Netns;

use crate::world::World;

/// A datagram of full size of each family: 1500 bytes with all headers.
const FULL: [usize; 2] = [1472, 1452];

pub(crate) fn members_reach_all_they_should() {
    let world = World::new(&[7, 8]);
    let (one, other) = (world.pod("one", 7), world.pod("other", 8));
    for pod in [&one, &other] {
        let layout = world.add(pod);
        assert_eq!(world.check(pod, &layout), Vec::<String>::new());
    }
    // Services and node-local agents that the node itself serves.
    for address in ["172.16.0.10/32", "169.254.20.10/32", "fd00:172::10/128"] {
        world.node(&format!("addr add {address} dev lo"));
    }
    let (pod4, pod6) = ("10.0.7.1:7000", "[fd00:7::1]:7000");
    for (from, at, to) in [
        // The gateway: what arrives by VLAN 7 was tagged so.
        (pod4, &world.vpc, "10.0.7.253:7000"),
        (pod6, &world.vpc, "[fd00:7::fffd]:7000"),
        // Another member on the same node, by the VPC.
        (pod4, &other.netns, "10.0.8.1:7000"),
        (pod6, &other.netns, "[fd00:8::1]:7000"),
        // The node, a service and a node-local agent.
        (pod4, &world.node, "10.0.0.9:7000"),
        (pod6, &world.node, "[fd00::9]:7000"),
        (pod4, &world.node, "172.16.0.10:7000"),
        (pod6, &world.node, "[fd00:172::10]:7000"),
        (pod4, &world.node, "169.254.20.10:7000"),
    ] {
        talk((&one.netns, from), (at, to));
    }
    // The node speaks to the pod with its own address.
    talk((&world.node, "10.0.0.9:7000"), (&one.netns, pod4));
    talk((&world.node, "[fd00::9]:7000"), (&one.netns, pod6));
    // Nothing but the trunk led to the gateway.
    let said = world.vpc("neigh show 10.0.7.1");
    assert!(said.contains("dev trunk.7") && said.contains("00:16:3e:00:03:01"), "{said}");
}

/// Full-sized datagrams there and back; both sides see the other under the address it has.
fn talk((near, from): (&Netns, &str), (far, to): (&Netns, &str)) {
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
