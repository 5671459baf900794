//! Addresses of shared ENIs, asked for over the daemon's socket: few calls for many pods, one owner per address, and
//! the same addresses after a crash.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use serde_json::{Value, json};
use terway_rig::books;
use terway_rig::caller::Caller;
use terway_rig::cloud::Feature;
use terway_rig::eventually::{eventually, ever_longer};
use terway_rig::linear::{Answer, Ask, Call};
use terway_rig::node::Node;
use terway_rig::world::{Plan, World};

use crate::support::{LIMIT, Scenario, both, started, with};

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![
        both("shared::a_burst_costs_the_least_number_of_calls", burst),
        both("shared::what_is_given_survives_a_crash_and_is_given_once", crash),
        both("shared::a_dry_vswitch_is_named_and_tried_again", dry),
        with(Feature::Prefixes, "shared::addresses_out_of_prefixes", prefixes),
    ]
}

fn sharing(plan: &Plan) -> Plan {
    Plan {
        shared: true,
        enis: 4,
        addresses: 10,
        pool: (0, 40),
        quarantine: "10ms".to_owned(),
        latency: [5, 50, 20, 5],
        ..plan.clone()
    }
}

fn booted(plan: &Plan) -> Result<World> {
    let mut world = started(plan)?;
    world.boot()?;
    Ok(world)
}

/// Many calls at once, each by a caller of its own.
fn at_once(node: &Node, asks: Vec<Ask>) -> Result<Vec<Call>> {
    let start = Instant::now();
    let callers: Vec<_> = asks
        .into_iter()
        .map(|ask| {
            let socket = node.socket();
            thread::spawn(move || -> Result<Call> {
                Caller::new(start, Duration::from_secs(20))?.call(&socket, ask).context("nobody listens")
            })
        })
        .collect();
    callers.into_iter().map(|caller| caller.join().map_err(|_| anyhow!("a caller panicked"))?).collect()
}

fn adds(names: std::ops::Range<u32>) -> Vec<Ask> {
    names.map(|number| Ask::Add(format!("pod{number}"))).collect()
}

/// The addresses given, each once.
fn given(calls: &[Call]) -> Result<BTreeSet<IpAddr>> {
    let mut addresses = BTreeSet::new();
    for call in calls {
        let Answer::Holds(address) = call.answer else { anyhow::bail!("{call:?}") };
        ensure!(addresses.insert(address), "{address} was given twice");
    }
    Ok(addresses)
}

/// How often the cloud was asked to do this.
fn count(world: &World, action: &str) -> Result<u64> {
    Ok(world.cloud_state()?["calls"][action].as_u64().unwrap_or_default())
}

/// Every address given is one the cloud has on an ENI of this node.
fn are_real(world: &World, addresses: &BTreeSet<IpAddr>) -> Result<()> {
    let enis = world.cloud_enis()?;
    let real: BTreeSet<IpAddr> = enis
        .iter()
        .flat_map(|eni| eni["ipv4"].as_array().cloned().unwrap_or_default())
        .filter_map(|text: Value| text.as_str()?.parse().ok())
        .collect();
    ensure!(addresses.is_subset(&real), "{addresses:?} against {real:?}");
    Ok(())
}

/// Thirty pods on three ENIs of ten addresses: three creations with ten addresses each, and nothing to assign.
fn burst(plan: &Plan) -> Result<()> {
    let ipv6_apart = plan.cloud.names().ipv6_apart;
    let world = booted(&sharing(plan))?;
    let calls = at_once(&world.nodes[0], adds(0..30)).context(world.nodes[0].log_tail())?;
    let addresses = given(&calls)?;
    ensure!(addresses.len() == 30);
    are_real(&world, &addresses)?;
    let (creates, attaches) =
        (count(&world, "CreateNetworkInterface")?, count(&world, "AttachNetworkInterface")?);
    let assigns = count(&world, "AssignPrivateIpAddresses")? + count(&world, "AssignIpv6Addresses")?;
    // Those who came first may have started an ENI before the others were there to be counted.
    ensure!(creates == 3 && attaches == 3, "{creates} creations and {attaches} attachments for 30 pods");
    let births = if ipv6_apart { creates } else { 0 };
    ensure!(assigns <= 6 + births, "{assigns} assignments for 30 pods");

    let before = changes(&world)?;
    for round in 0..3 {
        at_once(&world.nodes[0], (0..30).map(|number| Ask::Del(format!("pod{number}"))).collect())?;
        given(&at_once(&world.nodes[0], adds(0..30))?).with_context(|| format!("round {round}"))?;
    }
    let after = changes(&world)?;
    ensure!(before == after, "pods only came and went, and {before:?} calls became {after:?}");
    Ok(())
}

