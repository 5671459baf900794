//! The built plugin on a kernel that has IPVlan, against a stand-in daemon: what many machines' own kernels lack, so this is
//! among the test files of `cargo xtask lab`. A kernel may have IPVlan and no nf_tables, on which the node's part depends.

#![expect(clippy::unwrap_used, unreachable_pub, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "the other test file of the plugin uses more of it")]
mod bench;
#[path = "../../terway-datapath/tests/sandbox/needs.rs"]
mod needs;

use std::process::ExitCode;

use bench::daemon::{Daemon, Script};
use bench::{Call, ENI_MAC, Node, interface};
use libtest_mimic::Arguments;
use needs::Need;
use serde_json::{Value, json};
use terway_rpc::wire::{Attachment, CollectGarbageReply};

const IPVLAN: Need = Need {
    what: "IPVlan links (ipvlan)",
    probe: "unshare -Urn sh -c 'ip link add probe0 type veth peer name probe1 && \
            ip link add link probe0 name probe2 type ipvlan mode l2'",
};

const NAT: Need = Need {
    what: "nf_tables with nat for IPv4 and IPv6",
    probe: "unshare -Urn sh -c 'for family in ip ip6; do nft add table $family probe && \
            nft add chain $family probe post \"{ type nat hook postrouting priority srcnat; }\" || exit; done'",
};

/// Its name, what it does, and what it needs of the kernel.
type Test = (&'static str, fn(), &'static [Need]);

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let tests: [Test; 4] = [
        ("a_pod_comes_and_goes", a_pod_comes_and_goes, &[IPVLAN]),
        ("a_pod_with_ways_to_its_node_comes_and_goes", a_pod_with_ways_to_its_node, &[IPVLAN, NAT]),
        ("a_pod_routed_on_its_node_comes_and_goes", a_pod_routed_on_its_node, &[IPVLAN, NAT]),
        ("what_a_dead_pod_left_is_collected", what_a_dead_pod_left_is_collected, &[IPVLAN, NAT]),
    ];
    needs::run(&arguments, tests.map(|(name, test, needs)| (needs::trial(name, test), needs)))
}

fn node_with_daemon() -> (Node, Daemon) {
    let node = Node::new();
    let script = Script { interfaces: vec![interface()], shared: true, ..Script::default() };
    let daemon = Daemon::start(node.dir.path(), script);
    (node, daemon)
}

/// IPVlan or nothing.
fn call<'a>(node: &'a Node, verb: &str) -> Call<'a> {
    node.call(verb).key("eniip_virtual_type", json!("IPVlan")).key("require_virtual_type", json!(true))
}

/// Links, routes and rules of node and pod, without indices. The ENI stays up once a child needed it.
fn state(node: &Node) -> String {
    let show =
        "ip -br link | sed s/@[^[:space:]]*// | sort; ip -o route; ip -6 -o route; ip rule; ip -6 rule";
    node.sh(&format!("ip link set nic0 down; {show}; ip netns exec a sh -c \"{show}\""))
}

fn comes_and_goes(
    node: &Node,
    daemon: &Daemon,
    mode: &str,
    configured: impl Fn(&str) -> Value,
    end: Option<&str>,
) {
    let with = |verb: &str| {
        let mut call = call(node, verb);
        for (key, value) in configured(verb).as_object().unwrap() {
            call = call.key(key, value.clone());
        }
        call
    };
    let before = state(node);
    let result = with("ADD").ok();
    assert_eq!(daemon.asked(), ["alloc c0ffee/eth0 pod=web"]);
    let link: Value = serde_json::from_str(&node.sh("ip -n a -j -d link show dev eth0")).unwrap();
    let info = &link[0]["linkinfo"];
    assert_eq!((&info["info_kind"], &info["info_data"]["mode"]), (&json!("ipvlan"), &json!(mode)));
    assert_eq!(link[0]["address"], ENI_MAC);
    assert_eq!(result["interfaces"][0]["sandbox"], "/run/netns/a");
    let on_node = result["interfaces"].as_array().unwrap().iter().find(|one| one.get("sandbox").is_none());
    assert_eq!(on_node.map(|one| one["name"].as_str().unwrap().starts_with("cali")), end.map(|_| true));
    with("CHECK").key("prevResult", result.clone()).ok();
    node.sh("ip -n a route del default");
    with("CHECK").key("prevResult", result.clone()).fails(103, &["route default via 10.0.1.253"]);
    // The ENI has the pod's MAC, and stays.
    with("DEL").key("prevResult", result).ok();
    assert!(node.sh("ip -br link show nic0").contains("UP"));
    assert_eq!(state(node), before);
    with("DEL").ok();
}

fn a_pod_comes_and_goes() {
    let (node, daemon) = node_with_daemon();
    comes_and_goes(&node, &daemon, "l2", |_| json!({ "disable_host_peer": true }), None);
}

fn a_pod_with_ways_to_its_node() {
    let (node, daemon) = node_with_daemon();
    let rules = node.sh("nft list ruleset");
    comes_and_goes(&node, &daemon, "l2", |_| json!({}), Some("cali"));
    assert_eq!(node.sh("nft list ruleset"), rules);
}

fn a_pod_routed_on_its_node() {
    let (node, daemon) = node_with_daemon();
    let rules = node.sh("nft list ruleset");
    let tables = node.sh("ip route show table all type unicast; ip rule");
    // CHECK goes by what the pod was given, whatever the configuration says since.
    let mode = |verb: &str| json!({ "ipvlan_mode": if verb == "ADD" { "l3s" } else { "l2" } });
    comes_and_goes(&node, &daemon, "l3s", mode, Some("cali"));
    assert_eq!(node.sh("nft list ruleset"), rules);
    assert_eq!(node.sh("ip route show table all type unicast; ip rule"), tables);
}

fn what_a_dead_pod_left_is_collected() {
    let (node, daemon) = node_with_daemon();
    call(&node, "ADD").ok();
    assert!(node.sh("ip -br link").contains("cali"));
    node.sh("ip netns del a");
    let gone = Attachment {
        network: "terway".to_owned(),
        container_id: "c0ffee".to_owned(),
        ifname: "eth0".to_owned(),
    };
    daemon.script().garbage = CollectGarbageReply { released: vec![gone], faults: Vec::new() };
    call(&node, "GC").key("cni.dev/valid-attachments", json!([])).ok();
    let left = node.sh("ip -br link; ip route; nft list ruleset");
    assert!(!left.contains("cali") && !left.contains("10.0.1.5"), "{left}");
    assert!(left.contains("nic0"), "the ENI stays: {left}");
}
