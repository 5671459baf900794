//! The ledger is damaged or lost while pods run: a clear refusal, and a new one made from cloud and kernel by an
//! explicit command. And what else an operator does to a node: ask who held what, change its mode, drain it.

use std::fs;
use std::process::{Command, Output};

use anyhow::{Context as _, Result, ensure};
use terway_rig::books;
use terway_rig::eventually::eventually;
use terway_rig::namespace;
use terway_rig::node::Node;
use terway_rig::pod::Pod;
use terway_rig::world::{Plan, World};

use crate::support::{LIMIT, Scenario, audit, booted, both, once, text, wait_quiet};

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![
        both("recovery::a_cut_ledger_is_made_anew_from_cloud_and_kernel", cut),
        both("recovery::a_lost_ledger_is_made_anew_from_cloud_and_kernel", lost),
        once("recovery::a_sound_ledger_or_a_running_daemon_is_left_alone", refused),
        both("recovery::history_tells_who_held_what_and_what_was_asked", history),
        once("recovery::a_later_change_of_mode_is_refused_and_changes_nothing", latch),
        both("recovery::a_drained_node_gives_every_eni_back", drain),
    ]
}

/// `terwayd recover` with the daemon's own flags.
fn recover(node: &Node, more: &[&str]) -> Result<Output> {
    let daemon = node.daemon_command();
    let mut command = Command::new(daemon.get_program());
    command.arg("recover").args(daemon.get_args()).args(more);
    namespace::inside(&node.netns, move || command.output())?.context("failed to run terwayd recover")
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Two pods run, one ENI is idle, and the daemon is dead.
fn node_with_pods(plan: &Plan) -> Result<(World, Vec<Pod>)> {
    let mut world = booted(&Plan { pool: (1, 2), ..plan.clone() })?;
    let mut pods = vec![world.nodes[0].pod("web")?, world.nodes[0].pod("db")?];
    for pod in &mut pods {
        pod.add()?;
    }
    wait_quiet(&world.nodes[0])?;
    world.nodes[0].kill()?;
    Ok((world, pods))
}

fn cut(plan: &Plan) -> Result<()> {
    let (mut world, pods) = node_with_pods(plan)?;
    let path = world.nodes[0].path("state/ledger.redb");
    let length = fs::metadata(&path)?.len();
    fs::File::options().write(true).open(&path)?.set_len(length / 3)?;
    world.nodes[0].start()?;
    eventually("the damage is said", LIMIT, || {
        world.nodes[0]
            .cli(&["status"])
            .ok()
            .map(|output| said(&output))
            .filter(|said| said.contains("ledger-corrupt"))
    })
    .with_context(|| world.nodes[0].log_tail())?;
    world.nodes[0].kill()?;
    made_anew(world, pods)
}

fn lost(plan: &Plan) -> Result<()> {
    let (world, pods) = node_with_pods(plan)?;
    fs::remove_file(world.nodes[0].path("state/ledger.redb"))?;
    made_anew(world, pods)
}

/// Recovers, and shows that everybody has what they had.
fn made_anew(mut world: World, mut pods: Vec<Pod>) -> Result<()> {
    let path = world.nodes[0].path("state/ledger.redb");
    let before = fs::read(&path).ok();
    let rehearsal = recover(&world.nodes[0], &["--dry-run"])?;
    ensure!(rehearsal.status.success(), "{}", said(&rehearsal));
    ensure!(fs::read(&path).ok() == before, "a rehearsal changed the ledger");
    let recovered = recover(&world.nodes[0], &[])?;
    ensure!(recovered.status.success(), "{}", said(&recovered));
    for pod in &pods {
        ensure!(
            said(&recovered).contains(&pod.container),
            "{} is not mentioned: {}",
            pod.name,
            said(&recovered)
        );
    }
    let namespaces: Vec<_> = pods.iter().map(|pod| pod.netns.as_path()).collect();
    books::accounted(&world, &world.nodes[0])?;
    world.nodes[0].start()?;
    world.nodes[0].wait_ready()?;
    for pod in &pods {
        pod.call_with_result("CHECK").run()?.expect_ok("CHECK after the recovery")?;
    }
    wait_quiet(&world.nodes[0])?;
    audit(&world)?;
    world.nodes[0].kill()?;
    books::agree(&world, &world.nodes[0], &namespaces)?;
    world.nodes[0].start()?;
    world.nodes[0].wait_ready()?;
    for pod in &mut pods {
        pod.del()?;
    }
    wait_quiet(&world.nodes[0])?;
    ensure!(world.nodes[0].phases()?.iter().all(|phase| phase == "Ready"), "{:?}", world.nodes[0].phases());
    audit(&world)
}

fn refused(plan: &Plan) -> Result<()> {
    let mut world = booted(plan)?;
    let running = recover(&world.nodes[0], &[])?;
    ensure!(!running.status.success(), "recovered under a running daemon: {}", said(&running));
    world.nodes[0].kill()?;
    let path = world.nodes[0].path("state/ledger.redb");
    // Opening a ledger after a SIGKILL tidies the file up; what it says must stay.
    let content = || terway_ledger::export(&path).map_err(|error| anyhow::anyhow!("{}", error.fault()));
    let before = content()?;
    let sound = recover(&world.nodes[0], &[])?;
    ensure!(!sound.status.success(), "a sound ledger was replaced: {}", said(&sound));
    ensure!(content()? == before, "a sound ledger was changed");
    Ok(())
}

fn history(plan: &Plan) -> Result<()> {
    let mut world = booted(plan)?;
    let mut pod = world.nodes[0].pod("web")?;
    pod.add()?;
    let address = pod.address(4)?.to_string();
    pod.del()?;
    let ask = |words: &[&str]| -> Result<String> {
        let output = world.nodes[0].cli(&[&["-o", "json"], words].concat())?;
        ensure!(output.status.success(), "{}", said(&output));
        Ok(said(&output))
    };
    let of_address = ask(&["history", "--address", &address])?;
    ensure!(of_address.contains("web") && of_address.contains(&pod.container), "{of_address}");
    let of_pod = ask(&["history", "default/web"])?;
    ensure!(of_pod.contains(&address), "{of_pod}");
    // What was asked of the cloud, with the cloud's own name for each answer.
    let calls = world.get("/v1/calls?since=0")?;
    let calls = calls["calls"].as_array().or(calls.as_array()).context("no list of calls")?.clone();
    let create =
        calls.iter().find(|call| call["action"] == "CreateNetworkInterface").context("nothing was made")?;
    let request = text(create, "request_id");
    eventually("the call is in the history", LIMIT, || {
        ask(&["history"]).ok().filter(|all| all.contains(&request)).map(drop)
    })
    .with_context(|| format!("request {request}: {:?}", ask(&["history"])))
}

fn latch(plan: &Plan) -> Result<()> {
    let (mut world, mut pods) = node_with_pods(plan)?;
    world.nodes[0].mode = "ENIMultiIP";
    world.nodes[0].start()?;
    world.nodes[0].wait_ready()?;
    let events = said(&world.nodes[0].cli(&["events"])?);
    ensure!(events.to_lowercase().contains("mode"), "no event tells of the refusal: {events}");
    for pod in &pods {
        pod.call_with_result("CHECK").run()?.expect_ok("CHECK under the kept mode")?;
    }
    let mut next = world.nodes[0].pod("next")?;
    next.add()?;
    pods.push(next);
    for pod in &mut pods {
        pod.del()?;
    }
    audit(&world)
}

fn drain(plan: &Plan) -> Result<()> {
    let mut world = booted(&Plan { pool: (2, 3), ..plan.clone() })?;
    let mut pod = world.nodes[0].pod("web")?;
    pod.add()?;
    let output = world.nodes[0].cli(&["drain"])?;
    ensure!(output.status.success(), "{}", said(&output));
    eventually("only the ENI in use is left", LIMIT, || (world.cloud_enis().ok()?.len() == 1).then_some(()))
        .with_context(|| world.nodes[0].log_tail())?;
    pod.call_with_result("CHECK").run()?.expect_ok("CHECK on a draining node")?;
    let late = world.nodes[0].pod("late")?;
    let (_, message) = late.call("ADD").run()?.expect_error("ADD on a draining node")?;
    ensure!(message.contains("retir") || message.contains("drain"), "{message}");
    pod.del()?;
    eventually("every ENI has left", LIMIT, || world.cloud_enis().ok()?.is_empty().then_some(()))
        .with_context(|| world.nodes[0].log_tail())
}
