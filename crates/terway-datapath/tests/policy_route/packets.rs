//! Real packets of pods on shared ENIs, in a VPC that drops what a VPC drops.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use terway_datapath::describe::Object;
use terway_datapath::kernel::Netns;
use terway_datapath::source_check;
use terway_types::IpFamily::{self, V4, V6};

use crate::shared::{self, SharedEni};
use crate::talk::{ask, translate};
use crate::world::{Pod, World};

pub(crate) fn ipv4() {
    talk(&World::new(), V4, "10.0.1.253", "10.0.0.9", "172.16.0.10", "10.0.1.100");
}

pub(crate) fn ipv6() {
    talk(&World::new(), V6, "fd00:1::fffd", "fd00::9", "fd00:172::10", "fd00:1::100");
}

/// The check keeps nobody from speaking for himself.
pub(crate) fn ipv6_with_sources_checked() {
    let world = World::new();
    assert!(source_check::install(&world.node).unwrap());
    talk(&world, V6, "fd00:1::fffd", "fd00::9", "fd00:172::10", "fd00:1::100");
    assert!(!source_check::install(&world.node).unwrap(), "it is there");
}

/// On a shared ENI, and with an address of the node's range: IPv6 has no switch for it as IPv4 has.
pub(crate) fn no_pod_speaks_for_its_neighbour() {
    for made in [(|pod| pod) as fn(Pod) -> Pod, shared::routed] {
        let world = World::new();
        let mut eni = shared::eni(&world, 4, 2);
        let (one, other) = (made(eni.pod(&world, &[V4, V6])), made(eni.pod(&world, &[V4, V6])));
        world.add(&one);
        world.add(&other);
        let lie = |port| {
            let to = SocketAddr::new("fd00::9".parse().unwrap(), port);
            heard(&one, other.plan.addresses.v6.unwrap().into(), to, &world.node)
        };
        let told = (0..40).find_map(|_| lie(7000));
        assert_eq!(told, other.plan.addresses.get(V6), "nobody checks");
        assert!(source_check::install(&world.node).unwrap());
        assert_eq!(lie(7001), None);
        let to = SocketAddr::new("fd00::9".parse().unwrap(), 7002);
        assert_eq!(Some(ask(&one.netns, to, &world.node, to)), one.plan.addresses.get(V6));
        assert!(source_check::remove(&world.node).unwrap() && !source_check::remove(&world.node).unwrap());
        assert_eq!((0..40).find_map(|_| lie(7003)), other.plan.addresses.get(V6), "nobody checks any more");
    }
}

fn of(pod: &Pod) -> IpAddr {
    pod.plan.addresses.iter().next().unwrap()
}

fn talk(world: &World, family: IpFamily, gateway: &str, node: &str, service: &str, other: &str) {
    let (mut eni, mut second) = (shared::eni(world, 4, 2), shared::eni(world, 5, 1));
    let pods = [eni.pod(world, &[family]), eni.pod(world, &[family]), second.pod(world, &[family])];
    for pod in &pods {
        world.add(pod);
    }
    let [one, two, three] = &pods;
    let address = |text: &str| -> IpAddr { text.parse().unwrap() };
    let (gateway, node, service, other) = (address(gateway), address(node), address(service), address(other));
    let at = SocketAddr::new;

    // The VPC, both ways.
    assert_eq!(ask(&one.netns, at(other, 7000), &world.vpc, at(other, 7000)), of(one), "pod to VPC");
    assert_eq!(ask(&one.netns, at(gateway, 7002), &world.vpc, at(gateway, 7002)), of(one), "pod to gateway");
    ask(&world.vpc, at(of(one), 7001), &one.netns, at(of(one), 7001));

    // On the same node: of one ENI, and of two.
    for to in [two, three] {
        let seen = ask(&one.netns, at(of(to), 7000), &to.netns, at(of(to), 7000));
        assert_eq!(seen, of(one), "pod to pod");
    }

    // With the node itself, both ways.
    assert_eq!(ask(&one.netns, at(node, 7000), &world.node, at(node, 7000)), of(one), "pod to node");
    let seen = ask(&world.node, at(of(one), 7003), &one.netns, at(of(one), 7003));
    assert_eq!(seen, node, "node to pod");

    // Services: nobody's source changes, the answers come back through the node all the same.
    translate(&world.node, service, 81, at(of(two), 8080));
    let seen = ask(&one.netns, at(service, 81), &two.netns, at(of(two), 8080));
    assert_eq!(seen, of(one), "pod to a service on the same node");
    translate(&world.node, service, 82, at(other, 8080));
    let seen = ask(&one.netns, at(service, 82), &world.vpc, at(other, 8080));
    assert_eq!(seen, of(one), "pod to a service elsewhere");
}

