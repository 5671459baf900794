//! What a person meets when the cloud says no: the code, the cause, the numbers, the remedy.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use terway_rig::cloud::Refusal;
use terway_rig::eventually::eventually;
use terway_rig::world::{Plan, World};

use crate::support::{LIMIT, Scenario, audit, booted, both, started};

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![
        both("cloud::the_instance_limit_is_named", limit_reached),
        both("cloud::the_account_quota_is_named", quota_reached),
        both("cloud::an_unknown_vswitch_is_named", |plan| {
            let names = plan.cloud.names();
            misconfigured(plan, "vswitches", &json!({ names.zone: [names.nowhere] }), names.nowhere)
        }),
        both("cloud::a_wrong_secret_is_said", |plan| {
            let code = plan.cloud.code(Refusal::WrongSecret);
            misconfigured(plan, "access_secret", &json!("wrong"), code)
        }),
        both("cloud::clock_skew_is_said", |plan| faulty(plan, Refusal::ClockSkew, "clock-skew")),
        both("cloud::missing_permission_names_the_action", |plan| {
            faulty(plan, Refusal::Denied, "CreateNetworkInterface")
        }),
        both("cloud::lost_answers_leak_nothing", lost_answers),
    ]
}

/// The error of an ADD that waits no longer than the deadline the scenario gives the daemon.
pub(crate) fn add_fails(world: &mut World) -> Result<String> {
    let pod = world.nodes[0].pod("late")?;
    let (_, text) = pod.add_refused(Duration::from_secs(3))?;
    pod.call("DEL").run()?.expect_ok("DEL after a failed ADD")?;
    Ok(text)
}

fn limit_reached(plan: &Plan) -> Result<()> {
    let mut world = booted(&Plan { enis: 3, pool: (1, 2), ..plan.clone() })?;
    for number in 0..2 {
        world.nodes[0].pod(&format!("web{number}"))?.add()?;
    }
    let text = add_fails(&mut world)?;
    ensure!(text.contains("pool-exhausted") && text.contains('2'), "{text}");
    audit(&world)
}

fn quota_reached(plan: &Plan) -> Result<()> {
    let code = plan.cloud.code(Refusal::EniQuota);
    let mut world = booted(&Plan { quota: 1, pool: (1, 1), ..plan.clone() })?;
    world.nodes[0].pod("web")?.add()?;
    let text = add_fails(&mut world)?;
    ensure!(text.contains("quota-reached") && text.contains(code), "{text}");
    ensure!(world.cloud_enis()?.len() == 1, "an ENI leaked");
    Ok(())
}

/// A daemon with one wrong configuration value never becomes ready, and STATUS says why.
pub(crate) fn misconfigured(plan: &Plan, key: &str, value: &Value, expected: &str) -> Result<()> {
    let mut world = started(plan)?;
    let path = world.nodes[0].path("eni_conf");
    let mut conf: Value = serde_json::from_slice(&std::fs::read(path)?)?;
    conf[key] = value.clone();
    world.nodes[0].configure(&conf)?;
    world.nodes[0].start()?;
    says(&world, expected)
}

/// Waits until `terway-cli status` fails with these words.
pub(crate) fn says(world: &World, expected: &str) -> Result<()> {
    let node = &world.nodes[0];
    let said = || {
        let output = node.cli(&["status"]).ok()?;
        Some(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    eventually(&format!("status says {expected}"), LIMIT, || said().filter(|text| text.contains(expected)))
        .with_context(|| format!("status says {:?}\n{}", said(), node.log_tail()))?;
    Ok(())
}

/// Every creation fails with this vendor's code.
fn faulty(plan: &Plan, refusal: Refusal, expected: &str) -> Result<()> {
    let code = plan.cloud.code(refusal);
    let mut world = started(&Plan { pool: (0, 1), ..plan.clone() })?;
    let fault =
        json!([{ "action": "CreateNetworkInterface", "kind": format!("error:{code}"), "times": 1000 }]);
    world.change("/v1/faults", &fault)?;
    world.boot()?;
    let text = add_fails(&mut world)?;
    ensure!(text.contains(expected), "{text}");
    ensure!(world.cloud_enis()?.is_empty(), "an ENI leaked");
    Ok(())
}

fn lost_answers(plan: &Plan) -> Result<()> {
    let throttled = format!("error:{}", plan.cloud.code(Refusal::Throttled));
    let mut world = started(&Plan { pool: (2, 3), ..plan.clone() })?;
    let lost = |action: &str, kind: &str| json!({ "action": action, "kind": kind, "times": 1 });
    let faults = json!([
        lost("CreateNetworkInterface", "drop-after"),
        lost("AttachNetworkInterface", "drop-after"),
        lost("CreateNetworkInterface", "drop-before"),
        lost("AttachNetworkInterface", &throttled),
    ]);
    world.change("/v1/faults", &faults)?;
    world.boot()?;
    crate::support::wait_warm(&world.nodes[0], 2)?;
    audit(&world)?;
    world.nodes[0].pod("web")?.add()?;
    audit(&world)
}
