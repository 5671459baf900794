//! Links: made, changed, moved, deleted; and the reader against what `ip` shows.

use libtest_mimic::Trial;
use serde_json::json;
use terway_datapath::kernel::request::Master;
use terway_datapath::kernel::{LinkChange, LinkRef, Netlink, NewLink, Request};

use crate::bench::{first, index, json, mac, netns, trial};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("a_pair_is_made_at_once_in_both_namespaces", pair),
        trial("a_link_is_moved_renamed_and_marked_in_one_request", moved),
        trial("a_name_taken_at_the_destination_refuses_the_rename", name_taken),
        trial("an_alias_of_255_bytes_is_kept_and_an_empty_one_clears", alias),
        trial("ports_join_and_leave_a_bridge", bridge),
        trial("links_read_are_those_ip_shows", reader),
    ]
}

fn pair() {
    let (host, pod) = (netns(), netns());
    let near = NewLink { name: "cali0", mac: Some(mac(1)), mtu: Some(1400), up: true, ..NewLink::default() };
    let far = NewLink {
        name: "veth1",
        mac: Some(mac(2)),
        mtu: Some(1300),
        netns: Some(&pod),
        ..NewLink::default()
    };
    let alias = LinkChange { alias: Some("terway:n/c/eth0"), ..LinkChange::default() };
    let batch = [Request::add_veth(&near, &far), Request::set_link("cali0", &alias)];
    Netlink::open(&host).unwrap().transact(&batch).unwrap();
    let shown = first(&host, "ip -j -d link show dev cali0");
    assert_eq!(shown["address"], "02:00:00:00:00:01");
    assert_eq!(shown["mtu"], 1400);
    assert_eq!(shown["ifalias"], "terway:n/c/eth0");
    assert!(shown["flags"].as_array().unwrap().contains(&json!("UP")));
    let shown = first(&pod, "ip -j -d link show dev veth1");
    assert_eq!(shown["address"], "02:00:00:00:00:02");
    assert_eq!((&shown["mtu"], &shown["linkinfo"]["info_kind"]), (&json!(1300), &json!("veth")));
    assert!(!shown["flags"].as_array().unwrap().contains(&json!("UP")));
    Netlink::open(&host).unwrap().transact(&[Request::delete_link("cali0")]).unwrap();
    assert_eq!(json(&pod, "ip -j link").as_array().unwrap().len(), 1);
}

fn moved() {
    let (host, pod) = (netns(), netns());
    let mut netlink = Netlink::open(&host).unwrap();
    let near = NewLink { name: "eni0", up: true, ..NewLink::default() };
    let far = NewLink { name: "port0", ..NewLink::default() };
    netlink.transact(&[Request::add_veth(&near, &far)]).unwrap();
    let nic = index(&host, "eni0");
    let into = LinkChange {
        name: Some("eth0"),
        alias: Some("terway:n/c/eth0"),
        mtu: Some(1280),
        netns: Some(&pod),
        ..LinkChange::default()
    };
    netlink.transact(&[Request::set_link(nic, &into)]).unwrap();
    let shown = first(&pod, "ip -j link show dev eth0");
    assert_eq!((&shown["ifalias"], &shown["mtu"]), (&json!("terway:n/c/eth0"), &json!(1280)));
    assert!(netlink.link_by_index(nic).unwrap().is_none());
    let home = LinkChange {
        name: Some("eni0200"),
        alias: Some(""),
        up: Some(false),
        netns: Some(&host),
        ..LinkChange::default()
    };
    let inside = index(&pod, "eth0");
    Netlink::open(&pod).unwrap().transact(&[Request::set_link(inside, &home)]).unwrap();
    let shown = first(&host, "ip -j link show dev eni0200");
    assert_eq!(shown["ifalias"], json!(null));
    assert!(!shown["flags"].as_array().unwrap().contains(&json!("UP")));
}

