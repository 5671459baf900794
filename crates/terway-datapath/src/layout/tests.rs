//! Layouts as a network person writes them, and plans that are refused: what they all start from.

mod exclusive;
mod ipvlan;
mod refused;
mod shared;

use terway_types::{Addresses, AttachmentKey, Datapath, InterfacePlan, MacAddr, PodRef};

use super::layout;
use crate::facts::{HostFacts, NicFacts};
use crate::plan;

fn key() -> AttachmentKey {
    plan::key("c0ffee")
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
    let mac = MacAddr([0, 0x16, 0x3e, 1, 2, 3]);
    let addresses = Addresses::new("10.0.1.5".parse().ok(), "fd00:1::5".parse().ok());
    InterfacePlan { eni: Some("eni-1".into()), ..plan::plan(&key(), mac, 1, addresses) }
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