/// The kernel finds the gateway of the ENI behind the node's own NIC as well.
pub(crate) fn a_node_in_the_same_vswitch() {
    for family in [V4, V6] {
        let world = World::new();
        world.node("addr add 10.0.1.200/24 dev eth0");
        world.node("addr add fd00:1::200/64 dev eth0 nodad");
        let mut eni = shared::eni(&world, 4, 1);
        let pod = eni.pod(&world, &[family]);
        world.add(&pod);
        let other: IpAddr = if family == V4 { "10.0.1.100" } else { "fd00:1::100" }.parse().unwrap();
        let at = SocketAddr::new(other, 7000);
        assert_eq!(ask(&pod.netns, at, &world.vpc, at), of(&pod));
    }
}

/// A service of the node has told the kernel to make no link-local address for the ENI, and has taken away the one there
/// was: the ENI gets one with the first pod, CHECK names it where it is taken again, and a repair brings it back.
pub(crate) fn an_eni_without_a_link_local_address() {
    let world = World::new();
    let mut eni = shared::eni(&world, 4, 2);
    let bare = || {
        world.node("link set ens4 addrgenmode none");
        world.node("addr flush dev ens4 scope link");
        assert!(!world.node("-6 addr show dev ens4").contains("fe80"));
    };
    bare();
    let (one, two) = (eni.pod(&world, &[V6]), eni.pod(&world, &[V4, V6]));
    let layout = world.add(&one);
    let at = |port| SocketAddr::new("fd00:1::100".parse().unwrap(), port);
    assert_eq!(ask(&one.netns, at(7000), &world.vpc, at(7000)), of(&one));
    assert_eq!(world.check(&one, &layout), Vec::<String>::new());
    bare();
    let drifts = world.check(&one, &layout);
    let told = "link-local none instead of fe80::216:3eff:fe00:204";
    assert!(matches!(&drifts[..], [drift] if drift.contains(told)), "{drifts:?}");
    world.mend(&layout, &Object::SharedNic(layout.host.nics[0].clone()));
    assert_eq!(world.check(&one, &layout), Vec::<String>::new());
    // One that somebody else gave it is as good, and the next pod leaves it alone.
    bare();
    world.node("addr add fe80::77/64 dev ens4 nodad");
    world.add(&two);
    assert_eq!(world.node("-6 -o addr show dev ens4").matches("fe80").count(), 1);
    world.node("neigh flush dev ens4");
    assert_eq!(ask(&one.netns, at(7001), &world.vpc, at(7001)), of(&one));
}

/// The ENI that pods share is the node's own: its addresses, routes and rules are as before, and both speak.
pub(crate) fn the_nodes_own_nic_is_shared() {
    for (family, other, node) in [(V4, "10.0.1.100", "10.0.0.9"), (V6, "fd00:1::100", "fd00::9")] {
        let world = World::new();
        let mut eni: SharedEni = shared::uplink(&world, 2);
        let before = world.node("-j addr show dev eth0");
        let (one, two) = (eni.pod(&world, &[family]), eni.pod(&world, &[family]));
        let layout = world.add(&one);
        world.add(&two);
        assert_eq!(world.check(&one, &layout), Vec::<String>::new());
        let (other, node): (IpAddr, IpAddr) = (other.parse().unwrap(), node.parse().unwrap());
        let at = |port| SocketAddr::new(other, port);
        assert_eq!(ask(&one.netns, at(7000), &world.vpc, at(7000)), of(&one), "the pod");
        assert_eq!(ask(&world.node, at(7001), &world.vpc, at(7001)), node, "the node");
        world.del(&one);
        world.del(&two);
        assert_eq!(world.node("-j addr show dev eth0"), before);
        assert_eq!(ask(&world.node, at(7002), &world.vpc, at(7002)), node, "the node without pods");
    }
}

