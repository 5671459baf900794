//! What a call for one pod costs does not depend on how many others the node has: counted in what the shipped plugin asks
//! the kernel and how much it is told, because times say little on a busy machine.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use terway_rig::node::Node;
use terway_rig::plugin::Outcome;
use terway_rig::pod::Pod;
use terway_rig::world::Plan;

use crate::support::{Scenario, once, started};

/// The other pods of a full node here, and of one with whole ENIs.
const OTHERS: u32 = 40;
const OTHERS_WITH_ENIS: u32 = 6;
/// The most that the kernel tells more about each other pod in a CHECK: its four rules, for which there is no filter. A
/// link, which would be one of the node's list, has more than a kilobyte.
const PER_POD: u64 = 4 * 120;
/// What tells a DEL whether its pod was the last one translated: the beginning of a list, as much as the kernel has at hand,
/// in each family.
const BEGINNINGS: u64 = 2 * 4096;
const VERBS: [&str; 3] = ["ADD", "CHECK", "DEL"];
/// Pods whose calls are counted, each time.
const LIVES: u32 = 5;

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![
        once("growth::a_call_costs_the_same_however_many_pods_there_are", shared),
        once("growth::a_call_costs_the_same_however_many_pods_have_whole_enis", exclusive),
    ]
}

/// What one call asked and was told.
#[derive(Clone, Copy, Debug)]
struct Cost {
    requests: u64,
    bytes: u64,
}

fn shared(plan: &Plan) -> Result<()> {
    let addresses = OTHERS + 8;
    let plan = Plan { shared: true, enis: 4, pool: (addresses, addresses), addresses: 24, ..plan.clone() };
    flat(&plan, OTHERS, PER_POD)
}

/// Nothing is told of the others: each is an element of a map, and the ENIs are not on the node any more.
fn exclusive(plan: &Plan) -> Result<()> {
    let enis = OTHERS_WITH_ENIS + 3;
    let plan = Plan { enis, pool: (enis, enis), quarantine: "0s".to_owned(), ..plan.clone() };
    flat(&plan, OTHERS_WITH_ENIS, 0)
}

/// `per_pod` is how much more the kernel may tell a CHECK about each other pod.
fn flat(plan: &Plan, others: u32, per_pod: u64) -> Result<()> {
    let mut world = started(plan)?;
    world.boot()?;
    let node = &mut world.nodes[0];
    node.pod("first")?.add()?;
    let alone = cheapest(node, "alone")?;
    let mut others =
        (0..others).map(|number| node.pod(&format!("other{number}"))).collect::<Result<Vec<_>>>()?;
    others.iter_mut().try_for_each(|pod| pod.add().map(drop))?;
    let crowded = cheapest(node, "crowded")?;
    for (verb, (few, many)) in VERBS.into_iter().zip(alone.into_iter().zip(crowded)) {
        ensure!(
            few.requests == many.requests,
            "{verb}: {few:?} with one other pod, {many:?} with {} more",
            others.len()
        );
        let of_others = match verb {
            "CHECK" => per_pod * others.len() as u64,
            "DEL" if !plan.shared => BEGINNINGS,
            _ => 0,
        };
        let room = of_others.max(few.bytes / 10);
        ensure!(
            few.bytes > 0 && many.bytes <= few.bytes + room,
            "{verb}: {few:?} grew to {many:?}, room {room}"
        );
    }
    Ok(())
}

/// What ADD, CHECK and DEL cost where nothing interferes. The node is never quite still: a list that changes while it is told
/// is asked for once more, and the first pod on an ENI pays for what the ENI lacks. Both only ever add.
fn cheapest(node: &mut Node, name: &str) -> Result<Vec<Cost>> {
    let mut least = life(node, &format!("{name}0"))?;
    for number in 1..LIVES {
        for (least, seen) in least.iter_mut().zip(life(node, &format!("{name}{number}"))?) {
            *least = Cost { requests: least.requests.min(seen.requests), bytes: least.bytes.min(seen.bytes) };
        }
    }
    Ok(least)
}

/// ADD, CHECK and DEL of one pod.
fn life(node: &mut Node, name: &str) -> Result<Vec<Cost>> {
    let file = node.path(&format!("timeline-{name}"));
    let mut pod = node.pod(name)?;
    pod.result = Some(told(&pod, "ADD", &file)?);
    told(&pod, "CHECK", &file)?;
    told(&pod, "DEL", &file)?;
    let text = fs::read_to_string(&file).context("the plugin wrote no timeline")?;
    let costs = text.lines().map(cost).collect::<Result<Vec<_>>>()?;
    ensure!(costs.len() == VERBS.len(), "three calls wrote {} lines of timeline", costs.len());
    Ok(costs)
}

fn told(pod: &Pod, verb: &str, file: &Path) -> Result<Outcome> {
    let mut call = pod.call_with_result(verb);
    call.environment.push(("TERWAY_TIMELINE".to_owned(), file.to_string_lossy().into_owned()));
    call.run()?.expect_ok(verb)
}

fn cost(line: &str) -> Result<Cost> {
    let line: Value = serde_json::from_str(line).context("a line of the timeline is no JSON")?;
    let number = |key: &str| line[key].as_u64().with_context(|| format!("no {key} in {line}"));
    Ok(Cost { requests: number("netlink_requests")?, bytes: number("netlink_reply_bytes")? })
}
