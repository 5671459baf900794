//! CHECK against state that others have broken.

use terway_datapath::describe::Object;
use terway_types::IpFamily::{V4, V6};

use crate::damage;
use crate::mending;
use crate::shared;
use crate::world::World;

pub(crate) fn every_object_taken_away_is_named() {
    let world = World::new();
    let mut pod = shared::eni(&world, 4, 1).pod(&world, &[V4, V6]);
    pod.plan.own_table = true;
    damage::of_each_object(&world, pod);
}

pub(crate) fn every_object_of_a_vpc_route_taken_away_is_named() {
    let world = World::new();
    let mut pod = shared::routed(shared::eni(&world, 4, 1).pod(&world, &[V4, V6]));
    pod.plan.own_table = true;
    damage::of_each_object(&world, pod);
}

pub(crate) fn a_repair_touches_nothing_else() {
    let world = World::new();
    let mut eni = shared::eni(&world, 4, 1);
    let pod = eni.pod(&world, &[V4, V6]);
    let layout = world.add(&pod);
    let count = mending::one_by_one(&world, &pod, &layout);
    assert_eq!(count, 8, "a route, a neighbour and rules to and from the pod, per family");
}

pub(crate) fn links_set_down_come_up_with_all_that_hangs_on_them() {
    let world = World::new();
    let mut eni = shared::eni(&world, 4, 1);
    let pod = eni.pod(&world, &[V4, V6]);
    let layout = world.add(&pod);
    let taken = layout.host.routes[0].clone();
    for link in [layout.host.links[0].name.clone(), layout.host.nics[0].name.clone()] {
        world.node(&format!("link set {link} down"));
        assert!(!world.check(&pod, &layout).is_empty());
        world.mend(&layout, &Object::Route(taken.clone()));
        assert_eq!(world.check(&pod, &layout), Vec::<String>::new());
    }
    world.del(&pod);
}
