//! Pods whose interface is a child of an ENI that stays on the node, in a real kernel: members of a trunk (VLAN, or tags
//! the trunk itself puts on) and addresses of a shared ENI (IPVlan). Made, compared, broken, undone and removed, with
//! real packets. What the kernel has is read back by `ip`, never by the code under test.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../sandbox/breaking.rs"]
mod breaking;
#[path = "../sandbox/needs.rs"]
mod needs;
#[expect(dead_code, reason = "this world's VPC drops nothing")]
#[path = "../sandbox/nft_needs.rs"]
mod nft_needs;
#[path = "../sandbox/plan.rs"]
mod plan;
#[path = "../sandbox/refused.rs"]
mod refused;
#[path = "../sandbox/mod.rs"]
mod sandbox;

mod ipvlan;
mod life;
mod packets;
mod queues;
mod services;
mod tags;
#[path = "../sandbox/talk.rs"]
mod talk;
#[path = "../sandbox/verbs.rs"]
mod verbs;
mod world;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

use needs::{Need, trial};
use nft_needs::NAT;
use world::Kind;

/// Children of a link for one VLAN.
const VLAN: Need = Need {
    what: "VLAN links (8021q)",
    probe: "ip link add probe0 type veth peer name probe1 && \
            ip link add link probe0 name probe2 type vlan id 5; \
            said=$?; ip link del probe0; exit $said",
};

/// Filters that put tags on and take them off.
const TAGS: Need = Need {
    what: "filters for VLAN tags (sch_ingress, cls_u32, act_vlan)",
    probe: "ip link add probe0 type veth peer name probe1 && tc qdisc add dev probe0 clsact && \
            tc filter add dev probe0 egress protocol ip u32 match ip src 10.0.0.1/32 action vlan push id 7; \
            said=$?; ip link del probe0; exit $said",
};

/// What stands for kube-proxy.
const IPTABLES: Need = Need {
    what: "iptables with nat for IPv4 and IPv6",
    probe: "iptables-legacy -t nat -S >/dev/null && ip6tables-legacy -t nat -S >/dev/null",
};

/// Children of a link with addresses of their own.
const IPVLAN: Need = Need {
    what: "IPVlan links (ipvlan)",
    probe: "ip link add probe0 type veth peer name probe1 && \
            ip link add link probe0 name probe2 type ipvlan mode l2; \
            said=$?; ip link del probe0; exit $said",
};

/// Classes and fair queueing at the ENI.
const QUEUES: Need = Need {
    what: "qdiscs prio and fq, or filters on them (sch_prio, sch_fq, cls_u32)",
    probe: "ip link add probe0 numtxqueues 2 type veth peer name probe1 && \
            tc qdisc add dev probe0 root handle 1: mq && tc qdisc add dev probe0 parent 1:1 handle 7: prio && \
            tc qdisc add dev probe0 parent 7:1 fq && \
            tc filter add dev probe0 parent 7: protocol ip u32 match ip src 10.0.0.1/32 flowid 7:1; \
            said=$?; ip link del probe0; exit $said",
};

