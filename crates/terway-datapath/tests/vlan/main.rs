//! Members of a trunk ENI in a real kernel: made, compared, broken, undone and removed, with real packets. What the
//! kernel has is read back by `ip`, never by the code under test.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../sandbox/needs.rs"]
mod needs;
#[path = "../sandbox/mod.rs"]
mod sandbox;

mod life;
mod packets;
mod world;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

use needs::Need;

/// Children of a link for one VLAN.
const VLAN: Need = Need {
    what: "VLAN links (8021q)",
    probe: "ip link add probe0 type veth peer name probe1 && \
            ip link add link probe0 name probe2 type vlan id 5; \
            said=$?; ip link del probe0; exit $said",
};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    // Before the test runner starts its threads.
    if !arguments.list {
        sandbox::enter();
    }
    let tests: &[(&str, fn())] = &[
        ("packets::members_reach_all_they_should", packets::members_reach_all_they_should),
        ("life::every_object_taken_away_is_named", life::every_object_taken_away_is_named),
        ("life::stopped_before_each_step", life::stopped_before_each_step),
        ("life::all_is_as_before", life::all_is_as_before),
        ("life::a_vlan_that_is_taken_is_refused", life::a_vlan_that_is_taken_is_refused),
        ("life::the_trunk_is_nobodys_to_take", life::the_trunk_is_nobodys_to_take),
        ("life::an_add_that_died_before_its_mark", life::an_add_that_died_before_its_mark),
    ];
    let trials = tests.iter().map(|(name, test)| {
        let test = *test;
        let trial = Trial::test(*name, move || {
            test();
            Ok(())
        });
        (trial, &[VLAN][..])
    });
    let trials = if arguments.list { trials.map(|(trial, _)| trial).collect() } else { needs::judge(trials) };
    libtest_mimic::run(&arguments, trials).exit_code()
}
