//! How packets of pods wait at their ENIs: what configuration, annotation and daemon ask for, what the kernel can do, and
//! what is said where it cannot.

use terway_datapath::kernel::{KernelError, Netlink, Netns, QdiscKind};
use terway_types::{Datapath, Fault, InterfacePlan, PriorityClass, Queueing};

use crate::annotations::PRIORITY;
use crate::blueprint::Blueprint;

/// What is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    /// `bandwidth_mode: edt`: packets leave at the time they bear.
    pub(crate) paced: bool,
    /// `enable_network_priority`: there are classes.
    pub(crate) classes: bool,
    /// The class that the pod's annotation names, where there are classes.
    pub(crate) class: Option<PriorityClass>,
}

/// Something a person has to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Notice {
    /// The event's reason.
    pub(crate) reason: &'static str,
    /// What there is to say.
    pub(crate) words: String,
}

impl Asked {
    /// For an interface for which the daemon asks this class. A whole ENI has one pod, so nobody to go before; without an
    /// ENI packets wait at the node's own NIC, which is not ours. A pod that asks for nothing must not choose for itself
    /// either, by the type of service of its packets.
    pub(crate) fn of_interface(self, datapath: Datapath, theirs: Option<PriorityClass>) -> Queueing {
        let class = self.class.or(theirs).unwrap_or(PriorityClass::Burstable);
        Queueing {
            paced: self.paced && datapath != Datapath::VpcRoute,
            class: Some(class).filter(|_| self.classes && datapath.shares_the_eni()),
        }
    }
}

/// Asks the kernel for what the plans want, and takes from them what it lacks.
pub(crate) fn heed_kernel(plans: &mut [InterfacePlan], host: &Netns) -> Result<Vec<Notice>, Fault> {
    without(plans, |kind| {
        let asked: Result<bool, KernelError> =
            Netlink::open(host).and_then(|mut netlink| netlink.has_qdisc(kind));
        asked.map_err(|error| error.fault())
    })
}

/// Asks only for what is wanted: a question may load a module.
fn without(
    plans: &mut [InterfacePlan],
    has: impl Fn(QdiscKind) -> Result<bool, Fault>,
) -> Result<Vec<Notice>, Fault> {
    let mut notices = Vec::new();
    let mut lacking = |reason, kind: QdiscKind, effect: String| {
        let name = kind.name();
        let words = format!(
            "this kernel has no qdisc {name}: {effect}; load the kernel module sch_{name} and make the pod anew"
        );
        notices.push(Notice { reason, words });
    };
    if plans.iter().any(|plan| plan.queueing.paced) && !has(QdiscKind::Fq)? {
        for plan in plans.iter_mut() {
            plan.queueing.paced = false;
        }
        let effect =
            "packets leave as they come, whatever bandwidth_mode edt says, and limits are token buckets";
        lacking("PacingUnavailable", QdiscKind::Fq, effect.to_owned());
    }
    let classes: Vec<_> = plans.iter().filter_map(|plan| plan.queueing.class).collect();
    if !classes.is_empty() && !has(QdiscKind::Prio)? {
        for plan in plans.iter_mut() {
            plan.queueing.class = None;
        }
        // Without classes everybody has what is usual.
        if let Some(class) = classes.into_iter().find(|class| *class != PriorityClass::Burstable) {
            let effect = format!("annotation {PRIORITY} {:?} has no effect", class.word());
            lacking(UNHEEDED, QdiscKind::Prio, effect);
        }
    }
    Ok(notices)
}

/// The reason of the event about a class that has no effect.
const UNHEEDED: &str = "NetworkPriorityUnheeded";

