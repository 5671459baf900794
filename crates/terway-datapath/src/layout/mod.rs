//! From what an interface should be and what the node is to what must exist in the kernel: the one place
//! that knows how a data path looks. Pure: the same plan and facts always give the same layout.

mod bandwidth;
mod exclusive;
mod ipvlan;
mod ipvlan_l3s;
mod own_table;
mod pair;
mod policy_route;
mod shared_nic;
mod validate;
mod vlan;
mod vlan_tag;
mod vpc_route;
mod ways;

use terway_types::{AttachmentKey, Datapath, Fault, FaultCode, InterfacePlan, PodRef};

use crate::describe::Layout;
use crate::facts::HostFacts;
pub use bandwidth::least_rate;
pub use validate::Problem;

/// A plan that cannot be laid out, with everything that is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("interface {ifname} cannot be laid out: {}", list(problems))]
pub struct LayoutError {
    /// The interface.
    pub ifname: String,
    /// What is wrong; never empty.
    pub problems: Vec<Problem>,
}

impl LayoutError {
    /// The failure as a person meets it.
    pub fn fault(&self) -> Fault {
        Fault::new(FaultCode::PlanInvalid, self.to_string())
    }
}

/// Lays out one interface of an attachment on this node.
pub fn layout(
    plan: &InterfacePlan,
    key: &AttachmentKey,
    pod: &PodRef,
    facts: &HostFacts,
) -> Result<Layout, LayoutError> {
    let problems = validate::problems(plan, key, facts);
    if !problems.is_empty() {
        return Err(LayoutError { ifname: plan.ifname.to_string(), problems });
    }
    match (plan.datapath, facts.nic(plan.mac)) {
        (Datapath::Exclusive, _) => Ok(exclusive::layout(plan, key, pod, facts)),
        (Datapath::VpcRoute, _) => Ok(vpc_route::layout(plan, key, pod, facts)),
        (Datapath::PolicyRoute, Some(nic)) => Ok(policy_route::layout(plan, key, pod, facts, nic)),
        (Datapath::Ipvlan, Some(nic)) => Ok(ipvlan::layout(plan, key, pod, facts, nic)),
        (Datapath::IpvlanL3s, Some(nic)) => Ok(ipvlan_l3s::layout(plan, key, pod, facts, nic)),
        (Datapath::Vlan { id }, Some(trunk)) => Ok(vlan::layout(plan, key, pod, facts, trunk, id)),
        (Datapath::VlanTag { id }, Some(trunk)) => Ok(vlan_tag::layout(plan, key, pod, facts, trunk, id)),
        (_, None) => {
            Err(LayoutError { ifname: plan.ifname.to_string(), problems: vec![Problem::NoNic(plan.mac)] })
        }
    }
}

/// Whether the interface is the one that leads to the node beside the VPC: by a pair of links or a child of the ENI.
fn leads_to_the_node(plan: &InterfacePlan, key: &AttachmentKey) -> bool {
    !plan.datapath.is_a_pair() && plan.host_peer && plan.ifname == key.ifname
}

/// Whether the node itself speaks with the interface, and needs an address of its own for that.
fn meets_the_node(plan: &InterfacePlan, key: &AttachmentKey) -> bool {
    plan.datapath.is_a_pair() || plan.datapath == Datapath::IpvlanL3s || leads_to_the_node(plan, key)
}

fn list(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests;