/// A test of both kinds.
type Both = (&'static str, fn(Kind));

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    // Before the test runner starts its threads.
    if !arguments.list {
        sandbox::enter();
    }
    let of_a_kind: &[(&str, fn())] = &[
        ("packets::members_reach_all_they_should", packets::members_reach_all_they_should),
        ("life::a_vlan_that_is_taken_is_refused", life::a_vlan_that_is_taken_is_refused),
    ];
    let of_ipvlan: &[(&str, fn())] = &[
        ("packets::children_reach_all_they_should", packets::children_reach_all_they_should),
        ("packets::routed_children_reach_all_they_should", packets::routed_children_reach_all_they_should),
        ("ipvlan::an_eni_has_one_mode_for_all", ipvlan::an_eni_has_one_mode_for_all),
        ("ipvlan::ip_shows_what_the_layout_says", ipvlan::ip_shows_what_the_layout_says),
        ("ipvlan::two_interfaces_in_one_vswitch", ipvlan::two_interfaces_in_one_vswitch),
        ("ipvlan::what_a_dead_pod_left_is_found_and_goes", ipvlan::what_a_dead_pod_left_is_found_and_goes),
        ("ipvlan::the_kernel_is_asked_whether_it_can", ipvlan::the_kernel_is_asked_whether_it_can),
    ];
    let of_tags: &[(&str, fn())] = &[
        ("tags::tc_shows_what_the_layout_says", tags::tc_shows_what_the_layout_says),
        ("tags::members_reach_all_they_should", tags::members_reach_all_they_should),
        ("tags::what_takes_tags_off_goes_with_the_last", tags::what_takes_tags_off_goes_with_the_last),
        ("tags::what_a_dead_pod_left_is_swept", tags::what_a_dead_pod_left_is_swept),
        ("tags::what_is_missing_on_the_node_is_put_back", tags::what_is_missing_on_the_node_is_put_back),
        ("tags::a_new_sandbox_takes_the_address_over", tags::a_new_sandbox_takes_the_address_over),
        (
            "tags::a_vlan_link_beside_tagged_members_is_refused",
            tags::a_vlan_link_beside_tagged_members_is_refused,
        ),
        ("tags::many_come_and_go_at_once", tags::many_come_and_go_at_once),
    ];
    let of_both: &[Both] = &[
        ("every_object_taken_away_is_named", life::every_object_taken_away_is_named),
        ("stopped_before_each_step", life::stopped_before_each_step),
        ("each_request_refused_once", life::each_request_refused_once),
        ("all_is_as_before", life::all_is_as_before),
        ("the_eni_is_nobodys_to_take", life::the_eni_is_nobodys_to_take),
        ("what_the_node_lost_is_put_back", services::what_the_node_lost_is_put_back),
    ];
    let of_children: &[Both] =
        &[("an_add_that_died_before_its_mark", life::an_add_that_died_before_its_mark)];
    let mut trials: Vec<(Trial, &'static [Need])> = Vec::new();
    for (tests, needs) in [(of_a_kind, &[VLAN][..]), (of_ipvlan, &[IPVLAN][..]), (of_tags, &[VLAN, TAGS][..])]
    {
        trials.extend(tests.iter().map(|(name, test)| (trial(*name, *test), needs)));
    }
    for (kind, word, needs) in [
        (Kind::Vlan, "vlan", &[VLAN][..]),
        (Kind::VlanTag, "vlan_tag", &[VLAN, TAGS][..]),
        (Kind::Ipvlan, "ipvlan", &[IPVLAN][..]),
        (Kind::IpvlanL3s, "ipvlan_l3s", &[IPVLAN][..]),
    ] {
        let more = if kind == Kind::VlanTag { &[] } else { of_children };
        let both = of_both.iter().chain(more).map(|(name, test)| {
            let test = *test;
            (trial(format!("life::{word}::{name}"), move || test(kind)), needs)
        });
        trials.extend(both);
    }
    trials.extend(of_queues());
    let backends: [(Kind, &str, &[Need]); 3] = [
        (Kind::Vlan, "vlan", &[VLAN, NAT]),
        (Kind::Ipvlan, "ipvlan", &[IPVLAN, NAT]),
        (Kind::IpvlanL3s, "ipvlan_l3s", &[IPVLAN, NAT]),
    ];
    for (kind, word, needs) in backends {
        let name = format!("services::{word}::backends_see_the_node");
        trials.push((trial(name, move || services::backends_see_the_node(kind)), needs));
    }
    for (kind, word, needs) in [
        (Kind::PolicyRoute, "policy_route", &[QUEUES][..]),
        (Kind::Ipvlan, "ipvlan", &[IPVLAN, QUEUES]),
        (Kind::IpvlanL3s, "ipvlan_l3s", &[IPVLAN]),
    ] {
        let name = format!("services::{word}::what_only_the_plugin_knew_is_put_back");
        trials.push((trial(name, move || services::what_only_the_plugin_knew_is_put_back(kind)), needs));
    }
    trials
        .push((trial("tags::members_reach_services", tags::members_reach_services), &[VLAN, TAGS, IPTABLES]));
    trials.push((trial("ipvlan::a_kernel_without_it_says_so", ipvlan::a_kernel_without_it_says_so), &[]));
    needs::run(&arguments, trials)
}

/// How packets wait at the ENI, whatever leads the pod there.
fn of_queues() -> Vec<(Trial, &'static [Need])> {
    let mut trials: Vec<(Trial, &'static [Need])> = Vec::new();
    let of_queues: &[Both] = &[
        ("packets_wait_in_the_class_of_their_pod", queues::packets_wait_in_the_class_of_their_pod),
        ("every_object_taken_away", queues::every_object_taken_away_is_named_and_put_back),
        ("what_a_dead_pod_left_is_found_and_goes", queues::what_a_dead_pod_left_is_found_and_goes),
    ];
    for (kind, word, needs) in [
        (Kind::Vlan, "vlan", &[VLAN, QUEUES][..]),
        (Kind::VlanTag, "vlan_tag", &[VLAN, TAGS, QUEUES][..]),
        (Kind::Ipvlan, "ipvlan", &[IPVLAN, QUEUES][..]),
        (Kind::PolicyRoute, "policy_route", &[QUEUES][..]),
    ] {
        let more: &[Both] = match kind {
            // One address is one child's.
            Kind::Vlan | Kind::Ipvlan | Kind::IpvlanL3s => &[],
            Kind::VlanTag => &[("a_changed_class_makes_way", queues::a_changed_class_makes_way)],
            Kind::PolicyRoute => &[
                ("a_changed_class_makes_way", queues::a_changed_class_makes_way),
                ("each_request_refused_once", queues::each_request_refused_once),
            ],
        };
        let all = of_queues.iter().chain(more).map(|(name, test)| {
            let test = *test;
            (trial(format!("queues::{word}::{name}"), move || test(kind)), needs)
        });
        trials.extend(all);
    }
    let of_ipvlan_queues: &[(&str, fn())] = &[
        ("queues::packets_leave_at_the_time_they_bear", queues::packets_leave_at_the_time_they_bear),
        ("queues::one_tree_serves_both", queues::one_tree_serves_both),
        ("queues::a_whole_eni_is_paced_in_the_pod", queues::a_whole_eni_is_paced_in_the_pod),
    ];
    trials.extend(
        of_ipvlan_queues.iter().map(|(name, test)| (trial((*name).to_owned(), *test), &[IPVLAN, QUEUES][..])),
    );
    let asking =
        trial("queues::the_kernel_is_asked_what_it_has".to_owned(), queues::the_kernel_is_asked_what_it_has);
    trials.push((asking, &[]));
    trials
}
