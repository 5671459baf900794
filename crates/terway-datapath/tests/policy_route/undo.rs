//! An ADD that fails leaves everything as before, wherever it fails.

use terway_datapath::describe::Table;
use terway_datapath::{ApplyError, Asked, Step, apply, apply_spoiled};
use terway_types::IpFamily::{V4, V6};

use crate::failing;
use crate::shared;
use crate::world::{Pod, World, similar};

pub(crate) fn stopped_before_each_step() {
    let world = World::new();
    let mut eni = shared::eni(&world, 4, 2);
    shared::used(&world, &mut eni);
    failing::at_each_step(&world, eni.pod(&world, &[V4, V6]));
}

/// The kernel does what comes after a request it refused: the undoing must not rely on where it stopped. Every request
/// of the host's batch is refused once.
pub(crate) fn refused_within_a_batch() {
    let world = World::new();
    let mut eni = shared::eni(&world, 4, 2);
    shared::used(&world, &mut eni);
    let pod = eni.pod(&world, &[V4, V6]);
    let good = world.layout(&pod);
    let before = (world.record(), pod.record());
    let mut wrongs = Vec::new();
    for place in 0..good.host.routes.len() {
        let mut wrong = good.clone();
        let route = &mut wrong.host.routes[place];
        // An address nobody has as the source, of its own family.
        route.source =
            Some(if route.destination.is_ipv4() { "192.0.2.1" } else { "2001:db8::1" }.parse().unwrap());
        wrongs.push(wrong);
    }
    for place in 0..good.host.rules.len() {
        let mut wrong = good.clone();
        // The kernel takes no name longer than a link's may be.
        wrong.host.rules[place].oif = Some("a-name-of-many-more-than-fifteen-bytes".into());
        wrongs.push(wrong);
    }
    for place in 0..good.pod.routes.len() {
        let mut wrong = good.clone();
        wrong.pod.routes[place].via = Some("192.0.2.1".parse().unwrap());
        wrong.pod.routes[place].onlink = false;
        wrongs.push(wrong);
    }
    let mut nowhere = good.clone();
    nowhere.host.rules[1].table = Table::OfLink("ens9".into());
    wrongs.push(nowhere);
    for wrong in wrongs {
        let error = apply(&wrong, &world.context(&pod, None)).unwrap_err();
        let ApplyError::Step { undo: None, .. } = error else { panic!("{error:?}") };
        similar(&before.0, &world.record());
        similar(&before.1, &pod.record());
    }
    apply(&good, &world.context(&pod, None)).unwrap();
}

pub(crate) fn each_request_refused_once() {
    each_request(|pod| pod, 10);
}

/// The ENI that has none is given one, which the kernel refuses.
pub(crate) fn a_link_local_address_refused() {
    let world = World::new();
    let mut eni = shared::eni(&world, 4, 2);
    shared::used(&world, &mut eni);
    let pod = eni.pod(&world, &[V6]);
    world.node("link set ens4 addrgenmode none");
    world.node("addr flush dev ens4 scope link");
    let layout = world.layout(&pod);
    let before = (world.record(), pod.record());
    let spoil = |asked: Asked<'_, '_>| {
        if asked.what().contains("fe80::216:3eff:fe00:204") {
            asked.spoil();
        }
    };
    let error = apply_spoiled(&layout, &world.context(&pod, None), &spoil).unwrap_err();
    let ApplyError::Step { step: Step::Host, undo: None, .. } = error else { panic!("{error:?}") };
    similar(&before.0, &world.record());
    similar(&before.1, &pod.record());
}

pub(crate) fn each_request_of_a_vpc_route_refused_once() {
    each_request(shared::routed, 5);
}

fn each_request(made: fn(Pod) -> Pod, least: usize) {
    // With one family only, no rule of the other leads to the ENI's table.
    for families in [&[V4, V6][..], &[V4], &[V6]] {
        let world = World::new();
        let mut eni = shared::eni(&world, 4, 2);
        shared::used(&world, &mut eni);
        let count = failing::at_each_request(&world, made(eni.pod(&world, families)), || {}, |_| {});
        assert!(count > least * families.len(), "{families:?}: {count}");
    }
}
