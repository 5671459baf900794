//! The pool of one node as its operator meets it: how surplus leaves, how a new configuration is taken.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use terway_rig::eventually::eventually;
use terway_rig::world::{Plan, World, eni_conf};

use crate::support::{LIMIT, Scenario, audit, booted, both, wait_quiet, wait_warm};

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![
        both("pool::surplus_leaves_one_by_one", one_by_one),
        both("pool::surplus_leaves_at_once_when_told_so", quick),
        both("pool::a_new_configuration_is_taken_and_a_bad_one_refused", reconfigured),
    ]
}

/// Times at which the cloud was asked to detach, in milliseconds.
fn detachments(world: &World) -> Result<Vec<u64>> {
    let calls = world.get("/v1/calls?since=0")?;
    let calls = calls["calls"].as_array().or(calls.as_array()).context("no list of calls")?.clone();
    let detach = |call: &Value| {
        (call["action"] == "DetachNetworkInterface").then(|| call["at_ms"].as_u64().unwrap_or_default())
    };
    Ok(calls.iter().filter_map(detach).collect())
}

/// Four pods come and go; their ENIs are surplus.
fn four_pods(plan: &Plan, quick: bool) -> Result<World> {
    let keys = vec![("eni_release_interval", json!("400ms")), ("eni_quick_release", json!(quick))];
    let plan = Plan { pool: (0, 0), quarantine: "10ms".to_owned(), keys, ..plan.clone() };
    let mut world = booted(&plan)?;
    let mut pods =
        (0..4).map(|number| world.nodes[0].pod(&format!("web{number}"))).collect::<Result<Vec<_>>>()?;
    for pod in &mut pods {
        pod.add()?;
    }
    for pod in &mut pods {
        pod.del()?;
    }
    eventually("every ENI has left", LIMIT, || world.cloud_enis().ok()?.is_empty().then_some(()))
        .with_context(|| world.nodes[0].log_tail())?;
    Ok(world)
}

fn one_by_one(plan: &Plan) -> Result<()> {
    let world = four_pods(plan, false)?;
    let times = detachments(&world)?;
    ensure!(times.len() == 4, "{times:?}");
    for pair in times.windows(2) {
        ensure!(pair[1] - pair[0] >= 390, "two ENIs left within {} ms: {times:?}", pair[1] - pair[0]);
    }
    audit(&world)
}

fn quick(plan: &Plan) -> Result<()> {
    let world = four_pods(plan, true)?;
    let times = detachments(&world)?;
    // All that had ended their rest by then; stragglers go with the next one.
    let together = times.iter().filter(|time| **time - times[0] < 300).count();
    ensure!(together >= 2, "surplus left one by one: {times:?}");
    audit(&world)
}

fn reconfigured(plan: &Plan) -> Result<()> {
    let keys = vec![("eni_release_interval", json!("50ms"))];
    let plan = Plan { pool: (1, 1), keys, ..plan.clone() };
    let world = booted(&plan)?;
    let node = &world.nodes[0];
    let larger = Plan { pool: (3, 4), ..plan.clone() };
    node.configure(&eni_conf(&larger))?;
    wait_warm(node, 3)?;

    let mut bad = eni_conf(&larger);
    (bad["min_pool_size"], bad["eni_quarantine"]) = (json!(9), json!("soon"));
    node.configure(&bad)?;
    eventually("the refusal is said", LIMIT, || {
        let log = node.log_tail();
        (log.contains("min_pool_size") && log.contains("eni_quarantine")).then_some(())
    })
    .with_context(|| node.log_tail())?;
    let ready = node.phases()?.iter().filter(|phase| *phase == "Ready").count();
    ensure!((3..=4).contains(&ready), "a refused configuration left {ready} ENIs");

    node.configure(&eni_conf(&plan))?;
    node.wait_phase("Ready", 1)?;
    wait_quiet(node)?;
    audit(&world)
}
