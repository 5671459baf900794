//! The disk fails the daemon: full, or with a ledger that is no ledger any more. What is durable stays true, what
//! cannot be made durable is refused with the reason, and everything goes on once the disk is well.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use nix::mount::{MsFlags, mount};
use serde_json::json;
use terway_rig::eventually::eventually;
use terway_rig::pod::Pod;
use terway_rig::world::Plan;

use crate::support::{LIMIT, Scenario, audit, once, started, wait_warm};

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![once("disk::a_full_disk_refuses_adds_and_loses_nothing", full)]
}

/// A file system of its own, small enough to be filled at once.
fn small_disk(folder: &Path) -> Result<()> {
    let options = "size=6m,mode=0700";
    mount(Some("state"), folder, Some("tmpfs"), MsFlags::empty(), Some(options))
        .with_context(|| format!("failed to mount a tmpfs on {}", folder.display()))
}

/// Fills the disk to the last byte.
fn fill(folder: &Path) -> Result<()> {
    let block = vec![0_u8; 4096];
    let mut file = fs::File::create(folder.join("ballast"))?;
    while std::io::Write::write_all(&mut file, &block).is_ok() {}
    Ok(())
}

fn full(plan: &Plan) -> Result<()> {
    let plan = Plan { pool: (2, 3), ..plan.clone() };
    let mut world = started(&plan)?;
    let state = world.nodes[0].path("state");
    small_disk(&state)?;
    world.boot()?;
    wait_warm(&world.nodes[0], 2)?;
    let mut before = world.nodes[0].pod("before")?;
    before.add()?;

    fill(&state)?;
    // While the pool is made anew, because a DEL found no room, who comes may hear no more than this.
    let come_again = |text: &str| {
        let away = ["daemon-starting", "daemon-unreachable"].iter().any(|code| text.contains(code));
        away && !text.contains("state-full")
    };
    // Enough ADDs and DELs that the ledger's own reserve of free pages is used up.
    let mut leaving: Vec<Pod> = Vec::new();
    let refused = (0..200).find_map(|number| {
        let pod = world.nodes[0].pod(&format!("during{number}")).ok()?;
        let outcome = pod.call("ADD").configured("allocate_timeout", json!(2)).run().ok()?;
        let failed = outcome.expect_error("ADD on a full disk").ok().filter(|(_, text)| !come_again(text));
        leaving.push(pod);
        // A runtime makes a refused DEL again.
        leaving.retain(|pod| pod.call("DEL").run().map_or(true, |outcome| !outcome.ok()));
        failed
    });
    let (_, message) = refused.context("200 ADDs were served though the disk is full")?;
    ensure!(message.contains("state-full"), "{message}");
    ensure!(message.contains("--state-dir"), "no remedy: {message}");
    // A commit that failed has the pool made anew, and who comes meanwhile is told to come again.
    eventually("CHECK of a pod from before", LIMIT, || {
        before.call_with_result("CHECK").run().ok()?.expect_ok("CHECK").ok().map(drop)
    })
    .with_context(|| world.nodes[0].log_tail())?;

    fs::remove_file(state.join("ballast"))?;
    let mut after = world.nodes[0].pod("after")?;
    eventually("the daemon goes on", LIMIT, || after.add().ok())?;
    after.del()?;
    before.del()?;
    // Some may be spooled, and are picked up.
    for pod in &leaving {
        pod.call("DEL").run()?.expect_ok("DEL now that there is room")?;
    }
    eventually("no ENI is held any more", LIMIT, || {
        let phases = world.nodes[0].phases().ok()?;
        phases.iter().all(|phase| phase == "Ready").then_some(())
    })
    .with_context(|| format!("{:?}", world.nodes[0].phases()))?;
    audit(&world)
}
