//! DEL in every state an attachment can be found in.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use terway_datapath::kernel::NicRule;
use terway_datapath::{Removal, Removed, Step, apply, remove};
use terway_types::{IpFamily, IpFamily::V4, IpFamily::V6};

use crate::shared;
use crate::world::{World, similar};

const BOTH: [IpFamily; 2] = [V4, V6];

pub(crate) fn all_is_as_before() {
    let world = World::new();
    let mut eni = shared::eni(&world, 4, 3);
    shared::used(&world, &mut eni);
    let (pod, other) = (eni.pod(&world, &BOTH), eni.pod(&world, &BOTH));
    let before = world.record();
    let others = world.add(&other);
    let between = world.record();
    world.add(&pod);
    assert_eq!(world.del(&pod).rules, 4);
    similar(&between, &world.record());
    assert_eq!(world.check(&other, &others), Vec::<String>::new());
    world.del(&other);
    similar(&before, &world.record());
    assert_eq!(world.del(&pod), Removed::default(), "nothing there and again");
}

pub(crate) fn after_an_add_that_died_at_each_step() {
    struct Killed;
    let world = World::new();
    let mut eni = shared::eni(&world, 4, 2);
    shared::used(&world, &mut eni);
    let pod = eni.pod(&world, &BOTH);
    let layout = world.layout(&pod);
    let before = world.record();
    for stop in Step::ALL {
        let dying = |step: Step| {
            if step == stop {
                resume_unwind(Box::new(Killed));
            }
            Ok(())
        };
        let outcome = catch_unwind(AssertUnwindSafe(|| apply(&layout, &world.context(&pod, Some(&dying)))));
        assert!(outcome.unwrap_err().is::<Killed>());
        world.del(&pod);
        similar(&before, &world.record());
    }
}

pub(crate) fn the_namespace_is_gone() {
    let world = World::new();
    let mut eni = shared::eni(&world, 4, 2);
    shared::used(&world, &mut eni);
    let pod = eni.pod(&world, &BOTH);
    let before = world.record();
    world.add(&pod);
    let removal = pod.removal();
    pod.delete_netns();
    shared::wait_for_pods(&world, 0);
    // The links went with it, and the routes over them; the rules and the table did not.
    let removed = remove(&removal, &world.node, None, &world.rule).unwrap();
    assert_eq!(removed.rules, 4);
    similar(&before, &world.record());
}

/// The daemon is away, so nobody says which addresses they are, nor which kinds of link are NICs.
pub(crate) fn nobody_knows_the_addresses() {
    let world = World::new();
    let mut eni = shared::eni(&world, 4, 2);
    shared::used(&world, &mut eni);
    let pod = eni.pod(&world, &BOTH);
    let before = world.record();
    world.add(&pod);
    let removal = Removal { addresses: vec![], ..pod.removal() };
    remove(&removal, &world.node, Some(&pod.netns), &NicRule::default()).unwrap();
    similar(&before, &world.record());
}

/// The next pod has the address already, and on another ENI.
pub(crate) fn an_old_sandbox_leaves_the_new_one_alone() {
    let world = World::new();
    let (mut eni, mut other) = (shared::eni(&world, 4, 1), shared::eni(&world, 5, 1));
    let (old, mut new) = (eni.pod(&world, &BOTH), other.pod(&world, &BOTH));
    world.add(&old);
    new.plan.addresses = old.plan.addresses;
    let layout = world.add(&new);
    assert_eq!(world.check(&new, &layout), Vec::<String>::new());
    for _ in 0..2 {
        world.del(&old);
        assert_eq!(world.check(&new, &layout), Vec::<String>::new());
    }
    world.del(&new);
    assert!(!world.node("rule").contains("157"));
}

pub(crate) fn what_is_not_ours_stays() {
    let world = World::new();
    let mut eni = shared::eni(&world, 4, 2);
    shared::used(&world, &mut eni);
    let pod = eni.pod(&world, &BOTH);
    let (v4, table) = (pod.plan.addresses.v4.unwrap(), eni.table(&world));
    world.node("link add ens4x link ens4 type macvlan mode bridge");
    world.node("addr add 192.0.2.9/24 dev ens4");
    world.node(&format!("rule add from {v4} lookup main priority 100"));
    world.node(&format!("route add 203.0.113.0/24 dev ens4 table {table}"));
    let before = world.record();
    world.add(&pod);
    world.del(&pod);
    similar(&before, &world.record());
    // Somebody else's rule needs the table: what is in it stays as long.
    world.node(&format!("rule add from 192.0.2.9 lookup {table} priority 3000"));
    world.add(&pod);
    world.del(&pod);
    assert!(world.node(&format!("route show table {table}")).contains("default"));
}

/// Nobody is left who could name the pod: its rules are found because no link leads to its address.
pub(crate) fn what_nobody_can_name_is_swept() {
    let world = World::new();
    let mut eni = shared::eni(&world, 4, 3);
    shared::used(&world, &mut eni);
    let (gone, stays) = (eni.pod(&world, &BOTH), eni.pod(&world, &BOTH));
    let layout = world.add(&stays);
    // Rules of others, and one of ours about something else than a pod, are not touched.
    world.node("rule add from 10.8.8.8 lookup 1077 priority 2048");
    world.node("rule add from 10.8.0.0/16 lookup 1077 priority 2048 protocol 157");
    let before = world.record();
    world.add(&gone);
    assert_eq!(terway_datapath::rules::sweep(&world.node).unwrap().len(), 0, "living pods lose nothing");
    let addresses = gone.plan.addresses;
    gone.delete_netns();
    shared::wait_for_pods(&world, 1);
    let swept = terway_datapath::rules::sweep(&world.node).unwrap();
    assert_eq!(swept, addresses.iter().collect());
    similar(&before, &world.record());
    assert_eq!(world.check(&stays, &layout), Vec::<String>::new());
    // A table that nobody is led to, as an ADD leaves it that was killed between its rules and a DEL.
    let table = eni.table(&world);
    world.del(&stays);
    world.node(&format!("route add default via 10.0.1.253 dev ens4 onlink table {table} protocol 157"));
    terway_datapath::rules::sweep(&world.node).unwrap();
    assert_eq!(world.node(&format!("route show table {table}")), "");
}
