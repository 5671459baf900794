//! Addresses, routes, neighbours, rules; and what a node's facts are.

use libtest_mimic::Trial;
use serde_json::json;
use terway_datapath::facts::{FactsError, HostFacts};
use terway_datapath::kernel::objects::{Rule, any};
use terway_datapath::kernel::{Netlink, Netns, Request, Route, RouteFilter, RouteKind};
use terway_types::IpFamily;

use crate::bench::{connect, first, index, json, mac, netns, set_up, trial};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("addresses_are_ready_at_once_and_idempotent", addresses),
        trial("routes_are_set_filtered_and_deleted", routes),
        trial("neighbours_are_permanent", neighbours),
        trial("rules_are_added_once_and_deleted_by_value", rules),
        trial("facts_are_the_uplink_and_the_primary_addresses", facts),
    ]
}

fn node() -> (Netns, Netns, Netlink) {
    let (host, other) = (netns(), netns());
    connect((&host, "eth0", &[]), (&other, "port0", &[]));
    set_up(&host, "lo");
    let netlink = Netlink::open(&host).unwrap();
    (host, other, netlink)
}

fn addresses() {
    let (host, _other, mut netlink) = node();
    let eth0 = index(&host, "eth0");
    let (v4, v6) = ("10.0.0.2/32".parse().unwrap(), "fd00::2/128".parse().unwrap());
    let add = [Request::add_address(eth0, v4), Request::add_address(eth0, v6)];
    netlink.transact(&add).unwrap();
    assert!(netlink.transact(&add).unwrap_err().is_exists());
    netlink.transact(&[Request::replace_address(eth0, v4), Request::replace_address(eth0, v6)]).unwrap();
    let shown = first(&host, "ip -j addr show dev eth0 scope global");
    let shown = shown["addr_info"].as_array().unwrap();
    assert_eq!((&shown[0]["local"], &shown[0]["prefixlen"]), (&json!("10.0.0.2"), &json!(32)));
    assert_eq!((&shown[1]["local"], &shown[1]["prefixlen"]), (&json!("fd00::2"), &json!(128)));
    assert_eq!((&shown[1]["nodad"], &shown[1]["tentative"]), (&json!(true), &json!(null)));
    let read = netlink.addresses(Some(eth0)).unwrap();
    let found = read.iter().find(|address| address.network == v6).unwrap();
    assert!(found.nodad && found.permanent && !found.tentative);
    assert!(read.iter().all(|address| address.index == eth0), "filtered by the kernel");
    assert!(netlink.addresses(None).unwrap().len() > read.len(), "lo has some");
    netlink.transact(&[Request::delete_address(eth0, v4), Request::delete_address(eth0, v6)]).unwrap();
    assert!(netlink.transact(&[Request::delete_address(eth0, v4)]).unwrap_err().is_absent());
    assert_eq!(json(&host, "ip -j addr show dev eth0 scope global")[0]["addr_info"], json!(null));
}

fn routes() {
    let (host, _other, mut netlink) = node();
    let eth0 = index(&host, "eth0");
    let add = |text: &str| Request::add_address(eth0, text.parse().unwrap());
    netlink.transact(&[add("10.0.0.2/32"), add("fd00::2/128")]).unwrap();
    let default4 = Route::default_of(IpFamily::V4).via("10.0.0.253".parse().unwrap()).dev(eth0).onlink();
    let gateway6 = Route::to("fd00::fd/128".parse().unwrap()).dev(eth0);
    let default6 = Route::default_of(IpFamily::V6).via("fd00::fd".parse().unwrap()).dev(eth0).onlink();
    let pod =
        Route::to("10.0.0.9/32".parse().unwrap()).dev(eth0).scope_link().src("10.0.0.2".parse().unwrap());
    let table = default4.clone().table(1003);
    let all = [&default4, &gateway6, &default6, &pod, &table];
    netlink.transact(&all.map(Request::replace_route)).unwrap();
    netlink.transact(&all.map(Request::replace_route)).unwrap();
    assert!(netlink.transact(&[Request::add_route(&pod)]).unwrap_err().is_exists());

    let shown = first(&host, "ip -j -4 route show default");
    assert_eq!((&shown["gateway"], &shown["flags"]), (&json!("10.0.0.253"), &json!(["onlink"])));
    assert_eq!(shown["protocol"], "157");
    let shown = first(&host, "ip -j route show 10.0.0.9");
    assert_eq!((&shown["scope"], &shown["prefsrc"]), (&json!("link"), &json!("10.0.0.2")));
    assert_eq!(first(&host, "ip -j -6 route show default")["gateway"], "fd00::fd");
    assert_eq!(json(&host, "ip -j route show table 1003").as_array().unwrap().len(), 1);

    let main = RouteFilter { table: Some(254), oif: Some(eth0), ..RouteFilter::default() };
    let read = netlink.routes(main).unwrap();
    for route in [&default4, &pod] {
        assert!(read.contains(route), "{route:?} in {read:?}");
    }
    // The kernel chooses 1024 for the IPv6 metric that is left open.
    for route in [gateway6.clone().metric(1024), default6.clone().metric(1024)] {
        assert!(read.contains(&route), "{route:?} in {read:?}");
    }
    let filter = |table| RouteFilter { table: Some(table), ..RouteFilter::default() };
    assert_eq!(netlink.routes(filter(1003)).unwrap(), vec![table.clone()]);
    assert_eq!(netlink.routes(filter(4242)).unwrap(), vec![], "no such table");
    let locals = netlink.routes(filter(255)).unwrap();
    assert!(locals.iter().any(|route| route.kind == RouteKind::Local), "{locals:?}");

    netlink.transact(&all.map(Request::delete_route)).unwrap();
    assert!(netlink.transact(&[Request::delete_route(&pod)]).unwrap_err().is_absent());
    assert_eq!(json(&host, "ip -j route show table all protocol 157"), json!([]));
}

