//! What an attachment has on the node that the books do not tell, because the plugin's configuration or the pod's
//! annotations asked for it: the node's local routes for pods on an ENI in mode L3S, and the class of the pod's packets.
//! Whoever guards attachments learns it from what is there, and misses it once it is gone.
//!
//! Only what is ours beyond doubt is learnt: routes of our protocol in the table of the ENI, filters of ours for the pod's
//! own addresses. Fair queueing alone may be anybody's, so it is kept only together with classes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnetwork::IpNetwork;
use terway_types::{Addresses, Datapath, InterfacePlan, PriorityClass, Queueing};

use crate::describe::FIRST_TABLE;
use crate::kernel::objects::{Link, OUR_PROTOCOL, Route, RouteFilter, RouteKind};
use crate::kernel::{Filter, KernelError, Netlink};
use crate::queues::{self, Tree};

/// What there is of this sort on one ENI, of all its pods.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OnEni {
    /// What the node takes as its own in the ENI's table.
    locals: BTreeSet<IpNetwork>,
    /// The class of each address, and in how many places there is a filter for it.
    classes: BTreeMap<IpAddr, (PriorityClass, usize)>,
    /// So many places there are where packets wait, with classes or without.
    places: usize,
    /// Whether packets leave at the time they bear wherever they wait.
    paced: bool,
}

/// What was learnt of one attachment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extras {
    host_stack: BTreeSet<IpNetwork>,
    queueing: Queueing,
}

/// Looks at an ENI.
pub fn on_eni(host: &mut Netlink, nic: &Link) -> Result<OnEni, KernelError> {
    let table = FIRST_TABLE.checked_add(nic.index);
    let routes = host.routes(RouteFilter { table, ..RouteFilter::default() })?;
    let tree = queues::read(host, nic)?;
    let filters = queues::filters(host, nic.index, &tree)?;
    Ok(OnEni::of(&routes, &tree, &filters))
}

impl OnEni {
    fn of(routes: &[Route], tree: &Tree, filters: &[Filter]) -> Self {
        let is_ours = |route: &&Route| route.protocol == OUR_PROTOCOL && route.kind == RouteKind::Local;
        let mut classes = BTreeMap::new();
        for filter in filters {
            if let (Some(source), Some(class)) = (queues::source(filter), queues::class_of(filter)) {
                let (_, count) = classes.entry(source).or_insert((class, 0));
                *count += 1;
            }
        }
        Self {
            locals: routes.iter().filter(is_ours).map(|route| route.destination).collect(),
            classes,
            places: tree.leaves.len(),
            paced: tree.is_paced(),
        }
    }

    /// Whether packets of all these addresses are of some class wherever they wait.
    fn classifies(&self, addresses: Addresses) -> bool {
        let is_whole = |address| self.classes.get(&address).is_some_and(|(_, count)| *count >= self.places);
        self.places > 0 && addresses.iter().all(is_whole)
    }
}

impl Extras {
    /// Takes note of what is there of an attachment. `node` are the node's own addresses, which every layout has.
    pub fn learn(&mut self, plan: &InterfacePlan, node: Addresses, eni: &OnEni) {
        if plan.datapath == Datapath::IpvlanL3s {
            let itself = |network: &&IpNetwork| node.iter().any(|own| IpNetwork::from(own) == **network);
            self.host_stack.extend(eni.locals.iter().filter(|network| !itself(network)));
        }
        if let Some((class, _)) = plan.addresses.iter().find_map(|address| eni.classes.get(&address)) {
            self.queueing = Queueing { paced: eni.paced || self.queueing.paced, class: Some(*class) };
        }
    }

    /// The plan with what was learnt, as far as it is to be looked at: looking at queues takes long, so they are left out
    /// while all is there.
    pub fn complete(&self, plan: &InterfacePlan, eni: &OnEni) -> InterfacePlan {
        let queueing = if eni.classifies(plan.addresses) { plan.queueing } else { self.queueing };
        let mut host_stack_cidrs = plan.host_stack_cidrs.clone();
        host_stack_cidrs.extend(&self.host_stack);
        InterfacePlan { queueing, host_stack_cidrs, ..plan.clone() }
    }
}

#[cfg(test)]
mod tests;
