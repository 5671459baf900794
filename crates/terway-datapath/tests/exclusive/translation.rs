//! Pods in the maps of the node's source translation: each part that somebody takes away is named and comes back, an
//! address has one owner, and what an earlier program made of rules lives on until its pod goes.

use std::thread;

use terway_datapath::describe::Object;
use terway_datapath::{Layout, Removal, apply, remove};
use terway_types::IpFamily::{self, V4, V6};

use crate::world::{Pod, World, similar};

const BOTH: [IpFamily; 2] = [V4, V6];

fn ruleset(world: &World) -> String {
    world.on_node("nft list ruleset")
}

/// Runs commands of `nft` on the node.
fn nft(world: &World, commands: &str) {
    world.on_node(&format!("nft -f - <<'END'\n{commands}\nEND"));
}

/// How an earlier program translated a pod: two rules for each address.
fn as_an_earlier_program(world: &World, pod: &Pod) {
    let mark = format!("terway:{}", pod.key);
    for (family, node) in [("ip", "10.0.0.9"), ("ip6", "fd00::9")] {
        let address = pod.plan.addresses.get(if family == "ip" { V4 } else { V6 }).unwrap();
        nft(
            world,
            &format!(
                "add table {family} terway\n\
                 add chain {family} terway postrouting {{ type nat hook postrouting priority srcnat; }}\n\
                 add rule {family} terway postrouting {family} saddr {address} snat to {node} comment \"{mark}\"\n\
                 add rule {family} terway postrouting {family} daddr {address} {family} saddr != {node} \
                 snat to {node} comment \"{mark}\""
            ),
        );
    }
}

fn mend(world: &World, layout: &Layout) {
    world.mend(layout, &Object::SourceNat(layout.host.source_nat[0]));
}

pub(crate) fn each_part_taken_away_is_named_and_comes_back() {
    let world = World::new();
    let (pod, other) = (world.pod(&BOTH), world.pod(&BOTH));
    let (layout, others) = (world.add(&pod), world.add(&other));
    let before = ruleset(&world);
    let missing = "host: source nat of 10.0.1.1 is missing";
    let one_rule = "host: source nat of 10.0.1.1 has rules 1 instead of 2";
    let handle = |rule: usize| {
        let rules = world.on_node("nft -a list chain ip terway postrouting");
        let line = rules.lines().filter(|line| line.contains("snat to")).nth(rule).unwrap();
        let (_, number) = line.rsplit_once("handle ").unwrap();
        format!("delete rule ip terway postrouting handle {number}")
    };
    let elsewhere = "delete element ip terway pods { 10.0.1.1 }\n\
        add element ip terway pods { 10.0.1.1 comment \"terway:terway/c1/eth0\" : 10.0.0.8 }";
    let takings: [(&dyn Fn() -> String, &str); 7] = [
        (&|| "delete element ip terway pods { 10.0.1.1 }".to_owned(), missing),
        (&|| "flush map ip terway pods".to_owned(), missing),
        (&|| "delete table ip terway".to_owned(), missing),
        (&|| handle(0), one_rule),
        (&|| handle(1), one_rule),
        (&|| "flush chain ip terway postrouting".to_owned(), "rules 0 instead of 2"),
        (&|| elsewhere.to_owned(), "snat to 10.0.0.8 instead of 10.0.0.9"),
    ];
    for (taking, named) in takings {
        let taking = taking();
        nft(&world, &taking);
        let drifts = world.check(&pod, &layout);
        assert!(drifts.len() == 1 && drifts[0].contains(named), "{taking}: {drifts:?}");
        for layout in [&layout, &others] {
            mend(&world, layout);
        }
        assert_eq!(sorted(&ruleset(&world)), sorted(&before), "{taking}");
    }
}

/// Elements of a map are in no order, nor are tables.
fn sorted(ruleset: &str) -> Vec<&str> {
    let words = ruleset.split([',', '\n']).map(|line| line.trim().trim_start_matches("elements = { "));
    let mut words: Vec<_> = words.map(|line| line.trim_end_matches(" }")).collect();
    words.sort_unstable();
    words
}

