//! What `ip` shows of a pod with a child of a shared ENI, and whether a kernel can make one.

use std::collections::BTreeSet;

use serde_json::Value;
use terway_datapath::kernel::Netlink;
use terway_datapath::{Removal, leftovers, remove};
use terway_types::fault::chain;
use terway_types::{Addresses, Datapath, IfName, InterfacePlan};

use crate::packets::talk;
use crate::sandbox::run;
use crate::world::{ENI, Kind, World};

pub(crate) fn ip_shows_what_the_layout_says() {
    let world = World::new(Kind::Ipvlan, &[7]);
    let pod = world.pod("pod", 7);
    let layout = world.add(&pod);
    let end = &layout.host.links[0].name;
    for (said, name) in [
        (pod.ip("-j -d link show dev eth0"), "eth0"),
        (world.node(&format!("-j -d link show dev {end}")), end.as_str()),
    ] {
        let link = &json(&said)[0];
        assert_eq!(link["ifname"], *name);
        assert_eq!(link["address"], ENI.to_string());
        assert_eq!(link["linkinfo"]["info_kind"], "ipvlan");
        assert_eq!(link["linkinfo"]["info_data"]["mode"], "l2");
        assert_eq!(
            (&link["mtu"], &link["ifalias"]),
            (&Value::from(1500), &Value::from(layout.host.links[0].mark.as_str()))
        );
    }
    let ways = |said: &str| -> Vec<String> {
        let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        let ways = json(said).as_array().unwrap().clone();
        ways.iter()
            .filter(|way| way["protocol"] == "157")
            .map(|way| {
                format!(
                    "{} {} {} {}",
                    text(&way["dst"]),
                    text(&way["gateway"]),
                    text(&way["dev"]),
                    text(&way["prefsrc"])
                )
            })
            .collect()
    };
    assert_eq!(
        ways(&pod.ip("-j route")),
        [
            "default 10.0.1.253 eth0 -",
            "10.0.0.9 169.254.1.1 eth0 -",
            "10.0.1.0/24 - eth0 -",
            "169.254.1.1 - eth0 -",
            "169.254.20.10 169.254.1.1 eth0 -",
            "172.16.0.0/16 169.254.1.1 eth0 -",
        ]
    );
    assert_eq!(
        ways(&pod.ip("-j -6 route")),
        [
            "fd00::9 fe80::1 eth0 -",
            "fd00:1::/64 - eth0 -",
            "fd00:172::/112 fe80::1 eth0 -",
            "fe80::1 - eth0 -",
            "default fd00:1::fffd eth0 -",
        ]
    );
    assert_eq!(ways(&world.node("-j route")), [format!("10.0.1.7 - {end} 10.0.0.9")]);
    assert_eq!(ways(&world.node("-j -6 route")), [format!("fd00:1::7 - {end} fd00::9")]);
    assert_eq!(world.node("-j rule"), World::new(Kind::Ipvlan, &[]).node("-j rule"), "no rules");
}

/// The kernel gives all children of a link the mode of the one made last; so the first pod's mode is the ENI's.
pub(crate) fn an_eni_has_one_mode_for_all() {
    let world = World::new(Kind::Ipvlan, &[7, 8]);
    let (first, second) = (world.pod("first", 7), world.pod("second", 8));
    let layout = world.add(&first);
    let before = world.record(&second);
    let plan = InterfacePlan { datapath: Datapath::IpvlanL3s, ..second.plan() };
    let mut other = world.layout_of(&plan, &second);
    other.host.source_nat.clear();
    let error = world.apply(&second, &other, None).unwrap_err();
    let said = chain(&error);
    assert!(said.contains("IPVlan mode l2") && said.contains("before ipvlan_mode changes"), "{said}");
    assert_eq!(before, world.record(&second));
    assert_eq!(world.check(&first, &layout), Vec::<String>::new());
    // Once it is gone, the ENI may have another.
    world.del(&first, None);
    world.apply(&second, &other, None).unwrap();
    assert_eq!(world.check(&second, &other), Vec::<String>::new());
}

