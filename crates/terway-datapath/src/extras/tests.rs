//! What is learnt of an attachment, and what of it is missed. That it comes back is shown in a kernel that has it
//! (`tests/children`).

use terway_types::{MacAddr, PodRef};

use super::*;
use crate::facts::{HostFacts, NicFacts};
use crate::kernel::objects::Qdisc;
use crate::kernel::{Action, Hook, Match};
use crate::plan;
use crate::queues::Leaf;

const NODE: &str = "10.0.0.9";
const PRIO: u32 = 0x7001_0000;

fn of(datapath: Datapath) -> InterfacePlan {
    let addresses = Addresses::new("10.0.1.5".parse().ok(), None);
    let plan = plan::plan(&plan::key("c0ffee"), MacAddr([0, 0x16, 0x3e, 1, 2, 3]), 1, addresses);
    InterfacePlan { datapath, ..plan }
}

fn node() -> Addresses {
    Addresses::new(NODE.parse().ok(), None)
}

/// The layout's lines.
fn laid_out(plan: &InterfacePlan) -> String {
    let nic = NicFacts { mac: plan.mac, name: "eth1".into(), index: 3, rdma: None };
    let facts = HostFacts {
        uplink: "ens3".into(),
        uplink_index: 2,
        addresses: node(),
        nics: vec![nic],
        ..HostFacts::default()
    };
    crate::layout(plan, &plan::key("c0ffee"), &PodRef::default(), &facts).unwrap().to_string()
}

fn local(to: &str, protocol: u8) -> Route {
    Route { kind: RouteKind::Local, protocol, table: 1003, ..Route::to(to.parse().unwrap()).dev(3) }
}

fn filter(address: &str, place: u32, class: u32) -> Filter {
    let prio = PRIO + (place << 16);
    Filter {
        hook: Hook::Wait(prio),
        priority: 1,
        matches: Match::From(address.parse().unwrap()),
        actions: vec![Action::ToClass(prio | class)],
    }
}

/// Of two queues.
fn tree(paced: bool) -> Tree {
    let leaf = |queue: u32| {
        let (parent, handle) = (0x1_0000 | queue, PRIO + (queue << 16));
        let qdisc = Qdisc { index: 3, parent, handle, kind: "prio".into(), tbf: None };
        Leaf { parent, qdisc: Some(qdisc), paced: [paced; 3] }
    };
    Tree { root: None, leaves: vec![leaf(0), leaf(1)] }
}

#[test]
fn local_routes_are_missed_once_they_are_gone() {
    let routes = [
        local("10.0.0.9/32", OUR_PROTOCOL),
        local("169.254.20.10/32", OUR_PROTOCOL),
        local("192.0.2.1/32", 3),
    ];
    let mut unicast = local("198.51.100.0/24", OUR_PROTOCOL);
    unicast.kind = RouteKind::Unicast;
    let whole = OnEni::of(&[&routes[..], &[unicast]].concat(), &Tree::default(), &[]);
    let (mut extras, plain) = (Extras::default(), of(Datapath::IpvlanL3s));
    extras.learn(&plain, node(), &whole);
    let bare = OnEni::default();
    // What is gone is not unlearnt.
    extras.learn(&plain, node(), &bare);
    let completed = extras.complete(&plain, &bare);
    assert_eq!(completed.host_stack_cidrs, ["169.254.20.10/32".parse().unwrap()]);
    assert!(laid_out(&completed).contains("route local 169.254.20.10 dev eth1 table 1000+eth1"));
    assert_eq!(Extras::default().complete(&plain, &whole), plain, "what nobody saw is not missed");
    // Pods with other data paths have no such routes, whoever has them on the same ENI.
    let other = of(Datapath::PolicyRoute);
    let mut extras = Extras::default();
    extras.learn(&other, node(), &whole);
    assert_eq!(extras.complete(&other, &bare), other);
}

#[test]
fn a_class_is_missed_where_one_of_its_filters_is_gone() {
    let plain = of(Datapath::PolicyRoute);
    let (one, two, others) =
        (filter("10.0.1.5/32", 0, 1), filter("10.0.1.5/32", 1, 1), filter("10.0.1.6/32", 0, 3));
    let whole = OnEni::of(&[], &tree(false), &[one.clone(), two, others.clone()]);
    let mut extras = Extras::default();
    extras.learn(&plain, node(), &whole);
    assert_eq!(extras.complete(&plain, &whole), plain, "nothing to look at");
    let guaranteed = Queueing { paced: false, class: Some(PriorityClass::Guaranteed) };
    let damaged = [
        OnEni::of(&[], &tree(false), &[one, others.clone()]),
        OnEni::of(&[], &tree(false), &[others]),
        OnEni::default(),
    ];
    for left in damaged {
        extras.learn(&plain, node(), &left);
        let completed = extras.complete(&plain, &left);
        assert_eq!(completed.queueing, guaranteed);
        let said = laid_out(&completed);
        assert!(
            said.contains("10.0.1.5") && said.contains("guaranteed") && said.contains("qdisc prio dev eth1"),
            "{said}"
        );
    }
}

#[test]
fn fair_queueing_is_kept_with_classes_only() {
    let plain = of(Datapath::PolicyRoute);
    let learnt = |eni: &OnEni| {
        let mut extras = Extras::default();
        extras.learn(&plain, node(), eni);
        extras.complete(&plain, &OnEni::default()).queueing
    };
    let own = [filter("10.0.1.5/32", 0, 3), filter("10.0.1.5/32", 1, 3)];
    let both = Queueing { paced: true, class: Some(PriorityClass::BestEffort) };
    assert_eq!(learnt(&OnEni::of(&[], &tree(true), &own)), both);
    assert_eq!(learnt(&OnEni::of(&[], &tree(true), &[])), Queueing::default());
}
