//! The pool of one node as its operator meets it: how surplus leaves, how a new configuration is taken.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use terway_rig::eventually::eventually;
use terway_rig::world::{Plan, World, eni_conf};

use crate::support::{LIMIT, Scenario, audit, booted, both, text, wait_quiet, wait_warm};

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![
        both("pool::surplus_leaves_one_by_one", one_by_one),
        both("pool::surplus_leaves_at_once_when_told_so", quick),
        both("pool::a_new_configuration_is_taken_and_a_bad_one_refused", reconfigured),
    ]
}

/// Which ENIs the cloud was asked to detach, and when, in milliseconds.
fn detachments(world: &World) -> Result<Vec<(String, u64)>> {
    let calls = world.cloud_calls(0)?;
    let detach = calls.iter().filter(|call| call["action"] == "DetachNetworkInterface");
    let eni = |call: &Value| {
        let objects = call["objects"].as_array()?;
        objects.iter().filter_map(Value::as_str).find(|id| id.starts_with("eni-")).map(str::to_owned)
    };
    detach.map(|call| eni(call).zip(call["at_ms"].as_u64()).context("a call about no ENI")).collect()
}

/// Four pods come and go, the cloud keeps every detachment unanswered, and all their ENIs are leaving: since when, as the
/// pool has it, in order. Times at which others hear of it are those of a machine that may be busy.
fn four_leave(plan: &Plan, interval: &str, quick: bool) -> Result<(World, Vec<(String, u64)>)> {
    let keys = vec![("eni_release_interval", json!(interval)), ("eni_quick_release", json!(quick))];
    let plan = Plan { pool: (0, 0), quarantine: "10ms".to_owned(), keys, ..plan.clone() };
    let mut world = booted(&plan)?;
    world.change(
        "/v1/faults",
        &json!([{ "action": "DetachNetworkInterface", "kind": "hold", "times": 1000 }]),
    )?;
    let mut pods =
        (0..4).map(|number| world.nodes[0].pod(&format!("web{number}"))).collect::<Result<Vec<_>>>()?;
    for pod in &mut pods {
        pod.add()?;
    }
    for pod in &mut pods {
        pod.del()?;
    }
    let node = &world.nodes[0];
    node.wait_phase("Detaching", 4)?;
    eventually("four calls are held", LIMIT, || (world.held_calls().ok()?.len() == 4).then_some(()))?;
    let since = |eni: Value| Some((text(&eni, "id"), eni["since_unix_ms"].as_u64()?));
    let mut leaving: Vec<_> = node.mapping()?.into_iter().filter_map(since).collect();
    leaving.sort_by_key(|(_, since)| *since);
    Ok((world, leaving))
}

/// The ENIs may go.
fn let_go(world: &World) -> Result<()> {
    world.change("/v1/faults", &json!([]))?;
    world.change("/v1/release", &json!({}))?;
    eventually("every ENI has left", LIMIT, || world.cloud_enis().ok()?.is_empty().then_some(()))
        .with_context(|| world.nodes[0].log_tail())?;
    audit(world)
}

fn one_by_one(plan: &Plan) -> Result<()> {
    let (world, leaving) = four_leave(plan, "400ms", false)?;
    ensure!(leaving.len() == 4, "{leaving:?}");
    for pair in leaving.windows(2) {
        ensure!(pair[1].1 - pair[0].1 >= 400, "two ENIs left at once: {leaving:?}");
    }
    for (eni, at) in detachments(&world)? {
        let told = leaving.iter().any(|(id, since)| *id == eni && at >= *since);
        ensure!(told, "{eni} was to be detached at {at}: {leaving:?}");
    }
    let_go(&world)
}

fn quick(plan: &Plan) -> Result<()> {
    // Long enough for more than one DEL.
    let (world, leaving) = four_leave(plan, "4s", true)?;
    // All that had ended their rest by then; stragglers go with the next one.
    let together = leaving.iter().filter(|(_, since)| *since == leaving[0].1).count();
    ensure!(together >= 2, "surplus left one by one: {leaving:?}");
    let_go(&world)
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
