//! An ADD that fails leaves everything as before, wherever it fails.

use std::cell::{Cell, RefCell};
use std::fs;

use terway_datapath::{ApplyError, Step, apply};
use terway_types::IpFamily::{V4, V6};

use crate::failing;
use crate::world::{World, similar};

pub(crate) fn stopped_before_each_step() {
    let world = World::new();
    let pod = world.pod(&[V4, V6]);
    // Another MTU than the plan's, to see that it is restored too.
    world.node(&format!("link set {} mtu 1450", pod.eni.home()));
    failing::at_each_step(&world, pod);
}

/// The kernel does what comes after a request it refused: the undoing must not rely on where it stopped.
pub(crate) fn refused_within_a_batch() {
    let world = World::new();
    let pod = world.pod(&[V4]);
    let good = world.layout(&pod);
    let before = (world.record(), pod.record());
    let mut wrong_route = good.clone();
    wrong_route.pod.routes[0].via = Some("192.0.2.1".parse().unwrap());
    wrong_route.pod.routes[0].onlink = false;
    let mut wrong_mtu = good.clone();
    wrong_mtu.pod.links[0].mtu = 70_000;
    let mut wrong_source = good.clone();
    wrong_source.host.routes[0].source = Some("192.0.2.1".parse().unwrap());
    let mut wrong_switch = good.clone();
    wrong_switch.pod.sysctls[0].value = "many".into();
    for (wrong, step, said) in [
        (wrong_route, Step::Pod, "failed to add route default via 192.0.2.1 dev eth0"),
        (wrong_mtu, Step::Links, "failed to move NIC"),
        (wrong_source, Step::Host, "failed to add route 10.0.1.1 dev"),
        (wrong_switch, Step::LinkSwitches, "failed to set sysctl net/ipv6/conf/eth0/accept_ra to many"),
    ] {
        let error = apply(&wrong, &world.context(&pod, None)).unwrap_err();
        let fault = error.fault();
        assert!(fault.cause.starts_with(said), "{fault}");
        let ApplyError::Step { step: failed, undo: None, .. } = error else { panic!("{error:?}") };
        assert_eq!(failed, step);
        similar(&before.0, &world.record());
        similar(&before.1, &pod.record());
    }
    apply(&good, &world.context(&pod, None)).unwrap();
}

pub(crate) fn each_request_refused_once() {
    let world = World::new();
    let (kept, spinning) = (Cell::new(0), RefCell::new(Vec::new()));
    let count = failing::at_each_request(
        &world,
        world.pod(&[V4, V6]),
        || live_by_advertisements(&world),
        |what| {
            kept.set(kept.get() + usize::from(what == "net/ipv6/conf/eth0/accept_ra"));
            if what.starts_with("net/ipv4/conf/cali") {
                spinning.borrow_mut().push(what.to_owned());
            }
        },
    );
    // Under `/proc` the kernel tries until it gets the lock of links, which others hold while it moves their NICs.
    assert_eq!(spinning.take(), Vec::<String>::new());
    // Links, addresses, neighbours, routes and limits of both sides; switches; tables, chains and rules of nf_tables.
    assert!(count > 40, "{count}");
    // Each ADD asked for what keeps the node's default route; that of the pod's eth0 only those that came so far.
    assert!(kept.get() > count, "{} of {count}", kept.get());
}

/// A node with a default route from a router, which nothing has made a router yet.
fn live_by_advertisements(world: &World) {
    let switches = [("all/forwarding", "0"), ("eth0/accept_ra", "1")];
    let set = || {
        switches
            .iter()
            .try_for_each(|(switch, value)| fs::write(format!("/proc/sys/net/ipv6/conf/{switch}"), value))
    };
    world.node.run(set).unwrap().unwrap();
}
