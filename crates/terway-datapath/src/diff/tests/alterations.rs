//! Every way to alter one field of an object as the kernel has it.

use terway_types::MacAddr;

use super::{Change, change, is_it};
use crate::describe::{Address, Link, LinkKind, Object, Route, Rule, SourceNat};
use crate::kernel::objects::{self as kernel, Child, Scope};
use crate::kernel::{Action, Filter, SmcEntry};
use crate::observe::NamespaceState;
use crate::source_nat::rules;
use crate::{queues, tags};

/// Takes a field's name and the change that alters it.
type Alter<'a> = dyn FnMut(&'static str, &dyn Fn(&mut NamespaceState)) + 'a;

fn alter_source_nat(wanted: &SourceNat, alter: &mut Alter<'_>) {
    for rule in rules(wanted) {
        alter("rules", &|state| state.source_nat.rules.retain(|other| *other != rule));
    }
    alter("snat to", &|state| {
        let pod = state.source_nat.pods.iter_mut().find(|pod| *pod == wanted).unwrap();
        pod.node = pod.pod;
    });
}

fn alter_route(wanted: &Route, state: &NamespaceState, alter: &mut Alter<'_>) {
    let fields: [(_, fn(&mut kernel::Route)); 8] = [
        ("kind", |route| route.kind = kernel::RouteKind::Blackhole),
        ("via", |route| route.gateway = Some("192.0.2.1".parse().unwrap())),
        ("dev", |route| route.oif = Some(77)),
        ("src", |route| route.prefsrc = Some("192.0.2.1".parse().unwrap())),
        ("scope", |route| route.scope = Scope::Other(7)),
        ("protocol", |route| route.protocol = 3),
        ("metric", |route| route.metric = 9),
        ("onlink", |route| route.onlink = !route.onlink),
    ];
    let table = state.table(&wanted.table).unwrap();
    for (field, how) in fields {
        let which = |one: &kernel::Route| (one.destination, one.table) == (wanted.destination, table);
        alter(field, &|state| change(&mut state.routes, which, Some(how)));
    }
}

fn alter_link(wanted: &Link, alter: &mut Alter<'_>) {
    let fields: [(_, fn(&mut kernel::Link)); 5] = [
        ("address", |link| link.mac = Some(MacAddr([2; 6]))),
        ("mtu", |link| link.mtu = 1400),
        ("alias", |link| link.alias = None),
        ("master", |link| link.master = Some(77)),
        ("up", |link| link.up = false),
    ];
    for (field, how) in fields {
        alter(field, &|state| change(&mut state.links, |link| link.name == wanted.name, Some(how)));
    }
    if wanted.group.is_some() {
        let how: Change<kernel::Link> = Some(|link| link.group = 7);
        alter("group", &|state| change(&mut state.links, |link| link.name == wanted.name, how));
    }
    let child = match wanted.kind {
        LinkKind::Vlan { .. } => Some(("vlan", Child::Vlan(8))),
        LinkKind::Ipvlan { .. } => Some(("mode", Child::Ipvlan(None))),
        _ => None,
    };
    if let Some((field, other)) = child {
        alter(field, &|state| {
            let links = state.links.iter_mut().filter(|link| link.name == wanted.name);
            links.for_each(|link| link.child = Some(other));
        });
    }
    if !matches!(wanted.kind, LinkKind::Nic { .. }) {
        let how: Change<kernel::Link> = Some(|link| link.kind = Some("bridge".into()));
        alter("kind", &|state| change(&mut state.links, |link| link.name == wanted.name, how));
    }
}

fn alter_rule(wanted: &Rule, alter: &mut Alter<'_>) {
    let fields: [(_, fn(&mut kernel::Rule)); 3] = [
        ("priority", |rule| rule.priority += 1),
        ("table", |rule| rule.table += 1),
        ("protocol", |rule| rule.protocol = 3),
    ];
    for (field, how) in fields {
        alter(field, &|state| change(&mut state.rules, |one| is_it(wanted, one), Some(how)));
    }
}

fn alter_address(wanted: &Address, index: u32, alter: &mut Alter<'_>) {
    let mut fields: Vec<(_, fn(&mut kernel::Address))> = vec![
        ("scope", |one| one.scope = Scope::Host),
        ("permanent", |one| one.permanent = false),
        ("prefix length", |one| {
            one.network = ipnetwork::IpNetwork::new(one.network.ip(), 24).unwrap();
        }),
    ];
    if wanted.address.is_ipv6() {
        fields.push(("nodad", |one| one.nodad = false));
        fields.push(("tentative", |one| one.tentative = true));
        fields.push(("dadfailed", |one| one.dadfailed = true));
    }
    for (field, how) in fields {
        let which = |one: &kernel::Address| one.index == index && one.network == wanted.address;
        alter(field, &|state| change(&mut state.addresses, which, Some(how)));
    }
}

