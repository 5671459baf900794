//! The built plugin against real namespaces and a stand-in daemon: every verb, and every way in which a
//! call can be wrong. Needs user namespaces, `ip`, `nft`, `unshare` and `nsenter`.

#![expect(clippy::unwrap_used, unreachable_pub, reason = "a test fails by panicking")]

mod away;
#[path = "../bench/mod.rs"]
mod bench;
mod garbage;

use std::process::{Command, Stdio};

use bench::daemon::{Daemon, Script};
use bench::{ENI_MAC, Node, Outcome, interface, is_empty};
use serde_json::{Value, json};
use terway_rpc::wire;
use terway_rpc::wire::StatusReply;
use terway_types::{AttachmentKey, ContainerId, Fault, FaultCode, IfName, NetworkName};

fn node_with_daemon() -> (Node, Daemon) {
    let node = Node::new();
    let daemon =
        Daemon::start(node.dir.path(), Script { interfaces: vec![interface()], ..Script::default() });
    (node, daemon)
}

/// The attachment that every call is about.
fn key() -> AttachmentKey {
    AttachmentKey {
        network: NetworkName::new("terway").unwrap(),
        container: ContainerId::new("c0ffee").unwrap(),
        ifname: IfName::new("eth0").unwrap(),
    }
}

#[test]
fn a_pod_comes_and_goes() {
    let (node, daemon) = node_with_daemon();
    let before = node.state();
    let result = node.call("ADD").ok();
    assert_eq!(daemon.asked(), ["alloc c0ffee/eth0 pod=web"]);
    assert_eq!(result["interfaces"][0]["name"], "eth0");
    assert_eq!(result["interfaces"][0]["mac"], ENI_MAC);
    assert_eq!(result["interfaces"][0]["sandbox"], "/run/netns/a");
    assert_eq!(result["ips"][0]["address"], "10.0.1.5/32");
    let seen: Value = serde_json::from_str(&node.sh("ip -n a -j link show dev eth0")).unwrap();
    assert_eq!(
        (&seen[0]["address"], &seen[0]["ifalias"]),
        (&json!(ENI_MAC), &json!("terway:terway/c0ffee/eth0"))
    );
    for interface in result["interfaces"].as_array().unwrap() {
        let name = interface["name"].as_str().unwrap();
        let place = if interface.get("sandbox").is_some() { "ip netns exec a " } else { "" };
        let link: Value = serde_json::from_str(&node.sh(&format!("{place}ip -j link show {name}"))).unwrap();
        assert_eq!((&link[0]["address"], &link[0]["mtu"]), (&interface["mac"], &interface["mtu"]), "{name}");
    }

    node.call("CHECK").key("prevResult", result.clone()).ok();
    assert_eq!(daemon.asked(), ["info c0ffee/eth0"]);

    node.call("DEL").key("prevResult", result).ok();
    assert_eq!(daemon.asked(), ["info c0ffee/eth0", "release c0ffee/eth0: DEL"]);
    let home = node.sh("ip -br link show eni00163e000001");
    assert!(home.contains("DOWN"), "{home}");
    node.sh("ip link set eni00163e000001 name nic0");
    assert_eq!(node.state(), before);
    assert!(is_empty(&node.dir.path().join("locks")), "no lock stays behind");

    node.call("DEL").env("CNI_NETNS", "").ok();
    node.call("DEL").env("CNI_NETNS", "/run/netns/gone").ok();
}

/// The node's sysfs with the RDMA device that an eRDMA driver makes for the ENI.
const RDMA_DEVICE: &str = "
    mount -t tmpfs none /sys/class
    mkdir -p /sys/class/infiniband/erdma_0
    echo 0216:3eff:fe00:0001 > /sys/class/infiniband/erdma_0/node_guid";

