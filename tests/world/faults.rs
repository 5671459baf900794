//! A selection of the fault matrix (`cargo xtask faults` is the whole of it): every action that changes something
//! loses its answer once, and the cloud misbehaves for a while in the ways it most often does.

use std::path::Path;

use anyhow::{Result, ensure};
use terway_rig::faults;
use terway_rig::world::Plan;

use crate::support::{Scenario, binaries, both};

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![both("faults::a_node_recovers_from_each_and_leaks_nothing", selection)]
}

fn selection(plan: &Plan) -> Result<()> {
    let cells = faults::selection(plan.cloud);
    let outcomes = faults::run(&cells, 2, &binaries(), Path::new("/run/terway"), &plan.name, &|_| {});
    let failed = outcomes.iter().filter(|outcome| outcome.took.is_err()).count();
    ensure!(failed == 0, "{}", faults::text(&outcomes));
    Ok(())
}
