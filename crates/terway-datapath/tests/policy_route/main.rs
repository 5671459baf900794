//! Pods on shared ENIs in a real kernel: made, compared, broken, undone and removed, with real packets. The node, the
//! VPC and what tells their state are those of the exclusive tests.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "../sandbox/breaking.rs"]
mod breaking;
#[path = "../exclusive/damage.rs"]
mod damage;
#[path = "../exclusive/failing.rs"]
mod failing;
#[path = "../exclusive/mending.rs"]
mod mending;
#[path = "../sandbox/needs.rs"]
mod needs;
#[path = "../sandbox/nft_needs.rs"]
mod nft_needs;
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
#[path = "../exclusive/world.rs"]
mod world;

mod add;
mod check;
mod del;
mod erdma;
mod many;
mod packets;
mod shared;
mod undo;

use std::process::ExitCode;

use libtest_mimic::Arguments;
use terway_datapath::kernel::Netns;

use needs::Need;
use nft_needs::{NAT, PORTS};

/// Our check of IPv6 sources.
const FIB: Need = Need {
    what: "nf_tables with lookups of IPv6 routes (nft_fib_ipv6)",
    probe: "nft add table ip6 probe && \
            nft add chain ip6 probe in '{ type filter hook prerouting priority raw; }' && \
            nft add rule ip6 probe in fib saddr . iif oif 0 drop && \
            nft delete table ip6 probe",
};

/// Connections that go over RDMA.
const SMC: Need = Need {
    what: "module smc: cargo xtask lab --qemu has it",
    probe: "test -d /proc/sys/net/smc || { echo \"no SMC\" >&2; exit 1; }",
};

/// Set by the lab for what it runs in a guest.
const GUEST: Need = Need {
    what: "first namespace that tests may change: a guest of the lab has it",
    probe: "test \"$TERWAY_LAB\" = 1 || { echo \"no guest\" >&2; exit 1; }",
};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let first = Netns::current().expect("every process is in a network namespace");
    // Before the test runner starts its threads.
    if !arguments.list {
        sandbox::enter();
    }
    let tests: &[(&str, fn())] = &[
        ("add::a_dual_stack_pod", add::a_dual_stack_pod),
        ("add::a_second_pod_shares_the_table", add::a_second_pod_shares_the_table),
        ("add::what_an_older_pod_left_makes_way", add::what_an_older_pod_left_makes_way),
        ("add::what_speaks_against_it_changes_nothing", add::what_speaks_against_it_changes_nothing),
        ("add::several_interfaces", add::several_interfaces),
        ("packets::ipv4", packets::ipv4),
        ("packets::ipv6", packets::ipv6),
        ("packets::ipv6_with_sources_checked", packets::ipv6_with_sources_checked),
        ("packets::no_pod_speaks_for_its_neighbour", packets::no_pod_speaks_for_its_neighbour),
        ("packets::a_node_in_the_same_vswitch", packets::a_node_in_the_same_vswitch),
        ("packets::an_eni_without_a_link_local_address", packets::an_eni_without_a_link_local_address),
        ("packets::the_nodes_own_nic_is_shared", packets::the_nodes_own_nic_is_shared),
        ("packets::foreign_sources_go_nowhere", packets::foreign_sources_go_nowhere),
        ("packets::each_interface_speaks_for_itself", packets::each_interface_speaks_for_itself),
        ("check::every_object_taken_away_is_named", check::every_object_taken_away_is_named),
        (
            "check::every_object_of_a_vpc_route_taken_away_is_named",
            check::every_object_of_a_vpc_route_taken_away_is_named,
        ),
        ("check::a_repair_touches_nothing_else", check::a_repair_touches_nothing_else),
        (
            "check::links_set_down_come_up_with_all_that_hangs_on_them",
            check::links_set_down_come_up_with_all_that_hangs_on_them,
        ),
        ("undo::stopped_before_each_step", undo::stopped_before_each_step),
        ("undo::refused_within_a_batch", undo::refused_within_a_batch),
        ("undo::each_request_refused_once", undo::each_request_refused_once),
        ("undo::a_link_local_address_refused", undo::a_link_local_address_refused),
        ("undo::each_request_of_a_vpc_route_refused_once", undo::each_request_of_a_vpc_route_refused_once),
        ("del::all_is_as_before", del::all_is_as_before),
        ("del::after_an_add_that_died_at_each_step", del::after_an_add_that_died_at_each_step),
        ("del::the_namespace_is_gone", del::the_namespace_is_gone),
        ("del::nobody_knows_the_addresses", del::nobody_knows_the_addresses),
        ("del::an_old_sandbox_leaves_the_new_one_alone", del::an_old_sandbox_leaves_the_new_one_alone),
        ("del::what_is_not_ours_stays", del::what_is_not_ours_stays),
        ("del::what_nobody_can_name_is_swept", del::what_nobody_can_name_is_swept),
        ("erdma::its_end_has_the_enis_mac", erdma::its_end_has_the_enis_mac),
        ("erdma::its_end_is_never_taken_for_the_eni", erdma::its_end_is_never_taken_for_the_eni),
        ("erdma::the_eni_is_found_beside_it", erdma::the_eni_is_found_beside_it),
        ("many::the_table_is_there_while_anybody_needs_it", many::the_table_is_there_while_anybody_needs_it),
        (
            "many::who_comes_during_a_clearing_keeps_the_route",
            many::who_comes_during_a_clearing_keeps_the_route,
        ),
        ("many::a_hundred_at_once", many::a_hundred_at_once),
        ("many::a_hundred_in_mixed_modes", many::a_hundred_in_mixed_modes),
    ];
    let trials = tests.iter().map(|(name, test)| {
        let checks_sources = name.ends_with("sources_checked") || name.ends_with("its_neighbour");
        let needs = if checks_sources { &[NAT, PORTS, FIB][..] } else { &[NAT, PORTS] };
        (needs::trial(*name, *test), needs)
    });
    let of_devices =
        needs::trial("erdma::a_device_is_of_its_network", move || erdma::a_device_is_of_its_network(&first));
    let over_rdma =
        needs::trial("erdma::its_link_is_of_the_devices_network", erdma::its_link_is_of_the_devices_network);
    let over_rdma = [(of_devices, &[GUEST, SMC][..]), (over_rdma, &[PORTS, SMC])];
    let trials = trials.chain(over_rdma);
    needs::run(&arguments, trials)
}