#[test]
fn a_pod_for_erdma_speaks_with_its_enis_mac_or_is_not_made() {
    let node = Node::new();
    let mut eni = interface();
    eni.eni.as_mut().unwrap().erdma = true;
    let script = Script { interfaces: vec![eni], shared: true, ..Script::default() };
    let daemon = Daemon::start(node.dir.path(), script);
    let before = node.state();
    let words = ["rdma-unusable", "no RDMA device has node GUID 0216:3eff:fe00:0001", "modprobe erdma"];
    node.call("ADD").fails(11, &words);
    assert_eq!(node.state(), before);
    assert_eq!(daemon.asked(), ["alloc c0ffee/eth0 pod=web", "release c0ffee/eth0: ADD failed"]);

    node.sh(RDMA_DEVICE);
    let result = node.call("ADD").ok();
    assert_eq!(result["interfaces"][0]["mac"], ENI_MAC);
    let seen: Value = serde_json::from_str(&node.sh("ip -n a -j -d link show dev eth0")).unwrap();
    assert_eq!((&seen[0]["address"], &seen[0]["linkinfo"]["info_kind"]), (&json!(ENI_MAC), &json!("veth")));
    let check = node.call("CHECK").key("prevResult", result.clone());
    check.ok();
    // The driver was unloaded: the pod is as it was made and has lost its device.
    node.sh("mv /sys/class/infiniband /sys/class/away");
    check.fails(11, &["rdma-unusable"]);
    node.sh("mv /sys/class/away /sys/class/infiniband");
    check.ok();
    // The daemon says otherwise meanwhile; what counts is how the pod was made.
    daemon.script().interfaces[0].eni.as_mut().unwrap().erdma = false;
    check.ok();

    // The daemon is away: the pod's MAC is all that is known of its ENI.
    let away = node.call("DEL").key("prevResult", result).key("socket_path", json!("/nowhere/eni.socket"));
    away.ok();
    assert_eq!(node.sh("ip -n a -br link show type veth"), "");
    assert!(node.sh("ip -br link show nic0").contains(ENI_MAC), "the ENI stays what and where it was");
    assert!(!node.sh("ip -br link").contains("cali"), "and nothing else does");
}

#[test]
fn version_needs_nothing() {
    let node = Node::new();
    let podman = ["CNI_NETNS", "CNI_IFNAME", "CNI_PATH"];
    let call =
        podman.iter().fold(node.call("VERSION").env("CNI_ARGS", ""), |call, name| call.env(name, "dummy"));
    let answer = call.ok();
    assert_eq!(answer["cniVersion"], "1.1.0");
    assert_eq!(answer["supportedVersions"], json!(["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"]));
}

#[test]
fn without_variables_and_input_the_answer_is_still_an_error_object() {
    let output =
        Command::new(env!("CARGO_BIN_EXE_terway")).env_clear().stdin(Stdio::null()).output().unwrap();
    let outcome = Outcome::of(&output);
    assert!(!outcome.ok);
    assert_eq!(outcome.output["code"], 4);
    assert!(outcome.output["msg"].as_str().unwrap().contains("CNI_COMMAND is not set"), "{outcome:?}");
}

#[test]
fn what_is_wrong_is_found_before_anything_is_touched() {
    let (node, daemon) = node_with_daemon();
    let before = node.state();
    let add = || node.call("ADD");
    add()
        .env("CNI_IFNAME", "eth0/..")
        .env("CNI_CONTAINERID", "")
        .fails(4, &["CNI_IFNAME", "CNI_CONTAINERID"]);
    add().env("CNI_ARGS", "COLOUR=red").fails(4, &["COLOUR"]);
    add().key("cniVersion", json!("0.2.0")).fails(1, &["0.2.0", "1.1.0"]);
    add().key("mtu", json!("large")).fails(6, &["at mtu"]);
    add().key("mtu", json!(100)).fails(7, &["mtu 100"]);
    add().key("host_stack_cidrs", json!(["10.0.0.0/33"])).fails(7, &["10.0.0.0/33"]);
    add().key("runtimeConfig", json!({"portMappings": [{"hostPort": 80}]})).fails(2, &["portMappings", "80"]);
    add().env("CNI_NETNS", "/run/netns/gone").fails(8, &["netns-invalid", "/run/netns/gone"]);
    add().env("CNI_NETNS", "/etc/passwd").fails(8, &["/etc/passwd"]);
    add().env("CNI_NETNS", "/proc/self/ns/mnt").fails(8, &["/proc/self/ns/mnt"]);
    add().env("CNI_NETNS", "/proc/self/ns/net").fails(8, &["the host's own"]);
    node.sh("ip -n a link add eth0 type bridge");
    add().fails(101, &["interface-exists", "eth0"]);
    node.sh("ip -n a link del eth0");
    assert_eq!(daemon.asked(), Vec::<String>::new(), "the daemon is asked last");
    assert_eq!(node.state(), before);
}

