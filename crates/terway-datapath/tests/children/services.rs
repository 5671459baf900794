//! Services beside children, with all that the layout says: who is asked sees the node, because what passes the node bears
//! its address, and so the answer comes back the way the question went. And what the node lost comes back too.

use std::net::IpAddr;

use terway_datapath::describe::Object;
use terway_datapath::{can_repair, diff, observe, repair};

use crate::life::break_it;
use crate::talk::{ask, translate};
use crate::world::{Kind, Pod, World};

/// The node's own addresses.
const NODE: [&str; 2] = ["10.0.0.9", "fd00::9"];

/// The whole layout, translation too.
fn add(world: &World, pod: &Pod) {
    let layout = world.layout_of(&pod.plan(), pod);
    world.apply(pod, &layout, None).unwrap();
    assert_eq!(world.check(pod, &layout), Vec::<String>::new());
}

fn addresses(pod: &Pod) -> [IpAddr; 2] {
    let plan = pod.plan();
    [plan.addresses.v4.unwrap().into(), plan.addresses.v6.unwrap().into()]
}

pub(crate) fn backends_see_the_node(kind: Kind) {
    let world = World::new(kind, &[7, 8]);
    let (one, other) = (world.pod("one", 7), world.pod("other", 8));
    add(&world, &one);
    add(&world, &other);
    world.vpc("link set lo up");
    let elsewhere = ["172.18.0.1", "fd00:18::1"];
    for (address, length) in elsewhere.iter().zip([32, 128]) {
        world.vpc(&format!("addr add {address}/{length} dev lo"));
    }
    for version in [0, 1] {
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let backends = [
            (addresses(&other)[version], &other.netns),
            (address(elsewhere[version]), &world.vpc),
            (address(NODE[version]), &world.node),
        ];
        for (number, (backend, at)) in (10..).zip(backends) {
            let service = address(&format!("{}{number}", ["172.16.0.", "fd00:172::"][version]));
            let listen = (backend, 7000).into();
            translate(&world.node, service, 80, listen);
            let seen = ask(&one.netns, (service, 80).into(), at, listen);
            // What the node serves itself does not go out of it.
            let stays = backend == address(NODE[version]);
            let wanted = if stays { addresses(&one)[version] } else { address(NODE[version]) };
            assert_eq!(seen, wanted, "{service} by {backend}");
        }
    }
}

/// Whatever can be put back on the node without the pod is, one by one.
pub(crate) fn what_the_node_lost_is_put_back(kind: Kind) {
    let world = World::new(kind, &[7]);
    let pod = world.pod("pod", 7);
    let layout = world.add(&pod);
    let mut count = 0;
    for object in layout.host.objects() {
        // Links take along what they are in the pod.
        if matches!(object, Object::Link(_) | Object::SharedNic(_)) {
            continue;
        }
        break_it(&world, &pod, false, &object);
        let drifts = diff(&layout, &observe(&layout, &world.node, &pod.netns).unwrap());
        assert!(!drifts.is_empty() && drifts.iter().all(can_repair), "{object}: {drifts:?}");
        repair(&layout, &drifts, &world.node).unwrap();
        assert_eq!(world.check(&pod, &layout), Vec::<String>::new(), "{object}");
        count += 1;
    }
    assert!(count > 8, "{count}");
}
