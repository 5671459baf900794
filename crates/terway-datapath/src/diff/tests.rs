//! For each object of a layout: taken away or altered in one field, it is named, and nothing else is.

mod alterations;

use std::collections::BTreeSet;

use terway_types::{
    Addresses, Bandwidth, Datapath, FaultCode, Gateways, InterfacePlan, MacAddr, PodRef, PriorityClass,
    Queueing,
};

use super::{Deviation, Drift, Place, diff, fault};
use crate::describe::{Layout, Link, LinkKind, NamespaceLayout, Object, Route, Rule, Table};
use crate::facts::{HostFacts, NicFacts, RdmaFacts};
use crate::kernel::objects::{self as kernel, Child, Scope};
use crate::observe::{NamespaceState, Observed};
use crate::plan;
use crate::queues::{self, Leaf, Tree};
use crate::source_nat::{Translation, rules};
use crate::tags;
use alterations::alterations;

/// An exclusive layout with every sort of object it can have.
fn everything() -> Layout {
    of(Datapath::Exclusive)
}

/// Layouts that have every sort of object between them.
fn layouts() -> [Layout; 6] {
    let tagged = of(Datapath::VlanTag { id: 7 });
    let [l2, l3s] = [Datapath::Ipvlan, Datapath::IpvlanL3s].map(of);
    [everything(), of(Datapath::PolicyRoute), of(Datapath::Vlan { id: 7 }), tagged, l2, l3s]
}

fn of(datapath: Datapath) -> Layout {
    let limit = Some(Bandwidth { bytes_per_second: 1_250_000, burst_bytes: None });
    let key = plan::key("c0ffee");
    let addresses = Addresses::new("10.0.1.5".parse().ok(), "fd00:1::5".parse().ok());
    let plan = InterfacePlan {
        datapath,
        eni_gateways: Gateways::new("10.0.2.253".parse().ok(), "fd00:2::fffd".parse().ok()),
        extra_routes: vec!["192.168.0.0/16".parse().unwrap()],
        host_stack_cidrs: vec!["169.254.20.10/32".parse().unwrap()],
        own_table: datapath != Datapath::Exclusive,
        ingress: limit,
        egress: limit,
        queueing: Queueing { paced: true, class: Some(PriorityClass::Guaranteed) },
        erdma: datapath == Datapath::PolicyRoute,
        ..plan::plan(&key, MacAddr([0, 0x16, 0x3e, 1, 2, 3]), 1, addresses)
    };
    let rdma = RdmaFacts { device: "erdma_0".into(), network: Some("0".into()) };
    let facts = HostFacts {
        uplink: "ens3".into(),
        uplink_index: 2,
        uplink_mac: None,
        uplink_mtu: 1500,
        addresses: Addresses::new("10.0.0.9".parse().ok(), "fd00::9".parse().ok()),
        uplink_accept_ra: Some(0),
        nics: vec![NicFacts { mac: plan.mac, name: "eth1".into(), index: 3, rdma: Some(rdma) }],
    };
    crate::layout(&plan, &key, &PodRef::default(), &facts).unwrap()
}

/// What the kernel has right after the layout was made.
fn as_made(layout: &Layout) -> Observed {
    Observed { host: state(&layout.host), pod: state(&layout.pod) }
}

