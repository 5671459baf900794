//! Many at once, and the same twice.

use std::collections::BTreeSet;
use std::process::Child;
use std::thread;

use anyhow::{Context as _, Result, anyhow, ensure};
use serde_json::Value;
use terway_rig::eventually::eventually;
use terway_rig::plugin::{Call, Outcome};
use terway_rig::pod::Pod;
use terway_rig::reader;
use terway_rig::world::Plan;

use crate::support::{LIMIT, Scenario, audit, booted, both, once, wait_quiet};

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![
        once("parallel::ten_adds_and_dels", many),
        both("parallel::more_pods_than_warm_enis_wait_in_line", queue),
        both("parallel::those_who_wait_are_told_why_and_in_which_place", in_line),
        once("parallel::two_adds_of_one_attachment", twice),
        once("parallel::add_and_del_of_one_sandbox_overlap", overlap),
        once("parallel::an_add_killed_in_the_middle_is_undone_by_del", killed),
    ]
}

/// Runs calls at once and waits for all.
fn at_once(calls: Vec<Call>) -> Result<Vec<Outcome>> {
    let threads: Vec<_> = calls.into_iter().map(|call| thread::spawn(move || call.run())).collect();
    threads.into_iter().map(|thread| thread.join().map_err(|_| anyhow!("a call panicked"))?).collect()
}

fn addresses(outcomes: &[Outcome]) -> Result<BTreeSet<String>> {
    outcomes.iter().map(|outcome| outcome.clone().expect_ok("ADD")?.address(4)).collect()
}

fn sandboxes(world: &mut terway_rig::world::World, count: usize) -> Result<Vec<Pod>> {
    (0..count).map(|number| world.nodes[0].pod(&format!("web{number}"))).collect()
}

fn many(plan: &Plan) -> Result<()> {
    let mut world = booted(&Plan { enis: 12, pool: (10, 11), ..plan.clone() })?;
    let pods = sandboxes(&mut world, 10)?;
    for _ in 0..2 {
        let added = at_once(pods.iter().map(|pod| pod.call("ADD")).collect())?;
        ensure!(addresses(&added)?.len() == 10, "an address was given twice");
        audit(&world)?;
        for outcome in at_once(pods.iter().map(|pod| pod.call("DEL")).collect())? {
            outcome.expect_ok("DEL")?;
        }
        wait_quiet(&world.nodes[0])?;
    }
    let host = reader::recording(&world.nodes[0].netns)?;
    ensure!(!host.contains("cali") && !host.contains("proto 157"), "left behind: {host}");
    audit(&world)
}

fn queue(plan: &Plan) -> Result<()> {
    let mut world = booted(&Plan { enis: 9, pool: (1, 2), latency: [5, 200, 50, 5], ..plan.clone() })?;
    let pods = sandboxes(&mut world, 8)?;
    let added = at_once(pods.iter().map(|pod| pod.call("ADD")).collect())?;
    ensure!(addresses(&added)?.len() == 8, "an address was given twice");
    audit(&world)
}

fn in_line(plan: &Plan) -> Result<()> {
    let mut world = booted(&Plan { pool: (0, 0), latency: [5, 3000, 50, 5], ..plan.clone() })?;
    let calls: Vec<_> = sandboxes(&mut world, 3)?.iter().map(|pod| pod.call("ADD")).collect();
    let adds = thread::spawn(move || at_once(calls));
    let node = &world.nodes[0];
    let waiters = || -> Option<Vec<Value>> {
        let status: Value = serde_json::from_slice(&node.cli(&["status", "-o", "json"]).ok()?.stdout).ok()?;
        status["pool"]["waiters"].as_array().filter(|all| all.len() == 3).cloned()
    };
    let waiters = eventually("three wait in line", LIMIT, waiters)?;
    let places: Vec<_> = waiters.iter().map(|waiter| waiter["place"].as_u64()).collect();
    ensure!(places == [Some(1), Some(2), Some(3)], "{waiters:?}");
    for waiter in &waiters {
        let why = waiter["waits_for"].as_str().unwrap_or_default();
        ensure!(why.contains("ENI"), "no reason a person could read: {waiter}");
    }
    let table = String::from_utf8(node.cli(&["status"])?.stdout)?;
    ensure!(["PLACE", "WAITING", "REASON"].iter().all(|word| table.contains(word)), "{table}");
    let added = adds.join().map_err(|_| anyhow!("a thread panicked"))??;
    ensure!(addresses(&added)?.len() == 3, "an address was given twice");
    audit(&world)
}

fn twice(plan: &Plan) -> Result<()> {
    let mut world = booted(&Plan { pool: (2, 4), ..plan.clone() })?;
    let mut pod = world.nodes[0].pod("web")?;
    let outcomes = at_once(vec![pod.call("ADD"), pod.call("ADD")])?;
    let (good, bad): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Outcome::ok);
    ensure!(good.len() == 1 && bad.len() == 1, "{good:?} {bad:?}");
    let (_, text) = bad[0].expect_error("the second ADD")?;
    ensure!(text.contains("interface-exists") || text.contains("attachment-busy"), "{text}");
    pod.result = good.into_iter().next();
    pod.call_with_result("CHECK").run()?.expect_ok("CHECK after the refused second ADD")?;
    audit(&world)?;
    pod.del()?;
    Ok(())
}

fn overlap(plan: &Plan) -> Result<()> {
    let mut world = booted(&Plan { pool: (2, 4), ..plan.clone() })?;
    for _ in 0..5 {
        let pod = world.nodes[0].pod("web")?;
        let outcomes = at_once(vec![pod.call("ADD"), pod.call("DEL")])?;
        outcomes[1].clone().expect_ok("DEL during ADD")?;
        // Whoever came first: the runtime's next DEL leaves nothing.
        pod.call("DEL").run()?.expect_ok("DEL")?;
        let left = reader::json(&pod.netns, "ip", &["link", "show"])?;
        ensure!(left.as_array().map(Vec::len) == Some(1), "{left}");
    }
    wait_quiet(&world.nodes[0])?;
    ensure!(world.nodes[0].phases()?.iter().all(|phase| phase == "Ready"), "{:?}", world.nodes[0].phases());
    audit(&world)
}

fn killed(plan: &Plan) -> Result<()> {
    let mut world = booted(&Plan { pool: (2, 4), ..plan.clone() })?;
    // From right at the start to about the usual length of an ADD, so that each stage is hit.
    for step in 0..25u32 {
        let pod = world.nodes[0].pod("web")?;
        let mut child: Child = pod.call("ADD").start()?;
        thread::park_timeout(std::time::Duration::from_millis(2) * step);
        child.kill().context("failed to kill the plugin")?;
        child.wait()?;
        pod.call("DEL").run()?.expect_ok("DEL after a killed ADD")?;
        let left = reader::json(&pod.netns, "ip", &["link", "show"])?;
        ensure!(left.as_array().map(Vec::len) == Some(1), "killed after {} ms: {left}", 2 * step);
        wait_quiet(&world.nodes[0])?;
    }
    let host = reader::recording(&world.nodes[0].netns)?;
    ensure!(!host.contains("cali") && !host.contains("proto 157"), "left behind: {host}");
    audit(&world)
}
