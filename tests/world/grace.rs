//! Grace periods of the kernel that begin early, for the sake of a move: what of that can be seen from outside.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use terway_rig::eventually::eventually;
use terway_rig::world::Plan;

use crate::support::{LIMIT, Scenario, booted, once};

/// Says whether a wait for a period begins one. Where it does not, nothing can be done.
const BEGUN_BY_A_WAIT: &str = "/sys/module/rcutree/parameters/rcu_normal_wake_from_gp";

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![
        once("grace::a_thread_of_its_own_wakes_for_who_connects", woken),
        once("grace::where_no_nic_moves_the_thread_ends", ended),
    ]
}

/// The one of the daemon's threads that begins periods.
fn thread(daemon: u32) -> Result<Option<PathBuf>> {
    let threads = fs::read_dir(format!("/proc/{daemon}/task")).context("terwayd has no threads")?;
    let is_it =
        |path: &PathBuf| fs::read_to_string(path.join("comm")).is_ok_and(|name| name.trim() == "grace");
    Ok(threads.flatten().map(|entry| entry.path()).find(is_it))
}

/// How often it has waited.
fn waits(thread: &Path) -> Result<u64> {
    let status = fs::read_to_string(thread.join("status"))?;
    let waits = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    Ok(waits.context("the kernel does not count them")?.trim().parse()?)
}

fn woken(plan: &Plan) -> Result<()> {
    let mut world = booted(plan)?;
    let node = &mut world.nodes[0];
    let daemon = node.daemon_pid().context("terwayd does not run")?;
    let can_begin = fs::read(BEGUN_BY_A_WAIT).is_ok_and(|said| said.starts_with(b"1"));
    let thread = thread(daemon)?;
    ensure!(
        thread.is_some() == can_begin,
        "the kernel begins periods: {can_begin}, and {thread:?} is for that"
    );
    let Some(thread) = thread else { return Ok(()) };
    let (pod, before) = (node.pod("web")?, waits(&thread)?);
    // More often than whoever waited for the node can have left it to do.
    let many = before + 10;
    eventually("the thread is woken by each who connects", LIMIT, || {
        pod.call("STATUS").run().ok()?.expect_ok("STATUS").ok()?;
        (waits(&thread).ok()? >= many).then_some(())
    })
}

fn ended(plan: &Plan) -> Result<()> {
    let mut world = booted(&Plan { shared: true, ..plan.clone() })?;
    let node = &mut world.nodes[0];
    let (pod, daemon) = (node.pod("web")?, node.daemon_pid().context("terwayd does not run")?);
    eventually("no thread waits for who connects", LIMIT, || {
        pod.call("STATUS").run().ok()?.expect_ok("STATUS").ok()?;
        thread(daemon).ok()?.is_none().then_some(())
    })
}
