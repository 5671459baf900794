//! Exclusive attachments with cards that are not virtual links: they come home when their namespace dies, under
//! whatever name is free, and share their MAC with their children. Only a guest of the lab has cards to spare, and
//! only its first namespace is where they come home to, so these tests run there and nowhere else.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../sandbox/needs.rs"]
mod needs;

mod homecoming;
mod node;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

use needs::Need;

/// Set by the lab for what it runs in a guest.
const GUEST: Need = Need {
    what: "network cards that tests may move about: a guest of the lab has them",
    probe: "test \"$TERWAY_LAB\" = 1 && ip link show vec0",
};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let tests: &[(&str, fn())] = &[
        ("homecoming::a_card_goes_to_a_pod_and_back", homecoming::a_card_goes_to_a_pod_and_back),
        ("homecoming::under_a_name_of_the_kernels_choice", homecoming::under_a_name_of_the_kernels_choice),
        ("homecoming::under_its_name_in_the_pod", homecoming::under_its_name_in_the_pod),
        ("homecoming::given_on_before_its_del", homecoming::given_on_before_its_del),
        ("homecoming::its_children_are_no_cards", homecoming::its_children_are_no_cards),
    ];
    let trials = tests.iter().map(|(name, test)| {
        let test = *test;
        let trial = Trial::test(*name, move || {
            test();
            Ok(())
        });
        (trial, &[GUEST][..])
    });
    let trials = if arguments.list { trials.map(|(trial, _)| trial).collect() } else { needs::judge(trials) };
    libtest_mimic::run(&arguments, trials).exit_code()
}
