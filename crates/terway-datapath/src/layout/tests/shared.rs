//! Pods on ENIs that stay on the node.

use terway_types::{Datapath, Gateways, IfName, InterfacePlan, PriorityClass, Queueing};

use super::{changes, dual, facts, key, pod, problems, shared, text};
use crate::facts::{HostFacts, NicFacts, RdmaFacts};
use crate::layout::layout;

#[test]
fn a_pod_on_a_shared_eni() {
    insta::assert_snapshot!(text(&shared()), @"
    pod:
      link lo up
      link eth0 veth (peer cali68caf03a5f4) address 32:13:a0:03:0f:59 mtu 1500 up alias terway:terway/c0ffee/eth0
      sysctl net/ipv6/conf/eth0/accept_ra = 0
      sysctl net/ipv6/conf/eth0/accept_dad = 0
      sysctl net/ipv6/conf/eth0/disable_ipv6 = 0
      address 10.0.1.5/32 dev eth0
      address fd00:1::5/128 dev eth0 nodad
      route default via 169.254.1.1 dev eth0 onlink
      route IPv6 default via fe80::1 dev eth0
      neighbour 169.254.1.1 lladdr 76:11:d8:09:fb:73 dev eth0 permanent
      neighbour fe80::1 lladdr 76:11:d8:09:fb:73 dev eth0 permanent
    host:
      link eth1 shared nic address 00:16:3e:01:02:03 mtu 1500 or more up link-local fe80::216:3eff:fe01:203
      link cali68caf03a5f4 veth (peer eth0) address 76:11:d8:09:fb:73 mtu 1500 up group 157 alias terway:terway/c0ffee/eth0
      sysctl net/ipv4/conf/all/rp_filter = 0
      sysctl net/ipv4/conf/eth1/rp_filter = 0
      sysctl net/ipv6/conf/eth1/accept_ra = 0
      sysctl net/ipv6/conf/eth1/accept_dad = 0
      sysctl net/ipv6/conf/eth1/disable_ipv6 = 0
      sysctl net/ipv6/conf/eth1/forwarding = 1
      sysctl net/ipv4/conf/cali68caf03a5f4/forwarding = 1
      sysctl net/ipv4/conf/cali68caf03a5f4/rp_filter = 1
      sysctl net/ipv4/conf/eth1/forwarding = 1
      sysctl net/ipv6/conf/cali68caf03a5f4/accept_ra = 0
      sysctl net/ipv6/conf/cali68caf03a5f4/disable_ipv6 = 0
      sysctl net/ipv6/conf/all/forwarding = 1
      sysctl net/ipv6/conf/cali68caf03a5f4/forwarding = 1
      route 10.0.1.5 dev cali68caf03a5f4 src 10.0.0.9
      route fd00:1::5 dev cali68caf03a5f4 src fd00::9
      route default via 10.0.1.253 dev eth1 table 1000+eth1 onlink
      route fd00:1::fffd dev eth1 table 1000+eth1
      route IPv6 default via fd00:1::fffd dev eth1 table 1000+eth1
      rule 512 to 10.0.1.5 lookup main
      rule 2048 from 10.0.1.5 lookup 1000+eth1
      rule 512 to fd00:1::5 lookup main
      rule 2048 from fd00:1::5 lookup 1000+eth1
      neighbour 10.0.1.5 lladdr 32:13:a0:03:0f:59 dev cali68caf03a5f4 permanent
      neighbour fd00:1::5 lladdr 32:13:a0:03:0f:59 dev cali68caf03a5f4 permanent
    ");
}

/// The pod's end has the ENI's MAC and says that it is no ENI; the node's end says by its own MAC what the other is.
#[test]
fn a_pod_that_uses_the_enis_rdma_device() {
    let with = InterfacePlan { erdma: true, ..shared() };
    insta::assert_debug_snapshot!(changes(&shared(), &with), @r#"
    [
        "- link eth0 veth (peer cali68caf03a5f4) address 32:13:a0:03:0f:59 mtu 1500 up alias terway:terway/c0ffee/eth0",
        "- neighbour 169.254.1.1 lladdr 76:11:d8:09:fb:73 dev eth0 permanent",
        "- neighbour fe80::1 lladdr 76:11:d8:09:fb:73 dev eth0 permanent",
        "- link cali68caf03a5f4 veth (peer eth0) address 76:11:d8:09:fb:73 mtu 1500 up group 157 alias terway:terway/c0ffee/eth0",
        "- neighbour 10.0.1.5 lladdr 32:13:a0:03:0f:59 dev cali68caf03a5f4 permanent",
        "- neighbour fd00:1::5 lladdr 32:13:a0:03:0f:59 dev cali68caf03a5f4 permanent",
        "+ link eth0 veth (peer cali68caf03a5f4) address 00:16:3e:01:02:03 mtu 1500 up group 158 alias terway:terway/c0ffee/eth0",
        "+ neighbour 169.254.1.1 lladdr 7a:57:f8:09:ae:83 dev eth0 permanent",
        "+ neighbour fe80::1 lladdr 7a:57:f8:09:ae:83 dev eth0 permanent",
        "+ link cali68caf03a5f4 veth (peer eth0) address 7a:57:f8:09:ae:83 mtu 1500 up group 157 alias terway:terway/c0ffee/eth0",
        "+ neighbour 10.0.1.5 lladdr 00:16:3e:01:02:03 dev cali68caf03a5f4 permanent",
        "+ neighbour fd00:1::5 lladdr 00:16:3e:01:02:03 dev cali68caf03a5f4 permanent",
    ]
    "#);
    let rdma =
        |network: Option<&str>| RdmaFacts { device: "erdma_0".into(), network: network.map(str::to_owned) };
    let laid_out = |network| {
        let nics =
            facts().nics.into_iter().map(|nic| NicFacts { rdma: Some(rdma(network)), ..nic }).collect();
        layout(&with, &key(), &pod(), &HostFacts { nics, ..facts() }).unwrap()
    };
    assert_eq!(laid_out(None).to_string(), text(&with), "the kernel has no SMC");
    let over_rdma = laid_out(Some("0"));
    let said = |namespace: &crate::describe::NamespaceLayout| {
        namespace.smc.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(said(&over_rdma.pod), ["SMC network 0 of link eth0"]);
    assert_eq!(said(&over_rdma.host), ["SMC network 0 of RDMA device erdma_0"]);
}

/// One route to the pod, and nothing about any ENI.
#[test]
fn a_pod_whose_address_the_vpc_leads_to_the_node() {
    let (nics, gateways) = (vec![], Gateways::default());
    let routed = InterfacePlan { datapath: Datapath::VpcRoute, gateways, ..dual() };
    let text = layout(&routed, &key(), &pod(), &HostFacts { nics, ..facts() }).unwrap().to_string();
    let on_node: Vec<_> = text.lines().skip_while(|line| *line != "host:").skip(1).map(str::trim).collect();
    insta::assert_snapshot!(on_node.join("\n"), @"
    link cali68caf03a5f4 veth (peer eth0) address 76:11:d8:09:fb:73 mtu 1500 up group 157 alias terway:terway/c0ffee/eth0
    sysctl net/ipv4/conf/cali68caf03a5f4/forwarding = 1
    sysctl net/ipv4/conf/cali68caf03a5f4/rp_filter = 1
    sysctl net/ipv4/conf/ens3/forwarding = 1
    sysctl net/ipv6/conf/cali68caf03a5f4/accept_ra = 0
    sysctl net/ipv6/conf/cali68caf03a5f4/disable_ipv6 = 0
    sysctl net/ipv6/conf/all/forwarding = 1
    sysctl net/ipv6/conf/cali68caf03a5f4/forwarding = 1
    route 10.0.1.5 dev cali68caf03a5f4 src 10.0.0.9
    route fd00:1::5 dev cali68caf03a5f4 src fd00::9
    neighbour 10.0.1.5 lladdr 32:13:a0:03:0f:59 dev cali68caf03a5f4 permanent
    neighbour fd00:1::5 lladdr 32:13:a0:03:0f:59 dev cali68caf03a5f4 permanent
    ");
    let in_pod = |text: &str| text.lines().take_while(|line| *line != "host:").collect::<Vec<_>>().join("\n");
    assert_eq!(in_pod(&text), in_pod(&self::text(&shared())), "inside it looks like one on a shared ENI");
}

#[test]
fn a_pod_on_the_nodes_own_nic_changes_nothing_of_it() {
    let facts = HostFacts { uplink: "eth1".into(), ..facts() };
    let text = layout(&shared(), &key(), &pod(), &facts).unwrap().to_string();
    let about: Vec<_> = text.lines().filter(|line| line.contains("eth1")).map(str::trim).collect();
    insta::assert_debug_snapshot!(about, @r#"
    [
        "link eth1 shared nic address 00:16:3e:01:02:03 up",
        "sysctl net/ipv4/conf/eth1/forwarding = 1",
        "route default via 10.0.1.253 dev eth1 table 1000+eth1 onlink",
        "route fd00:1::fffd dev eth1 table 1000+eth1",
        "route IPv6 default via fd00:1::fffd dev eth1 table 1000+eth1",
        "rule 2048 from 10.0.1.5 lookup 1000+eth1",
        "rule 2048 from fd00:1::5 lookup 1000+eth1",
    ]
    "#);
}

#[test]
fn one_of_several_interfaces_has_a_table_of_its_own() {
    let ifname = IfName::new("eth1").unwrap();
    let extra_routes = vec!["192.168.0.0/16".parse().unwrap(), "fd00:7::/48".parse().unwrap()];
    let second = InterfacePlan { own_table: true, default_route: false, extra_routes, ifname, ..shared() };
    let text = text(&second);
    let in_pod = text.lines().take_while(|line| *line != "host:");
    let ways: Vec<_> =
        in_pod.map(str::trim).filter(|line| line.starts_with("route") || line.starts_with("rule")).collect();
    insta::assert_debug_snapshot!(ways, @r#"
    [
        "route 192.168.0.0/16 via 169.254.1.1 dev eth1 onlink",
        "route default via 169.254.1.1 dev eth1 table 1000+eth1 onlink",
        "route fd00:7::/48 via fe80::1 dev eth1",
        "route IPv6 default via fe80::1 dev eth1 table 1000+eth1",
        "rule 512 from 10.0.1.5 lookup 1000+eth1",
        "rule 512 oif eth1 lookup 1000+eth1",
        "rule 512 from fd00:1::5 lookup 1000+eth1",
        "rule 512 IPv6 oif eth1 lookup 1000+eth1",
    ]
    "#);
}

/// Beside its link to the VPC a trunk's member has all that a whole ENI's pod has.
#[test]
fn a_member_of_a_trunk() {
    let member = text(&InterfacePlan { datapath: Datapath::Vlan { id: 7 }, ..dual() });
    let whole = text(&dual());
    let only = |one: &str, other: &str| -> Vec<String> {
        one.lines().filter(|line| !other.contains(line)).map(|line| line.trim().to_owned()).collect()
    };
    assert_eq!(
        only(&member, &whole),
        [
            "link eth0 vlan 7 of eth1 address 00:16:3e:01:02:03 mtu 1500 up alias terway:terway/c0ffee/eth0",
            "link eth1 shared nic address 00:16:3e:01:02:03 mtu 1500 or more up",
        ]
    );
    assert_eq!(only(&whole, &member).len(), 1);
}

/// Beside what a pod on a shared ENI has there are only the tags; the next hop is the trunk's own.
#[test]
fn a_member_of_a_trunk_by_tags() {
    let own = Gateways::new("10.0.9.253".parse().ok(), "fd00:9::fffd".parse().ok());
    let member = InterfacePlan { datapath: Datapath::VlanTag { id: 7 }, eni_gateways: own, ..dual() };
    assert_eq!(
        changes(&shared(), &member),
        [
            "- route default via 10.0.1.253 dev eth1 table 1000+eth1 onlink",
            "- route fd00:1::fffd dev eth1 table 1000+eth1",
            "- route IPv6 default via fd00:1::fffd dev eth1 table 1000+eth1",
            "+ route default via 10.0.9.253 dev eth1 table 1000+eth1 onlink",
            "+ route fd00:9::fffd dev eth1 table 1000+eth1",
            "+ route IPv6 default via fd00:9::fffd dev eth1 table 1000+eth1",
            "+ filter egress dev eth1 src 10.0.1.5 vlan push 7",
            "+ filter egress dev eth1 src fd00:1::5 vlan push 7",
            "+ filter ingress dev eth1 vlan pop",
        ]
    );
    assert!(problems(&InterfacePlan { datapath: Datapath::VlanTag { id: 4095 }, ..dual() }).contains("4095"));
}

#[test]
fn a_shared_eni_must_be_on_the_node() {
    let facts = HostFacts { nics: vec![], ..facts() };
    let error = layout(&shared(), &key(), &pod(), &facts).unwrap_err();
    assert_eq!(
        error.to_string(),
        "interface eth0 cannot be laid out: no NIC of the node has MAC 00:16:3e:01:02:03"
    );
}

#[test]
fn the_nodes_links_are_called_as_asked() {
    let named = |prefix: &str| InterfacePlan { host_prefix: prefix.into(), ..shared() };
    assert!(text(&named("x")).contains(" x68caf03a5f4 "));
    for prefix in ["", "veths", "a/b", "é"] {
        let said = problems(&named(prefix));
        assert!(said.contains("is not 1 to 4 letters or digits"), "{said}");
    }
}

#[test]
fn packets_wait_at_the_eni_by_the_class_of_their_pod() {
    let queueing = Queueing { paced: true, class: Some(PriorityClass::Guaranteed) };
    let wanted = InterfacePlan { queueing, ..shared() };
    assert_eq!(
        changes(&shared(), &wanted),
        [
            "+ qdisc prio of fq dev eth1",
            "+ filter prio dev eth1 src 10.0.1.5 class guaranteed",
            "+ filter prio dev eth1 src fd00:1::5 class guaranteed",
        ]
    );
    // What they bear by then is the tag of their VLAN, whether the trunk puts it on or a link.
    for datapath in [Datapath::Vlan { id: 7 }, Datapath::VlanTag { id: 7 }] {
        let layout = layout(&InterfacePlan { datapath, ..wanted.clone() }, &key(), &pod(), &facts()).unwrap();
        assert_eq!(layout.host.classes.len(), 2);
        assert!(layout.host.classes.iter().all(|class| class.tagged && class.link == "eth1"));
    }
    // A whole ENI has one pod.
    let whole = InterfacePlan { datapath: Datapath::Exclusive, ..wanted };
    assert_eq!(changes(&dual(), &whole), ["+ qdisc fq dev eth0"]);
}

#[test]
fn on_the_nodes_own_nic_nothing_waits_differently() {
    let queueing = Queueing { paced: true, class: Some(PriorityClass::Guaranteed) };
    let on_uplink = HostFacts { uplink: "eth1".into(), ..facts() };
    for datapath in [Datapath::PolicyRoute, Datapath::Ipvlan, Datapath::Vlan { id: 7 }] {
        let plan = InterfacePlan { datapath, queueing, ..dual() };
        let layout = layout(&plan, &key(), &pod(), &on_uplink).unwrap();
        assert!(layout.host.queues.is_empty() && layout.host.classes.is_empty());
    }
}
