//! Layouts as a network person writes them, and plans that are refused: what they all start from.

mod exclusive;
mod ipvlan;
mod refused;
mod shared;

use terway_types::{
    Addresses, AttachmentKey, ContainerId, Datapath, Gateways, IfName, InterfacePlan, MacAddr, NetworkName,
    PodRef, Subnets,
};

use super::layout;
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
        uplink_mac: None,
        uplink_mtu: 1500,
        addresses: Addresses::new("10.0.0.9".parse().ok(), "fd00::9".parse().ok()),
        uplink_accept_ra: Some(1),
        nics: vec![NicFacts { mac: dual().mac, name: "eth1".into(), index: 3, rdma: None }],
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
        eni_gateways: Gateways::new("10.0.1.253".parse().ok(), "fd00:1::fffd".parse().ok()),
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
        queueing: terway_types::Queueing::default(),
        erdma: false,
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