fn name_taken() {
    let (host, pod) = (netns(), netns());
    let mut netlink = Netlink::open(&host).unwrap();
    let end = |name| NewLink { name, ..NewLink::default() };
    let far = NewLink { netns: Some(&pod), ..end("eth0") };
    netlink
        .transact(&[Request::add_veth(&end("a0"), &far), Request::add_veth(&end("b0"), &end("b1"))])
        .unwrap();
    let change = LinkChange { name: Some("eth0"), netns: Some(&pod), ..LinkChange::default() };
    let request = Request::set_link(index(&host, "b0"), &change);
    let error = netlink.transact(&[request]).unwrap_err();
    assert!(error.is_exists(), "{error:?}");
    assert!(error.what().starts_with("move to another namespace, rename to eth0"), "{error}");
    // As `LinkChange::netns` says: it is there, under its old name.
    assert_eq!(first(&pod, "ip -j link show dev b0")["ifname"], "b0");
}

fn alias() {
    let host = netns();
    let mut netlink = Netlink::open(&host).unwrap();
    let long = "x".repeat(255);
    let set = |alias| Request::set_link("lo", &LinkChange { alias: Some(alias), ..LinkChange::default() });
    netlink.transact(&[set(&long)]).unwrap();
    assert_eq!(first(&host, "ip -j link show dev lo")["ifalias"], json!(long));
    assert_eq!(netlink.link_by_name("lo").unwrap().unwrap().alias.as_deref(), Some(long.as_str()));
    netlink.transact(&[set("")]).unwrap();
    assert_eq!(first(&host, "ip -j link show dev lo")["ifalias"], json!(null));
    assert_eq!(netlink.link_by_name("lo").unwrap().unwrap().alias, None);
    assert!(netlink.transact(&[set(&"x".repeat(256))]).is_err());
}

fn bridge() {
    let host = netns();
    let mut netlink = Netlink::open(&host).unwrap();
    netlink
        .transact(&[Request::add_bridge(&NewLink { name: "vsw", up: true, ..NewLink::default() })])
        .unwrap();
    let bridge = index(&host, "vsw");
    let port = NewLink { name: "p0", master: Some(bridge), ..NewLink::default() };
    let pair = Request::add_veth(&port, &NewLink { name: "p1", ..NewLink::default() });
    netlink.transact(&[pair]).unwrap();
    assert_eq!(first(&host, "ip -j link show dev p0")["master"], "vsw");
    let join = LinkChange { master: Some(Master::Index(bridge)), ..LinkChange::default() };
    let leave = LinkChange { master: Some(Master::None), ..LinkChange::default() };
    netlink.transact(&[Request::set_link("p1", &join), Request::set_link("p0", &leave)]).unwrap();
    assert_eq!(first(&host, "ip -j link show dev p0")["master"], json!(null));
    assert_eq!(first(&host, "ip -j link show dev p1")["master"], "vsw");
}

fn reader() {
    let (host, pod) = (netns(), netns());
    let mut netlink = Netlink::open(&host).unwrap();
    let near = NewLink { name: "a0", mac: Some(mac(7)), ..NewLink::default() };
    let far = NewLink { name: "a1", netns: Some(&pod), ..NewLink::default() };
    let ifb = NewLink { name: "ifb9", up: true, ..NewLink::default() };
    netlink.transact(&[Request::add_veth(&near, &far), Request::add_ifb(&ifb)]).unwrap();
    let links = netlink.links().unwrap();
    for link in &links {
        let shown = first(&host, &format!("ip -j -d link show dev {}", link.name));
        assert_eq!(shown["ifindex"], link.index);
        assert_eq!(shown["mtu"], link.mtu);
        assert_eq!(shown["address"], link.mac.map(|mac| mac.to_string()).unwrap());
        assert_eq!(shown["linkinfo"]["info_kind"].as_str(), link.kind.as_deref());
        assert_eq!(shown["link_type"] == "loopback", link.loopback);
        assert_eq!(shown["link_type"] == "ether", link.ether);
        assert_eq!(shown["flags"].as_array().unwrap().contains(&json!("UP")), link.up);
        assert_eq!(netlink.link_by_index(link.index).unwrap().as_ref(), Some(link));
    }
    let pair = links.iter().find(|link| link.name == "a0").unwrap();
    assert_eq!(pair.peer, Some(index(&pod, "a1")));
    assert!(pair.peer_netns_id.is_some());
    assert_eq!(links.len(), json(&host, "ip -j link").as_array().unwrap().len());
    assert_eq!(netlink.link_by_name("absent").unwrap(), None);
    let gone = netlink.transact(&[Request::delete_link(LinkRef::Index(9999))]).unwrap_err();
    assert!(gone.is_absent(), "{gone:?}");
}
