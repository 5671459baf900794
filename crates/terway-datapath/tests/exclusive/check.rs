//! CHECK against state that `ip`, `tc` and `nft` have broken.

use std::fs;

use terway_datapath::describe::{LinkKind, Object};
use terway_datapath::{diff, observe};
use terway_types::{Bandwidth, IpFamily::V4, IpFamily::V6};

use crate::mending;
use crate::sandbox::run;
use crate::world::{Pod, World};

pub(crate) fn every_object_taken_away_is_named() {
    let world = World::new();
    let mut pod = world.pod(&[V4, V6]);
    let limit = Some(Bandwidth { bytes_per_second: 1_250_000, burst_bytes: None });
    (pod.plan.ingress, pod.plan.egress) = (limit, limit);
    let layout = world.layout(&pod);
    let objects = |namespace: &terway_datapath::describe::NamespaceLayout| namespace.objects().len();
    for (in_pod, count) in [(true, objects(&layout.pod)), (false, objects(&layout.host))] {
        for place in 0..count {
            let layout = world.add(&pod);
            assert_eq!(world.check(&pod, &layout), Vec::<String>::new());
            let namespace = if in_pod { &layout.pod } else { &layout.host };
            let object = &namespace.objects()[place];
            break_it(&world, &pod, in_pod, object);
            let observed = observe(&layout, &world.node, &pod.netns).unwrap();
            let drifts = diff(&layout, &observed);
            // Deleting an address takes routes along, and so on: what was broken must be among the named.
            assert!(drifts.iter().any(|drift| drift.object == *object), "{object}: {drifts:?}");
            if !in_pod {
                world.mend(&layout, object);
            }
            // The next ADD makes all of it anew, but the ENI keeps the MTU it has.
            world.del(&pod);
        }
    }
}

pub(crate) fn a_repair_touches_nothing_else() {
    let world = World::new();
    let pod = world.pod(&[V4, V6]);
    let layout = world.add(&pod);
    let count = mending::one_by_one(&world, &pod, &layout);
    assert_eq!(count, 4, "a route and a neighbour per family");
}

fn break_it(world: &World, pod: &Pod, in_pod: bool, object: &Object) {
    let ip = |command: &str| if in_pod { pod.ip(command) } else { world.node(command) };
    match object {
        Object::Loopback(_) => ip("link set lo down"),
        // Deleting the simulated ENI would end it for good.
        // Exclusive pods have none of these.
        Object::SharedNic(_) | Object::Rule(_) | Object::Tag(_) | Object::Queues(_) | Object::Class(_) => {
            panic!("{object} in an exclusive layout")
        }
        Object::Link(link) if matches!(link.kind, LinkKind::Nic { .. }) => ip("link set eth0 mtu 1400"),
        Object::Link(link) => ip(&format!("link del {}", link.name)),
        Object::Sysctl(sysctl) => {
            let turned = if sysctl.value == "0" { "1" } else { "0" };
            let path = format!("/proc/sys/{}", sysctl.path);
            let netns = if in_pod { &pod.netns } else { &world.node };
            netns.run(|| fs::write(path, turned)).unwrap().unwrap();
            String::new()
        }
        Object::Address(address) => ip(&format!("addr del {} dev {}", address.address, address.link)),
        Object::Route(route) => {
            let family = if route.destination.is_ipv4() { "-4" } else { "-6" };
            ip(&format!("{family} route del {} dev {}", route.destination, route.link))
        }
        Object::Neighbour(neighbour) => {
            ip(&format!("neigh del {} dev {}", neighbour.address, neighbour.link))
        }
        Object::Limit(limit) => {
            let name = if in_pod { pod.name.clone() } else { world.node_name() };
            run(&format!("tc -n {name} qdisc del dev {} root", limit.link))
        }
        Object::Redirect(redirect) => {
            run(&format!("tc -n {} filter del dev {} ingress", pod.name, redirect.from))
        }
        Object::SourceNat(nat) => {
            let family = if nat.pod.is_ipv4() { "ip" } else { "ip6" };
            world.on_node(&format!("nft flush chain {family} terway postrouting"))
        }
    };
}

pub(crate) fn what_a_later_plugin_adds_is_no_drift() {
    let world = World::new();
    let pod = world.pod(&[V4, V6]);
    let layout = world.add(&pod);
    for command in [
        "link add extra type veth peer name extra-peer",
        "addr add 192.0.2.1/24 dev eth0",
        "addr add 198.51.100.1/32 dev lo",
        "route add 203.0.113.0/24 via 10.0.1.253 dev eth0 onlink",
        "route add default via 10.0.1.252 dev eth0 onlink metric 500",
        "rule add from 192.0.2.1 lookup 100",
        "neigh add 192.0.2.2 lladdr 02:00:00:00:00:01 dev eth0 nud permanent",
    ] {
        pod.ip(command);
    }
    assert_eq!(world.check(&pod, &layout), Vec::<String>::new());
    pod.ip("-6 route add default via fd00:1::fffc dev eth0 onlink metric 5");
    let drifts = world.check(&pod, &layout);
    assert_eq!(drifts.len(), 1, "{drifts:?}");
    assert!(drifts[0].contains("is overridden by"), "{drifts:?}");
}
