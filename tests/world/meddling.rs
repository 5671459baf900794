//! A person at the cloud's console deletes, detaches and re-groups ENIs of a node that works. The daemon notices by
//! looking, takes nothing away from a pod, and makes up for what is gone.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use terway_rig::eventually::eventually;
use terway_rig::world::{Plan, World};

use crate::support::{Scenario, audit, booted, both, text, wait_quiet};

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![both("meddling::a_person_at_the_console", console)]
}

/// Two looks apart by the cloud's consistency window (30 s), and time to act on them.
const NOTICED: Duration = Duration::from_secs(100);

fn by_hand(world: &World, eni: &str, deed: &str, body: &Value) -> Result<()> {
    world.change(&format!("/v1/console/enis/{eni}/{deed}"), body).map(drop)
}

fn console(plan: &Plan) -> Result<()> {
    let keys = vec![("ip_pool_sync_period", json!("10s")), ("eni_release_interval", json!("100ms"))];
    let mut world = booted(&Plan { pool: (3, 3), keys, ..plan.clone() })?;
    let mut pod = world.nodes[0].pod("web")?;
    pod.add()?;
    wait_quiet(&world.nodes[0])?;
    let idle = |world: &World| -> Result<Vec<String>> {
        let enis = world.nodes[0].mapping()?;
        Ok(enis.iter().filter(|eni| text(eni, "phase") == "Ready").map(|eni| text(eni, "id")).collect())
    };
    let held = world.nodes[0].mapping()?;
    let held = held.iter().find(|eni| text(eni, "phase") == "InUse").context("no ENI is held")?;
    let held = text(held, "id");
    let ready = idle(&world)?;
    let [deleted, detached] = [&ready[0], &ready[1]];

    by_hand(&world, deleted, "delete", &Value::Null)?;
    by_hand(&world, detached, "detach", &Value::Null)?;
    by_hand(&world, &held, "detach", &Value::Null)?;

    eventually("what is gone is made up for", NOTICED, || {
        let ready = idle(&world).ok()?;
        let cloud = world.cloud_enis().ok()?;
        let real = ready
            .iter()
            .filter(|id| cloud.iter().any(|eni| eni["id"] == id.as_str() && eni["status"] == "InUse"));
        (real.count() >= 3 && !ready.contains(deleted)).then_some(())
    })
    .with_context(|| format!("{:?}\n{}", world.nodes[0].mapping(), world.nodes[0].log_tail()))?;
    eventually("the loss of the pod's ENI is told", NOTICED, || {
        let output = world.nodes[0].cli(&["events"]).ok()?;
        String::from_utf8_lossy(&output.stdout).contains(&held).then_some(())
    })
    .with_context(|| world.nodes[0].log_tail())?;
    let (code, said) = pod.call_with_result("CHECK").run()?.expect_error("CHECK without the NIC")?;
    ensure!(code == 103 && said.contains("link eth0 is missing"), "code {code}, {said}");
    let still = world.nodes[0].mapping()?;
    let still = still.iter().find(|eni| text(eni, "id") == held).context("the held ENI left the books")?;
    ensure!(text(still, "phase") == "InUse", "an ENI in use was taken away: {still}");

    pod.del()?;
    eventually("the detached ENI leaves after its release", NOTICED, || {
        let cloud = world.cloud_enis().ok()?;
        (!cloud.iter().any(|eni| eni["id"] == held.as_str())).then_some(())
    })
    .with_context(|| format!("{:?}\n{}", world.nodes[0].mapping(), world.nodes[0].log_tail()))?;
    audit(&world)
}
