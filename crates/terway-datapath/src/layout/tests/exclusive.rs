//! Pods with whole ENIs.

use terway_types::{Bandwidth, IfName, InterfacePlan};

use super::{changes, dual, facts, key, pod, text, v4, v6};
use crate::draw::draw;
use crate::layout::layout;

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
      nat ip saddr 10.0.1.5 snat to 10.0.0.9, ip daddr 10.0.1.5 snat to 10.0.0.9
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
      nat ip6 saddr fd00:1::5 snat to fd00::9, ip6 daddr fd00:1::5 snat to fd00::9
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

/// Two ENIs of one vSwitch in one pod have the same gateway; nothing of the one is the other's.
#[test]
fn several_interfaces_have_tables_of_their_own() {
    let main = InterfacePlan { own_table: true, ..dual() };
    insta::assert_debug_snapshot!(changes(&dual(), &main), @r#"
    [
        "+ route default via 10.0.1.253 dev eth0 table 1000+eth0 onlink",
        "+ route 169.254.1.1 dev veth1 table 1000+eth0",
        "+ route 172.16.0.0/16 via 169.254.1.1 dev veth1 table 1000+eth0 onlink",
        "+ route 10.0.0.9 via 169.254.1.1 dev veth1 table 1000+eth0 onlink",
        "+ route IPv6 default via fd00:1::fffd dev eth0 table 1000+eth0 onlink",
        "+ route fe80::1 dev veth1 table 1000+eth0",
        "+ route fd00:172::/112 via fe80::1 dev veth1 table 1000+eth0 onlink",
        "+ route fd00::9 via fe80::1 dev veth1 table 1000+eth0 onlink",
        "+ rule 512 from 10.0.1.5 lookup 1000+eth0",
        "+ rule 512 oif eth0 lookup 1000+eth0",
        "+ rule 512 from fd00:1::5 lookup 1000+eth0",
        "+ rule 512 IPv6 oif eth0 lookup 1000+eth0",
    ]
    "#);
    let ifname = IfName::new("eth1").unwrap();
    let extra_routes = vec!["192.168.0.0/16".parse().unwrap(), "fd00:7::/48".parse().unwrap()];
    let second = InterfacePlan { ifname, default_route: false, extra_routes, ..main };
    let text = text(&second);
    let ways: Vec<_> = text.lines().map(str::trim).filter(|line| line.starts_with('r')).collect();
    insta::assert_debug_snapshot!(ways, @r#"
    [
        "route 192.168.0.0/16 via 10.0.1.253 dev eth1 onlink",
        "route fd00:7::/48 via fd00:1::fffd dev eth1 onlink",
        "route 192.168.0.0/16 via 10.0.1.253 dev eth1 table 1000+eth1 onlink",
        "route default via 10.0.1.253 dev eth1 table 1000+eth1 onlink",
        "route fd00:7::/48 via fd00:1::fffd dev eth1 table 1000+eth1 onlink",
        "route IPv6 default via fd00:1::fffd dev eth1 table 1000+eth1 onlink",
        "rule 512 from 10.0.1.5 lookup 1000+eth1",
        "rule 512 oif eth1 lookup 1000+eth1",
        "rule 512 from fd00:1::5 lookup 1000+eth1",
        "rule 512 IPv6 oif eth1 lookup 1000+eth1",
    ]
    "#);
}