fn state(layout: &NamespaceLayout) -> NamespaceState {
    let mut state = NamespaceState::default();
    state.links.extend(layout.loopback.map(|_| kernel::Link {
        name: "lo".into(),
        loopback: true,
        alias: None,
        ..kernel_link(1, &layout.links[0])
    }));
    state.links.extend((10..).zip(&layout.links).map(|(index, link)| kernel_link(index, link)));
    state.links.extend((50..).zip(&layout.nics).map(|(index, nic)| kernel::Link {
        name: nic.name.clone(),
        mac: Some(nic.mac),
        kind: None,
        alias: Some("the node's owner's words".into()),
        ..kernel_link(index, &layout.links[0])
    }));
    let index = |name: &str| state.links.iter().find(|link| link.name == name).unwrap().index;
    state.addresses =
        layout.addresses.iter().map(|one| kernel_address(index(&one.link), one.address)).collect();
    let link_local = |address| kernel::Address {
        scope: Scope::Link,
        ..kernel_address(0, ipnetwork::Ipv6Network::new(address, 64).unwrap().into())
    };
    let asking = layout.nics.iter().filter_map(|nic| Some((index(&nic.name), link_local(nic.link_local?))));
    state.addresses.extend(asking.map(|(index, address)| kernel::Address { index, ..address }));
    let table = |table: &Table| table.number(|name| Some(index(name))).unwrap();
    state.routes =
        layout.routes.iter().map(|one| kernel_route(index(&one.link), table(&one.table), one)).collect();
    state.rules = layout.rules.iter().map(|one| one.request(table(&one.table))).collect();
    let neighbours = layout.neighbours.iter().map(|one| kernel::Neighbour {
        index: index(&one.link),
        address: one.address,
        mac: Some(one.mac),
        permanent: true,
    });
    state.neighbours = neighbours.collect();
    let limits = layout.limits.iter().map(|one| kernel::Qdisc {
        index: index(&one.link),
        parent: kernel::Qdisc::ROOT,
        handle: 0x1_0000,
        kind: "tbf".into(),
        tbf: Some(one.bucket),
    });
    state.qdiscs = limits.collect();
    state.redirects = layout.redirects.iter().map(|one| (index(&one.from), index(&one.to))).collect();
    state.filters = layout.tags.iter().map(|one| (index(&one.link), tags::filter(one.tagging))).collect();
    for queues in &layout.queues {
        let index = index(&queues.link);
        state.trees.insert(index, tree(index, queues.classes));
    }
    for class in &layout.classes {
        let index = index(&class.link);
        let filters = state.trees[&index].prios().map(|prio| (index, queues::filter(class, prio)));
        state.classes.extend(filters.collect::<Vec<_>>());
    }
    state.sysctls = layout.sysctls.iter().map(|one| (one.path.clone(), one.value.clone())).collect();
    let rules = layout.source_nat.iter().flat_map(rules).collect();
    state.source_nat = Translation { pods: layout.source_nat.clone(), rules };
    state.smc.clone_from(&layout.smc);
    state
}

/// Of a link with two queues.
fn tree(index: u32, classes: bool) -> Tree {
    let qdisc =
        |parent, handle, kind: &str| kernel::Qdisc { index, parent, handle, kind: kind.into(), tbf: None };
    let leaf = |queue: u32| Leaf {
        parent: 0x1_0000 | queue,
        qdisc: Some(qdisc(0x1_0000 | queue, 0x8000_0000 | queue << 16, if classes { "prio" } else { "fq" })),
        paced: [classes; 3],
    };
    let root = qdisc(kernel::Qdisc::ROOT, 0x1_0000, "mq");
    Tree { root: Some(root), leaves: vec![leaf(1), leaf(2)] }
}

fn kernel_link(index: u32, link: &Link) -> kernel::Link {
    let kind = match link.kind {
        LinkKind::Nic { .. } => None,
        LinkKind::PairEnd { .. } => Some("veth".to_owned()),
        LinkKind::Vlan { .. } => Some("vlan".to_owned()),
        LinkKind::Ipvlan { .. } => Some("ipvlan".to_owned()),
        LinkKind::Ifb => Some("ifb".to_owned()),
    };
    let child = match link.kind {
        LinkKind::Vlan { id, .. } => Some(Child::Vlan(id)),
        LinkKind::Ipvlan { mode, .. } => Some(Child::Ipvlan(Some(mode))),
        _ => None,
    };
    kernel::Link {
        index,
        name: link.name.clone(),
        mac: Some(link.mac),
        mtu: link.mtu,
        up: true,
        kind,
        alias: Some(link.mark.to_string()),
        group: link.group.unwrap_or_default(),
        child,
        ether: true,
        ..kernel::Link::default()
    }
}

fn kernel_address(index: u32, network: ipnetwork::IpNetwork) -> kernel::Address {
    kernel::Address {
        index,
        network,
        scope: Scope::Universe,
        secondary: false,
        nodad: network.is_ipv6(),
        tentative: false,
        dadfailed: false,
        permanent: true,
    }
}

fn kernel_route(index: u32, table: u32, route: &Route) -> kernel::Route {
    let route = route.request(index, table);
    let metric = if route.destination.is_ipv6() { 1024 } else { 0 };
    kernel::Route { metric, ..route }
}

fn side(observed: &mut Observed, place: Place) -> &mut NamespaceState {
    match place {
        Place::Host => &mut observed.host,
        Place::Pod => &mut observed.pod,
    }
}

fn all_objects(layout: &Layout) -> Vec<(Place, Object)> {
    let pod = layout.pod.objects().into_iter().map(|object| (Place::Pod, object));
    pod.chain(layout.host.objects().into_iter().map(|object| (Place::Host, object))).collect()
}

/// Finds the kernel's side of an object, and applies the change to it; `None` takes it away.
type Change<T> = Option<fn(&mut T)>;

fn change<T>(all: &mut Vec<T>, which: impl Fn(&T) -> bool, change: Change<T>) {
    let place = all.iter().position(which).expect("the object is there before it is changed");
    match change {
        Some(change) => change(&mut all[place]),
        None => drop(all.remove(place)),
    }
}

