//! Pods whose interface is a child of an ENI that stays on the node, in a real kernel: members of a trunk (VLAN) and
//! addresses of a shared ENI (IPVlan). Made, compared, broken, undone and removed, with real packets. What the kernel has
//! is read back by `ip`, never by the code under test.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../sandbox/needs.rs"]
mod needs;
#[path = "../sandbox/refused.rs"]
mod refused;
#[path = "../sandbox/mod.rs"]
mod sandbox;

mod ipvlan;
mod life;
mod packets;
mod world;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

use needs::Need;
use world::Kind;

/// Children of a link for one VLAN.
const VLAN: Need = Need {
    what: "VLAN links (8021q)",
    probe: "ip link add probe0 type veth peer name probe1 && \
            ip link add link probe0 name probe2 type vlan id 5; \
            said=$?; ip link del probe0; exit $said",
};

/// Children of a link with addresses of their own.
const IPVLAN: Need = Need {
    what: "IPVlan links (ipvlan)",
    probe: "ip link add probe0 type veth peer name probe1 && \
            ip link add link probe0 name probe2 type ipvlan mode l2; \
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
        ("ipvlan::ip_shows_what_the_layout_says", ipvlan::ip_shows_what_the_layout_says),
        ("ipvlan::what_a_dead_pod_left_is_found_and_goes", ipvlan::what_a_dead_pod_left_is_found_and_goes),
        ("ipvlan::the_kernel_is_asked_whether_it_can", ipvlan::the_kernel_is_asked_whether_it_can),
    ];
    let of_both: &[Both] = &[
        ("every_object_taken_away_is_named", life::every_object_taken_away_is_named),
        ("stopped_before_each_step", life::stopped_before_each_step),
        ("each_request_refused_once", life::each_request_refused_once),
        ("all_is_as_before", life::all_is_as_before),
        ("the_eni_is_nobodys_to_take", life::the_eni_is_nobodys_to_take),
        ("an_add_that_died_before_its_mark", life::an_add_that_died_before_its_mark),
    ];
    let mut trials: Vec<(Trial, &'static [Need])> = Vec::new();
    for (tests, needs) in [(of_a_kind, &[VLAN][..]), (of_ipvlan, &[IPVLAN][..])] {
        trials.extend(tests.iter().map(|(name, test)| (trial((*name).to_owned(), *test), needs)));
    }
    for (kind, word, needs) in [(Kind::Vlan, "vlan", &[VLAN][..]), (Kind::Ipvlan, "ipvlan", &[IPVLAN][..])] {
        let both = of_both.iter().map(|(name, test)| {
            let test = *test;
            (trial(format!("life::{word}::{name}"), move || test(kind)), needs)
        });
        trials.extend(both);
    }
    trials.push((
        trial("ipvlan::a_kernel_without_it_says_so".to_owned(), ipvlan::a_kernel_without_it_says_so),
        &[],
    ));
    let trials = if arguments.list {
        trials.into_iter().map(|(trial, _)| trial).collect()
    } else {
        needs::judge(trials)
    };
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn trial(name: String, test: impl FnOnce() + Send + 'static) -> Trial {
    Trial::test(name, move || {
        test();
        Ok(())
    })
}
