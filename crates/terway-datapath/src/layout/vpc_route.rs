//! An address of a range that the VPC's route table leads to this node (the node's podCIDR). A pair of links leads to
//! the pod and one route to its address; everything else is the node's own: what the pod sends leaves by the node's NIC
//! and the main table, with the pod's own address, which the VPC takes from a node that has a route for it.
//!
//! ```text
//!   pod                       node
//!   eth0 <------ pair ------> caliX -- table main --> uplink --> VPC, whose route table leads the range here
//! ```

use terway_types::{AttachmentKey, InterfacePlan, PodRef};

use super::exclusive::nothing_but_lo;
use super::pair::{Pair, SourceCheck};
use super::policy_route::pod_ways;
use crate::describe::Layout;
use crate::facts::HostFacts;

/// Lays out a plan that [`super::validate`] found possible.
pub(super) fn layout(plan: &InterfacePlan, key: &AttachmentKey, pod: &PodRef, facts: &HostFacts) -> Layout {
    let mut layout = nothing_but_lo(key, facts);
    let pair = Pair::new(plan, key, pod, facts, plan.ifname.as_str());
    pair.pod_side(&mut layout.pod);
    pod_ways(plan, &mut layout.pod);
    pair.host_side(&facts.uplink, SourceCheck::Strict, &mut layout.host);
    layout
}