/// Takes one object away.
fn take(object: &Object, state: &mut NamespaceState) {
    let index = |name: &str| state.links.iter().find(|link| link.name == name).map_or(0, |link| link.index);
    match object {
        Object::Loopback(_) => change(&mut state.links, |link| link.name == "lo", None),
        Object::SharedNic(wanted) => change(&mut state.links, |link| link.name == wanted.name, None),
        Object::Link(wanted) => change(&mut state.links, |link| link.name == wanted.name, None),
        // A switch whose file is gone counts as off: the value is turned instead.
        Object::Sysctl(wanted) => {
            let turned = if wanted.value == "0" { "1" } else { "0" };
            state.sysctls.insert(wanted.path.clone(), turned.into());
        }
        Object::Address(wanted) => {
            let index = index(&wanted.link);
            change(&mut state.addresses, |one| one.index == index && one.network == wanted.address, None);
        }
        Object::Route(wanted) => {
            let table = state.table(&wanted.table).unwrap();
            let which = |one: &kernel::Route| (one.destination, one.table) == (wanted.destination, table);
            change(&mut state.routes, which, None);
        }
        Object::Rule(wanted) => change(&mut state.rules, |one| is_it(wanted, one), None),
        Object::Neighbour(wanted) => {
            change(&mut state.neighbours, |one| one.address == wanted.address, None);
        }
        Object::Limit(wanted) => {
            let index = index(&wanted.link);
            change(&mut state.qdiscs, |one| one.index == index, None);
        }
        Object::Redirect(wanted) => {
            let index = index(&wanted.from);
            state.redirects.remove(&index).expect("the redirect is there");
        }
        Object::Tag(wanted) => {
            change(&mut state.filters, |(_, one)| *one == tags::filter(wanted.tagging), None);
        }
        Object::Queues(wanted) => {
            let index = index(&wanted.link);
            state.trees.remove(&index).expect("the qdiscs are there");
        }
        Object::Class(wanted) => {
            state.classes.retain(|(_, one)| queues::classes::source(one) != Some(wanted.source));
        }
        Object::SourceNat(wanted) => state.source_nat.pods.retain(|pod| pod != wanted),
        Object::Smc(wanted) => change(&mut state.smc, |one| one == wanted, None),
    }
}

fn is_it(wanted: &Rule, one: &kernel::Rule) -> bool {
    (wanted.from, wanted.to, &wanted.oif, wanted.family) == (one.from, one.to, &one.oif, one.family)
}

#[test]
fn what_was_just_made_has_no_drift() {
    for layout in layouts() {
        assert_eq!(diff(&layout, &as_made(&layout)), []);
        assert_eq!(fault(&layout, &[]), None);
    }
}

#[test]
fn every_object_taken_away_is_named_and_nothing_else() {
    let mut sorts = BTreeSet::new();
    for layout in layouts() {
        for (place, object) in all_objects(&layout) {
            sorts.extend(object.name().split(' ').next().map(str::to_owned));
            let mut observed = as_made(&layout);
            take(&object, side(&mut observed, place));
            // With an ENI its table cannot be told any more, nor what is in it.
            let drifts = diff(&layout, &observed);
            assert_eq!(drifts.len(), 1, "{place}: {object}: {drifts:?}");
            assert_eq!((drifts[0].place, &drifts[0].object), (place, &object));
            if !matches!(object, Object::Sysctl(_)) {
                assert_eq!(drifts[0].deviation, Deviation::Missing, "{object}");
            }
        }
    }
    assert!(sorts.len() >= 9, "the layouts have every sort of object: {sorts:?}");
}

#[test]
fn every_field_altered_is_named_and_nothing_else() {
    for layout in layouts() {
        for (place, object) in all_objects(&layout) {
            let made = as_made(&layout);
            let state = if place == Place::Pod { &made.pod } else { &made.host };
            let ways = alterations(&object, state);
            assert!(!ways.is_empty());
            for (field, altered) in ways {
                let mut observed = made.clone();
                *side(&mut observed, place) = altered;
                assert_only(&layout, &observed, place, &object, field);
            }
        }
    }
}

/// One field of one object differs, and it is named.
fn assert_only(layout: &Layout, observed: &Observed, place: Place, object: &Object, field: &str) {
    let drifts = diff(layout, observed);
    assert_eq!(drifts.len(), 1, "{place}: {object}: {field}: {drifts:?}");
    let Drift { object: named, deviation: Deviation::Altered(differences), .. } = &drifts[0] else {
        panic!("{object}: {field}: {drifts:?}");
    };
    assert_eq!(named, object);
    let fields: Vec<_> = differences.iter().map(|difference| difference.field).collect();
    assert_eq!(fields, [field], "{place}: {object}");
}

