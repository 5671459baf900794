//! Members of a trunk whose tags the trunk itself puts on and takes off: what `tc` shows, where packets go, and who takes
//! what away. Behind each VLAN of this world is a namespace of its own, which nothing without its tag reaches.

use std::net::SocketAddr;
use std::thread;

use serde_json::Value;
use terway_datapath::kernel::Netns;
use terway_datapath::{Removal, diff, observe, remove, repair, rules};
use terway_types::{Datapath, InterfacePlan};

use crate::life::similar;
use crate::packets::{talk, talks_with_the_node, two_pods};
use crate::sandbox::run;
use crate::talk::ask;
use crate::world::{Kind, Pod, World};

/// Priority and what is done, of each filter at a hook.
fn filters(world: &World, hook: &str) -> Vec<String> {
    let said = run(&format!("tc -n {} -j filter show dev eth1 {hook}", world.node_name()));
    let all: Value = serde_json::from_str(&said).unwrap();
    let with_actions = all.as_array().unwrap().iter().filter(|one| one["options"]["actions"].is_array());
    let text = |one: &Value| {
        let options = &one["options"];
        let action = &options["actions"][0];
        let words = [
            &one["protocol"],
            &one["pref"],
            &action["vlan_action"],
            &action["id"],
            &action["control_action"]["type"],
        ];
        let word = |value: &&Value| value.to_string().trim_matches('"').to_owned();
        words.iter().filter(|value| !value.is_null()).map(word).collect::<Vec<_>>().join(" ")
    };
    with_actions.map(text).collect()
}

pub(crate) fn tc_shows_what_the_layout_says() {
    let world = World::new(Kind::VlanTag, &[7, 8]);
    let (one, other) = (world.pod("one", 7), world.pod("other", 8));
    world.add(&one);
    assert_eq!(filters(&world, "ingress"), ["802.1Q 20000 pop reclassify"]);
    assert_eq!(filters(&world, "egress"), ["ip 50001 push 7 pipe", "ipv6 50002 push 7 pipe"]);
    let whose = world.filters("egress");
    // 10.0.7.1, and the first and last word of fd00:7::1.
    for word in ["0a000701/ffffffff at 12", "fd000007/ffffffff at 8", "00000001/ffffffff at 20"] {
        assert!(whose.contains(word), "{word}: {whose}");
    }
    world.add(&other);
    assert_eq!(filters(&world, "ingress").len(), 1, "one serves all");
    assert_eq!(filters(&world, "egress").len(), 4);
    assert!(world.node("rule").contains("from 10.0.7.1 lookup"));
}

pub(crate) fn members_reach_all_they_should() {
    let (world, one, other) = two_pods(Kind::VlanTag);
    let (seventh, eighth) = (world.vlan(7), world.vlan(8));
    let (pod4, pod6) = ("10.0.7.1:7000", "[fd00:7::1]:7000");
    for (from, at, to) in [
        // The gateway and what is behind it, each by its own VLAN.
        (pod4, &seventh, "10.0.7.253:7000"),
        (pod6, &seventh, "[fd00:7::fffd]:7000"),
        (pod4, &seventh, "172.18.0.1:7000"),
        (pod6, &seventh, "[fd00:18::1]:7000"),
        // Another member on the same node.
        (pod4, &other.netns, "10.0.8.1:7000"),
        (pod6, &other.netns, "[fd00:8::1]:7000"),
    ] {
        talk((&one.netns, from), (at, to));
    }
    talk((&other.netns, "10.0.8.1:7000"), (&eighth, "172.18.0.1:7000"));
    talk((&other.netns, "[fd00:8::1]:7000"), (&eighth, "[fd00:18::1]:7000"));
    talks_with_the_node(&world, &one, pod4, pod6);
    // The VPC speaks to the pod.
    talk((&seventh, "172.18.0.1:7001"), (&one.netns, pod4));
    talk((&seventh, "[fd00:18::1]:7001"), (&one.netns, pod6));
}

