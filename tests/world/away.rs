//! The daemon may go away at any time: pods notice nothing, DEL works, ADD says "try again" and why.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use terway_rig::eventually::eventually;
use terway_rig::node::Node;
use terway_rig::probe::icmp;
use terway_rig::reader;
use terway_rig::world::Plan;

use crate::support::{LIMIT, Scenario, audit, booted, events, once, started, text, wait_quiet};

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![
        once("away::running_pods_notice_nothing", running),
        once("away::a_del_is_spooled_and_picked_up", spooled),
        once("away::an_add_fails_with_try_again", refused),
        once("away::an_add_waits_for_a_daemon_that_starts_and_nobody_else_does", awaited),
        once("away::the_conflist_appears_when_ready_and_stays", conflist),
        once("away::a_custom_chain_is_refused_beside_whole_enis", custom_chain),
        once("away::a_broken_spool_file_blocks_nothing", broken_spool),
    ]
}

fn running(plan: &Plan) -> Result<()> {
    let mut world = booted(&Plan { pool: (2, 4), ..plan.clone() })?;
    let mut pods = [world.nodes[0].pod("a")?, world.nodes[0].pod("b")?];
    for pod in &mut pods {
        pod.add()?;
    }
    let before = reader::recording(&pods[0].netns)?;
    for signal in [Node::kill, Node::stop] {
        signal(&mut world.nodes[0])?;
        icmp::ping(&pods[0].netns, pods[1].address(4)?, 56, LIMIT)?;
        world.nodes[0].start()?;
        world.nodes[0].wait_ready()?;
        icmp::ping(&pods[0].netns, pods[1].address(6)?, 56, LIMIT)?;
    }
    let after = reader::recording(&pods[0].netns)?;
    ensure!(before == after, "a restart changed a running pod:\n{before}\ninto\n{after}");
    for pod in &pods {
        pod.call_with_result("CHECK").run()?.expect_ok("CHECK after restarts")?;
    }
    audit(&world)
}

fn spooled(plan: &Plan) -> Result<()> {
    let mut world = booted(&Plan { pool: (2, 4), ..plan.clone() })?;
    let mut pods = [world.nodes[0].pod("a")?, world.nodes[0].pod("b")?];
    for pod in &mut pods {
        pod.add()?;
    }
    world.nodes[0].kill()?;
    pods[0].del()?;
    pods[1].vanish()?;
    pods[1].call("DEL").with("CNI_NETNS", "").run()?.expect_ok("DEL without a daemon and a netns")?;
    ensure!(spool(&world.nodes[0])? == 2, "two releases must be spooled");
    world.nodes[0].start()?;
    world.nodes[0].wait_ready()?;
    eventually("the spool is consumed", LIMIT, || (spool(&world.nodes[0]).ok()? == 0).then_some(()))?;
    wait_quiet(&world.nodes[0])?;
    let phases = world.nodes[0].phases()?;
    ensure!(phases.iter().all(|phase| phase == "Ready"), "{phases:?}");
    audit(&world)
}

/// How many releases wait in the node's spool.
fn spool(node: &Node) -> Result<usize> {
    let entries = fs::read_dir(node.path("state/spool"))?;
    Ok(entries.flatten().filter(|entry| entry.path().extension().is_some_and(|end| end == "json")).count())
}

fn refused(plan: &Plan) -> Result<()> {
    let mut world = booted(plan)?;
    world.nodes[0].stop()?;
    let mut pod = world.nodes[0].pod("web")?;
    let before = (reader::recording(&pod.host)?, reader::recording(&pod.netns)?);
    let impatient = pod.call("ADD").configured("allocate_timeout", json!(1));
    let (code, text) = impatient.run()?.expect_error("ADD without a daemon")?;
    ensure!(
        code == 11 && text.contains("daemon-unreachable") && text.contains("eni.socket"),
        "code {code}, {text}"
    );
    ensure!(
        before == (reader::recording(&pod.host)?, reader::recording(&pod.netns)?),
        "a refused ADD left something"
    );
    world.nodes[0].start()?;
    world.nodes[0].wait_ready()?;
    pod.add()?;
    Ok(())
}

