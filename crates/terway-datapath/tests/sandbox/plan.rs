//! What these tests start from: a plan and a key; where theirs differ is what they are about.

use terway_types::{
    Addresses, AttachmentKey, ContainerId, Datapath, Gateways, IfName, InterfacePlan, MacAddr, NetworkName,
    Queueing, Subnets,
};

/// The interface `eth0` of a sandbox.
pub(crate) fn key(container: &str) -> AttachmentKey {
    AttachmentKey {
        network: NetworkName::new("terway").unwrap(),
        container: ContainerId::new(container).unwrap(),
        ifname: IfName::new("eth0").unwrap(),
    }
}

/// A whole ENI in the vSwitch with this number in its addresses; the number is decimal in text, also in those of IPv6.
pub(crate) fn plan(key: &AttachmentKey, mac: MacAddr, vswitch: u16, addresses: Addresses) -> InterfacePlan {
    let gateways = Gateways::new(
        format!("10.0.{vswitch}.253").parse().ok(),
        format!("fd00:{vswitch}::fffd").parse().ok(),
    );
    InterfacePlan {
        ifname: key.ifname.clone(),
        datapath: Datapath::Exclusive,
        eni: None,
        mac,
        addresses,
        subnets: Subnets::new(
            format!("10.0.{vswitch}.0/24").parse().ok(),
            format!("fd00:{vswitch}::/64").parse().ok(),
        ),
        gateways,
        eni_gateways: gateways,
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
        queueing: Queueing::default(),
        erdma: false,
        nic_kinds: vec![],
    }
}
