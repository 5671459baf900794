//! Plans that cannot be laid out, and what is said of them.

use terway_types::{Addresses, AttachmentKey, Bandwidth, Datapath, Gateways, IfName, InterfacePlan, MacAddr};

use super::{dual, facts, key, pod, problems, v4, v6};
use crate::facts::HostFacts;
use crate::layout::layout;

#[test]
fn erdma_goes_with_policy_routing_only() {
    for datapath in [Datapath::Exclusive, Datapath::Ipvlan, Datapath::VlanTag { id: 7 }] {
        let said = problems(&InterfacePlan { datapath, erdma: true, ..dual() });
        assert!(said.contains("eRDMA goes with policy routing only"), "{datapath:?}: {said}");
    }
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

/// What an answer without a type, from a daemon that gives ENIs, would otherwise become: a pod whose packets leave by the
/// node's own NIC, which the VPC drops.
#[test]
fn an_eni_of_a_pod_is_not_the_nodes_own_nic() {
    let routed = InterfacePlan { datapath: Datapath::VpcRoute, gateways: Gateways::default(), ..dual() };
    let on = |uplink_mac| layout(&routed, &key(), &pod(), &HostFacts { uplink_mac, ..facts() });
    assert!(on(Some(routed.mac)).is_ok());
    let said = on(Some(MacAddr([0, 0x16, 0x3e, 9, 9, 9]))).unwrap_err().to_string();
    assert!(said.contains("also that of an answer without a type"), "{said}");
    assert!(said.contains("00:16:3e:09:09:09, but the ENI is 00:16:3e:01:02:03"), "{said}");
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