/// Services as kube-proxy's iptables mode has them, with the backend on the node and elsewhere.
pub(crate) fn members_reach_services() {
    let world = World::new(Kind::VlanTag, &[7, 8]);
    let (one, other) = (world.pod("one", 7), world.pod("other", 8));
    world.add(&one);
    world.add(&other);
    let seventh = world.vlan(7);
    let cases: [(&str, &str, &str, &str, &Netns); 4] = [
        ("iptables", "10.0.7.1", "172.16.0.10:80", "10.0.8.1:7000", &other.netns),
        ("iptables", "10.0.7.1", "172.16.0.11:80", "172.18.0.1:7000", &seventh),
        ("ip6tables", "fd00:7::1", "[fd00:172::10]:80", "[fd00:8::1]:7000", &other.netns),
        ("ip6tables", "fd00:7::1", "[fd00:172::11]:80", "[fd00:18::1]:7000", &seventh),
    ];
    for (program, pod, service, backend, at) in cases {
        let (service, listen): (SocketAddr, SocketAddr) =
            (service.parse().unwrap(), backend.parse().unwrap());
        run(&format!(
            "ip netns exec {} {program}-legacy -t nat -A PREROUTING -d {} -p udp --dport 80 -j DNAT --to {backend}",
            world.node_name(),
            service.ip()
        ));
        let seen = ask(&one.netns, service, at, listen);
        assert_eq!(seen.to_string(), pod, "the backend sees the pod itself");
    }
}

pub(crate) fn what_takes_tags_off_goes_with_the_last() {
    let world = World::new(Kind::VlanTag, &[7, 8]);
    let (one, other) = (world.pod("one", 7), world.pod("other", 8));
    let (layout, before) = (world.add(&one), world.record(&other));
    world.add(&other);
    world.del(&other, None);
    similar(&before, &world.record(&other));
    assert_eq!(world.check(&one, &layout), Vec::<String>::new());
    world.del(&one, None);
    assert_eq!(filters(&world, "ingress").len() + filters(&world, "egress").len(), 0);
    assert!(!world.node("rule").contains("10.0.7.1"));
}

/// A pod whose namespace died and of which nothing is known but its mark, and filters without a rule.
pub(crate) fn what_a_dead_pod_left_is_swept() {
    let world = World::new(Kind::VlanTag, &[7, 8]);
    let (stays, goes) = (world.pod("stays", 7), world.pod("goes", 8));
    let layout = world.add(&stays);
    let before = world.record(&stays);
    world.add(&goes);
    goes.die();
    let removal = Removal { key: goes.key.clone(), mac: None, addresses: vec![], host_links: vec![] };
    remove(&removal, &world.node, None, &world.rule).unwrap();
    rules::sweep(&world.node).unwrap();
    similar(&before, &world.record(&stays));
    // Somebody took the rules away.
    let add = "protocol ip prio 50001 u32 match ip src 10.0.8.1/32 action vlan push id 8";
    let agents = "protocol ip prio 25000 u32 match ip src 10.0.8.2/32 action ok";
    for filter in [add, agents] {
        run(&format!("tc -n {} filter add dev eth1 egress {filter}", world.node_name()));
    }
    rules::sweep(&world.node).unwrap();
    let left = world.filters("egress");
    assert!(!left.contains("0a000801") && left.contains("0a000802"), "{left}");
    assert_eq!(world.check(&stays, &layout), Vec::<String>::new());
}