/// Whether the daemon was killed, and its socket is still there, or ended by itself.
fn awaited(plan: &Plan) -> Result<()> {
    let mut world = booted(&Plan { pool: (3, 6), ..plan.clone() })?;
    let node = &mut world.nodes[0];
    for end in [Node::kill, Node::stop] {
        let mut old = node.pod("old")?;
        old.add()?;
        end(node)?;
        let early = node.pod("early")?;
        let mut add = early.call("ADD").start()?;
        eventually("the ADD listens for a socket", LIMIT, || listens(add.id()).then_some(()))?;
        for (verb, code) in [("STATUS", 50), ("CHECK", 11)] {
            let (found, text) = old.call_with_result(verb).run()?.expect_error(verb)?;
            ensure!(found == code, "{verb}: {found}, {text}");
        }
        old.del()?;
        ensure!(spool(node)? == 1, "the release is not in the spool");
        ensure!(add.try_wait()?.is_none(), "the ADD did not wait: {:?}", add.wait_with_output()?);
        node.start()?;
        let output = add.wait_with_output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        node.wait_ready()?;
        early.call("DEL").run()?.expect_ok("DEL")?;
    }
    wait_quiet(node)?;
    audit(&world)
}

/// Whether a process hears of changes of a folder.
fn listens(process: u32) -> bool {
    let open = fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten();
    open.filter_map(|entry| fs::read_link(entry.path()).ok()).any(|file| file.ends_with("anon_inode:inotify"))
}

fn conflist(plan: &Plan) -> Result<()> {
    let mut world = booted(plan)?;
    let path = world.nodes[0].conflist();
    let there = |what: &str| {
        eventually(what, LIMIT, || {
            let list: serde_json::Value = serde_json::from_slice(&fs::read(&path).ok()?).ok()?;
            (list["name"] == "terway").then_some(())
        })
    };
    there("the conflist is written")?;
    let files: Vec<_> =
        fs::read_dir(world.nodes[0].path("net.d"))?.flatten().map(|entry| entry.file_name()).collect();
    ensure!(files.len() == 1, "only the conflist may be in the folder: {files:?}");
    fs::remove_file(&path)?;
    there("the conflist is written again")?;
    world.nodes[0].stop()?;
    there("the conflist survives the daemon")
}

/// Beside whole ENIs a plugin that works on the node would do nothing: said so, and left out.
fn custom_chain(plan: &Plan) -> Result<()> {
    for (shared, wanted) in [(false, &["terway", "tuning"][..]), (true, &["terway", "cilium-cni", "tuning"])]
    {
        let name = format!("{}{}", plan.name, usize::from(shared));
        let mut world = started(&Plan { name, shared, ..plan.clone() })?;
        let node = &mut world.nodes[0];
        let source = node.path("10-terway.conflist");
        let mut list: serde_json::Value = serde_json::from_slice(&fs::read(&source)?)?;
        let plugins = list["plugins"].as_array_mut().context("no plugins")?;
        plugins.extend([json!({ "type": "cilium-cni" }), json!({ "type": "tuning" })]);
        fs::write(&source, list.to_string())?;
        node.start()?;
        node.wait_ready()?;
        let path = node.conflist();
        let kinds = eventually("the conflist is written", LIMIT, || {
            let list: serde_json::Value = serde_json::from_slice(&fs::read(&path).ok()?).ok()?;
            Some(list["plugins"].as_array()?.iter().map(|plugin| text(plugin, "type")).collect::<Vec<_>>())
        })?;
        ensure!(kinds == wanted, "shared: {shared}, {kinds:?}");
        let told = || events(node, "CustomChainRefused");
        if shared {
            ensure!(told()?.is_empty(), "{:?}", told()?);
        } else {
            // After the file is there.
            let told = eventually("the refusal is told", LIMIT, || told().ok()?.pop())?;
            ensure!(told.contains("cilium-cni"), "{told}");
        }
    }
    Ok(())
}

fn broken_spool(plan: &Plan) -> Result<()> {
    let mut world = booted(&Plan { pool: (1, 2), ..plan.clone() })?;
    world.nodes[0].stop()?;
    let spool_folder = world.nodes[0].path("state/spool");
    fs::create_dir_all(&spool_folder)?;
    fs::write(spool_folder.join("truncated.json"), "{\"version\":1,\"netw")?;
    fs::write(spool_folder.join("newer.json"), json!({ "version": 99 }).to_string())?;
    world.nodes[0].start()?;
    world.nodes[0].wait_ready()?;
    eventually("the broken files are set aside", LIMIT, || {
        (spool(&world.nodes[0]).ok()? == 0).then_some(())
    })?;
    let mut pod = world.nodes[0].pod("web")?;
    let mac = text(&pod.add()?.output["interfaces"][0], "mac");
    ensure!(reader::link_by_mac(&pod.netns, &mac)?.is_some(), "the pod has no NIC");
    Ok(())
}