#[test]
fn what_was_allocated_for_a_failed_add_is_released() {
    let (node, daemon) = node_with_daemon();
    let before = node.state();
    let mut no_gateway = interface();
    no_gateway.basic.as_mut().unwrap().gateway.as_mut().unwrap().ipv6.clear();
    let mut uplink = interface();
    uplink.eni.as_mut().unwrap().mac = node.sh("cat /sys/class/net/up0/address").trim().to_owned();
    let trunk = {
        let mut trunk = interface();
        trunk.eni.as_mut().unwrap().trunk = true;
        trunk
    };
    for (interface, code, words) in [
        (no_gateway, 101, &["plan-invalid", "fd00:1::5", "no IPv6 gateway"][..]),
        (uplink, 101, &["plan-invalid", "uplink"]),
        (trunk, 101, &["plan-invalid", "eni.vlan_id"]),
    ] {
        daemon.script().interfaces = vec![interface];
        node.call("ADD").fails(code, words);
        assert_eq!(
            daemon.asked(),
            ["alloc c0ffee/eth0 pod=web", "release c0ffee/eth0: ADD failed"],
            "{words:?}"
        );
        assert_eq!(node.state(), before, "{words:?}");
    }
}

#[test]
fn an_eni_whose_netdev_does_not_come_is_given_back() {
    let (node, daemon) = node_with_daemon();
    daemon.script().interfaces[0].eni.as_mut().unwrap().mac = "00:16:3e:00:00:99".to_owned();
    node.call("ADD").fails(11, &["nic-missing", "00:16:3e:00:00:99"]);
    assert_eq!(daemon.asked().last().unwrap(), "release c0ffee/eth0: ADD failed");
}

#[test]
fn a_refusal_of_the_daemon_reaches_the_runtime_whole() {
    let (node, daemon) = node_with_daemon();
    daemon.script().refusal =
        Some(Fault::new(FaultCode::PoolExhausted, "no ENI for c0ffee").because("7 of 7 in use"));
    node.call("ADD").fails(11, &["pool-exhausted", "no ENI for c0ffee", "7 of 7 in use", "max_pool_size"]);
    assert_eq!(daemon.asked(), ["alloc c0ffee/eth0 pod=web"], "nothing was given");
}

#[test]
fn a_virtual_function_becomes_the_pods_eni() {
    let (node, daemon) = node_with_daemon();
    let eni = "00:16:3e:00:00:77";
    {
        let mut script = daemon.script();
        let message = script.interfaces[0].eni.as_mut().unwrap();
        (message.vf_id, message.mac) = (Some(3), eni.to_owned());
    }
    node.call("ADD").fails(101, &["plan-invalid", "virtual function 3", "/var/rdma/eni_topo"]);
    assert_eq!(daemon.asked().last().unwrap(), "release c0ffee/eth0: ADD failed");
    node.sh(
        "mount -t tmpfs none /sys/bus
         mkdir -p /sys/bus/pci/devices/0000:01:00.7/virtio0/net/nic0 /sys/bus/pci/drivers/virtio-pci /run/hc-eni-host
         echo '{\"eniVFs\": [{\"pf_id\": 0, \"vf_id\": 3, \"bdf\": \"0000:01:00.7\"}]}' > /run/hc-eni-host/vf-topo-vpc",
    );
    let result = node.call("ADD").ok();
    assert_eq!(node.sh("cat /sys/bus/pci/drivers/virtio-pci/bind"), "0000:01:00.7");
    let seen: Value = serde_json::from_str(&node.sh("ip -n a -j link show dev eth0")).unwrap();
    assert_eq!(seen[0]["address"], eni);
    node.call("CHECK").key("prevResult", result.clone()).ok();
    node.call("DEL").key("prevResult", result).ok();
    assert!(node.sh("ip -br link").contains("eni00163e000077"), "it is home");
}

