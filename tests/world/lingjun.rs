//! A Lingjun node: its ENIs come from an API of their own, one per pod, and what these ENIs do not have is refused
//! with the reason.

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use terway_rig::cloud::Feature;
use terway_rig::probe::icmp;
use terway_rig::world::{Plan, World};

use crate::cloud_trouble::misconfigured;
use crate::support::{LIMIT, Scenario, audit, booted, started, wait_quiet, wait_warm, with};

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![
        with(Feature::OwnApi, "lingjun::a_pod_has_an_eni_and_gives_it_back", life),
        with(Feature::OwnApi, "lingjun::a_daemon_started_again_goes_on", again),
        with(Feature::OwnApi, "lingjun::a_node_that_ecs_serves_has_its_enis_from_ecs", by_ecs),
        with(Feature::OwnApi, "lingjun::shared_enis_are_refused", |plan| {
            let plan = Plan { shared: true, ..of(plan) };
            misconfigured(&plan, "min_pool_size", &json!(0), "pods cannot share ENIs")
        }),
        with(Feature::OwnApi, "lingjun::dual_stack_is_refused", |plan| {
            misconfigured(&of(plan), "ip_stack", &json!("dual"), "Lingjun type, which has no dual stack")
        }),
        with(Feature::OwnApi, "lingjun::without_vswitches_it_says_so", |plan| {
            misconfigured(&of(plan), "vswitches", &json!({}), "`vswitches` lists none for zone")
        }),
    ]
}

fn of(plan: &Plan) -> Plan {
    Plan { lingjun: true, dual_stack: false, pool: (1, 2), ..plan.clone() }
}

/// The ENIs of the account are all of the nodes' own product, and the other product's API was asked for none.
fn is_by_eflo(world: &World) -> Result<()> {
    let enis = world.cloud_enis()?;
    ensure!(!enis.is_empty(), "there are no ENIs");
    let foreign = enis.iter().find(|eni| !eni["id"].as_str().is_some_and(|id| id.starts_with("leni-")));
    ensure!(foreign.is_none(), "{foreign:?}");
    let calls = world.cloud_calls(0)?;
    ensure!(calls.iter().any(|call| call["action"] == "CreateElasticNetworkInterface"), "{calls:?}");
    ensure!(calls.iter().all(|call| call["action"] != "CreateNetworkInterface"), "{calls:?}");
    Ok(())
}

fn life(plan: &Plan) -> Result<()> {
    let mut world = booted(&Plan { nodes: 2, ..of(plan) })?;
    let (mut pod, mut other) = (world.nodes[0].pod("web")?, world.nodes[1].pod("web")?);
    pod.add()?;
    other.add()?;
    icmp::ping(&pod.netns, other.address(4)?, 56, LIMIT).context("pod to pod on another node")?;
    is_by_eflo(&world)?;
    pod.call_with_result("CHECK").run()?.expect_ok("CHECK")?;
    pod.del()?;
    wait_quiet(&world.nodes[0])?;
    audit(&world)
}

fn again(plan: &Plan) -> Result<()> {
    let mut world = started(&of(plan))?;
    world.boot()?;
    let mut pod = world.nodes[0].pod("web")?;
    pod.add()?;
    wait_warm(&world.nodes[0], 1)?;
    // What it knows of the node serves while the metadata service is away.
    world.nodes[0].kill()?;
    world.change("/v1/manners", &json!({ "metadata": "down" }))?;
    world.nodes[0].start()?;
    world.nodes[0].wait_ready()?;
    let mut next = world.nodes[0].pod("next")?;
    next.add()?;
    wait_warm(&world.nodes[0], 1)?;
    is_by_eflo(&world)
}

/// ECS lists the node's own NIC, whatever the node's label says.
fn by_ecs(plan: &Plan) -> Result<()> {
    let mut world = started(&Plan { lingjun: false, ..of(plan) })?;
    world.nodes[0].flags.push("--lingjun-worker".to_owned());
    world.boot()?;
    wait_warm(&world.nodes[0], 1)?;
    let calls = world.cloud_calls(0)?;
    ensure!(calls.iter().any(|call| call["action"] == "CreateNetworkInterface"), "{calls:?}");
    ensure!(calls.iter().all(|call| call["action"] != "CreateElasticNetworkInterface"), "{calls:?}");
    Ok(())
}