/// How often the cloud was asked for or to take back ENIs and addresses.
fn changes(world: &World) -> Result<Vec<(&'static str, u64)>> {
    let actions = [
        "CreateNetworkInterface",
        "AssignPrivateIpAddresses",
        "AssignIpv6Addresses",
        "UnassignPrivateIpAddresses",
        "UnassignIpv6Addresses",
        "DetachNetworkInterface",
    ];
    actions.into_iter().map(|action| Ok((action, count(world, action)?))).collect()
}

fn crash(plan: &Plan) -> Result<()> {
    let mut world = booted(&sharing(plan))?;
    let first = at_once(&world.nodes[0], adds(0..12))?;
    let addresses = given(&first)?;
    world.nodes[0].kill()?;
    books::accounted(&world, &world.nodes[0])?;
    world.nodes[0].start()?;
    world.nodes[0].wait_ready()?;
    let again = at_once(&world.nodes[0], adds(0..12))?;
    for (before, after) in first.iter().zip(&again) {
        ensure!(before.answer == after.answer, "{before:?} became {after:?}");
    }
    let others = given(&at_once(&world.nodes[0], adds(12..24))?)?;
    ensure!(addresses.is_disjoint(&others), "{addresses:?} and {others:?}");
    are_real(&world, &others)?;
    let gone = at_once(&world.nodes[0], vec![Ask::Collect(BTreeSet::new())])?;
    let Answer::Collected(released) = &gone[0].answer else { anyhow::bail!("{gone:?}") };
    ensure!(released.len() == 24, "{released:?}");
    Ok(())
}

fn dry(plan: &Plan) -> Result<()> {
    let vswitch = plan.cloud.names().pods;
    let path = format!("/v1/vswitches/{vswitch}");
    let world = booted(&sharing(plan))?;
    given(&at_once(&world.nodes[0], adds(0..10))?)?;
    world.change(&path, &json!({ "free": 0 }))?;
    let start = Instant::now();
    let ask = |patience| -> Result<Call> {
        let mut caller = Caller::new(start, patience)?;
        caller.call(&world.nodes[0].socket(), Ask::Add("late".to_owned())).context("nobody listens")
    };
    let heard = |call: &Result<Call>| !matches!(call, Ok(call) if call.answer == Answer::Unknown);
    let refused = ever_longer(Duration::from_secs(3)).map(ask).find(heard).context("no answer")??;
    ensure!(refused.answer == Answer::Refused, "{refused:?}");
    let says = eventually("the reason is said", LIMIT, || {
        let log = world.nodes[0].log_tail();
        log.contains("subnet-exhausted").then_some(log)
    })?;
    ensure!(says.contains(vswitch), "{says}");
    world.change(&path, &json!({ "free": null }))?;
    eventually("addresses come again", LIMIT, || {
        matches!(ask(Duration::from_secs(5)).ok()?.answer, Answer::Holds(_)).then_some(())
    })
    .with_context(|| world.nodes[0].log_tail())
}

fn prefixes(plan: &Plan) -> Result<()> {
    let keys = vec![("enable_ip_prefix", json!(true)), ("ipv4_prefix_count", json!(2))];
    let world = booted(&Plan { dual_stack: false, keys, ..sharing(plan) })?;
    let addresses = given(&at_once(&world.nodes[0], adds(0..20)).context(world.nodes[0].log_tail())?)?;
    let enis = world.cloud_enis()?;
    let held: Vec<ipnetwork::IpNetwork> = enis
        .iter()
        .flat_map(|eni| eni["prefixes"].as_array().cloned().unwrap_or_default())
        .filter_map(|text: Value| text.as_str()?.parse().ok())
        .collect();
    let outside =
        addresses.iter().filter(|address| !held.iter().any(|prefix| prefix.contains(**address))).count();
    // An ENI's primary address serves a pod too.
    ensure!(outside <= enis.len(), "{outside} of {addresses:?} are in none of {held:?}");
    ensure!(held.len() >= 2, "fewer prefixes than configured: {held:?}");
    let carved = |address: &IpAddr| held.iter().any(|prefix| prefix.contains(*address));
    are_real(&world, &addresses.iter().copied().filter(|address| !carved(address)).collect())
}
