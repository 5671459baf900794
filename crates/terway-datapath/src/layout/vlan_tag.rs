//! A member of a trunk ENI without a link of its own for the VLAN: on the node all is as for a pod on a shared ENI, with
//! the trunk in the ENI's place. Filters on the trunk make it a member: what bears the pod's addresses gets the VLAN's
//! tag on its way out, and what comes in tagged loses its tag and goes where its destination says.
//!
//! ```text
//!   pod                       node
//!   eth0 <------ pair ------> caliX -- rule from the pod --> table of the trunk --> eth1 + tag of VLAN 7 --> VPC
//!                             caliX <-- rule to the pod ---- table main <---------- eth1 - tag
//! ```
//!
//! The one table of a trunk serves members of many vSwitches, so the next hop in it is the gateway of the trunk's own:
//! it is resolved without a tag, and a VPC takes a frame of any VLAN for it.

use terway_types::{AttachmentKey, InterfacePlan, PodRef};

use super::policy_route;
use crate::describe::{Layout, Tagging, VlanTag};
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
    let mut layout = policy_route::layout(plan, key, pod, facts, trunk);
    let on = plan.addresses.iter().map(|source| Tagging::On { source, id });
    let tags = on.chain([Tagging::Off]).map(|tagging| VlanTag { link: trunk.name.clone(), tagging });
    layout.host.tags.extend(tags);
    layout
}
