//! What the scenarios start from: a booted simulated world, and the end in which all books agree.

use std::env;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use libtest_mimic::{Failed, Trial};
use serde_json::{Value, json};
use terway_rig::books;
use terway_rig::eventually::eventually;
use terway_rig::node::Node;
use terway_rig::reader;
use terway_rig::slowest;
use terway_rig::world::{Plan, World};

/// Generous: the machine may be busy; every wait ends with its condition.
pub(crate) const LIMIT: Duration = Duration::from_mins(1);

/// The folder with the shipped programs: `TERWAY_BIN_DIR`, else what `cargo xtask build` fills.
pub(crate) fn binaries() -> PathBuf {
    env::var_os("TERWAY_BIN_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/dist"), PathBuf::from)
}

/// A scenario as the harness wants it.
pub(crate) fn trial(name: &str, scenario: fn(&str) -> Result<()>) -> Trial {
    let name = name.to_owned();
    let short: String = name.chars().filter(char::is_ascii_alphanumeric).take(40).collect();
    let told = name.clone();
    Trial::test(name, move || {
        slowest::timed(&told, || scenario(&short)).map_err(|error| Failed::from(format!("{error:#}")))
    })
}

/// A world whose daemons do not run yet.
pub(crate) fn prepared(plan: &Plan) -> Result<World> {
    World::start(plan, &binaries(), Path::new("/run/terway"))
}

/// Nodes whose pods share ENIs, a few addresses warm.
pub(crate) fn sharing() -> Plan {
    Plan { shared: true, enis: 4, pool: (2, 20), ..Plan::default() }
}

/// A world with all daemons ready and pools warm.
pub(crate) fn booted(plan: &Plan) -> Result<World> {
    let mut world = prepared(plan)?;
    world.boot()?;
    // The water marks of shared ENIs count addresses.
    let enis = if plan.shared { 1 } else { plan.pool.0 as usize };
    world.nodes.iter().try_for_each(|node| wait_warm(node, enis))?;
    Ok(world)
}

/// Waits until so many ENIs are ready.
pub(crate) fn wait_warm(node: &Node, count: usize) -> Result<()> {
    eventually(&format!("{count} ENIs of {} are ready", node.name), LIMIT, || {
        (node.phases().ok()?.iter().filter(|phase| *phase == "Ready").count() >= count).then_some(())
    })
    .with_context(|| node.log_tail())
}

/// How many ENIs pods hold.
pub(crate) fn in_use(node: &Node) -> Result<usize> {
    Ok(node.phases()?.iter().filter(|phase| *phase == "InUse").count())
}

/// Waits until no pod holds an ENI.
pub(crate) fn wait_free(node: &Node) -> Result<()> {
    eventually("no ENI is held", LIMIT, || (in_use(node).ok()? == 0).then_some(()))
        .with_context(|| format!("{:?}\n{}", node.mapping(), node.log_tail()))
}

/// Waits until nothing is under way: ENIs are held, or rest with their netdevs at home.
fn wait_quiet(node: &Node) -> Result<()> {
    let rests = |eni: &Value| {
        let mac = eni["mac"].as_str().unwrap_or_default();
        let home = || matches!(reader::link_by_mac(&node.netns, mac), Ok(Some(_)));
        eni["phase"] == "InUse" || (eni["phase"] == "Ready" && home())
    };
    eventually(&format!("the pool of {} is quiet", node.name), LIMIT, || {
        node.mapping().ok()?.iter().all(rests).then_some(())
    })
    .with_context(|| format!("{:?}\n{}", node.mapping(), node.log_tail()))
}

/// Waits until nothing is under way, ends the daemon, and compares ledger, cloud and kernel. `pods` are the network
/// namespaces of all pods on the node.
pub(crate) fn books_agree(world: &mut World, node: usize, pods: &[&Path]) -> Result<()> {
    let which = &world.nodes[node];
    wait_quiet(which)?;
    world.nodes[node].kill()?;
    books::agree(world, &world.nodes[node], pods)
}

/// Gives the node's conflist further capabilities, and plugins behind ours; before the daemon starts.
pub(crate) fn extend_conflist(node: &Node, capabilities: &[&str], behind: &[Value]) -> Result<()> {
    let path = node.path("10-terway.conflist");
    let mut list: Value = serde_json::from_slice(&std::fs::read(&path)?)?;
    for capability in capabilities {
        list["plugins"][0]["capabilities"][*capability] = json!(true);
    }
    if let Some(plugins) = list["plugins"].as_array_mut() {
        plugins.extend_from_slice(behind);
    }
    std::fs::write(&path, serde_json::to_vec_pretty(&list)?).context("failed to write the conflist")
}