/// A further interface in the vSwitch of the first, with extra routes inside and outside of it.
pub(crate) fn two_interfaces_in_one_vswitch() {
    let world = World::new(Kind::Ipvlan, &[7, 9]);
    let (pod, other) = (world.pod("pod", 7), world.pod("other", 9));
    world.add(&other);
    let first = InterfacePlan { own_table: true, ..pod.plan() };
    let second = InterfacePlan {
        ifname: IfName::new("eth1").unwrap(),
        addresses: Addresses::new("10.0.1.8".parse().ok(), "fd00:1::8".parse().ok()),
        extra_routes: ["10.0.1.9/32", "172.18.0.0/16", "fd00:1::9/128", "fd00:18::/48"]
            .map(|cidr| cidr.parse().unwrap())
            .into(),
        default_route: false,
        ..first.clone()
    };
    let mut layouts = [&first, &second].map(|plan| world.layout_of(plan, &pod));
    // The node speaks with the first only.
    layouts[0].host.source_nat.clear();
    for layout in &layouts {
        world.apply(&pod, layout, None).unwrap();
    }
    for layout in &layouts {
        assert_eq!(world.check(&pod, layout), Vec::<String>::new());
    }
    for address in ["172.18.0.1/32", "fd00:18::1/128"] {
        world.vpc(&format!("addr add {address} dev trunk nodad"));
    }
    for (from, at, to) in [
        ("10.0.1.7:7000", &world.vpc, "10.0.1.253:7000"),
        ("[fd00:1::7]:7000", &world.vpc, "[fd00:1::fffd]:7000"),
        ("10.0.1.8:7000", &world.vpc, "10.0.1.253:7000"),
        ("[fd00:1::8]:7000", &world.vpc, "[fd00:1::fffd]:7000"),
    ] {
        talk((&pod.netns, from), (at, to));
    }
    // Unasked the kernel takes the address and the link of the extra route.
    for (to, from) in [("172.18.0.1", "10.0.1.8"), ("fd00:18::1", "fd00:1::8"), ("fd00:1::9", "fd00:1::8")] {
        let way = pod.ip(&format!("-o route get {to}"));
        assert!(way.contains("dev eth1") && way.contains(&format!("src {from}")), "{way}");
    }
    talk((&pod.netns, "[fd00:1::8]:7000"), (&world.vpc, "[fd00:18::1]:7000"));
    talk((&pod.netns, "10.0.1.8:7000"), (&world.vpc, "172.18.0.1:7000"));
}

/// The node's child outlives the pod's, which goes with its namespace: GC and the daemon find it by its mark.
pub(crate) fn what_a_dead_pod_left_is_found_and_goes() {
    let world = World::new(Kind::Ipvlan, &[7, 8]);
    let (other, goes) = (world.pod("stays", 7), world.pod("goes", 8));
    let others = world.add(&other);
    let before = world.record(&other);
    let layout = world.add(&goes);
    goes.die();
    let traces = || leftovers::find(&world.node, &BTreeSet::from([ENI])).unwrap();
    let found = traces();
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(found[&goes.key].links, BTreeSet::from([layout.host.links[0].name.clone()]));
    let removal = Removal { key: goes.key.clone(), mac: None, addresses: vec![], host_links: vec![] };
    let removed = remove(&removal, &world.node, None, &world.rule).unwrap();
    assert_eq!(removed.links, [layout.host.links[0].name.clone()]);
    assert!(traces().keys().eq([&other.key]));
    assert_eq!(before, world.record(&other));
    assert_eq!(world.check(&other, &others), Vec::<String>::new());
}

fn json(said: &str) -> Value {
    serde_json::from_str(said).unwrap()
}

pub(crate) fn the_kernel_is_asked_whether_it_can() {
    let before = run("ip -o link");
    assert!(Netlink::here().unwrap().has_ipvlan().unwrap());
    assert_eq!(run("ip -o link"), before);
}

/// In whatever kernel this runs: what it says is what `ip` finds.
pub(crate) fn a_kernel_without_it_says_so() {
    let world = World::new(Kind::Ipvlan, &[]);
    let has = Netlink::open(&world.node).unwrap().has_ipvlan().unwrap();
    let made = run(&format!(
        "ip -n {} link add link eth1 name probe type ipvlan mode l2 2>/dev/null && echo made || true",
        world.node_name()
    ));
    assert_eq!(has, made == "made\n");
}
