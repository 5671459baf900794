//! Layouts as a network person writes them, and plans that are refused.

use terway_types::{
    Addresses, AttachmentKey, Bandwidth, ContainerId, Datapath, Gateways, IfName, InterfacePlan, MacAddr,
    NetworkName, PodRef, Subnets,
};

use super::layout;
use crate::draw::draw;
use crate::facts::{HostFacts, NicFacts};

fn key() -> AttachmentKey {
    AttachmentKey {
        network: NetworkName::new("terway").unwrap(),
        container: ContainerId::new("c0ffee").unwrap(),
        ifname: IfName::new("eth0").unwrap(),
    }
}

fn pod() -> PodRef {
    PodRef { namespace: "default".into(), name: "web".into(), uid: None }
}

fn facts() -> HostFacts {
    HostFacts {
        uplink: "ens3".into(),
        uplink_index: 2,
        uplink_mtu: 1500,
        addresses: Addresses::new("10.0.0.9".parse().ok(), "fd00::9".parse().ok()),
        uplink_accept_ra: Some(1),
        nics: vec![NicFacts { mac: dual().mac, name: "eth1".into(), index: 3 }],
    }
}

/// A plan with addresses of both families.
fn dual() -> InterfacePlan {
    InterfacePlan {
        ifname: IfName::new("eth0").unwrap(),
        datapath: Datapath::Exclusive,
        eni: Some("eni-1".into()),
        mac: MacAddr([0, 0x16, 0x3e, 1, 2, 3]),
        addresses: Addresses::new("10.0.1.5".parse().ok(), "fd00:1::5".parse().ok()),
        subnets: Subnets::new("10.0.1.0/24".parse().ok(), "fd00:1::/64".parse().ok()),
        gateways: Gateways::new("10.0.1.253".parse().ok(), "fd00:1::fffd".parse().ok()),
        default_route: true,
        extra_routes: vec![],
        service_cidrs: vec!["172.16.0.0/16".parse().unwrap(), "fd00:172::/112".parse().unwrap()],
        host_stack_cidrs: vec![],
        host_peer: true,
        host_prefix: "cali".into(),
        own_table: false,
        mtu: 1500,
        ingress: None,
        egress: None,
        nic_kinds: vec![],
    }
}

/// The same on an ENI that stays on the node as `eth1`.
fn shared() -> InterfacePlan {
    InterfacePlan { datapath: Datapath::PolicyRoute, ..dual() }
}

fn v4() -> InterfacePlan {
    let addresses = Addresses::new(dual().addresses.v4, None);
    InterfacePlan { addresses, ..dual() }
}

fn v6() -> InterfacePlan {
    let addresses = Addresses::new(None, dual().addresses.v6);
    InterfacePlan { addresses, ..dual() }
}

fn text(plan: &InterfacePlan) -> String {
    layout(plan, &key(), &pod(), &facts()).unwrap().to_string()
}

/// The lines `changed` has and `base` has not, and the other way round.
fn changes(base: &InterfacePlan, changed: &InterfacePlan) -> Vec<String> {
    let (base, changed) = (text(base), text(changed));
    let gone = base.lines().filter(|line| !changed.lines().any(|other| other == *line));
    let new = changed.lines().filter(|line| !base.lines().any(|other| other == *line));
    gone.map(|line| format!("- {}", line.trim()))
        .chain(new.map(|line| format!("+ {}", line.trim())))
        .collect()
}

fn problems(plan: &InterfacePlan) -> String {
    layout(plan, &key(), &pod(), &facts()).unwrap_err().to_string()
}

