//! A child's life: compared, undone, refused, removed.

use terway_datapath::describe::{Object, Tagging};
use terway_datapath::{ApplyError, Removed, Step, apply_spoiled, diff, observe};
use terway_types::fault::chain;

use crate::breaking::take_away;
use crate::refused;
use crate::sandbox::run;
use crate::world::{ENI, Kind, Pod, World};

pub(crate) fn every_object_taken_away_is_named(kind: Kind) {
    let world = World::new(kind, &[7]);
    let pod = world.pod("pod", 7);
    let layout = world.layout(&pod);
    let (in_pod, on_host) = (layout.pod.objects(), layout.host.objects());
    let all = in_pod.iter().map(|object| (true, object)).chain(on_host.iter().map(|object| (false, object)));
    for (is_in_pod, object) in all {
        world.add(&pod);
        assert_eq!(world.check(&pod, &layout), Vec::<String>::new());
        break_it(&world, &pod, is_in_pod, object);
        let drifts = diff(&layout, &observe(&layout, &world.node, &pod.netns).unwrap());
        // Deleting an address takes routes along, and so on: what was broken must be among the named.
        assert!(drifts.iter().any(|drift| drift.object == *object), "{object}: {drifts:?}");
        world.del(&pod, None);
    }
}

pub(crate) fn break_it(world: &World, pod: &Pod, in_pod: bool, object: &Object) {
    let ip = |command: &str| if in_pod { pod.ip(command) } else { world.node(command) };
    let netns = if in_pod { &pod.netns } else { &world.node };
    match object {
        Object::SharedNic(nic) => ip(&format!("link set {} down", nic.name)),
        Object::Tag(tag) => {
            let place = match tag.tagging {
                Tagging::Off => "ingress prio 20000",
                Tagging::On { source, .. } if source.is_ipv4() => "egress prio 50001",
                Tagging::On { .. } => "egress prio 50002",
            };
            run(&format!("tc -n {} filter del dev {} {place}", world.node_name(), tag.link))
        }
        Object::Queues(queues) => world.tc(&format!("qdisc del dev {} root", queues.link)),
        // In the second of its queues.
        Object::Class(class) => {
            let priority = if class.tagged { 3 } else { 2 - u32::from(class.source.is_ipv4()) };
            world.tc(&format!("filter del dev {} parent 7002: prio {priority}", class.link))
        }
        other => take_away(other, netns, &ip),
    };
}

pub(crate) fn stopped_before_each_step(kind: Kind) {
    let world = World::new(kind, &[7]);
    let pod = world.pod("pod", 7);
    // The ENI stays up once a child needed it.
    world.add(&pod);
    world.del(&pod, None);
    let (layout, before) = (world.layout(&pod), world.record(&pod));
    for stop in Step::ALL {
        let stopping = |step| if step == stop { Err("as asked".to_owned()) } else { Ok(()) };
        let error = world.apply(&pod, &layout, Some(&stopping)).unwrap_err();
        let ApplyError::Step { step, undo: None, .. } = error else { panic!("{stop:?}: {error:?}") };
        assert_eq!(step, stop);
        similar(&before, &world.record(&pod));
    }
    world.apply(&pod, &layout, None).unwrap();
}

pub(crate) fn each_request_refused_once(kind: Kind) {
    let world = World::new(kind, &[7]);
    let pod = world.pod("pod", 7);
    // The ENI stays up once a child needed it.
    world.add(&pod);
    world.del(&pod, None);
    let (layout, before) = (world.layout(&pod), world.record(&pod));
    let count = refused::each(
        |spoil| apply_spoiled(&layout, &world.context(&pod, None), spoil),
        || similar(&before, &world.record(&pod)),
    );
    assert!(count > 15, "{count}");
}

pub(crate) fn all_is_as_before(kind: Kind) {
    let world = World::new(kind, &[7, 8]);
    let (pod, other) = (world.pod("pod", 7), world.pod("other", 8));
    let others = world.add(&other);
    let before = world.record(&pod);
    world.add(&pod);
    let removed = world.del(&pod, None);
    assert_eq!(removed.nics, []);
    assert!(removed.links.contains(&"eth0".to_owned()), "{removed:?}");
    similar(&before, &world.record(&pod));
    assert_eq!(world.del(&pod, None), Removed::default());
    // Its place is free again, also after a namespace that died.
    world.add(&pod);
    pod.die();
    world.del(&pod, None);
    assert_eq!(world.check(&other, &others), Vec::<String>::new());
}

pub(crate) fn a_vlan_that_is_taken_is_refused() {
    let world = World::new(Kind::Vlan, &[7]);
    let (first, second) = (world.pod("first", 7), world.pod("second", 7));
    let layout = world.add(&first);
    let before = world.record(&second);
    let error = world.apply(&second, &world.layout(&second), None).unwrap_err();
    let said = chain(&error);
    assert!(said.contains("make VLAN 7 of trunk eth1 the pod's eth0 (a trunk has each VLAN once"), "{said}");
    assert!(said.contains("EEXIST"), "{said}");
    similar(&before, &world.record(&second));
    assert_eq!(world.check(&first, &layout), Vec::<String>::new());
}

/// What ADD told the runtime has the pod's MAC, which is the ENI's; a DEL that knows nothing else brings it.
pub(crate) fn the_eni_is_nobodys_to_take(kind: Kind) {
    let world = World::new(kind, &[7, 8]);
    let (pod, other) = (world.pod("pod", 7), world.pod("other", 8));
    let others = world.add(&other);
    world.add(&pod);
    for _ in 0..2 {
        let removed = world.del(&pod, Some(ENI));
        assert_eq!(removed.nics, []);
        assert_eq!(world.check(&other, &others), Vec::<String>::new());
    }
    assert!(world.node("-o link show eth1").contains(",UP"));
}

/// A child gets its mark only in the pod.
pub(crate) fn an_add_that_died_before_its_mark(kind: Kind) {
    let world = World::new(kind, &[7]);
    let pod = world.pod("pod", 7);
    world.add(&pod);
    world.del(&pod, None);
    let before = world.record(&pod);
    let name = pod.netns.path().unwrap().file_name().unwrap().to_str().unwrap().to_owned();
    let kind = match kind {
        Kind::Vlan => "vlan id 7",
        Kind::Ipvlan => "ipvlan mode l2",
        Kind::IpvlanL3s => "ipvlan mode l3s",
        Kind::VlanTag | Kind::PolicyRoute => panic!("no child"),
    };
    world.node(&format!("link add link eth1 name terway0123abcde netns {name} type {kind}"));
    assert_eq!(world.del(&pod, None).links, ["terway0123abcde"]);
    similar(&before, &world.record(&pod));
}

pub(crate) fn similar(before: &str, after: &str) {
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let (before, after) = (lines(before), lines(after));
    let gone: Vec<_> = before.iter().filter(|line| !after.contains(line)).collect();
    let new: Vec<_> = after.iter().filter(|line| !before.contains(line)).collect();
    assert!(gone.is_empty() && new.is_empty(), "gone: {gone:#?}\nnew: {new:#?}");
}
