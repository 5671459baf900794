//! DEL in every state an attachment can be found in.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use terway_datapath::kernel::NicRule;
use terway_datapath::{Removed, Step, apply, remove};
use terway_types::{IpFamily, IpFamily::V4, IpFamily::V6};

use crate::sandbox::run;
use crate::world::{Pod, World, similar};

const BOTH: [IpFamily; 2] = [V4, V6];

pub(crate) fn all_is_as_before() {
    let world = World::new();
    let (pod, other) = (world.pod(&BOTH), world.pod(&BOTH));
    let empty = pod.record();
    let before = world.record();
    let others = world.add(&other);
    let between = world.record();
    world.add(&pod);
    let removed = world.del(&pod);
    assert_eq!(removed.nics, [pod.eni.mac]);
    assert_eq!(removed.translations, 2);
    similar(&between, &world.record());
    similar(&without_lo(&empty), &without_lo(&pod.record()));
    assert_eq!(world.check(&other, &others), Vec::<String>::new());
    world.del(&other);
    similar(&before, &world.record());
}

/// DEL leaves `lo` up: the namespace may live on with other networks.
fn without_lo(record: &str) -> String {
    let of_lo = |line: &str| line.contains("\"lo\"") || line.contains(" lo ");
    record.lines().filter(|line| !of_lo(line)).collect::<Vec<_>>().join("\n")
}

pub(crate) fn after_an_add_that_died_at_each_step() {
    let world = World::new();
    let pod = world.pod(&BOTH);
    let layout = world.layout(&pod);
    let before = world.record();
    for stop in Step::ALL {
        die_before(stop, &world, &pod, &layout);
        world.del(&pod);
        similar(&before, &world.record());
        die_before(stop, &world, &pod, &layout);
        // The MAC is not always known.
        let removal = terway_datapath::Removal { mac: None, ..pod.removal() };
        remove(&removal, &world.node, Some(&pod.netns), &world.rule).unwrap();
        similar(&before, &world.record());
    }
}

/// The ADD ends before a step as if its process were killed: nothing is undone.
fn die_before(stop: Step, world: &World, pod: &Pod, layout: &terway_datapath::Layout) {
    struct Killed;
    let dying = |step: Step| {
        if step == stop {
            resume_unwind(Box::new(Killed));
        }
        Ok(())
    };
    let outcome = catch_unwind(AssertUnwindSafe(|| apply(layout, &world.context(pod, Some(&dying)))));
    assert!(outcome.unwrap_err().is::<Killed>());
}

/// Nobody says which kinds of link are NICs here, nor which MAC to look for.
pub(crate) fn the_daemon_is_away() {
    let world = World::new();
    let pod = world.pod(&BOTH);
    let before = world.record();
    world.add(&pod);
    let removal = terway_datapath::Removal { mac: None, ..pod.removal() };
    let removed = remove(&removal, &world.node, Some(&pod.netns), &NicRule::default()).unwrap();
    assert_eq!(removed.nics, [pod.eni.mac]);
    similar(&before, &world.record());
}

pub(crate) fn nothing_there_and_again() {
    let world = World::new();
    let pod = world.pod(&BOTH);
    let before = (world.record(), pod.record());
    for _ in 0..2 {
        assert_eq!(world.del(&pod), Removed::default());
        assert_eq!(remove(&pod.removal(), &world.node, None, &world.rule).unwrap(), Removed::default());
    }
    similar(&before.0, &world.record());
    similar(&before.1, &pod.record());
    world.add(&pod);
    assert_ne!(world.del(&pod), Removed::default());
    assert_eq!(world.del(&pod), Removed::default());
    similar(&before.0, &world.record());
}

pub(crate) fn the_namespace_is_gone() {
    let world = World::new();
    let pod = world.pod(&BOTH);
    let home = pod.eni.home();
    let before = world.record();
    world.add(&pod);
    let (removal, rule) = (pod.removal(), &world.rule);
    pod.delete_netns();
    let removed = remove(&removal, &world.node, None, rule).unwrap();
    assert_eq!(removed.translations, 2);
    // The simulated ENI died with the namespace; all else is as before.
    let is_enis = |line: &&str| !line.contains(&home);
    let without: Vec<_> = before.lines().filter(is_enis).collect();
    similar(&without.join("\n"), &world.record());
    assert_eq!(remove(&removal, &world.node, None, rule).unwrap(), Removed::default());
}