/// Every way to alter one field of an object, by the name the field is reported under.
pub(super) fn alterations(object: &Object, state: &NamespaceState) -> Vec<(&'static str, NamespaceState)> {
    let mut all = Vec::new();
    let index = |name: &str| state.links.iter().find(|link| link.name == name).map_or(0, |link| link.index);
    let mut alter = |field, change: &dyn Fn(&mut NamespaceState)| {
        let mut altered = state.clone();
        change(&mut altered);
        all.push((field, altered));
    };
    match object {
        Object::Loopback(_) => alter("up", &|state| {
            change(&mut state.links, |link| link.name == "lo", Some(|link| link.up = false));
        }),
        Object::SharedNic(wanted) => {
            let fields: [(_, fn(&mut kernel::Link)); 4] = [
                ("address", |link| link.mac = Some(MacAddr([2; 6]))),
                ("mtu", |link| link.mtu = 1400),
                ("master", |link| link.master = Some(77)),
                ("up", |link| link.up = false),
            ];
            for (field, how) in fields {
                alter(field, &|state| change(&mut state.links, |link| link.name == wanted.name, Some(how)));
            }
            if wanted.link_local.is_some() {
                let asks = kernel::Address::asks_for_neighbours;
                alter("link-local", &|state| state.addresses.retain(|address| !asks(address)));
                let how: Change<kernel::Address> = Some(|address| address.dadfailed = true);
                alter("link-local", &|state| change(&mut state.addresses, asks, how));
            }
        }
        Object::Link(wanted) => alter_link(wanted, &mut alter),
        Object::Sysctl(wanted) => alter("value", &|state| {
            state.sysctls.insert(wanted.path.clone(), "7".into());
        }),
        Object::Address(wanted) => alter_address(wanted, index(&wanted.link), &mut alter),
        Object::Route(wanted) => alter_route(wanted, state, &mut alter),
        Object::Rule(wanted) => alter_rule(wanted, &mut alter),
        Object::Neighbour(wanted) => {
            let fields: [(_, fn(&mut kernel::Neighbour)); 2] =
                [("lladdr", |one| one.mac = None), ("permanent", |one| one.permanent = false)];
            for (field, how) in fields {
                let which = |one: &kernel::Neighbour| one.address == wanted.address;
                alter(field, &|state| change(&mut state.neighbours, which, Some(how)));
            }
        }
        Object::Limit(wanted) => {
            let index = index(&wanted.link);
            let fields: [(_, fn(&mut crate::kernel::Tbf)); 3] = [
                ("rate", |bucket| bucket.rate *= 2),
                ("burst", |bucket| bucket.burst *= 2),
                ("limit", |bucket| bucket.limit *= 2),
            ];
            for (field, how) in fields {
                alter(field, &|state| {
                    let qdisc = state.qdiscs.iter_mut().find(|one| one.index == index).unwrap();
                    how(qdisc.tbf.as_mut().unwrap());
                });
            }
        }
        Object::Redirect(wanted) => {
            let index = index(&wanted.from);
            alter("target", &|state| {
                state.redirects.insert(index, 77);
            });
        }
        Object::Tag(wanted) => {
            let fields: [(_, fn(&mut Filter)); 2] = [
                ("priority", |one| one.priority += 7),
                ("actions", |one| one.actions = vec![Action::PushVlan(8)]),
            ];
            for (field, how) in fields {
                alter(field, &|state| {
                    let ours = tags::filter(wanted.tagging);
                    how(&mut state.filters.iter_mut().find(|(_, one)| *one == ours).unwrap().1);
                });
            }
        }
        Object::Queues(wanted) => {
            let index = index(&wanted.link);
            alter("qdisc", &|state| {
                let leaf = &mut state.trees.get_mut(&index).unwrap().leaves[1];
                leaf.qdisc.as_mut().unwrap().kind = "pfifo_fast".into();
            });
        }
        Object::Class(wanted) => alter("class", &|state| {
            let (_, filter) = state
                .classes
                .iter_mut()
                .rfind(|(_, one)| queues::classes::source(one) == Some(wanted.source))
                .unwrap();
            filter.actions = vec![Action::ToClass(3)];
        }),
        Object::SourceNat(wanted) => alter_source_nat(wanted, &mut alter),
        Object::Smc(wanted) => alter("network", &|state| {
            let how: Change<SmcEntry> = Some(|entry| entry.network = "OTHER".into());
            change(&mut state.smc, |one| one == wanted, how);
        }),
    }
    all
}
