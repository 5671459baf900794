//! `terwayd` dies by SIGKILL at every cloud call: when the cloud has heard of it and done nothing, and when it has
//! done it and not answered. An auditor compares ledger, cloud and kernel at the instant of death and after recovery.

use std::thread;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use terway_rig::books;
use terway_rig::eventually::eventually;
use terway_rig::pod::Pod;
use terway_rig::world::{Plan, World, eni_conf};

use crate::support::{LIMIT, Scenario, audit, both, started, wait_quiet, wait_warm};

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![
        both("calls::a_daemon_killed_at_any_cloud_call_leaks_nothing", every_call),
        both("calls::what_a_create_made_under_other_tags_is_taken_over", retagged),
    ]
}

/// An ENI is made whose answer the daemon never hears, and the next life of the daemon asks with other parameters, as a
/// newer program may. The cloud refuses the token once, and what it made is found by its tag.
fn retagged(plan: &Plan) -> Result<()> {
    let plan = Plan { pool: (1, 1), ..plan.clone() };
    let mut world = started(&plan)?;
    world.change("/v1/faults", &json!([{ "action": CALLS[0], "kind": "hold-after" }]))?;
    world.nodes[0].start()?;
    eventually("the call is held", LIMIT, || (world.held_calls().ok()?.len() == 1).then_some(()))
        .with_context(|| world.nodes[0].log_tail())?;
    world.nodes[0].kill()?;
    world.change("/v1/faults", &json!([]))?;
    let made = world.cloud_enis()?;
    world.nodes[0]
        .configure(&eni_conf(&Plan { keys: vec![("eni_tags", json!({ "team": "blue" }))], ..plan }))?;
    world.nodes[0].start()?;
    world.nodes[0].wait_ready()?;
    wait_warm(&world.nodes[0], 1)?;
    let creates: Vec<_> =
        world.cloud_calls(0)?.into_iter().filter(|call| call["action"] == CALLS[0]).collect();
    let refused =
        |call: &&Value| call["outcome"].as_str().is_some_and(|code| code.ends_with("ParameterMismatch"));
    ensure!(creates.len() == 2 && creates.iter().filter(refused).count() == 1, "{creates:#?}");
    let enis = world.cloud_enis()?;
    ensure!(enis.len() == 1 && enis[0]["id"] == made[0]["id"], "{made:#?} became {enis:#?}");
    audit(&world)
}

/// The calls of one pod's life with an empty pool: ADD makes and attaches an ENI, DEL lets it go.
const CALLS: [&str; 4] =
    ["CreateNetworkInterface", "AttachNetworkInterface", "DetachNetworkInterface", "DeleteNetworkInterface"];

fn every_call(plan: &Plan) -> Result<()> {
    for (number, action) in CALLS.iter().enumerate() {
        for when in ["hold-before", "hold-after"] {
            let name = format!("{}{number}{}", plan.name, &when[5..]);
            killed_at(&Plan { name, ..plan.clone() }, action, when)
                .with_context(|| format!("killed at {action}, {when}"))?;
        }
    }
    Ok(())
}

fn killed_at(plan: &Plan, action: &str, when: &str) -> Result<()> {
    let plan = Plan {
        enis: 3,
        pool: (0, 0),
        quarantine: "10ms".to_owned(),
        latency: [1, 5, 5, 1],
        keys: vec![("eni_release_interval", json!("100ms"))],
        ..plan.clone()
    };
    let mut world = started(&plan)?;
    world.boot()?;
    world.change("/v1/faults", &json!([{ "action": action, "kind": when }]))?;
    let pod = world.nodes[0].pod("web")?;
    let story = live(&pod);
    let reached = eventually("the call is held", LIMIT, || {
        let held = world.cloud_state().ok()?["held"].as_array()?.len();
        (held == 1).then_some(())
    });
    reached.with_context(|| world.nodes[0].log_tail())?;
    world.nodes[0].kill()?;
    books::accounted(&world, &world.nodes[0]).context("at the instant of death")?;
    world.change("/v1/faults", &json!([]))?;
    story.join().map_err(|_| anyhow::anyhow!("the pod's story panicked"))??;
    recover(&mut world, &pod)
}

/// ADD and DEL as a runtime makes them, whatever they answer.
fn live(pod: &Pod) -> thread::JoinHandle<Result<()>> {
    let pod = pod.clone();
    thread::spawn(move || {
        pod.call("ADD").configured("allocate_timeout", json!(2)).run()?;
        pod.call("DEL").run().map(drop)
    })
}

fn recover(world: &mut World, pod: &Pod) -> Result<()> {
    world.nodes[0].start()?;
    world.nodes[0].wait_ready()?;
    pod.call("DEL").run()?.expect_ok("DEL after the recovery")?;
    let mut next = world.nodes[0].pod("next")?;
    next.add()?;
    wait_quiet(&world.nodes[0])?;
    audit(world)?;
    world.nodes[0].kill()?;
    books::agree(world, &world.nodes[0], &[&pod.netns, &next.netns]).context("with a pod")?;
    world.nodes[0].start()?;
    world.nodes[0].wait_ready()?;
    next.del()?;
    eventually("every ENI has left", LIMIT, || world.cloud_enis().ok()?.is_empty().then_some(()))
        .with_context(|| format!("{:?}\n{}", world.cloud_enis(), world.nodes[0].log_tail()))?;
    wait_quiet(&world.nodes[0])?;
    ensure!(world.nodes[0].mapping()?.is_empty(), "{:?}", world.nodes[0].mapping());
    world.nodes[0].kill()?;
    books::agree(world, &world.nodes[0], &[&pod.netns, &next.netns]).context("at the end")
}