/// The VPC's end of the simulated ENI goes, and the pod's with it, as a NIC does that is unplugged in use.
pub(crate) fn the_nic_was_pulled_out_of_the_pod() {
    let world = World::new();
    let (pod, other) = (world.pod(&BOTH), world.pod(&BOTH));
    let others = world.add(&other);
    let before = world.record();
    let layout = world.add(&pod);
    world.vpc(&format!("link del p{}", pod.eni.mac.hex()));
    let drifts = world.check(&pod, &layout);
    assert!(drifts.iter().any(|drift| drift == "pod: link eth0 is missing"), "{drifts:#?}");
    let removed = world.del(&pod);
    assert_eq!((removed.nics.len(), removed.translations), (0, 2));
    let home = pod.eni.home();
    let without: Vec<_> = before.lines().filter(|line| !line.contains(&home)).collect();
    similar(&without.join("\n"), &world.record());
    assert_eq!(world.del(&pod), Removed::default());
    assert_eq!(world.check(&other, &others), Vec::<String>::new());
}

/// As the kernel does it with a real NIC: under its name in the pod, or `devN` if that is taken, with its mark.
pub(crate) fn the_nic_came_home_under_another_name() {
    let world = World::new();
    let pod = world.pod(&BOTH);
    let before = world.record();
    let node = world.node_name();
    world.add(&pod);
    pod.ip(&format!("link set eth0 netns {node} name dev8"));
    // An agent of the host found it and made itself at home.
    world.node("link set dev8 up");
    world.node("addr add 10.0.1.77/24 dev dev8");
    run(&format!("tc -n {node} qdisc add dev dev8 root tbf rate 1mbit burst 10k latency 25ms"));
    let (removal, rule) = (pod.removal(), &world.rule);
    pod.delete_netns();
    let removed = remove(&removal, &world.node, None, rule).unwrap();
    assert_eq!(removed.nics, [removal.mac.unwrap()]);
    similar(&before, &world.record());
}

pub(crate) fn the_home_name_is_taken() {
    let world = World::new();
    let pod = world.pod(&BOTH);
    let home = pod.eni.home();
    world.add(&pod);
    // The ENI's usual name, and the name it has in the pod, which is the uplink's.
    world.node(&format!("link add {home} type veth peer name squatter"));
    world.del(&pod);
    let links: Vec<serde_json::Value> = serde_json::from_str(&world.node("-j link")).unwrap();
    let mac = pod.eni.mac.to_string();
    let nic = links.iter().find(|link| link["address"] == *mac).expect("the NIC is home");
    assert_ne!(nic["ifname"], *home);
    assert!(
        nic["ifalias"].is_null() && nic["flags"].as_array().unwrap().iter().all(|flag| flag != "UP"),
        "{nic}"
    );
    world.node(&format!("link del {home}"));
    world.del(&pod);
    let names = world.node("-o link");
    assert!(names.contains(&home), "it takes its name when it is free: {names}");
}

pub(crate) fn an_old_sandbox_leaves_the_new_one_alone() {
    let world = World::new();
    let old = world.sandbox("web-0", world.eni(), &BOTH);
    let new = world.sandbox("web-0", world.eni(), &BOTH);
    world.add(&old);
    // The same host link name: the stale one must not be in the way.
    let layout = world.add(&new);
    assert_eq!(world.check(&new, &layout), Vec::<String>::new());
    let removed = world.del(&old);
    assert_eq!((removed.nics.as_slice(), removed.translations), (&[old.eni.mac][..], 2));
    assert_eq!(world.check(&new, &layout), Vec::<String>::new());
    assert_eq!(world.del(&old), Removed::default());
    assert_eq!(world.check(&new, &layout), Vec::<String>::new());
    world.del(&new);
    assert!(!world.on_node("nft list ruleset").contains("terway"));
}

pub(crate) fn what_is_not_ours_stays() {
    let world = World::new();
    let (pod, other) = (world.pod(&BOTH), world.pod(&BOTH));
    let others = world.add(&other);
    for command in [
        "link add cni0 type bridge",
        "link add cali00000000000 type veth peer name lxc1",
        "link set cali00000000000 alias someone-elses",
        // The mark of another attachment, on a link with our ENI's MAC: a netdev that was given on.
        &format!("link set {} alias terway:terway/elsewhere/eth0", pod.eni.home()),
    ] {
        world.node(command);
    }
    pod.ip("link add eth0 type veth peer name lxc2");
    world.on_node("nft add table ip mine");
    let before = (world.record(), pod.record());
    assert_eq!(world.del(&pod), Removed::default());
    similar(&before.0, &world.record());
    similar(&before.1, &pod.record());
    // A MAC that is the uplink's, and a namespace that is the node's own.
    let uplink = terway_datapath::Removal { mac: "00:16:3e:00:00:09".parse().ok(), ..pod.removal() };
    assert_eq!(remove(&uplink, &world.node, Some(&world.node), &world.rule).unwrap(), Removed::default());
    similar(&before.0, &world.record());
    assert_eq!(world.check(&other, &others), Vec::<String>::new());
}
