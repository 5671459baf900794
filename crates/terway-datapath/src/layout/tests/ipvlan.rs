//! Pods that get a child of a shared ENI.

use terway_types::{Addresses, Datapath, IfName, InterfacePlan, Subnets};

use super::{dual, facts, key, pod, problems, text};
use crate::facts::HostFacts;
use crate::layout::layout;

fn child() -> InterfacePlan {
    InterfacePlan { datapath: Datapath::Ipvlan, ..dual() }
}

fn routed() -> InterfacePlan {
    InterfacePlan { datapath: Datapath::IpvlanL3s, ..dual() }
}

#[test]
fn a_pod_with_a_child_of_the_eni() {
    insta::assert_snapshot!(text(&child()), @"
    pod:
      link lo up
      link eth0 ipvlan l2 of eth1 address 00:16:3e:01:02:03 mtu 1500 up alias terway:terway/c0ffee/eth0
      sysctl net/ipv6/conf/eth0/accept_ra = 0
      sysctl net/ipv6/conf/eth0/accept_dad = 0
      sysctl net/ipv6/conf/eth0/disable_ipv6 = 0
      address 10.0.1.5/32 dev eth0
      address fd00:1::5/128 dev eth0 nodad
      route default via 10.0.1.253 dev eth0 onlink
      route IPv6 default via fd00:1::fffd dev eth0 onlink
      route 10.0.1.0/24 dev eth0
      route fd00:1::/64 dev eth0
      route 169.254.1.1 dev eth0
      route 172.16.0.0/16 via 169.254.1.1 dev eth0 onlink
      route 10.0.0.9 via 169.254.1.1 dev eth0 onlink
      route fe80::1 dev eth0
      route fd00:172::/112 via fe80::1 dev eth0 onlink
      route fd00::9 via fe80::1 dev eth0 onlink
      neighbour 169.254.1.1 lladdr 00:16:3e:01:02:03 dev eth0 permanent
      neighbour fe80::1 lladdr 00:16:3e:01:02:03 dev eth0 permanent
    host:
      link eth1 shared nic address 00:16:3e:01:02:03 mtu 1500 or more up
      link cali68caf03a5f4 ipvlan l2 of eth1 address 00:16:3e:01:02:03 mtu 1500 up alias terway:terway/c0ffee/eth0
      sysctl net/ipv4/conf/all/rp_filter = 0
      sysctl net/ipv4/conf/eth1/rp_filter = 0
      sysctl net/ipv6/conf/eth1/accept_ra = 0
      sysctl net/ipv6/conf/eth1/accept_dad = 0
      sysctl net/ipv6/conf/eth1/disable_ipv6 = 0
      sysctl net/ipv6/conf/eth1/forwarding = 1
      sysctl net/ipv4/conf/cali68caf03a5f4/arp_ignore = 8
      sysctl net/ipv4/conf/eth1/forwarding = 1
      sysctl net/ipv4/conf/ens3/forwarding = 1
      sysctl net/ipv6/conf/all/forwarding = 1
      sysctl net/ipv6/conf/cali68caf03a5f4/accept_ra = 0
      sysctl net/ipv6/conf/cali68caf03a5f4/accept_dad = 0
      sysctl net/ipv6/conf/cali68caf03a5f4/disable_ipv6 = 0
      route 10.0.1.5 dev cali68caf03a5f4 src 10.0.0.9
      route fd00:1::5 dev cali68caf03a5f4 src fd00::9
      neighbour 10.0.1.5 lladdr 00:16:3e:01:02:03 dev cali68caf03a5f4 permanent
      neighbour fd00:1::5 lladdr 00:16:3e:01:02:03 dev cali68caf03a5f4 permanent
      nat ip saddr 10.0.1.5 snat to 10.0.0.9, ip daddr 10.0.1.5 snat to 10.0.0.9
      nat ip6 saddr fd00:1::5 snat to fd00::9, ip6 daddr fd00:1::5 snat to fd00::9
    ");
}

#[test]
fn a_pod_with_a_child_that_is_routed_on_the_node() {
    let host_stack_cidrs = vec!["169.254.20.10/32".parse().unwrap()];
    insta::assert_snapshot!(text(&InterfacePlan { host_stack_cidrs, ..routed() }), @"
    pod:
      link lo up
      link eth0 ipvlan l3s of eth1 address 00:16:3e:01:02:03 mtu 1500 up alias terway:terway/c0ffee/eth0
      sysctl net/ipv6/conf/eth0/accept_ra = 0
      sysctl net/ipv6/conf/eth0/accept_dad = 0
      sysctl net/ipv6/conf/eth0/disable_ipv6 = 0
      address 10.0.1.5/32 dev eth0
      address fd00:1::5/128 dev eth0 nodad
      route default via 10.0.1.253 dev eth0 onlink
      route IPv6 default via fd00:1::fffd dev eth0 onlink
    host:
      link eth1 shared nic address 00:16:3e:01:02:03 mtu 1500 or more up link-local fe80::216:3eff:fe01:203
      link cali68caf03a5f4 ipvlan l3s of eth1 address 00:16:3e:01:02:03 mtu 1500 up alias terway:terway/c0ffee/eth0
      sysctl net/ipv4/conf/all/rp_filter = 0
      sysctl net/ipv4/conf/eth1/rp_filter = 0
      sysctl net/ipv6/conf/eth1/accept_ra = 0
      sysctl net/ipv6/conf/eth1/accept_dad = 0
      sysctl net/ipv6/conf/eth1/disable_ipv6 = 0
      sysctl net/ipv6/conf/eth1/forwarding = 1
      sysctl net/ipv4/conf/cali68caf03a5f4/arp_ignore = 8
      sysctl net/ipv4/conf/eth1/forwarding = 1
      sysctl net/ipv4/conf/ens3/forwarding = 1
      sysctl net/ipv6/conf/all/forwarding = 1
      sysctl net/ipv6/conf/cali68caf03a5f4/accept_ra = 0
      sysctl net/ipv6/conf/cali68caf03a5f4/accept_dad = 0
      sysctl net/ipv6/conf/cali68caf03a5f4/disable_ipv6 = 0
      route 10.0.1.5 dev cali68caf03a5f4 src 10.0.0.9
      route fd00:1::5 dev cali68caf03a5f4 src fd00::9
      route default via 10.0.1.253 dev eth1 table 1000+eth1 onlink
      route fd00:1::fffd dev eth1 table 1000+eth1
      route IPv6 default via fd00:1::fffd dev eth1 table 1000+eth1
      route local 10.0.0.9 dev eth1 table 1000+eth1
      route local 169.254.20.10 dev eth1 table 1000+eth1
      rule 2048 from 10.0.1.5 oif eth1 lookup 1000+eth1
      rule 2048 from fd00:1::5 oif eth1 lookup 1000+eth1
      neighbour 10.0.1.5 lladdr 00:16:3e:01:02:03 dev cali68caf03a5f4 permanent
      neighbour fd00:1::5 lladdr 00:16:3e:01:02:03 dev cali68caf03a5f4 permanent
      nat ip saddr 10.0.1.5 ct status dnat oifname != lo snat to 10.0.0.9, ip daddr 10.0.1.5 snat to 10.0.0.9
      nat ip6 saddr fd00:1::5 ct status dnat oifname != lo snat to fd00::9, ip6 daddr fd00:1::5 snat to fd00::9
    ");
}

#[test]
fn one_family_has_what_both_have_of_it() {
    for child in [child(), routed()] {
        let both = text(&child);
        let (v4, v6) = (dual().addresses.v4, dual().addresses.v6);
        for addresses in [Addresses::new(v4, None), Addresses::new(None, v6)] {
            for line in text(&InterfacePlan { addresses, ..child.clone() }).lines() {
                // For IPv6 the ENI needs an address more.
                let is_it = |other: &str| other == line || other.starts_with(&format!("{line} link-local "));
                assert!(both.lines().any(is_it), "{line} is not in\n{both}");
            }
        }
    }
}

/// Every interface needs its own way on the node.
#[test]
fn a_second_interface_that_is_routed_has_a_link_on_the_node_too() {
    let ifname = IfName::new("eth1").unwrap();
    let second = InterfacePlan { own_table: true, default_route: false, ifname, ..routed() };
    let (first, second) = (text(&routed()), text(&second));
    let ends = |text: &str| -> Vec<String> {
        text.lines().filter(|line| line.contains("link cali")).map(str::to_owned).collect()
    };
    assert_eq!((ends(&first).len(), ends(&second).len()), (1, 1));
    assert_ne!(ends(&first), ends(&second));
    assert!(second.contains("rule 512 from 10.0.1.5 lookup 1000+eth1"), "{second}");
    assert!(second.contains("rule 2048 from 10.0.1.5 oif eth1 lookup 1000+eth1"), "{second}");
}

#[test]
fn an_eni_that_is_the_nodes_own_nic_stays_as_it_is() {
    let facts = HostFacts { uplink: "eth1".into(), ..facts() };
    let text = layout(&child(), &key(), &pod(), &facts).unwrap().to_string();
    let host = text.lines().skip_while(|line| *line != "host:");
    let about: Vec<_> = host.filter(|line| line.contains("eth1")).map(str::trim).collect();
    insta::assert_debug_snapshot!(about, @r#"
    [
        "link eth1 shared nic address 00:16:3e:01:02:03 up",
        "link cali68caf03a5f4 ipvlan l2 of eth1 address 00:16:3e:01:02:03 mtu 1500 up alias terway:terway/c0ffee/eth0",
        "sysctl net/ipv4/conf/eth1/forwarding = 1",
    ]
    "#);
}

#[test]
fn a_second_interface_leads_to_the_vpc_only() {
    let ifname = IfName::new("eth1").unwrap();
    let extra_routes = vec!["192.168.0.0/16".parse().unwrap(), "fd00:1::77/128".parse().unwrap()];
    let second = InterfacePlan { own_table: true, default_route: false, extra_routes, ifname, ..child() };
    let text = text(&second);
    let ways: Vec<_> = text.lines().map(str::trim).filter(|line| line.starts_with('r')).collect();
    insta::assert_debug_snapshot!(ways, @r#"
    [
        "route 192.168.0.0/16 via 10.0.1.253 dev eth1 onlink",
        "route fd00:1::77 via fd00:1::fffd dev eth1",
        "route 192.168.0.0/16 via 10.0.1.253 dev eth1 table 1000+eth1 onlink",
        "route 10.0.1.0/24 dev eth1 table 1000+eth1",
        "route default via 10.0.1.253 dev eth1 table 1000+eth1 onlink",
        "route fd00:1::77 via fd00:1::fffd dev eth1 table 1000+eth1",
        "route fd00:1::/64 dev eth1 table 1000+eth1",
        "route IPv6 default via fd00:1::fffd dev eth1 table 1000+eth1",
        "rule 512 from 10.0.1.5 lookup 1000+eth1",
        "rule 512 oif eth1 lookup 1000+eth1",
        "rule 512 from fd00:1::5 lookup 1000+eth1",
        "rule 512 IPv6 oif eth1 lookup 1000+eth1",
    ]
    "#);
}

#[test]
fn without_the_vswitchs_ranges_all_goes_by_the_gateway() {
    let text = text(&InterfacePlan { subnets: Subnets::default(), ..child() });
    assert!(
        !text.contains("10.0.1.0/24") && text.contains("route default via 10.0.1.253 dev eth0"),
        "{text}"
    );
}

#[test]
fn what_the_hosts_stack_gets_must_not_be_the_vpcs() {
    let with = |cidr: &str| InterfacePlan { host_stack_cidrs: vec![cidr.parse().unwrap()], ..child() };
    for (cidr, why) in [("0.0.0.0/0", "would send all traffic"), ("10.0.1.0/28", "overlaps the pod's subnet")]
    {
        let said = problems(&with(cidr));
        assert!(said.contains(why), "{said}");
    }
}
