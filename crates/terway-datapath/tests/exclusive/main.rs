//! An exclusive attachment in a real kernel: made, compared, broken, undone and removed, with real packets. What
//! the kernel has is read back by `ip`, `tc` and `nft`, never by the code under test.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "../sandbox/breaking.rs"]
mod breaking;
#[path = "../sandbox/plan.rs"]
mod plan;
#[path = "../sandbox/refused.rs"]
mod refused;
#[path = "../sandbox/mod.rs"]
mod sandbox;
#[path = "../sandbox/talk.rs"]
mod talk;
#[path = "../sandbox/verbs.rs"]
mod verbs;

#[path = "../sandbox/needs.rs"]
mod needs;
#[path = "../sandbox/nft_needs.rs"]
mod nft_needs;

mod add;
mod check;
mod damage;
mod del;
mod failing;
mod limits;
mod mending;
mod packets;
mod several;
mod state;
mod translation;
mod undo;
mod world;

use std::process::ExitCode;

use libtest_mimic::Arguments;

use nft_needs::{NAT, PORTS};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    // Before the test runner starts its threads.
    if !arguments.list {
        sandbox::enter();
    }
    let tests: &[(&str, fn())] = &[
        ("add::an_ipv4_pod", add::an_ipv4_pod),
        ("add::an_ipv6_pod", add::an_ipv6_pod),
        ("add::a_dual_stack_pod", add::a_dual_stack_pod),
        ("add::a_nic_that_comes_late_is_waited_for", add::a_nic_that_comes_late_is_waited_for),
        (
            "add::what_speaks_against_it_is_found_before_any_change",
            add::what_speaks_against_it_is_found_before_any_change,
        ),
        ("add::ten_pods_at_once", add::ten_pods_at_once),
        ("add::advertisements_outlive_forwarding", add::advertisements_outlive_forwarding),
        ("packets::ipv4", packets::ipv4),
        ("packets::ipv6", packets::ipv6),
        ("check::every_object_taken_away_is_named", check::every_object_taken_away_is_named),
        ("check::what_a_later_plugin_adds_is_no_drift", check::what_a_later_plugin_adds_is_no_drift),
        ("check::a_repair_touches_nothing_else", check::a_repair_touches_nothing_else),
        ("undo::stopped_before_each_step", undo::stopped_before_each_step),
        ("undo::refused_within_a_batch", undo::refused_within_a_batch),
        ("undo::each_request_refused_once", undo::each_request_refused_once),
        ("del::all_is_as_before", del::all_is_as_before),
        ("del::after_an_add_that_died_at_each_step", del::after_an_add_that_died_at_each_step),
        ("del::the_daemon_is_away", del::the_daemon_is_away),
        ("del::nothing_there_and_again", del::nothing_there_and_again),
        ("del::the_namespace_is_gone", del::the_namespace_is_gone),
        ("del::the_nic_was_pulled_out_of_the_pod", del::the_nic_was_pulled_out_of_the_pod),
        ("del::the_nic_came_home_under_another_name", del::the_nic_came_home_under_another_name),
        ("del::the_home_name_is_taken", del::the_home_name_is_taken),
        ("del::an_old_sandbox_leaves_the_new_one_alone", del::an_old_sandbox_leaves_the_new_one_alone),
        ("del::what_is_not_ours_stays", del::what_is_not_ours_stays),
        ("several::interfaces_of_one_attachment", several::interfaces_of_one_attachment),
        ("several::networks_of_one_pod", several::networks_of_one_pod),
        ("several::a_second_default_route_is_refused", several::a_second_default_route_is_refused),
        ("several::a_name_that_is_taken_is_refused", several::a_name_that_is_taken_is_refused),
        (
            "translation::each_part_taken_away_is_named_and_comes_back",
            translation::each_part_taken_away_is_named_and_comes_back,
        ),
        ("translation::an_address_has_one_owner", translation::an_address_has_one_owner),
        ("translation::pods_of_an_earlier_program_live_on", translation::pods_of_an_earlier_program_live_on),
        (
            "translation::what_stands_in_the_way_is_told_and_all_is_as_before",
            translation::what_stands_in_the_way_is_told_and_all_is_as_before,
        ),
        ("translation::many_that_come_and_go_at_once", translation::many_that_come_and_go_at_once),
        ("limits::rates_are_set_and_traffic_passes_them", limits::rates_are_set_and_traffic_passes_them),
    ];
    needs::run(&arguments, tests.iter().map(|(name, test)| (needs::trial(*name, *test), &[NAT, PORTS][..])))
}