/// A class that the pod asks for, of an interface whose packets wait where no classes are made.
pub(crate) fn unheeded(asked: Asked, blueprints: &[Blueprint]) -> Option<Notice> {
    let class = asked.class?;
    let is_without = |one: &&Blueprint| {
        let wanted = one.plan.queueing.class.is_some() || one.plan.datapath == Datapath::VpcRoute;
        wanted && one.layout.host.classes.is_empty()
    };
    let ifname = &blueprints.iter().find(is_without)?.plan.ifname;
    let words = format!(
        "annotation {PRIORITY} {:?} has no effect on {ifname}: its packets leave by the node's own NIC, where no classes \
         are made; limit other pods by kubernetes.io/egress-bandwidth instead",
        class.word()
    );
    Some(Notice { reason: UNHEEDED, words })
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use terway_rpc::wire::{self, AttachmentType};
    use terway_types::FaultCode;

    use super::*;
    use crate::fixture::{conf, interface, key};
    use crate::netconf::Options;
    use crate::plan::plans;

    fn planned(kind: AttachmentType, class: &str) -> Vec<InterfacePlan> {
        let options = Options::read(&conf(&json!({
            "bandwidth_mode": "edt",
            "enable_network_priority": true,
            "runtimeConfig": {"io.kubernetes.cri.pod-annotations": { (PRIORITY): class }},
        })));
        let pod = Some(wire::PodInfo { network_priority: "guaranteed".into(), ..Default::default() });
        let answer = wire::Interface { pod, ..interface() };
        plans(kind as i32, &[answer], &key(), &options.unwrap()).unwrap()
    }

    fn queueing(kind: AttachmentType, class: &str) -> (bool, Option<&'static str>) {
        let Queueing { paced, class } = planned(kind, class)[0].queueing;
        (paced, class.map(PriorityClass::word))
    }

    #[test]
    fn the_annotation_goes_over_the_daemon_where_packets_share_an_eni() {
        let shared = AttachmentType::TypeEniMultiIp;
        assert_eq!(queueing(shared, "best-effort"), (true, Some("best-effort")));
        assert_eq!(queueing(shared, ""), (true, Some("guaranteed")));
        assert_eq!(queueing(AttachmentType::TypeVpceni, "best-effort"), (true, None));
        assert_eq!(queueing(AttachmentType::TypeVpcip, "best-effort"), (false, None));
    }

    #[test]
    fn who_asks_for_nothing_is_burstable_where_there_are_classes() {
        let asked = |classes| Asked { paced: false, classes, class: None };
        let class = |asked: Asked| asked.of_interface(Datapath::Ipvlan, None).class;
        assert_eq!(class(asked(true)), Some(PriorityClass::Burstable));
        assert_eq!(class(asked(false)), None);
    }

    #[test]
    fn a_kernel_that_lacks_something_means_doing_without_and_a_word_about_it() {
        let mut plans = planned(AttachmentType::TypeEniMultiIp, "guaranteed");
        assert_eq!(without(&mut plans, |_| Ok(true)).unwrap(), []);
        assert_eq!(plans[0].queueing.class, Some(PriorityClass::Guaranteed));
        let notices = without(&mut plans, |_| Ok(false)).unwrap();
        assert_eq!(plans[0].queueing, Queueing::default());
        let reasons: Vec<_> = notices.iter().map(|notice| notice.reason).collect();
        assert_eq!(reasons, ["PacingUnavailable", "NetworkPriorityUnheeded"]);
        assert!(notices[0].words.contains("sch_fq") && notices[0].words.contains("token buckets"));
        assert!(notices[1].words.contains("sch_prio") && notices[1].words.contains("\"guaranteed\""));
        let mut plans = planned(AttachmentType::TypeEniMultiIp, "burstable");
        let reasons: Vec<_> =
            without(&mut plans, |_| Ok(false)).unwrap().iter().map(|notice| notice.reason).collect();
        assert_eq!(reasons, ["PacingUnavailable"], "it is as asked");
    }

    #[test]
    fn the_kernel_is_not_asked_for_what_nobody_wants() {
        let mut plans = planned(AttachmentType::TypeVpcip, "guaranteed");
        let asked = |_| Err(Fault::new(FaultCode::Internal, "asked"));
        assert_eq!(without(&mut plans, asked).unwrap(), []);
    }
}
