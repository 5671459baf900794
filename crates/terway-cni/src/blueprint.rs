//! Plans laid out on this node: the layouts ADD applies and CHECK compares, with the rule by which the
//! ENIs are found.

use terway_datapath::kernel::{Netns, NicRule};
use terway_datapath::{HostFacts, Layout, layout};
use terway_types::{Fault, InterfacePlan, IpFamily};

use crate::subject::Subject;

/// One interface, completely described.
#[derive(Clone, Debug)]
pub(crate) struct Blueprint {
    /// What it should be.
    pub(crate) plan: InterfacePlan,
    /// How that looks in the kernel.
    pub(crate) layout: Layout,
}

impl Blueprint {
    /// Which links count as a NIC on this node.
    pub(crate) fn nic_rule(&self) -> NicRule {
        NicRule::with_kinds(&self.plan.nic_kinds)
    }
}

/// Lays out every plan. Nothing is changed by this.
pub(crate) fn lay_out(
    plans: Vec<InterfacePlan>,
    subject: &Subject,
    host: &Netns,
) -> Result<Vec<Blueprint>, Fault> {
    let facts = host_facts(&plans, host)?;
    plans
        .into_iter()
        .map(|plan| {
            let layout = layout(&plan, &subject.key, &subject.pod, &facts).map_err(|error| error.fault())?;
            Ok(Blueprint { plan, layout })
        })
        .collect()
}

/// The node's address per family is needed by the pair of links to the node. Without the pair the facts
/// serve only to keep the node's uplink from being taken for an ENI, and may be missing.
fn host_facts(plans: &[InterfacePlan], host: &Netns) -> Result<HostFacts, Fault> {
    let in_use = |family: &IpFamily| plans.iter().any(|plan| plan.addresses.get(*family).is_some());
    let families = [IpFamily::V4, IpFamily::V6].into_iter().filter(in_use);
    match HostFacts::observe(host, families) {
        Ok(facts) => Ok(facts),
        Err(_) if !plans.iter().any(|plan| plan.host_peer) => Ok(HostFacts::default()),
        Err(error) => Err(error.fault()),
    }
}