#[test]
fn an_ipv4_pod() {
    insta::assert_snapshot!(text(&v4()), @"
    pod:
      link lo up
      link eth0 nic (at home eni00163e010203) address 00:16:3e:01:02:03 mtu 1500 up alias terway:terway/c0ffee/eth0
      link veth1 veth (peer cali68caf03a5f4) address 32:13:a0:03:0f:59 mtu 1500 up alias terway:terway/c0ffee/eth0
      sysctl net/ipv6/conf/eth0/accept_ra = 0
      sysctl net/ipv6/conf/veth1/accept_ra = 0
      address 10.0.1.5/32 dev veth1
      address 10.0.1.5/32 dev eth0
      route default via 10.0.1.253 dev eth0 onlink
      route 169.254.1.1 dev veth1
      route 172.16.0.0/16 via 169.254.1.1 dev veth1 onlink
      route 10.0.0.9 via 169.254.1.1 dev veth1 onlink
      neighbour 169.254.1.1 lladdr 76:11:d8:09:fb:73 dev veth1 permanent
    host:
      link cali68caf03a5f4 veth (peer veth1) address 76:11:d8:09:fb:73 mtu 1500 up alias terway:terway/c0ffee/eth0
      sysctl net/ipv4/conf/cali68caf03a5f4/forwarding = 1
      sysctl net/ipv4/conf/cali68caf03a5f4/rp_filter = 0
      sysctl net/ipv4/conf/ens3/forwarding = 1
      sysctl net/ipv6/conf/cali68caf03a5f4/accept_ra = 0
      route 10.0.1.5 dev cali68caf03a5f4 src 10.0.0.9
      neighbour 10.0.1.5 lladdr 32:13:a0:03:0f:59 dev cali68caf03a5f4 permanent
      nat ip saddr 10.0.1.5 snat to 10.0.0.9, ip daddr 10.0.1.5 ip saddr != 10.0.0.9 snat to 10.0.0.9
    ");
}

#[test]
fn an_ipv6_pod() {
    insta::assert_snapshot!(text(&v6()), @"
    pod:
      link lo up
      link eth0 nic (at home eni00163e010203) address 00:16:3e:01:02:03 mtu 1500 up alias terway:terway/c0ffee/eth0
      link veth1 veth (peer cali68caf03a5f4) address 32:13:a0:03:0f:59 mtu 1500 up alias terway:terway/c0ffee/eth0
      sysctl net/ipv6/conf/eth0/accept_ra = 0
      sysctl net/ipv6/conf/eth0/accept_dad = 0
      sysctl net/ipv6/conf/eth0/disable_ipv6 = 0
      sysctl net/ipv6/conf/veth1/accept_ra = 0
      sysctl net/ipv6/conf/veth1/accept_dad = 0
      sysctl net/ipv6/conf/veth1/disable_ipv6 = 0
      address fd00:1::5/128 dev veth1 nodad
      address fd00:1::5/128 dev eth0 nodad
      route fd00:1::fffd dev eth0
      route IPv6 default via fd00:1::fffd dev eth0 onlink
      route fe80::1 dev veth1
      route fd00:172::/112 via fe80::1 dev veth1 onlink
      route fd00::9 via fe80::1 dev veth1 onlink
      neighbour fe80::1 lladdr 76:11:d8:09:fb:73 dev veth1 permanent
    host:
      link cali68caf03a5f4 veth (peer veth1) address 76:11:d8:09:fb:73 mtu 1500 up alias terway:terway/c0ffee/eth0
      sysctl net/ipv6/conf/cali68caf03a5f4/accept_ra = 0
      sysctl net/ipv6/conf/cali68caf03a5f4/disable_ipv6 = 0
      sysctl net/ipv6/conf/all/forwarding = 1
      sysctl net/ipv6/conf/cali68caf03a5f4/forwarding = 1
      route fd00:1::5 dev cali68caf03a5f4 src fd00::9
      neighbour fd00:1::5 lladdr 32:13:a0:03:0f:59 dev cali68caf03a5f4 permanent
      nat ip6 saddr fd00:1::5 snat to fd00::9, ip6 daddr fd00:1::5 ip6 saddr != fd00::9 snat to fd00::9
    ");
}

#[test]
fn a_dual_stack_pod_has_what_both_families_need() {
    let both = text(&dual());
    for line in text(&v4()).lines().chain(text(&v6()).lines()) {
        assert!(both.lines().any(|other| other == line), "{line} is missing in\n{both}");
    }
}

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
      link eth1 shared nic address 00:16:3e:01:02:03 mtu 1500 or more up
      link cali68caf03a5f4 veth (peer eth0) address 76:11:d8:09:fb:73 mtu 1500 up alias terway:terway/c0ffee/eth0
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

#[test]
fn a_vlan_that_cannot_be() {
    for id in [0, 4095, u16::MAX] {
        let plan = InterfacePlan { datapath: Datapath::Vlan { id }, ..dual() };
        let error = layout(&plan, &key(), &pod(), &facts()).unwrap_err();
        assert!(error.to_string().contains(&format!("VLAN {id} is not within 1 to 4094")), "{error}");
    }
    for id in [1, 4094] {
        assert!(
            layout(&InterfacePlan { datapath: Datapath::Vlan { id }, ..dual() }, &key(), &pod(), &facts())
                .is_ok()
        );
    }
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
fn without_host_peer_there_is_nothing_on_the_host() {
    insta::assert_snapshot!(text(&InterfacePlan { host_peer: false, ..dual() }), @"
    pod:
      link lo up
      link eth0 nic (at home eni00163e010203) address 00:16:3e:01:02:03 mtu 1500 up alias terway:terway/c0ffee/eth0
      sysctl net/ipv6/conf/eth0/accept_ra = 0
      sysctl net/ipv6/conf/eth0/accept_dad = 0
      sysctl net/ipv6/conf/eth0/disable_ipv6 = 0
      address 10.0.1.5/32 dev eth0
      address fd00:1::5/128 dev eth0 nodad
      route default via 10.0.1.253 dev eth0 onlink
      route fd00:1::fffd dev eth0
      route IPv6 default via fd00:1::fffd dev eth0 onlink
    host:
    ");
}

#[test]
fn a_second_interface_has_no_pair() {
    let second = InterfacePlan { ifname: IfName::new("eth1").unwrap(), default_route: false, ..v4() };
    insta::assert_snapshot!(text(&second), @"
    pod:
      link lo up
      link eth1 nic (at home eni00163e010203) address 00:16:3e:01:02:03 mtu 1500 up alias terway:terway/c0ffee/eth0
      sysctl net/ipv6/conf/eth1/accept_ra = 0
      address 10.0.1.5/32 dev eth1
    host:
    ");
}

#[test]
fn extra_routes_take_the_gateway() {
    let extra_routes = vec!["192.168.7.9/16".parse().unwrap(), "fd00:7::/48".parse().unwrap()];
    let plan = InterfacePlan { extra_routes, default_route: false, ..dual() };
    insta::assert_debug_snapshot!(changes(&dual(), &plan), @r#"
    [
        "- route default via 10.0.1.253 dev eth0 onlink",
        "- route IPv6 default via fd00:1::fffd dev eth0 onlink",
        "+ route 192.168.0.0/16 via 10.0.1.253 dev eth0 onlink",
        "+ route fd00:7::/48 via fd00:1::fffd dev eth0 onlink",
    ]
    "#);
}

#[test]
fn several_cidrs_of_the_host_are_routed_once_each() {
    let service_cidrs = ["172.16.0.0/16", "172.17.0.0/16", "172.16.0.0/16"];
    let host_stack_cidrs = ["169.254.20.10/32", "fd00:20::a/128", "10.0.0.9/32"];
    let plan = InterfacePlan {
        service_cidrs: service_cidrs.map(|cidr| cidr.parse().unwrap()).into(),
        host_stack_cidrs: host_stack_cidrs.map(|cidr| cidr.parse().unwrap()).into(),
        ..v4()
    };
    insta::assert_debug_snapshot!(changes(&v4(), &plan), @r#"
    [
        "+ route 172.17.0.0/16 via 169.254.1.1 dev veth1 onlink",
        "+ route 169.254.20.10 via 169.254.1.1 dev veth1 onlink",
    ]
    "#);
}

#[test]
fn limits() {
    let limit = |bytes_per_second| Some(Bandwidth { bytes_per_second, burst_bytes: None });
    let plan = InterfacePlan { ingress: limit(1_250_000), egress: limit(12_500_000), ..v4() };
    insta::assert_debug_snapshot!(changes(&v4(), &plan), @r#"
    [
        "+ link ifb-eth0 ifb address ee:13:39:23:7a:7c mtu 1500 up alias terway:terway/c0ffee/eth0",
        "+ qdisc tbf dev eth0 root rate 12500000 bytes/s burst 50000 limit 362500",
        "+ qdisc tbf dev ifb-eth0 root rate 1250000 bytes/s burst 5000 limit 36250",
        "+ filter ingress dev eth0 redirect to ifb-eth0",
        "+ qdisc tbf dev cali68caf03a5f4 root rate 1250000 bytes/s burst 5000 limit 36250",
    ]
    "#);
}

#[test]
fn a_picture() {
    let limit = |bytes_per_second| Some(Bandwidth { bytes_per_second, burst_bytes: None });
    let plan = InterfacePlan { ingress: limit(1_250_000), egress: limit(12_500_000), ..v4() };
    insta::assert_snapshot!(draw(&layout(&plan, &key(), &pod(), &facts()).unwrap()), @"
    terway/c0ffee/eth0

      [pod] eth0     10.0.1.5 ==== ENI 00:16:3e:01:02:03 ====> VPC   (at home: eni00163e010203)
      [pod] ifb-eth0  (incoming traffic passes here)
      [pod] veth1    10.0.1.5 <---- pair ----> cali68caf03a5f4 [node]

    pod:
      eth0 mtu 1500
        sends at most 12500000 bytes/s
        receives through ifb-eth0
        to 0.0.0.0/0 by 10.0.1.253
      ifb-eth0 mtu 1500
        sends at most 1250000 bytes/s
      veth1 mtu 1500
        to 169.254.1.1/32 directly
        to 172.16.0.0/16 by 169.254.1.1
        to 10.0.0.9/32 by 169.254.1.1
        169.254.1.1 is at 76:11:d8:09:fb:73

    node:
      cali68caf03a5f4 mtu 1500
        sends at most 1250000 bytes/s
        to 10.0.1.5/32 directly, speaking as 10.0.0.9
        10.0.1.5 is at 32:13:a0:03:0f:59
      10.0.1.5 appears as 10.0.0.9 beyond this node, and so do its callers to it
    ");
}

#[test]
fn everything_wrong_is_said_at_once() {
    let plan = InterfacePlan {
        mac: MacAddr([0xff; 6]),
        gateways: Gateways::default(),
        mtu: 1279,
        egress: Some(Bandwidth { bytes_per_second: 1000, burst_bytes: None }),
        ..dual()
    };
    insta::assert_snapshot!(problems(&plan), @"interface eth0 cannot be laid out: ff:ff:ff:ff:ff:ff is not the MAC address of one card; MTU 1279 is not within 1280 to 9600; address 10.0.1.5 has no IPv4 gateway; address fd00:1::5 has no IPv6 gateway; egress limit of 1000 bytes/s passes less than one packet of 1279 bytes within 25 ms; the least is 51160 bytes/s");
}

#[test]
fn mtus_and_their_ranges() {
    assert!(layout(&InterfacePlan { mtu: 576, ..v4() }, &key(), &pod(), &facts()).is_ok());
    for (plan, range) in [(v4(), "576 to 9600"), (v6(), "1280 to 9600")] {
        for mtu in [0, 575, 9601] {
            let said = problems(&InterfacePlan { mtu, ..plan.clone() });
            assert!(said.contains(&format!("MTU {mtu} is not within {range}")), "{said}");
        }
    }
}

#[test]
fn addresses_that_cannot_be() {
    let none = InterfacePlan { addresses: Addresses::default(), ..v4() };
    assert!(problems(&none).contains("it has no address"));
    let nodes = InterfacePlan { addresses: facts().addresses, ..dual() };
    let said = problems(&nodes);
    assert!(said.contains("pod address 10.0.0.9 is the node's own"), "{said}");
    assert!(said.contains("pod address fd00::9 is the node's own"), "{said}");
    let gateways = InterfacePlan { addresses: dual().gateways, ..dual() };
    assert!(problems(&gateways).contains("pod address 10.0.1.253 is the gateway's"));
}

#[test]
fn a_host_pair_needs_the_nodes_address_of_each_family() {
    let v4_only = HostFacts { addresses: Addresses::new(facts().addresses.v4, None), ..facts() };
    let error = layout(&dual(), &key(), &pod(), &v4_only).unwrap_err();
    assert_eq!(
        error.to_string(),
        "interface eth0 cannot be laid out: pod address fd00:1::5 needs an IPv6 address of the node, which has none"
    );
    assert!(layout(&InterfacePlan { host_peer: false, ..dual() }, &key(), &pod(), &v4_only).is_ok());
}

#[test]
fn destinations_that_would_bend_the_pods_own_traffic() {
    let with = |cidr: &str| InterfacePlan { host_stack_cidrs: vec![cidr.parse().unwrap()], ..dual() };
    for (cidr, why) in [
        ("0.0.0.0/0", "host-stack CIDR 0.0.0.0/0 would send all traffic through the host"),
        ("::/0", "host-stack CIDR ::/0 would send all traffic through the host"),
        ("10.0.0.0/8", "host-stack CIDR 10.0.0.0/8 contains the gateway 10.0.1.253"),
        ("10.0.1.0/28", "host-stack CIDR 10.0.1.0/28 overlaps the pod's subnet 10.0.1.0/24"),
        ("fd00:1::/120", "host-stack CIDR fd00:1::/120 overlaps the pod's subnet fd00:1::/64"),
    ] {
        let said = problems(&with(cidr));
        assert!(said.ends_with(why), "{said}");
    }
    let service = InterfacePlan { service_cidrs: vec!["0.0.0.0/0".parse().unwrap()], ..v4() };
    assert!(problems(&service).ends_with("service CIDR 0.0.0.0/0 would send all traffic through the host"));
}

#[test]
fn destinations_of_another_family_or_asked_to_go_both_ways() {
    let extra_routes = vec!["fd00:7::/48".parse().unwrap()];
    let said = problems(&InterfacePlan { extra_routes, ..v4() });
    assert!(said.ends_with("extra route fd00:7::/48 is IPv6, but the pod has no IPv6 address"), "{said}");
    // The cluster's CIDR of the other family does not concern this pod.
    assert!(layout(&v4(), &key(), &pod(), &facts()).is_ok());
    let extra_routes = vec!["172.16.0.0/16".parse().unwrap()];
    let said = problems(&InterfacePlan { extra_routes, ..v4() });
    assert!(
        said.ends_with("172.16.0.0/16 is asked to go both through the host and by the gateway"),
        "{said}"
    );
}

#[test]
fn names_that_cannot_be() {
    for (name, why) in [("lo", "loopback"), ("eth%d", "pattern"), ("veth1", "needed")] {
        let ifname = IfName::new(name).unwrap();
        let key = AttachmentKey { ifname: ifname.clone(), ..key() };
        let error = layout(&InterfacePlan { ifname, ..v4() }, &key, &pod(), &facts()).unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
    }
}

#[test]
fn the_fault_names_every_problem() {
    let fault = layout(&InterfacePlan { mtu: 1, ..v4() }, &key(), &pod(), &facts()).unwrap_err().fault();
    assert_eq!(fault.code, terway_types::FaultCode::PlanInvalid);
    assert!(fault.what.contains("MTU 1 is not within 576 to 9600"), "{fault}");
}
