//! GC releases what is no longer valid, and nothing else.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use terway_rig::plugin::Call;
use terway_rig::pod::Pod;
use terway_rig::world::Plan;

use crate::support::{LIMIT, Scenario, audit, booted, once, text};

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![
        once("garbage::only_what_is_invalid_goes", collects),
        once("garbage::a_missing_list_deletes_nothing", unbounded),
    ]
}

fn gc(pod: &Pod) -> Call {
    let call = pod.call("GC");
    ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS"]
        .iter()
        .fold(call, |call, key| call.without(key))
}

fn collects(plan: &Plan) -> Result<()> {
    let mut world = booted(&Plan { pool: (3, 4), ..plan.clone() })?;
    let mut stays = world.nodes[0].pod("stays")?;
    stays.add()?;
    let mut goes = world.nodes[0].pod("goes")?;
    goes.add()?;
    goes.vanish()?;
    let valid = json!([{ "containerID": stays.container, "ifname": "eth0" }]);
    let outcome = gc(&stays).configured("cni.dev/valid-attachments", valid).run()?.expect_ok("GC")?;
    ensure!(outcome.output.is_null(), "GC prints nothing on success: {}", outcome.output);
    ensure!(
        holders(&world.nodes[0].mapping()?) == [stays.container.clone()],
        "{:?}",
        world.nodes[0].mapping()?
    );
    stays.call_with_result("CHECK").run()?.expect_ok("CHECK of the pod that stays")?;
    terway_rig::eventually::eventually("the books agree", LIMIT, || audit(&world).ok())
}

fn holders(enis: &[Value]) -> Vec<String> {
    enis.iter().map(|eni| text(&eni["attachment"], "container_id")).filter(|id| !id.is_empty()).collect()
}

fn unbounded(plan: &Plan) -> Result<()> {
    let mut world = booted(plan)?;
    let mut pod = world.nodes[0].pod("web")?;
    pod.add()?;
    let (code, text) = gc(&pod).run()?.expect_error("GC without a list")?;
    ensure!(code == 7 && text.contains("cni.dev/valid-attachments"), "code {code}, {text}");
    pod.call_with_result("CHECK").run()?.expect_ok("CHECK")?;
    Ok(())
}