/// Whether this kernel makes IPVlan links, as `ip` finds out.
fn has_ipvlan(node: &Node) -> bool {
    let made = node.sh("ip link add probe0 type veth peer name probe1 && \
         { ip link add link probe0 name probe2 type ipvlan mode l2 2>&1 && echo made; }; ip link del probe0");
    made.contains("made")
}

#[test]
fn a_kernel_without_ipvlan_gives_a_pair_of_links_and_says_so() {
    let (node, daemon) = node_with_daemon();
    daemon.script().shared = true;
    let before = node.state();
    let (kind, events) = if has_ipvlan(&node) {
        ("ipvlan", vec![])
    } else {
        ("veth", vec!["event VirtualModeChanged of web"])
    };
    let result = node.call("ADD").key("eniip_virtual_type", json!("IPVlan")).run();
    assert!(result.ok, "{result:?}");
    assert_eq!(
        result.log.contains("VirtualModeChanged: this kernel has no IPVlan"),
        kind == "veth",
        "{result:?}"
    );
    let asked = daemon.asked();
    assert_eq!(asked[1..], events, "{asked:?}");
    let seen: Value = serde_json::from_str(&node.sh("ip -n a -j -d link show dev eth0")).unwrap();
    assert_eq!(seen[0]["linkinfo"]["info_kind"], kind);
    // Whatever the configuration says later: CHECK is about the pod as it was made.
    for word in ["IPVlan", "Veth"] {
        let check = node.call("CHECK").key("eniip_virtual_type", json!(word));
        check.key("prevResult", result.output.clone()).ok();
    }
    node.call("DEL").key("prevResult", result.output).ok();
    // The ENI stays on the node, up.
    node.sh("ip link set nic0 down");
    assert_eq!(node.state(), before);
}

#[test]
fn a_kernel_without_ipvlan_fails_where_nothing_else_will_do() {
    let (node, daemon) = node_with_daemon();
    daemon.script().shared = true;
    let before = node.state();
    let demanded = || {
        node.call("ADD").key("eniip_virtual_type", json!("IPVlan")).key("require_virtual_type", json!(true))
    };
    if has_ipvlan(&node) {
        demanded().ok();
    } else {
        demanded().fails(102, &["kernel-refused", "no IPVlan links", "CONFIG_IPVLAN"]);
        assert_eq!(daemon.asked().last().unwrap(), "release c0ffee/eth0: ADD failed");
        assert_eq!(node.state(), before);
    }
    node.call("ADD")
        .key("eniip_virtual_type", json!("macvlan"))
        .fails(7, &["eniip_virtual_type", "macvlan", "Veth, IPVlan"]);
}

#[test]
fn a_second_network_leaves_the_default_route_alone() {
    let (node, daemon) = node_with_daemon();
    let (first, second) = (interface(), {
        let mut second = interface();
        second.eni.as_mut().unwrap().mac = "00:16:3e:00:00:02".to_owned();
        second.basic.as_mut().unwrap().pod_ip =
            Some(wire::AddressPair { ipv4: "10.0.1.6".to_owned(), ipv6: "fd00:1::6".to_owned() });
        second
    });
    node.sh("ip link add nic2 address 00:16:3e:00:00:02 type veth peer nic3");
    daemon.script().interfaces = vec![first];
    node.call("ADD").ok();
    // Whether the other end of a pair is up yet shows as well.
    let ways = || node.sh("{ ip -n a route; ip -n a -6 route show default; } | sed 's/ linkdown//'");
    let before = ways();
    daemon.script().interfaces = vec![second];
    let net1 = |verb: &str| node.call(verb).env("CNI_IFNAME", "net1").key("name", json!("other"));
    net1("ADD")
        .key("default_route", json!(true))
        .fails(101, &["plan-invalid", "default route by eth0 already"]);
    let result = net1("ADD").ok();
    assert_eq!(ways(), before);
    let rules = node.sh("ip -n a rule");
    assert!(rules.contains("from 10.0.1.6 lookup") && rules.contains("oif net1 lookup"), "{rules}");
    net1("CHECK").key("prevResult", result.clone()).ok();
    net1("DEL").key("prevResult", result).ok();
    let rules = node.sh("ip -n a rule");
    assert!(!rules.contains("10.0.1.6") && !rules.contains("net1"), "its rules go with it: {rules}");
}

