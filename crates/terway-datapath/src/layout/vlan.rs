//! A member of a trunk ENI. The trunk stays on the node; the pod gets a child of it that carries the frames of one VLAN,
//! with the trunk's MAC. All else is as beside a whole ENI: a pair of links leads to the node, for services, the node
//! itself and host-stack CIDRs, and what passes the node gets the node's address.
//!
//! ```text
//!   pod                                  node
//!   eth0 = VLAN 7 of the trunk --------> eth1 = the trunk ENI ---------> VPC
//!   veth1 <------ pair ----------> caliX  --- source NAT ---> uplink
//! ```

use terway_types::{AttachmentKey, InterfacePlan, PodRef};

use super::{exclusive, shared_nic};
use crate::describe::{Layout, LinkKind};
use crate::facts::{HostFacts, NicFacts};

/// Lays out a plan that [`super::validate`] found possible.
pub(super) fn layout(
    plan: &InterfacePlan,
    key: &AttachmentKey,
    pod: &PodRef,
    facts: &HostFacts,
    trunk: &NicFacts,
    id: u16,
) -> Layout {
    let kind = LinkKind::Vlan { trunk: trunk.name.clone(), id };
    let mut layout = exclusive::around(kind, plan, key, pod, facts);
    // A child carries no larger packets than its parent.
    shared_nic::add(plan, trunk, facts, &mut layout.host);
    layout
}
