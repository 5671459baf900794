//! CHECK against state that others have broken, and against what they may add.

use terway_types::IpFamily::{V4, V6};

use crate::damage;
use crate::mending;
use crate::world::World;

pub(crate) fn every_object_taken_away_is_named() {
    let world = World::new();
    damage::of_each_object(&world, world.pod(&[V4, V6]));
}

pub(crate) fn a_repair_touches_nothing_else() {
    let world = World::new();
    let pod = world.pod(&[V4, V6]);
    let layout = world.add(&pod);
    let count = mending::one_by_one(&world, &pod, &layout);
    assert_eq!(count, 4, "a route and a neighbour per family");
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