#[test]
fn a_go_daemons_answer_works_too() {
    let (node, daemon) = node_with_daemon();
    let mut interface = interface();
    interface.eni.as_mut().unwrap().id.clear();
    daemon.script().interfaces = vec![interface];
    node.call("ADD").env("CNI_IFNAME", "net1").env("CNI_ARGS", "").ok();
    assert!(node.sh("ip -n a -br link").contains("net1"), "no name in the answer means CNI_IFNAME");
    node.call("DEL").env("CNI_IFNAME", "net1").env("CNI_ARGS", "").ok();
}

#[test]
fn two_adds_of_one_attachment_make_one() {
    let (node, daemon) = node_with_daemon();
    let calls = [node.call("ADD").start(), node.call("ADD").start()];
    let outcomes = calls.map(|child| Outcome::of(&child.wait_with_output().unwrap()));
    assert_eq!(outcomes.iter().filter(|outcome| outcome.ok).count(), 1, "{outcomes:?}");
    let second = outcomes.iter().find(|outcome| !outcome.ok).unwrap();
    assert!(second.output["msg"].as_str().unwrap().contains("interface-exists"), "{second:?}");
    assert_eq!(daemon.asked(), ["alloc c0ffee/eth0 pod=web"], "the second one asks for nothing");
}

#[test]
fn a_late_del_leaves_the_new_sandbox_alone() {
    let (node, daemon) = node_with_daemon();
    let old = |verb| node.call(verb).env("CNI_CONTAINERID", "old");
    old("ADD").ok();
    node.sh("ip netns del a");
    node.sh("ip netns add a");
    // The kernel takes the ENI's veth along with its namespace, in its own time.
    node.sh("timeout 30 sh -c 'while ip link show nic1; do :; done' 2>&1");
    node.sh(&format!("ip link add nic0 address {ENI_MAC} type veth peer nic1"));
    let result = node.call("ADD").ok();
    daemon.script().interfaces.clear();
    old("DEL").ok();
    old("DEL").env("CNI_NETNS", "").ok();
    daemon.script().interfaces = vec![interface()];
    node.call("CHECK").key("prevResult", result).ok();
}

#[test]
fn check_names_every_drift() {
    let (node, daemon) = node_with_daemon();
    node.call("CHECK").fails(7, &["prevResult"]);
    let result = node.call("ADD").ok();
    let check = || node.call("CHECK").key("prevResult", result.clone());
    node.sh("ip -n a addr del 10.0.1.5/32 dev eth0; ip -n a link set veth1 mtu 1400");
    check().fails(103, &["drift", "10.0.1.5/32", "veth1", "1400"]);
    let mut other = result.clone();
    other["ips"][0]["address"] = json!("10.0.1.77/32");
    node.call("CHECK").key("prevResult", other).fails(103, &["prevResult lacks address 10.0.1.5"]);
    daemon.script().interfaces.clear();
    check().fails(103, &["attachment-unknown"]);
}

#[test]
fn status_says_whether_and_why_not() {
    let (node, daemon) = node_with_daemon();
    node.call("STATUS").ok();
    daemon.script().status = Some(StatusReply { ready: true, ..Default::default() });
    node.call("STATUS").ok();
    let fault =
        Fault::new(FaultCode::CloudDenied, "CreateNetworkInterface is not allowed").remedy("grant it");
    daemon.script().status =
        Some(StatusReply { ready: false, fault: Some(wire::Fault::from(&fault)), ..Default::default() });
    node.call("STATUS").fails(50, &["cloud-denied", "CreateNetworkInterface", "grant it"]);
    node.call("STATUS").key("mtu", json!(1)).fails(7, &["mtu"]);
}
