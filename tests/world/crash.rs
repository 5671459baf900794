//! `terwayd` dies by SIGKILL between any two of its steps; after a restart no ENI is lost and none given twice.

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use terway_rig::eventually::eventually;
use terway_rig::node::Node;
use terway_rig::pod::Pod;
use terway_rig::world::{Plan, World};

use crate::support::{LIMIT, Scenario, audit, both, once, started, text};

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![
        both("crash::between_any_two_steps_of_add_and_del", every_step),
        once("crash::a_killed_daemon_serves_again_with_all_its_attachments", fast_restart),
    ]
}

/// Starts from nothing, so that creation, attachment, allocation and release are all among the steps: the daemon dies
/// before its first step, before its second, and so on, until it lives through the whole story.
fn every_step(plan: &Plan) -> Result<()> {
    for step in 0..200 {
        let name = format!("{}{step}", plan.name);
        let plan = Plan { name, pool: (1, 1), latency: [1, 5, 5, 1], ..plan.clone() };
        let mut world = started(&plan)?;
        world.nodes[0].flags = vec!["--die-after-effects".to_owned(), step.to_string()];
        world.nodes[0].start()?;
        let pod = world.nodes[0].pod("web")?;
        let survived =
            one_life(&mut world, &pod).with_context(|| format!("dying before step {}", step + 1))?;
        world.nodes[0].kill()?;
        world.nodes[0].flags.clear();
        recover(&mut world, &pod).with_context(|| format!("killed before step {}", step + 1))?;
        if survived {
            // Creation, attachment, allocation and release persist, act and answer at the least this often.
            ensure!(step >= 8, "the whole story took only {step} steps");
            return Ok(());
        }
    }
    anyhow::bail!("the daemon still died after 200 steps")
}

/// Start, one ADD, one DEL; whether the daemon is still there after them.
fn one_life(world: &mut World, pod: &Pod) -> Result<bool> {
    let node = &mut world.nodes[0];
    let warm = |node: &mut Node| !node.is_running() || node.phases().is_ok_and(|phases| phases == ["Ready"]);
    eventually("the pool is warm or the daemon dead", LIMIT, || warm(node).then_some(()))?;
    pod.call("ADD").configured("allocate_timeout", json!(5)).run()?;
    pod.call("DEL").run()?.expect_ok("DEL")?;
    Ok(node.is_running())
}

/// A sound daemon over what the crash left: it serves, its books agree with the cloud's, nothing stays in use.
fn recover(world: &mut World, pod: &Pod) -> Result<()> {
    world.nodes[0].start()?;
    world.nodes[0].wait_ready()?;
    pod.call("DEL").run()?.expect_ok("DEL after the crash")?;
    let mut next = world.nodes[0].pod("next")?;
    next.add()?;
    let in_use = world.nodes[0].mapping()?.iter().filter(|eni| text(eni, "phase") == "InUse").count();
    ensure!(in_use == 1, "{in_use} ENIs are in use by one pod");
    next.del()?;
    eventually("the books agree", LIMIT, || {
        let idle = world.nodes[0].phases().ok()?.iter().all(|phase| phase == "Ready");
        (idle && audit(world).is_ok()).then_some(())
    })
    .with_context(|| format!("{:?} {:?}", audit(world), world.nodes[0].mapping()))?;
    world.nodes[0].kill()
}

fn fast_restart(plan: &Plan) -> Result<()> {
    let plan = Plan { enis: 10, pool: (6, 9), ..plan.clone() };
    let mut world = crate::support::booted(&plan)?;
    let mut pods = Vec::new();
    for number in 0..6 {
        let mut pod = world.nodes[0].pod(&format!("web{number}"))?;
        pod.add()?;
        pods.push(pod);
    }
    world.nodes[0].kill()?;
    let start = std::time::Instant::now();
    world.nodes[0].start()?;
    world.nodes[0].wait_ready()?;
    let elapsed = start.elapsed();
    for pod in &pods {
        pod.call_with_result("CHECK").run()?.expect_ok("CHECK after the restart")?;
    }
    // The budget is half a second on a quiet machine; tests share theirs, so this only catches a lost order of magnitude.
    ensure!(elapsed.as_secs() < 5, "serving again after {elapsed:?}");
    audit(&world)
}