pub(crate) fn what_is_missing_on_the_node_is_put_back() {
    let world = World::new(Kind::VlanTag, &[7]);
    let pod = world.pod("pod", 7);
    let layout = world.add(&pod);
    run(&format!("tc -n {} filter del dev eth1 ingress", world.node_name()));
    run(&format!("tc -n {} filter del dev eth1 egress", world.node_name()));
    run(&format!(
        "tc -n {} filter add dev eth1 egress protocol ip prio 50001 u32 match ip src 10.0.7.1/32 action vlan push id 9",
        world.node_name()
    ));
    let drifts = diff(&layout, &observe(&layout, &world.node, &pod.netns).unwrap());
    let said: Vec<_> = drifts.iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            "host: filter egress dev eth1 src 10.0.7.1 vlan push 7 has actions vlan push 9 instead of vlan push 7",
            "host: filter egress dev eth1 src fd00:7::1 vlan push 7 is missing",
            "host: filter ingress dev eth1 vlan pop is missing",
        ]
    );
    repair(&layout, &drifts, &world.node).unwrap();
    assert_eq!(world.check(&pod, &layout), Vec::<String>::new());
    assert_eq!(filters(&world, "egress").len(), 2);
    talk((&pod.netns, "10.0.7.1:7000"), (&world.vlan(7), "172.18.0.1:7000"));
    talk((&pod.netns, "[fd00:7::1]:7000"), (&world.vlan(7), "[fd00:18::1]:7000"));
}

/// A pod with a fixed address comes back before its old sandbox is gone.
pub(crate) fn a_new_sandbox_takes_the_address_over() {
    let world = World::new(Kind::VlanTag, &[7]);
    let (old, new) = (world.pod("old", 7), world.pod("new", 7));
    world.add(&old);
    let layout = world.add(&new);
    assert_eq!(filters(&world, "egress").len(), 2);
    world.del(&old, None);
    assert_eq!(world.check(&new, &layout), Vec::<String>::new());
    talk((&new.netns, "10.0.7.1:7000"), (&world.vlan(7), "172.18.0.1:7000"));
}

/// It would hear nothing.
pub(crate) fn a_vlan_link_beside_tagged_members_is_refused() {
    let world = World::new(Kind::VlanTag, &[7, 8]);
    let (tagged, linked) = (world.pod("tagged", 7), world.pod("linked", 8));
    let layout = world.add(&tagged);
    let before = world.record(&linked);
    let plan = InterfacePlan { datapath: Datapath::Vlan { id: 8 }, ..linked.plan() };
    let mut wanted = world.layout_of(&plan, &linked);
    wanted.host.source_nat.clear();
    let error = world.apply(&linked, &wanted, None).unwrap_err();
    let said = error.fault().to_string();
    assert!(said.contains("eth1") && said.contains("vlan_strip_type"), "{said}");
    similar(&before, &world.record(&linked));
    assert_eq!(world.check(&tagged, &layout), Vec::<String>::new());
    world.del(&tagged, None);
    world.apply(&linked, &wanted, None).unwrap();
}

pub(crate) fn many_come_and_go_at_once() {
    let numbers: Vec<u16> = (11..23).collect();
    let world = World::new(Kind::VlanTag, &numbers);
    let pods: Vec<Pod> = numbers.iter().map(|number| world.pod(&format!("p{number}"), *number)).collect();
    let all = |work: &(dyn Fn(&Pod) + Sync)| {
        thread::scope(|scope| pods.iter().for_each(|pod| drop(scope.spawn(|| work(pod)))));
    };
    for _ in 0..2 {
        all(&|pod| drop(world.add(pod)));
        for pod in &pods {
            assert_eq!(world.check(pod, &world.layout(pod)), Vec::<String>::new());
        }
        // Half of them go and come while the others stay.
        let half = |pod: &&Pod| pod.number().is_multiple_of(2);
        thread::scope(|scope| {
            for pod in pods.iter().filter(half) {
                scope.spawn(|| {
                    world.del(pod, None);
                    world.add(pod);
                });
            }
        });
        for pod in &pods {
            assert_eq!(world.check(pod, &world.layout(pod)), Vec::<String>::new());
        }
        all(&|pod| drop(world.del(pod, None)));
        assert_eq!(filters(&world, "ingress").len() + filters(&world, "egress").len(), 0);
    }
}