#[test]
fn a_rule_that_takes_ours_over_is_drift() {
    let layout = of(Datapath::PolicyRoute);
    let made = as_made(&layout);
    let ours = made.host.rules.iter().find(|rule| rule.priority == 2048).unwrap();
    for (priority, table, wins) in
        [(100, 7, true), (2048, 7, true), (2049, 7, false), (100, ours.table, false)]
    {
        let mut observed = made.clone();
        observed.host.rules.insert(0, kernel::Rule { priority, table, protocol: 3, ..ours.clone() });
        let drifts = diff(&layout, &observed);
        let overridden = matches!(&drifts[..], [Drift { deviation: Deviation::Overridden { .. }, .. }]);
        assert_eq!((overridden, drifts.is_empty()), (wins, !wins), "{priority} {table}: {drifts:?}");
    }
}

#[test]
fn another_tag_before_ours_is_drift() {
    let layout = of(Datapath::VlanTag { id: 7 });
    let rival = |priority| {
        let mut observed = as_made(&layout);
        let (link, ours) = observed.host.filters[0].clone();
        let actions = vec![crate::kernel::Action::PushVlan(8)];
        observed.host.filters.insert(0, (link, crate::kernel::Filter { priority, actions, ..ours }));
        diff(&layout, &observed).iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let named =
        "host: filter egress dev eth1 src 10.0.1.5 vlan push 7 is overridden by a filter of priority 9";
    assert_eq!(rival(9), [named]);
}

#[test]
fn a_kernel_that_does_not_say_who_made_a_rule_is_believed() {
    let layout = of(Datapath::PolicyRoute);
    let mut observed = as_made(&layout);
    observed.host.rules.iter_mut().for_each(|rule| rule.protocol = 0);
    assert_eq!(diff(&layout, &observed), []);
}

#[test]
fn what_others_add_beside_ours_is_no_drift() {
    let layout = everything();
    let mut observed = as_made(&layout);
    let pod = &mut observed.pod;
    pod.addresses.push(kernel_address(10, "192.0.2.7/24".parse().unwrap()));
    let foreign = kernel::Route { protocol: 3, ..kernel::Route::to("192.0.2.0/24".parse().unwrap()).dev(10) };
    pod.routes.push(foreign.clone());
    let worse = kernel::Route { destination: "0.0.0.0/0".parse().unwrap(), metric: 100, ..foreign };
    pod.routes.push(worse);
    pod.source_nat.rules.push(crate::kernel::nft::RuleBody::new().accept());
    assert_eq!(diff(&layout, &observed), []);
}

#[test]
fn a_route_that_takes_ours_over_is_drift() {
    let layout = everything();
    for (destination, metric, first, wins) in [
        ("0.0.0.0/0", 0, true, true),
        ("0.0.0.0/0", 0, false, false),
        ("0.0.0.0/0", 1, false, false),
        ("::/0", 1, false, true),
        ("::/0", 1024, false, true),
        ("::/0", 1025, true, false),
    ] {
        let mut observed = as_made(&layout);
        let rival = kernel::Route::to(destination.parse().unwrap()).dev(77).metric(metric);
        let rival = kernel::Route { protocol: 9, ..rival };
        observed.pod.routes.insert(if first { 0 } else { observed.pod.routes.len() }, rival);
        let drifts = diff(&layout, &observed);
        let overridden = matches!(&drifts[..], [Drift { deviation: Deviation::Overridden { .. }, .. }]);
        assert_eq!((overridden, drifts.is_empty()), (wins, !wins), "{destination} {metric}: {drifts:?}");
    }
}

#[test]
fn drifts_read_like_sentences() {
    let layout = everything();
    let mut observed = as_made(&layout);
    observed.pod.links[1].mtu = 1400;
    observed.pod.links[1].up = false;
    observed.pod.routes.retain(|route| !route.is_default() || route.destination.is_ipv6());
    observed.host.sysctls.insert("net/ipv4/conf/ens3/forwarding".into(), "0".into());
    let fault = fault(&layout, &diff(&layout, &observed)).unwrap();
    assert_eq!(fault.code, FaultCode::Drift);
    insta::assert_snapshot!(fault.what, @"attachment terway/c0ffee/eth0 is not as it was made: pod: link eth0 has mtu 1400 instead of 1500, up off instead of on; pod: route default via 10.0.1.253 dev eth0 onlink is missing; host: sysctl net/ipv4/conf/ens3/forwarding has value 0 instead of 1");
}
