//! Somebody sets the node's clock. `libfaketime` does so for one daemon, by a file it reads at each look at the
//! clock; the clock of the machine stays.

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use terway_rig::node::Node;
use terway_rig::world::{Plan, World};

use crate::support::{Scenario, audit, once, started, wait_quiet, wait_warm};

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![
        once("clock::a_clock_that_jumps_neither_ends_nor_prolongs_a_rest", jumps),
        once("clock::a_daemon_restarted_in_its_own_past_serves_at_once", restarted_in_the_past),
    ]
}

/// The library, wherever this architecture has it.
fn library() -> Result<PathBuf> {
    let folders =
        fs::read_dir("/usr/lib")?.flatten().map(|entry| entry.path().join("faketime/libfaketime.so.1"));
    folders.into_iter().find(|path| path.exists()).context("libfaketime is missing; install faketime")
}

/// A node whose daemon looks at a clock that [`set`] sets.
fn with_own_clock(node: &mut Node) -> Result<()> {
    set(node, "+0")?;
    let variables = [
        ("LD_PRELOAD", library()?.display().to_string()),
        ("FAKETIME_TIMESTAMP_FILE", node.path("clock").display().to_string()),
        ("FAKETIME_NO_CACHE", "1".to_owned()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
    ];
    node.environment = variables.map(|(name, value)| (name.to_owned(), value)).to_vec();
    Ok(())
}

/// Sets the daemon's clock off from the machine's.
fn set(node: &Node, offset: &str) -> Result<()> {
    let draft = node.path("clock.new");
    fs::write(&draft, offset)?;
    fs::rename(draft, node.path("clock")).context("failed to set the clock")
}

fn world(plan: &Plan, quarantine: &str) -> Result<World> {
    let plan = Plan { enis: 3, pool: (2, 2), quarantine: quarantine.to_owned(), ..plan.clone() };
    let mut world = started(&plan)?;
    with_own_clock(&mut world.nodes[0])?;
    world.boot()?;
    wait_warm(&world.nodes[0], 2)?;
    Ok(world)
}

/// Two ENIs: the pod after the next one has to wait for the rest of the first one's.
fn jumps(plan: &Plan) -> Result<()> {
    const REST: u128 = 700;
    let mut world = world(plan, &format!("{REST}ms"))?;
    for offset in ["+30h", "-30h", "+0"] {
        let node = &mut world.nodes[0];
        let (mut first, mut other) = (node.pod("first")?, node.pod("other")?);
        first.add()?;
        other.add()?;
        let released = Instant::now();
        first.del()?;
        // Within the signature's tolerance again before the cloud is asked for anything.
        set(node, offset)?;
        let mut next = node.pod("next")?;
        next.add()?;
        let waited = released.elapsed().as_millis();
        set(node, "+0")?;
        ensure!(waited >= REST, "the clock at {offset} ended the rest after {waited} ms");
        next.del()?;
        other.del()?;
        wait_quiet(node)?;
    }
    audit(&world)
}

fn restarted_in_the_past(plan: &Plan) -> Result<()> {
    let mut world = world(plan, "5s")?;
    let mut pod = world.nodes[0].pod("web")?;
    pod.add()?;
    // Released by a daemon that lives tomorrow, so that the rest ends tomorrow.
    world.nodes[0].kill()?;
    set(&world.nodes[0], "+10m")?;
    world.nodes[0].start()?;
    world.nodes[0].wait_ready()?;
    pod.del()?;
    world.nodes[0].kill()?;
    set(&world.nodes[0], "+0")?;
    world.nodes[0].start()?;
    world.nodes[0].wait_ready()?;
    for number in 0..2 {
        world.nodes[0].pod(&format!("next{number}"))?.add()?;
    }
    audit(&world)
}
