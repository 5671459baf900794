//! CHECK against state that `ip` has broken.

use std::fs;

use terway_datapath::describe::{LinkKind, Object, Table};
use terway_datapath::{diff, observe};
use terway_types::Bandwidth;
use terway_types::IpFamily::{V4, V6};

use crate::mending;
use crate::sandbox::run;
use crate::shared;
use crate::world::{Pod, World};

pub(crate) fn every_object_taken_away_is_named() {
    let world = World::new();
    let pod = shared::eni(&world, 4, 1).pod(&world, &[V4, V6]);
    each_object(&world, pod);
}

pub(crate) fn every_object_of_a_vpc_route_taken_away_is_named() {
    let world = World::new();
    let pod = shared::routed(shared::eni(&world, 4, 1).pod(&world, &[V4, V6]));
    each_object(&world, pod);
}

fn each_object(world: &World, mut pod: Pod) {
    let limit = Some(Bandwidth { bytes_per_second: 1_250_000, burst_bytes: None });
    (pod.plan.ingress, pod.plan.egress, pod.plan.own_table) = (limit, limit, true);
    let layout = world.layout(&pod);
    let (in_pod, on_host) = (layout.pod.objects(), layout.host.objects());
    for (is_in_pod, object) in
        in_pod.iter().map(|one| (true, one)).chain(on_host.iter().map(|one| (false, one)))
    {
        world.add(&pod);
        assert_eq!(world.check(&pod, &layout), Vec::<String>::new());
        break_it(world, &pod, is_in_pod, object);
        let drifts = diff(&layout, &observe(&layout, &world.node, &pod.netns).unwrap());
        // Deleting an address takes routes along, and so on: what was broken must be among the named.
        assert!(drifts.iter().any(|drift| drift.object == *object), "{object}: {drifts:?}");
        if !is_in_pod {
            world.mend(&layout, object);
        }
        world.del(&pod);
    }
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

fn break_it(world: &World, pod: &Pod, in_pod: bool, object: &Object) {
    let ip = |command: &str| if in_pod { pod.ip(command) } else { world.node(command) };
    let netns = if in_pod { pod.name.clone() } else { world.node_name() };
    let family = |is_ipv4: bool| if is_ipv4 { "-4" } else { "-6" };
    let table = |table: &Table| match table {
        Table::Main => "main".to_owned(),
        Table::OfLink(link) => {
            let said = ip(&format!("-o link show {link}"));
            (1000 + said.split(':').next().unwrap().trim().parse::<u32>().unwrap()).to_string()
        }
    };
    match object {
        Object::Loopback(_) => ip("link set lo down"),
        Object::SharedNic(nic) => ip(&format!("link set {} mtu 1400", nic.name)),
        Object::Link(link) => {
            assert!(matches!(link.kind, LinkKind::PairEnd { .. }));
            ip(&format!("link del {}", link.name))
        }
        Object::Sysctl(sysctl) => {
            let turned = if sysctl.value == "0" { "1" } else { "0" };
            let path = format!("/proc/sys/{}", sysctl.path);
            let netns = if in_pod { &pod.netns } else { &world.node };
            netns.run(|| fs::write(path, turned)).unwrap().unwrap();
            String::new()
        }
        Object::Address(address) => ip(&format!("addr del {} dev {}", address.address, address.link)),
        Object::Route(route) => {
            let (family, table) = (family(route.destination.is_ipv4()), table(&route.table));
            ip(&format!("{family} route del {} dev {} table {table}", route.destination, route.link))
        }
        Object::Rule(rule) => {
            let (from, to) = (rule.from.map(|it| format!("from {it}")), rule.to.map(|it| format!("to {it}")));
            let oif = rule.oif.as_ref().map(|link| format!("oif {link}"));
            let selector = [from, to, oif].into_iter().flatten().collect::<Vec<_>>().join(" ");
            let family = family(rule.family == V4);
            ip(&format!(
                "{family} rule del priority {} {selector} lookup {}",
                rule.priority,
                table(&rule.table)
            ))
        }
        Object::Neighbour(neighbour) => {
            ip(&format!("neigh del {} dev {}", neighbour.address, neighbour.link))
        }
        Object::Limit(limit) => run(&format!("tc -n {netns} qdisc del dev {} root", limit.link)),
        // Shared ENIs need neither.
        Object::Redirect(_)
        | Object::Tag(_)
        | Object::SourceNat(_)
        | Object::Queues(_)
        | Object::Class(_) => {
            panic!("{object} in a layout of a shared ENI")
        }
    };
}
