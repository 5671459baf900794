//! A node's own network services at work against the shipped programs, in a guest of the lab whose root has them as
//! Debian packages them: systemd-networkd, systemd-udevd, NetworkManager, dhclient and cloud-init's hook really run, and a
//! DHCP server in the VPC answers. Tests called `imitated` do by a script what other programs do.
//!
//! Pods are on shared ENIs: their ENIs, routes and rules are on the node, where services find them.

mod cloud_init;
mod dhclient;
mod dhcp;
mod imitated;
mod monitor;
#[expect(
    clippy::unwrap_used,
    dead_code,
    reason = "it panics where it cannot ask; tests here return what is wrong"
)]
#[path = "../../crates/terway-datapath/tests/sandbox/needs.rs"]
mod needs;
mod network_manager;
mod networkd;
#[expect(dead_code, reason = "this VPC's ports drop nothing")]
#[path = "../../crates/terway-datapath/tests/sandbox/nft_needs.rs"]
mod nft_needs;
mod node;
mod service;
mod udevd;

use std::env;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use libtest_mimic::{Arguments, Failed, Trial};
use needs::Need;
use nft_needs::NAT;
use terway_rig::sandbox;

/// A test by its name.
type Test = (&'static str, fn(&str) -> Result<()>);

const TESTS: &[Test] = &[
    ("networkd::what_it_takes_comes_back_and_it_is_named", networkd::takes),
    ("networkd::with_our_settings_it_takes_nothing", networkd::leaves),
    ("networkd::nobody_fights_it", networkd::is_not_fought),
    ("udevd::nics_it_renames_are_found_by_their_macs", udevd::renames),
    ("dhclient::what_it_puts_on_an_eni_comes_off", dhclient::configures),
    ("network_manager::what_it_puts_on_an_eni_comes_off_and_it_is_named", network_manager::takes),
    ("network_manager::with_our_settings_it_takes_nothing", network_manager::leaves),
    ("cloud_init::what_its_hook_puts_on_an_eni_comes_off", cloud_init::takes),
    ("cloud_init::with_our_settings_its_hook_is_off", cloud_init::leaves),
    ("imitated::a_shaper_takes_pods_classes_away", imitated::a_shaper),
    (FLUSH, imitated::a_flush),
];

/// Children of ENIs want source translation, which Debian's user-mode kernel lacks.
const FLUSH: &str = "imitated::local_routes_of_pods_with_ipvlan_l3s_come_back_after_a_flush";

fn main() -> ExitCode {
    sandbox::run(|| {
        let arguments = Arguments::from_args();
        let here = env::var_os("TERWAY_LAB").is_some() && Path::new(networkd::PROGRAM).exists();
        ensure!(arguments.list || here, "these tests want a guest of the lab: cargo xtask lab --test agents");
        let trials = TESTS.iter().map(|(name, test)| {
            let short: String = name.chars().filter(char::is_ascii_lowercase).take(20).collect();
            let trial =
                Trial::test(*name, move || test(&short).map_err(|error| Failed::from(format!("{error:#}"))));
            let wanted: &'static [Need] = if *name == FLUSH { &[NAT] } else { &[] };
            (trial, wanted)
        });
        Ok(needs::run(&arguments, trials))
    })
}