pub(crate) fn an_address_has_one_owner() {
    let world = World::new();
    let (pod, other) = (world.pod(&BOTH), world.pod(&BOTH));
    world.add(&other);
    let before = ruleset(&world);
    // Its DEL was lost, and it was another node's address then.
    let stale = "10.0.1.1 comment \"terway:terway/gone/eth0\" : 10.0.0.7";
    nft(&world, &format!("add element ip terway pods {{ {stale} }}"));
    let layout = world.add(&pod);
    assert_eq!(world.check(&pod, &layout), Vec::<String>::new());
    let made = ruleset(&world);
    assert!(!made.contains("gone"), "{made}");
    // Its DEL comes after all.
    let mut late = Removal { mac: None, ..pod.removal() };
    late.key.container = terway_types::ContainerId::new("gone").unwrap();
    for addresses in [late.addresses.clone(), Vec::new()] {
        let late = Removal { addresses, ..late.clone() };
        assert_eq!(remove(&late, &world.node, None, &world.rule).unwrap().translations, 0);
        assert_eq!(ruleset(&world), made);
    }
    // Found by its mark where nobody knows the addresses.
    let unknown = Removal { addresses: Vec::new(), ..pod.removal() };
    let removed = remove(&unknown, &world.node, Some(&pod.netns), &world.rule).unwrap();
    assert_eq!(removed.translations, 2);
    assert_eq!(ruleset(&world), before);
}

pub(crate) fn pods_of_an_earlier_program_live_on() {
    let world = World::new();
    let (old, new) = (world.pod(&BOTH), world.pod(&BOTH));
    let before = ruleset(&world);
    let layout = world.add(&old);
    nft(&world, "delete table ip terway\ndelete table ip6 terway");
    as_an_earlier_program(&world, &old);
    assert_eq!(world.check(&old, &layout), Vec::<String>::new());
    let news = world.add(&new);
    for (pod, layout) in [(&old, &layout), (&new, &news)] {
        assert_eq!(world.check(pod, layout), Vec::<String>::new());
    }
    assert_eq!(world.del(&old).translations, 2);
    assert_eq!(world.check(&new, &news), Vec::<String>::new());
    assert!(!ruleset(&world).contains(&format!("terway:{}", old.key)));
    // And the other way round: the last one goes with all.
    let layout = world.add(&old);
    nft(&world, "flush map ip terway pods\nflush map ip6 terway pods");
    mend(&world, &news);
    as_an_earlier_program(&world, &old);
    // A repair makes an element of what is left of its rules.
    nft(&world, "flush chain ip terway postrouting");
    mend(&world, &layout);
    for pod in [&new, &old] {
        assert_eq!(world.del(pod).translations, 2);
    }
    assert_eq!(ruleset(&world), before);
}

pub(crate) fn what_stands_in_the_way_is_told_and_all_is_as_before() {
    let world = World::new();
    let pod = world.pod(&BOTH);
    nft(&world, "add table ip6 terway\nadd set ip6 terway pods { type inet_service; }");
    let before = (world.record(), pod.record());
    let error = apply(&world.layout(&pod), &world.context(&pod, None)).unwrap_err();
    assert!(error.fault().cause.contains("map ip6 terway pods"), "{}", error.fault());
    similar(&before.0, &world.record());
    similar(&before.1, &pod.record());
}

/// The first makes what all have in common and the last takes it away, also where all are both.
pub(crate) fn many_that_come_and_go_at_once() {
    let world = World::new();
    let pods: Vec<_> = (0..8).map(|_| world.pod(&BOTH)).collect();
    let before = ruleset(&world);
    thread::scope(|scope| {
        for pod in &pods {
            scope.spawn(|| {
                for _ in 0..3 {
                    let layout = world.add(pod);
                    assert_eq!(world.check(pod, &layout), Vec::<String>::new());
                    assert_eq!(world.del(pod).translations, 2);
                }
            });
        }
    });
    assert_eq!(ruleset(&world), before);
}
