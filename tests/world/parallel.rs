//! Many at once, and the same twice.

use std::collections::BTreeSet;
use std::process::Child;
use std::thread;

use anyhow::{Context as _, Result, anyhow, ensure};
use serde_json::{Value, json};
use terway_rig::eventually::eventually;
use terway_rig::plugin::{Call, Outcome};
use terway_rig::pod::Pod;
use terway_rig::reader;
use terway_rig::world::{Plan, World};

use crate::support::{LIMIT, Scenario, audit, booted, both, once, text, wait_quiet};

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![
        once("parallel::ten_adds_and_dels", many),
        both("parallel::more_pods_than_warm_enis_wait_in_line", queue),
        both("parallel::those_who_wait_are_told_why_and_in_which_place", in_line),
        both("parallel::what_changes_while_an_add_waits_for_the_cloud_counts", meanwhile),
        once("parallel::two_adds_of_one_attachment", twice),
        once("parallel::add_and_del_of_one_sandbox_overlap", overlap),
        once("parallel::an_add_killed_in_the_middle_is_undone_by_del", killed),
    ]
}

/// Runs calls at once and waits for all.
fn at_once(calls: Vec<Call>) -> Result<Vec<Outcome>> {
    let threads: Vec<_> = calls.into_iter().map(|call| thread::spawn(move || call.run())).collect();
    threads.into_iter().map(|thread| thread.join().map_err(|_| anyhow!("a call panicked"))?).collect()
}

fn addresses(outcomes: &[Outcome]) -> Result<BTreeSet<String>> {
    outcomes.iter().map(|outcome| outcome.clone().expect_ok("ADD")?.address(4)).collect()
}

fn sandboxes(world: &mut World, count: usize) -> Result<Vec<Pod>> {
    (0..count).map(|number| world.nodes[0].pod(&format!("web{number}"))).collect()
}

fn many(plan: &Plan) -> Result<()> {
    let mut world = booted(&Plan { enis: 12, pool: (10, 11), ..plan.clone() })?;
    let pods = sandboxes(&mut world, 10)?;
    for _ in 0..2 {
        let added = at_once(pods.iter().map(|pod| pod.call("ADD")).collect())?;
        ensure!(addresses(&added)?.len() == 10, "an address was given twice");
        audit(&world)?;
        for outcome in at_once(pods.iter().map(|pod| pod.call("DEL")).collect())? {
            outcome.expect_ok("DEL")?;
        }
        wait_quiet(&world.nodes[0])?;
    }
    let host = reader::recording(&world.nodes[0].netns)?;
    ensure!(!host.contains("cali") && !host.contains("proto 157"), "left behind: {host}");
    audit(&world)
}

fn queue(plan: &Plan) -> Result<()> {
    let mut world = booted(&Plan { enis: 9, pool: (1, 2), latency: [5, 200, 50, 5], ..plan.clone() })?;
    let pods = sandboxes(&mut world, 8)?;
    let added = at_once(pods.iter().map(|pod| pod.call("ADD")).collect())?;
    ensure!(addresses(&added)?.len() == 8, "an address was given twice");
    audit(&world)
}

fn in_line(plan: &Plan) -> Result<()> {
    let mut world = booted(&Plan { pool: (0, 0), ..plan.clone() })?;
    // The ENIs come when all has been looked at.
    world.change(
        "/v1/faults",
        &json!([{ "action": "AttachNetworkInterface", "kind": "hold", "times": 1000 }]),
    )?;
    let calls: Vec<_> = sandboxes(&mut world, 3)?.iter().map(|pod| pod.call("ADD")).collect();
    let adds = thread::spawn(move || at_once(calls));
    let node = &world.nodes[0];
    let waiters = || -> Option<Vec<Value>> {
        let status: Value = serde_json::from_slice(&node.cli(&["status", "-o", "json"]).ok()?.stdout).ok()?;
        status["pool"]["waiters"].as_array().filter(|all| all.len() == 3).cloned()
    };
    let waiters = eventually("three wait in line", LIMIT, waiters)?;
    let places: Vec<_> = waiters.iter().map(|waiter| waiter["place"].as_u64()).collect();
    ensure!(places == [Some(1), Some(2), Some(3)], "{waiters:?}");
    for waiter in &waiters {
        let why = waiter["waits_for"].as_str().unwrap_or_default();
        ensure!(why.contains("ENI"), "no reason a person could read: {waiter}");
    }
    let table = String::from_utf8(node.cli(&["status"])?.stdout)?;
    ensure!(["PLACE", "WAITING", "REASON"].iter().all(|word| table.contains(word)), "{table}");
    world.change("/v1/faults", &json!([]))?;
    world.change("/v1/release", &json!({}))?;
    let added = adds.join().map_err(|_| anyhow!("a thread panicked"))??;
    ensure!(addresses(&added)?.len() == 3, "an address was given twice");
    audit(&world)
}

