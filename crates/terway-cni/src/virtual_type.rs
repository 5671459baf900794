//! What pods on shared ENIs and trunks are connected by: what the configuration asks for, what the kernel can do, and what a pod that
//! is there was given at its ADD, whatever the configuration says since.

use terway_datapath::kernel::{Child, IpvlanMode, KernelError, Netlink, Netns};
use terway_types::{Datapath, Fault, FaultCode, InterfacePlan};

use crate::queueing::Notice;

/// What the configuration asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum VirtualType {
    /// A pair of links, and policy routing on the node.
    Veth,
    /// A child of the ENI.
    Ipvlan(IpvlanMode),
}

/// What `ipvlan_mode` says: an empty word means L2.
pub(crate) fn ipvlan_mode(word: &str) -> Option<IpvlanMode> {
    match word.to_lowercase().as_str() {
        "" | "l2" => Some(IpvlanMode::L2),
        "l3s" => Some(IpvlanMode::L3s),
        _ => None,
    }
}

impl VirtualType {
    /// The words of the configuration.
    pub(crate) const WORDS: [&'static str; 3] = ["Veth", "IPVlan", "datapathv2"];

    /// What a word asks for, in capitals or not; children in this mode. `datapathv2` is a pair of links that an agent
    /// chained behind uses.
    pub(crate) fn of(word: &str, mode: IpvlanMode) -> Option<Self> {
        match word.to_lowercase().as_str() {
            "" | "veth" | "datapathv2" => Some(Self::Veth),
            "ipvlan" => Some(Self::Ipvlan(mode)),
            _ => None,
        }
    }

    /// The data path of a pod on a shared ENI.
    pub(crate) fn datapath(self) -> Datapath {
        match self {
            Self::Veth => Datapath::PolicyRoute,
            Self::Ipvlan(IpvlanMode::L2) => Datapath::Ipvlan,
            Self::Ipvlan(IpvlanMode::L3s) => Datapath::IpvlanL3s,
        }
    }
}

/// Whether the plans need what this kernel may lack.
pub(crate) fn wants_ipvlan(plans: &[InterfacePlan]) -> bool {
    plans.iter().any(|plan| plan.datapath.is_ipvlan())
}

/// Whether the node's kernel makes IPVlan links.
pub(crate) fn kernel_has_ipvlan(host: &Netns) -> Result<bool, Fault> {
    let asked: Result<bool, KernelError> = Netlink::open(host).and_then(|mut netlink| netlink.has_ipvlan());
    asked.map_err(|error| error.fault())
}

/// Takes policy routing instead of what the kernel lacks, and says so; or fails, where nothing else is wanted.
pub(crate) fn fall_back(plans: &mut [InterfacePlan], required: bool) -> Result<Notice, Fault> {
    let what = "this kernel has no IPVlan links, which eniip_virtual_type asks for";
    if required {
        return Err(Fault::new(FaultCode::KernelRefused, what).remedy(
            "load the kernel module ipvlan (CONFIG_IPVLAN), or leave out require_virtual_type to get policy routing",
        ));
    }
    for plan in plans.iter_mut().filter(|plan| plan.datapath.is_ipvlan()) {
        plan.datapath = Datapath::PolicyRoute;
    }
    let words = format!("{what}; the pod gets a pair of links and policy routing instead");
    Ok(Notice { reason: "VirtualModeChanged", words })
}

/// Makes the plans of pods on shared ENIs follow what the pods were given.
pub(crate) fn as_built(plans: &mut [InterfacePlan], pod: &Netns) -> Result<(), Fault> {
    let shared = |plan: &&mut InterfacePlan| plan.datapath.shares_the_eni();
    let mut netlink = Netlink::open(pod).map_err(|error| error.fault())?;
    for plan in plans.iter_mut().filter(shared) {
        let link = netlink.link_by_name(plan.ifname.as_str()).map_err(|error| error.fault())?;
        let routed = Some(Child::Ipvlan(Some(IpvlanMode::L3s)));
        let is_routed = link.as_ref().is_some_and(|link| link.child == routed);
        let built = match (plan.datapath.vlan(), link.and_then(|link| link.kind).as_deref()) {
            (None, Some("ipvlan")) if is_routed => Datapath::IpvlanL3s,
            (None, Some("veth")) => Datapath::PolicyRoute,
            (None, Some("ipvlan")) => Datapath::Ipvlan,
            (Some(id), Some("veth")) => Datapath::VlanTag { id },
            (Some(id), Some("vlan")) => Datapath::Vlan { id },
            // Whatever stands there is not what was made: CHECK compares it with what would be made.
            _ => plan.datapath,
        };
        plan.datapath = built;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use terway_rpc::wire;

    use super::*;
    use crate::fixture::{conf, interface, key};
    use crate::netconf::Options;
    use crate::plan::plans;

    fn asked_for_ipvlan(kind: wire::AttachmentType) -> Vec<InterfacePlan> {
        asked_for_mode(kind, "")
    }

    fn asked_for_mode(kind: wire::AttachmentType, mode: &str) -> Vec<InterfacePlan> {
        let conf = conf(&json!({"eniip_virtual_type": "IPVlan", "ipvlan_mode": mode}));
        let options = Options::read(&conf).unwrap();
        plans(kind as i32, &[interface()], &key(), &options).unwrap()
    }

    #[test]
    fn only_pods_on_shared_enis_get_it() {
        assert!(wants_ipvlan(&asked_for_ipvlan(wire::AttachmentType::TypeEniMultiIp)));
        assert!(!wants_ipvlan(&asked_for_ipvlan(wire::AttachmentType::TypeVpceni)));
    }

    #[test]
    fn the_mode_is_l2_unless_l3s_is_asked_for() {
        let shared = wire::AttachmentType::TypeEniMultiIp;
        for (word, wanted) in [("", Datapath::Ipvlan), ("L2", Datapath::Ipvlan), ("l3s", Datapath::IpvlanL3s)]
        {
            assert_eq!(asked_for_mode(shared, word)[0].datapath, wanted, "{word:?}");
        }
        let mut plans = asked_for_mode(shared, "L3S");
        assert!(wants_ipvlan(&plans));
        fall_back(&mut plans, false).unwrap();
        assert_eq!(plans[0].datapath, Datapath::PolicyRoute);
    }

    #[test]
    fn a_kernel_without_it_means_policy_routing_and_a_word_about_it() {
        let mut plans = asked_for_ipvlan(wire::AttachmentType::TypeEniMultiIp);
        let notice = fall_back(&mut plans, false).unwrap();
        assert_eq!(plans[0].datapath, Datapath::PolicyRoute);
        let words = notice.words;
        assert!(words.contains("no IPVlan") && words.contains("policy routing instead"), "{words}");
    }

    #[test]
    fn a_kernel_without_it_is_an_error_where_nothing_else_will_do() {
        let mut plans = asked_for_ipvlan(wire::AttachmentType::TypeEniMultiIp);
        let fault = fall_back(&mut plans, true).unwrap_err();
        assert_eq!(fault.code, FaultCode::KernelRefused);
        assert!(fault.remedy.contains("CONFIG_IPVLAN"), "{fault}");
        assert_eq!(plans[0].datapath, Datapath::Ipvlan, "nothing else was taken");
    }
}
