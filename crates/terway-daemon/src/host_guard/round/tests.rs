//! What the guard takes for a pod's plan, by the pod's link on the node.

use terway_datapath::names::{OwnLink, own_mac};
use terway_types::{ContainerId, Gateways, IfName, NetworkName, Subnets};

use super::*;

fn subject(erdma: bool) -> Subject {
    let key = AttachmentKey {
        network: NetworkName::new("terway").unwrap(),
        container: ContainerId::new("c0ffee").unwrap(),
        ifname: IfName::new("eth0").unwrap(),
    };
    let mac = MacAddr([0, 0x16, 0x3e, 1, 2, 3]);
    let parts = InterfaceParts {
        ifname: None,
        eni: None,
        mac,
        addresses: Addresses::new("10.0.1.5".parse().ok(), None),
        subnets: Subnets::default(),
        gateways: Gateways::default(),
        eni_gateways: Gateways::default(),
        service_cidrs: vec![],
        default_route: true,
        extra_routes: vec![],
        ingress: None,
        egress: None,
        class: None,
        erdma,
        nic_kinds: vec![],
        vlan: None,
        vf: None,
    };
    Subject { key, pod: PodRef::default(), parts, mode: NodeMode::Shared }
}

fn end(subject: &Subject, which: OwnLink) -> Link {
    Link {
        name: "cali68caf03a5f4".into(),
        mac: Some(own_mac(&subject.key, which)),
        kind: Some("veth".into()),
        mtu: 8500,
        ..Link::default()
    }
}

/// Its driver may have come or gone since the pod was made, whose neighbours go by its MAC.
#[test]
fn whether_a_pod_is_for_erdma_is_told_by_its_link() {
    for told in [true, false] {
        let subject = subject(told);
        let of = |which| plan(&subject, &end(&subject, which)).erdma;
        assert!(of(OwnLink::ErdmaHostEnd) && !of(OwnLink::HostEnd), "the node has its device: {told}");
        let strange = Link { mac: Some(MacAddr([2; 6])), ..end(&subject, OwnLink::HostEnd) };
        assert_eq!(plan(&subject, &strange).erdma, told, "somebody changed its MAC");
    }
}

#[test]
fn names_and_sizes_are_those_of_the_link() {
    let subject = subject(false);
    let plan = plan(&subject, &end(&subject, OwnLink::HostEnd));
    assert_eq!((plan.host_prefix.as_str(), plan.mtu, plan.datapath), ("cali", 8500, Datapath::PolicyRoute));
    let child = |child| Link { child: Some(child), ..end(&subject, OwnLink::HostEnd) };
    let datapath = |link: &Link| super::plan(&subject, link).datapath;
    assert_eq!(datapath(&child(Child::Ipvlan(Some(IpvlanMode::L3s)))), Datapath::IpvlanL3s);
    assert_eq!(datapath(&child(Child::Ipvlan(Some(IpvlanMode::L2)))), Datapath::Ipvlan);
}