/// Another plugin is at work in the pod, and somebody on the node, while the ENI is made.
fn meanwhile(plan: &Plan) -> Result<()> {
    let mut world = booted(&Plan { pool: (0, 0), latency: [5, 1000, 50, 5], ..plan.clone() })?;
    let mut wide = world.nodes[0].pod("wide")?;
    wide.configuration["auto_mtu"] = json!(true);
    let uplink = text(&reader::json(&wide.host, "ip", &["route", "show", "default"])?[0], "dev");
    let added = during_a_create(&world, wide.call("ADD"), || {
        reader::text(&wide.host, "ip", &["link", "set", &uplink, "mtu", "1600"]).map(drop)
    })?;
    wide.result = Some(added.expect_ok("ADD")?);
    let eth0 = reader::link(&wide.netns, "eth0")?.context("no eth0")?;
    ensure!(eth0["mtu"] == 1600, "the pod's MTU is not the uplink's as it is now: {eth0}");

    let taken = world.nodes[0].pod("taken")?;
    let refused = during_a_create(&world, taken.call("ADD"), || {
        for words in [
            "link add other0 type veth peer name other1",
            "link set other1 up",
            "address add 192.0.2.1/24 dev other0",
            "link set other0 up",
            "route add default via 192.0.2.2",
        ] {
            reader::text(&taken.netns, "ip", &words.split(' ').collect::<Vec<_>>())?;
        }
        Ok(())
    })?;
    let (code, words) = refused.expect_error("the ADD into a pod with a default route")?;
    ensure!(code == 101 && words.contains("default route by other0 already"), "code {code}, {words}");
    let left = reader::json(&taken.netns, "ip", &["link", "show"])?;
    ensure!(left.as_array().map(Vec::len) == Some(3), "left behind: {left}");
    wide.del()?;
    audit(&world)
}

/// Makes a call that has to wait for the cloud to make an ENI, and does something else before that goes on.
fn during_a_create(world: &World, call: Call, something: impl FnOnce() -> Result<()>) -> Result<Outcome> {
    world.change("/v1/faults", &json!([{ "action": "CreateNetworkInterface", "kind": "hold-before" }]))?;
    let waiting = thread::spawn(move || call.run());
    eventually("the call is held", LIMIT, || (world.held_calls().ok()?.len() == 1).then_some(()))
        .with_context(|| world.nodes[0].log_tail())?;
    something()?;
    world.change("/v1/release", &json!({}))?;
    waiting.join().map_err(|_| anyhow!("the call panicked"))?
}

fn twice(plan: &Plan) -> Result<()> {
    let mut world = booted(&Plan { pool: (2, 4), ..plan.clone() })?;
    let mut pod = world.nodes[0].pod("web")?;
    let outcomes = at_once(vec![pod.call("ADD"), pod.call("ADD")])?;
    let (good, bad): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Outcome::ok);
    ensure!(good.len() == 1 && bad.len() == 1, "{good:?} {bad:?}");
    let (_, text) = bad[0].expect_error("the second ADD")?;
    ensure!(text.contains("interface-exists") || text.contains("attachment-busy"), "{text}");
    pod.result = good.into_iter().next();
    pod.call_with_result("CHECK").run()?.expect_ok("CHECK after the refused second ADD")?;
    audit(&world)?;
    pod.del()?;
    Ok(())
}

fn overlap(plan: &Plan) -> Result<()> {
    let mut world = booted(&Plan { pool: (2, 4), ..plan.clone() })?;
    for _ in 0..5 {
        let pod = world.nodes[0].pod("web")?;
        let outcomes = at_once(vec![pod.call("ADD"), pod.call("DEL")])?;
        outcomes[1].clone().expect_ok("DEL during ADD")?;
        // Whoever came first: the runtime's next DEL leaves nothing.
        pod.call("DEL").run()?.expect_ok("DEL")?;
        let left = reader::json(&pod.netns, "ip", &["link", "show"])?;
        ensure!(left.as_array().map(Vec::len) == Some(1), "{left}");
    }
    wait_quiet(&world.nodes[0])?;
    ensure!(world.nodes[0].phases()?.iter().all(|phase| phase == "Ready"), "{:?}", world.nodes[0].phases());
    audit(&world)
}

fn killed(plan: &Plan) -> Result<()> {
    let mut world = booted(&Plan { pool: (2, 4), ..plan.clone() })?;
    // From right at the start to about the usual length of an ADD, so that each stage is hit.
    for step in 0..25u32 {
        let pod = world.nodes[0].pod("web")?;
        let mut child: Child = pod.call("ADD").start()?;
        thread::park_timeout(std::time::Duration::from_millis(2) * step);
        child.kill().context("failed to kill the plugin")?;
        child.wait()?;
        pod.call("DEL").run()?.expect_ok("DEL after a killed ADD")?;
        let left = reader::json(&pod.netns, "ip", &["link", "show"])?;
        ensure!(left.as_array().map(Vec::len) == Some(1), "killed after {} ms: {left}", 2 * step);
        wait_quiet(&world.nodes[0])?;
    }
    let host = reader::recording(&world.nodes[0].netns)?;
    ensure!(!host.contains("cali") && !host.contains("proto 157"), "left behind: {host}");
    audit(&world)
}
