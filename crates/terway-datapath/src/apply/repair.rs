//! Puts back what somebody took away of an attachment on the node, object by object and nothing else: what is as it
//! should be is not touched, so the pod's flows go on. What others put in the place of ours is left to them.

use terway_types::{Fault, FaultCode, fault::chain};

use super::{StepError, requests, rules_there, switches};
use crate::describe::{Layout, NamespaceLayout, Object};
use crate::diff::{Deviation, Drift, Place};
use crate::kernel::{LinkChange, Netlink, Netns, Request};
use crate::mark::Mark;
use crate::{queues, smc, source_nat, tags};

/// An attachment whose objects on the node could not be put back.
#[derive(Debug, thiserror::Error)]
#[error("failed to put back what is missing of attachment {key} on the node")]
pub struct RepairError {
    /// The attachment.
    pub key: terway_types::AttachmentKey,
    /// Why.
    #[source]
    pub source: StepError,
}

impl RepairError {
    /// The failure as a person meets it.
    pub fn fault(&self) -> Fault {
        Fault::new(FaultCode::KernelRefused, self.to_string()).because(chain(&self.source))
    }
}

/// Whether an object on the node can be put back: a link of a pair takes its other end along, and what overrides
/// ours is somebody's wish.
pub fn can_repair(drift: &Drift) -> bool {
    let is_there_no_more = drift.deviation == Deviation::Missing;
    let is_overridden = matches!(drift.deviation, Deviation::Overridden { .. });
    let is_link = matches!(drift.object, Object::Link(_) | Object::SharedNic(_));
    drift.place == Place::Host && !is_overridden && !(is_link && is_there_no_more)
}

/// Puts back what of these can be. Whoever calls holds the attachment's lock. What another change brought back
/// meanwhile is no failure.
pub fn repair(layout: &Layout, drifts: &[Drift], host: &Netns) -> Result<(), RepairError> {
    let objects = drifts.iter().filter(|drift| can_repair(drift)).map(|drift| drift.object.clone());
    let mut wanted: NamespaceLayout = objects.collect();
    if !wanted.queues.is_empty() {
        // Filters go with the qdisc they are on.
        wanted.classes.clone_from(&layout.host.classes);
    }
    let failed = |source: StepError| RepairError { key: layout.key.clone(), source };
    put_back(layout, &wanted, host).map_err(failed)
}

fn put_back(layout: &Layout, wanted: &NamespaceLayout, host: &Netns) -> Result<(), StepError> {
    let mut netlink = Netlink::open(host)?;
    let links = netlink.links()?;
    let mtu_and_mark = wanted.links.iter().map(|link| {
        let change = LinkChange { mtu: Some(link.mtu), ..LinkChange::default() };
        Request::set_link(link.name.as_str(), &change)
    });
    netlink.transact(&mtu_and_mark.collect::<Vec<_>>())?;
    // In a container the switches may be read-only; the rest can come back nevertheless.
    let place = (host, &switches::Tree::default());
    let switched = switches::of_node(wanted, &layout.uplink, place, &|_| {})
        .and_then(|()| switches::of_links(wanted, place, &|_| {}));
    if !wanted.source_nat.is_empty() {
        source_nat::restore(&wanted.source_nat, &Mark::of(&layout.key), host)?;
    }
    let rules = rules_there(wanted, &mut netlink)?;
    netlink.transact(&requests::inside(wanted, &links, &rules)?)?;
    for link in queues::links(wanted, &links) {
        let missing = queues::missing(&mut netlink, link, wanted)?;
        netlink.transact(&missing)?;
    }
    let addresses = requests::link_locals(wanted, &links, &mut netlink)?;
    netlink.transact(&addresses)?;
    for (link, tagging) in tags::by_index(wanted, &links) {
        let missing = tags::missing(&mut netlink, link, tagging)?;
        netlink.transact(&missing)?;
    }
    smc::add_missing(&wanted.smc, host)?;
    switched
}
