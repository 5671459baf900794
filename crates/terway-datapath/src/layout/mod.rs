//! From what an interface should be and what the node is to what must exist in the kernel: the one place
//! that knows how a data path looks. Pure: the same plan and facts always give the same layout.

mod bandwidth;
mod exclusive;
mod validate;

use terway_types::{AttachmentKey, Datapath, Fault, FaultCode, InterfacePlan, PodRef};

use crate::describe::Layout;
use crate::facts::HostFacts;
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
    Ok(match plan.datapath {
        Datapath::Exclusive => exclusive::layout(plan, key, pod, facts),
    })
}

/// Whether the interface is the one the pod's pair of links to the node belongs to.
fn has_host_pair(plan: &InterfacePlan, key: &AttachmentKey) -> bool {
    plan.host_peer && plan.ifname == key.ifname
}

fn list(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests;