/// Sends from an address that is not the pod's; gives what the VPC hears of it.
fn heard(pod: &Pod, source: IpAddr, to: SocketAddr, ear: &Netns) -> Option<IpAddr> {
    let length = if source.is_ipv4() { 32 } else { 128 };
    let nodad = if source.is_ipv4() { "" } else { " nodad" };
    pod.ip(&format!("addr replace {source}/{length} dev lo{nodad}"));
    let bind = |netns: &Netns, at| netns.run(|| UdpSocket::bind(at)).unwrap().unwrap();
    let (ear, mouth) = (bind(ear, to), bind(&pod.netns, SocketAddr::new(source, 0)));
    ear.set_read_timeout(Some(Duration::from_millis(150))).unwrap();
    let mut buffer = [0; 16];
    for _ in 0..3 {
        // A router on the way may say that there is no way: that is as good as silence.
        let _ = mouth.send_to(b"lie", to);
        if let Ok((_, peer)) = ear.recv_from(&mut buffer) {
            return Some(peer.ip());
        }
    }
    None
}

pub(crate) fn foreign_sources_go_nowhere() {
    let world = World::new();
    let (mut eni, mut second) = (shared::eni(&world, 4, 2), shared::eni(&world, 5, 3));
    let (one, other) = (eni.pod(&world, &[V4, V6]), second.pod(&world, &[V4, V6]));
    // An address of the other ENI that no pod of the node has.
    let unused = second.pod(&world, &[V4, V6]);
    world.add(&one);
    world.add(&other);
    for (family, vpc, strange) in [(V4, "10.0.1.100", "10.0.1.77"), (V6, "fd00:1::100", "fd00:1::77")] {
        let to = SocketAddr::new(vpc.parse().unwrap(), 7000);
        let own = one.plan.addresses.get(family).unwrap();
        assert_eq!(ask(&one.netns, to, &world.vpc, to), own, "its own address passes");
        assert_eq!(heard(&one, strange.parse().unwrap(), to, &world.vpc), None, "an address nobody has");
        let unused = unused.plan.addresses.get(family).unwrap();
        assert_eq!(heard(&one, unused, to, &world.vpc), None, "an address of another ENI");
    }
    // Nor with that of a pod next door, though its ENI may send it.
    let to = SocketAddr::new("10.0.1.100".parse().unwrap(), 7000);
    assert_eq!(heard(&one, other.plan.addresses.v4.unwrap().into(), to, &world.vpc), None);
}

/// Each address of a pod with two interfaces leaves by its own ENI; what is bound to an interface too.
pub(crate) fn each_interface_speaks_for_itself() {
    let world = World::new();
    let (mut eni, mut second) = (shared::eni(&world, 4, 1), shared::eni(&world, 5, 1));
    let mut one = eni.pod(&world, &[V4, V6]);
    one.plan.own_table = true;
    let mut two = second.second(&one, "eth1");
    two.plan.extra_routes = vec!["10.0.0.253/32".parse().unwrap(), "fd00::fffd/128".parse().unwrap()];
    world.add(&one);
    world.add(&two);
    for (family, vpc, extra) in [(V4, "10.0.1.100", "10.0.0.253"), (V6, "fd00:1::100", "fd00::fffd")] {
        let (vpc, extra): (IpAddr, IpAddr) = (vpc.parse().unwrap(), extra.parse().unwrap());
        let of = |pod: &Pod| pod.plan.addresses.get(family).unwrap();
        let at = SocketAddr::new(vpc, 7000);
        assert_eq!(ask(&one.netns, at, &world.vpc, at), of(&one), "the default route");
        let at = SocketAddr::new(extra, 7000);
        assert_eq!(ask(&one.netns, at, &world.vpc, at), of(&two), "an extra route");
        for pod in [&one, &two] {
            let at = SocketAddr::new(of(pod), 7001);
            ask(&world.vpc, at, &one.netns, at);
        }
    }
}
