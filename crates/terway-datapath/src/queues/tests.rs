//! What is missing of a tree, decided from what is there.

use super::*;

const MQ_ROOT: (u32, &str) = (0x1_0000, "mq");

fn qdisc(parent: u32, (handle, kind): (u32, &str)) -> Qdisc {
    Qdisc { index: 3, parent, handle, kind: kind.into(), tbf: None }
}

fn link(tx_queues: u32) -> Link {
    Link { index: 3, name: "eth1".into(), tx_queues, ..Link::default() }
}

fn wanted(paced: bool, classes: bool) -> Queues {
    Queues { link: "eth1".into(), paced, classes }
}

/// What stands at the root, and what in the places that follow from it.
fn tree(tx_queues: u32, root: Option<(u32, &str)>, leaves: &[(u32, &str)], paced: [bool; 3]) -> Tree {
    let root = root.map(|root| qdisc(Qdisc::ROOT, root));
    let places = places(root.as_ref(), tx_queues);
    let there = leaves.iter().map(|leaf| Some(*leaf)).chain(std::iter::repeat(None));
    let leaf = |(parent, leaf): (u32, Option<(u32, &str)>)| {
        let qdisc = leaf.map(|leaf| qdisc(parent, leaf));
        Leaf { qdisc: if parent == Qdisc::ROOT { root.clone() } else { qdisc }, paced, parent }
    };
    Tree { leaves: places.into_iter().zip(there).map(leaf).collect(), root }
}

fn missing_of(tree: &Tree, tx_queues: u32, wanted: &Queues) -> Vec<String> {
    let (requests, _) = tree.complete(&link(tx_queues), Some(wanted));
    let what = |request: &Request| request.what().split(" (needs").next().unwrap().to_owned();
    requests.iter().map(what).collect()
}

#[test]
fn a_nic_with_one_queue_has_it_at_its_root() {
    let bare = tree(1, Some((0, "pfifo_fast")), &[], [false; 3]);
    assert_eq!(missing_of(&bare, 1, &wanted(true, false)), ["pace what waits in class root of eth1"]);
    assert_eq!(
        missing_of(&bare, 1, &wanted(true, true)),
        [
            "have what waits in class root of eth1 wait by classes",
            "pace what waits in class 7000:1 of eth1",
            "pace what waits in class 7000:2 of eth1",
            "pace what waits in class 7000:3 of eth1",
        ]
    );
    assert_eq!(missing_of(&tree(1, None, &[], [false; 3]), 1, &wanted(true, false)).len(), 1, "noqueue");
}

#[test]
fn a_nic_with_several_queues_has_it_in_each() {
    // The classes of a root that the kernel made itself cannot be named.
    let bare = tree(2, Some((0, "mq")), &[], [false; 3]);
    assert_eq!(
        missing_of(&bare, 2, &wanted(false, true)),
        [
            "give each queue of eth1 a class",
            "have what waits in class 1:1 of eth1 wait by classes",
            "have what waits in class 1:2 of eth1 wait by classes",
        ]
    );
    let taken = tree(2, Some((0x1_0000, "htb")), &[], [false; 3]);
    assert_eq!(missing_of(&taken, 2, &wanted(true, false))[1], "pace what waits in class 2:1 of eth1");
}

#[test]
fn what_is_right_already_is_not_touched_whoever_made_it() {
    let (fq, prio) = ((0x8001_0000, "fq"), (0x8002_0000, "prio"));
    for (tree, queues, asked) in [
        (tree(1, Some((0, "fq")), &[], [false; 3]), 1, wanted(true, false)),
        (tree(2, Some(MQ_ROOT), &[fq, (0, "fq")], [false; 3]), 2, wanted(true, false)),
        (tree(2, Some(MQ_ROOT), &[prio, prio], [false; 3]), 2, wanted(false, true)),
        (tree(2, Some(MQ_ROOT), &[prio, prio], [true; 3]), 2, wanted(true, true)),
        (tree(2, Some(MQ_ROOT), &[prio, prio], [true; 3]), 2, wanted(true, false)),
    ] {
        assert_eq!(missing_of(&tree, queues, &asked), Vec::<String>::new(), "{tree:?}");
        assert!(tree.lacking(&asked).is_empty());
    }
}

/// Whichever of the two is switched on second, the other is kept, with the filters of all pods that are there.
#[test]
fn one_tree_serves_both() {
    let fq = tree(2, Some(MQ_ROOT), &[(0x8001_0000, "fq"), (0x8002_0000, "fq")], [false; 3]);
    assert_eq!(missing_of(&fq, 2, &wanted(false, true)).len(), 2 + 6, "what paced goes on to do so");
    let prio = tree(2, Some(MQ_ROOT), &[(0x8001_0000, "prio"), (0x7002_0000, "prio")], [false; 3]);
    let pacing = missing_of(&prio, 2, &wanted(true, false));
    assert_eq!(pacing.len(), 6);
    assert_eq!(pacing[0], "pace what waits in class 8001:1 of eth1");
    let half = tree(1, Some((0x7000_0000, "prio")), &[], [true, false, true]);
    assert_eq!(missing_of(&half, 1, &wanted(true, true)), ["pace what waits in class 7000:2 of eth1"]);
}

#[test]
fn a_limit_stays_above_it() {
    let limited = tree(4, Some((0x1_0000, "tbf")), &[], [false; 3]);
    assert_eq!(missing_of(&limited, 4, &wanted(true, false)), ["pace what waits in class 1:1 of eth1"]);
}

#[test]
fn what_is_there_is_told_in_words() {
    let words = |tree: Tree| tree.leaves.iter().map(Leaf::words).collect::<Vec<_>>();
    assert_eq!(words(tree(1, None, &[], [false; 3])), ["none"]);
    let both = tree(2, Some(MQ_ROOT), &[(0x8001_0000, "prio"), (0, "fq_codel")], [true; 3]);
    assert_eq!(words(both), ["prio of fq", "fq_codel"]);
}
