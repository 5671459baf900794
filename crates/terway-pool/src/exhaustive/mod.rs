//! Small worlds, explored to the end: every interleaving of ADD, DEL, GC, deaths between any two effects, calls
//! that fail, get lost, land late, netdevs that move. The search runs the engine itself, in the world of the random
//! histories and under the same invariants; there is no second model that could be right where the engine is wrong.
//!
//! It is compiled for tests only: `cargo xtask soak --faults 1` explores the same worlds with a fault more, by the
//! same test binary, so no feature lets test code into the crate.
//!
//! Faults on a path are bounded, its length is not. Worlds are small in three ways: few ENIs and attachments; all
//! time limits are one or two units, so that few differences of times exist; whoever watches netdevs lags behind by
//! two moves at most. From every n-th state (by its digest) everything is made to come to rest.

pub(crate) mod canonical;
pub(crate) mod search;

use std::time::Duration;

use crate::histories::shared::choices::{self as shared, Scope as Scarce};
use crate::histories::soak::from_environment;
use crate::histories::world::choices::{GRAIN, Scope};
use crate::histories::world::{Demand, Pace, World, fast_settings};
use crate::{EniPolicy, Keep, Mode, PoolSettings, ReleasePace, Sharing};
use search::{Bounds, explore};

/// The unit of time limits. Half of it passes between a death and the next life.
const UNIT: u64 = 2 * GRAIN;

#[derive(Clone, Copy)]
struct Small {
    name: &'static str,
    max_enis: u32,
    min_idle: u32,
    keys: u8,
    faults: usize,
    lag: bool,
    demand: Demand,
    looks: bool,
    retires: bool,
    mishaps: bool,
    rest_every: u128,
}

impl Small {
    fn settings(&self) -> PoolSettings {
        let unit = Duration::from_millis(UNIT);
        PoolSettings {
            min_idle: self.min_idle,
            max_idle: 1,
            max_enis: self.max_enis,
            vswitches: vec!["vsw-a".into()],
            quarantine: unit,
            link_timeout: unit,
            home_timeout: unit,
            operation_timeout: 2 * unit,
            release: ReleasePace { interval: unit, quick: false },
            retry_first: unit,
            retry_max: 2 * unit,
            ..fast_settings()
        }
    }

    fn start(&self) -> World {
        let mut world = World::new(self.settings(), [2, 0], 2);
        world.pace =
            Pace { restart: GRAIN, slow_links: false, latest: UNIT, looks: self.looks, staggered: false };
        world.execute(usize::MAX);
        world
    }

    fn explore(&self) {
        let scope = Scope {
            keys: self.keys,
            patience: UNIT,
            lag: self.lag,
            demand: self.demand,
            looks: self.looks,
            retires: self.retires,
            mishaps: self.mishaps,
        };
        let faults = self.faults + usize::try_from(from_environment("TERWAY_SOAK_FAULTS", 0)).unwrap();
        let bounds = Bounds { scope, faults, rest_every: self.rest_every, states: 50_000_000 };
        let found = explore(self.start(), bounds);
        println!(
            "{} and {} more: {} states, {} steps, {} deep; rest reached from one in {}",
            self.name,
            faults - self.faults,
            found.states,
            found.steps,
            found.depth,
            self.rest_every
        );
    }
}

const SMALLEST: Small = Small {
    name: "",
    max_enis: 1,
    min_idle: 0,
    keys: 1,
    faults: 0,
    lag: false,
    demand: Demand::Any,
    looks: false,
    retires: false,
    mishaps: true,
    rest_every: 16,
};

#[test]
fn one_eni_fought_over() {
    Small { name: "1 ENI, 2 attachments, 1 fault", keys: 2, faults: 1, ..SMALLEST }.explore();
}

#[test]
fn one_eni_and_events_ahead_of_effects() {
    Small { name: "1 ENI, 1 attachment, 1 fault, lag", faults: 1, lag: true, ..SMALLEST }.explore();
}

#[test]
fn one_eni_kept_ready() {
    Small { name: "1 ENI kept ready, 1 attachment, 2 faults", faults: 2, min_idle: 1, ..SMALLEST }.explore();
}

#[test]
fn two_enis_and_two_attachments() {
    Small { name: "2 ENIs, 2 attachments, no fault", max_enis: 2, keys: 2, rest_every: 16, ..SMALLEST }
        .explore();
}

#[test]
fn the_end_of_a_node() {
    Small {
        name: "1 ENI kept ready, 1 attachment, its end",
        faults: 1,
        min_idle: 1,
        retires: true,
        ..SMALLEST
    }
    .explore();
}

/// The ENI of a claim is detached and kept when its attachment goes, and attached again.
#[test]
fn a_claim_that_keeps_its_eni() {
    let demand = Demand::Claim(0, Keep::Fixed);
    Small { name: "1 claim, 1 attachment, 1 fault", faults: 1, demand, ..SMALLEST }.explore();
}

/// The control plane makes an ENI, which is deleted after its use.
#[test]
fn a_claim_that_names_its_eni() {
    let demand = Demand::Named(0, Keep::Elastic);
    Small { name: "1 claim that names its ENI, 1 attachment, 1 fault", faults: 1, demand, ..SMALLEST }
        .explore();
}

/// The stock wants other security groups than the attachment.
#[test]
fn two_groups_on_one_eni() {
    let (demand, name) = (Demand::Groups, "1 ENI kept ready, 1 attachment with other groups, 1 fault");
    Small { name, faults: 1, min_idle: 1, demand, ..SMALLEST }.explore();
}

/// Fresh, as stale as may be, or missing everything; two are what a decision takes.
#[test]
fn two_looks_at_one_eni() {
    let small = Small { name: "1 ENI, 1 attachment, 2 looks", faults: 2, ..SMALLEST };
    Small { looks: true, mishaps: false, ..small }.explore();
}

/// A small world of shared addresses: one ENI that takes two.
#[derive(Clone, Copy)]
struct Few {
    name: &'static str,
    keys: u8,
    faults: usize,
}

impl Few {
    fn explore(&self) {
        let eni_policy = EniPolicy::MostIps;
        let sharing = Sharing { per_eni: 2, prefixes: false, assign_batch: 2, eni_policy, min_enis: 0 };
        let settings = PoolSettings { mode: Mode::Shared(sharing), ..SMALLEST.settings() };
        let scope = Scarce { keys: self.keys, patience: UNIT };
        let faults = self.faults + usize::try_from(from_environment("TERWAY_SOAK_FAULTS", 0)).unwrap();
        let bounds = Bounds { scope, faults, rest_every: SMALLEST.rest_every, states: 50_000_000 };
        let found = explore(shared::start(settings, 3, 2), bounds);
        println!("{}: {} states, {} steps, {} deep", self.name, found.states, found.steps, found.depth);
    }
}

const FEWEST: Few = Few { name: "", keys: 1, faults: 0 };

#[test]
fn two_addresses_of_one_eni_fought_over() {
    Few { name: "2 addresses, 2 attachments, no fault", keys: 2, ..FEWEST }.explore();
}

#[test]
fn two_addresses_of_one_eni_and_a_mishap() {
    Few { name: "2 addresses, 1 attachment, 1 fault", faults: 1, ..FEWEST }.explore();
}
