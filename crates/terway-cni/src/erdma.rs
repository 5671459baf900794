//! eRDMA: what the daemon says of an ENI, which pods can use it, what the node must have for it, and what a pod that is
//! there was given at its ADD.

use std::path::Path;

use terway_datapath::kernel::{Netlink, Netns};
use terway_datapath::{HostFacts, names};
use terway_types::{AttachmentKey, Datapath, Fault, InterfacePlan};

use crate::queueing::Notice;
use crate::subject::Subject;

/// Leaves it to pods connected by policy routing, and says so of others.
pub(crate) fn leave_to_policy_routing(plans: &mut [InterfacePlan]) -> Option<Notice> {
    let others = |plan: &&mut InterfacePlan| plan.erdma && plan.datapath != Datapath::PolicyRoute;
    let mut names = Vec::new();
    for plan in plans.iter_mut().filter(others) {
        plan.erdma = false;
        names.push(plan.ifname.to_string());
    }
    let words = format!(
        "the ENI's eRDMA has no effect on {}: it needs pods on shared ENIs with eniip_virtual_type Veth",
        names.join(", ")
    );
    (!names.is_empty()).then_some(Notice { reason: "ErdmaUnheeded", words })
}

/// Looks for the RDMA devices of the ENIs whose pods shall use them, in the sysfs below the node's root folder. A pod
/// without the device it counts on is not made.
pub(crate) fn find_devices(
    root: &Path,
    plans: &[InterfacePlan],
    host: &Netns,
    facts: &mut HostFacts,
) -> Result<(), Fault> {
    for plan in plans.iter().filter(|plan| plan.erdma) {
        facts.find_rdma(root, host, plan.mac).map_err(|error| error.fault())?;
    }
    Ok(())
}

/// Makes the plans follow what the pods were given: a device may have come or gone since.
pub(crate) fn as_built(plans: &mut [InterfacePlan], subject: &Subject, host: &Netns) -> Result<(), Fault> {
    let mut netlink = Netlink::open(host).map_err(|error| error.fault())?;
    for plan in plans.iter_mut().filter(|plan| plan.datapath == Datapath::PolicyRoute) {
        let own = AttachmentKey { ifname: plan.ifname.clone(), ..subject.key.clone() };
        let name = names::host_link(&plan.host_prefix, &own, &subject.pod);
        let end = netlink.link_by_name(&name).map_err(|error| error.fault())?;
        plan.erdma = names::is_for_erdma(end.and_then(|end| end.mac), &own).unwrap_or(plan.erdma);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use terway_rpc::wire::{self, AttachmentType};
    use terway_types::FaultCode;

    use super::*;
    use crate::fixture::{interface, key, options};
    use crate::plan::plans;

    fn told(kind: AttachmentType) -> Vec<InterfacePlan> {
        let mut answer: wire::Interface = interface();
        answer.eni.as_mut().unwrap().erdma = true;
        plans(kind as i32, &[answer], &key(), &options()).unwrap()
    }

    #[test]
    fn pods_on_shared_enis_use_it_and_others_are_told() {
        let mut shared = told(AttachmentType::TypeEniMultiIp);
        assert_eq!(leave_to_policy_routing(&mut shared), None);
        assert!(shared[0].erdma);
        let mut whole = told(AttachmentType::TypeVpceni);
        let notice = leave_to_policy_routing(&mut whole).unwrap();
        assert!(notice.words.contains("no effect on eth0"), "{notice:?}");
        assert!(!whole[0].erdma);
    }

    #[test]
    fn a_pod_without_its_device_is_not_made() {
        let node = tempfile::tempdir().unwrap();
        let find = |plans: &[InterfacePlan]| {
            find_devices(node.path(), plans, &Netns::current().unwrap(), &mut HostFacts::default())
        };
        let mut plans = told(AttachmentType::TypeEniMultiIp);
        let fault = find(&plans).unwrap_err();
        assert_eq!(fault.code, FaultCode::RdmaUnusable);
        assert!(fault.cause.contains("00:16:3e:01:02:03"), "{fault}");
        plans[0].erdma = false;
        assert_eq!(find(&plans), Ok(()), "nobody asks for it");
    }
}