fn neighbours() {
    let (host, _other, mut netlink) = node();
    let eth0 = index(&host, "eth0");
    let (v4, v6) = ("169.254.1.1".parse().unwrap(), "fe80::1".parse().unwrap());
    let set = |ip, last| Request::replace_neighbour(eth0, ip, mac(last));
    netlink.transact(&[set(v4, 1), set(v6, 2), set(v4, 3)]).unwrap();
    let shown = first(&host, "ip -j neigh show 169.254.1.1");
    assert_eq!((&shown["lladdr"], &shown["state"]), (&json!("02:00:00:00:00:03"), &json!(["PERMANENT"])));
    let read = netlink.neighbours(eth0).unwrap();
    let found = read.iter().find(|one| one.address == v6).unwrap();
    assert!(found.permanent && found.mac == Some(mac(2)));
    netlink.transact(&[Request::delete_neighbour(eth0, v4)]).unwrap();
    assert!(netlink.transact(&[Request::delete_neighbour(eth0, v4)]).unwrap_err().is_absent());
    assert_eq!(json(&host, "ip -j neigh show 169.254.1.1"), json!([]));
}

fn rules() {
    let (host, _other, mut netlink) = node();
    let mut rule = Rule::lookup(IpFamily::V4, 2048, 1003);
    rule.from = Some("10.0.0.2/32".parse().unwrap());
    rule.iif = Some("eth0".into());
    rule.mark = Some((0x20, 0x30));
    let plain = Rule { to: Some("fd00::/64".parse().unwrap()), ..Rule::lookup(IpFamily::V6, 512, 1004) };
    netlink.transact(&[Request::add_rule(&rule), Request::add_rule(&plain)]).unwrap();
    assert!(netlink.transact(&[Request::add_rule(&rule)]).unwrap_err().is_exists(), "not stored twice");
    let shown = first(&host, "ip -j rule show priority 2048");
    assert_eq!((&shown["src"], &shown["iif"]), (&json!("10.0.0.2"), &json!("eth0")));
    assert_eq!((&shown["fwmark"], &shown["fwmask"]), (&json!("0x20"), &json!("0x30")));
    assert_eq!((&shown["table"], &shown["protocol"]), (&json!("1003"), &json!("157")));
    let read = netlink.rules().unwrap();
    assert!(read.contains(&rule) && read.contains(&plain), "{read:?}");
    let foreign = Rule { protocol: 4, ..rule.clone() };
    assert!(netlink.transact(&[Request::delete_rule(&foreign)]).unwrap_err().is_absent(), "not ours");
    netlink.transact(&[Request::delete_rule(&rule), Request::delete_rule(&plain)]).unwrap();
    assert_eq!(json(&host, "ip -j rule show priority 2048"), json!([]));
}

fn facts() {
    let (host, _other, mut netlink) = node();
    let families = IpFamily::BOTH;
    let none = HostFacts::observe(&host, families).unwrap_err();
    assert_eq!(none.to_string(), "the node has no IPv4 default route");
    let eth0 = index(&host, "eth0");
    let lo = index(&host, "lo");
    let default = |index, metric| Route::to(any(IpFamily::V4)).dev(index).metric(metric).scope_link();
    let routes = [default(lo, 200), default(eth0, 100), Route::default_of(IpFamily::V6).dev(eth0)];
    netlink.transact(&routes.each_ref().map(Request::add_route)).unwrap();
    assert!(matches!(HostFacts::observe(&host, families), Err(FactsError::NoAddress { .. })));
    let add = ["10.0.1.9/24", "10.0.1.10/24", "fd00::9/64"];
    netlink.transact(&add.map(|text| Request::add_address(eth0, text.parse().unwrap()))).unwrap();
    let facts = HostFacts::observe(&host, families).unwrap();
    assert_eq!((facts.uplink.as_str(), facts.uplink_index), ("eth0", eth0));
    assert_eq!(facts.addresses.v4, "10.0.1.9".parse().ok());
    assert_eq!(facts.addresses.v6, "fd00::9".parse().ok());
    assert_eq!(facts.uplink_accept_ra, Some(1), "the kernel's default");
}
