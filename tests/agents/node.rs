//! A node with two pods on shared ENIs, and what there is for them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use terway_rig::eventually::eventually;
use terway_rig::node::Node;
use terway_rig::pod::Pod;
use terway_rig::reader;
use terway_rig::world::{Plan, World};

use crate::service::Service;

/// A guest has one processor, and the machine may be busy.
pub(crate) const LIMIT: Duration = Duration::from_mins(3);

/// A world of one node whose daemon is ready. Not every kernel of the lab can guard the VPC's ports.
pub(crate) fn world(name: &str) -> Result<World> {
    let binaries =
        std::env::var_os("TERWAY_BIN_DIR").map(PathBuf::from).context("TERWAY_BIN_DIR is not set")?;
    let plan = Plan {
        name: name.to_owned(),
        shared: true,
        enis: 3,
        pool: (2, 4),
        port_security: false,
        ..Plan::default()
    };
    World::start(&plan, &binaries, Path::new("/run/terway"))
}

/// Two pods.
pub(crate) fn pods(node: &mut Node) -> Result<[Pod; 2]> {
    let mut pods = [node.pod("web")?, node.pod("db")?];
    for pod in &mut pods {
        pod.add()?;
    }
    Ok(pods)
}

/// CHECK of every pod says that all is there.
pub(crate) fn check(pods: &[Pod]) -> Result<()> {
    pods.iter().try_for_each(|pod| pod.call_with_result("CHECK").run()?.expect_ok("CHECK").map(drop))
}

/// What there is on the node for pods: our rules and what bears our protocol number.
pub(crate) fn of_pods(node: &Node) -> Result<String> {
    let is_ours = |line: &&str| {
        ["512:", "2048:"].iter().any(|rule| line.starts_with(rule)) || line.contains("proto 157")
    };
    Ok(reader::recording(&node.netns)?.lines().filter(is_ours).collect::<Vec<_>>().join("\n"))
}

/// Waits until all is there for pods that was there.
pub(crate) fn restored(node: &Node, before: &str) -> Result<()> {
    let mut now = String::new();
    let outcome = eventually("what pods need is there", LIMIT, || {
        now = of_pods(node).ok()?;
        (now == before).then_some(())
    });
    outcome.with_context(|| format!("was:\n{before}\nis:\n{now}\n{}", node.log_tail()))
}

/// The ENI that pods share, as the node calls it: their way out leads there, once it is back where a service at work takes
/// it away.
pub(crate) fn shared_nic(node: &Node) -> Result<String> {
    eventually("pods have a way out", LIMIT, || {
        let words = ["-4", "route", "show", "table", "all", "proto", "157"];
        let routes = reader::json(&node.netns, "ip", &words).ok()?;
        let out = routes.as_array()?.iter().find(|route| route["dst"] == "default")?;
        Some(out["dev"].as_str()?.to_owned())
    })
}

/// The messages of the node's events of this kind.
pub(crate) fn events(node: &Node, reason: &str) -> Result<Vec<String>> {
    let output = node.cli(&["events", "-o", "json"])?;
    let events: Vec<Value> = serde_json::from_slice(&output.stdout).context("events are no JSON")?;
    let of_kind = events.iter().filter(|event| event["reason"] == reason);
    Ok(of_kind.map(|event| event["message"].as_str().unwrap_or_default().to_owned()).collect())
}

/// Waits for an event of this kind that says all of this.
pub(crate) fn told(node: &Node, reason: &str, words: &[&str]) -> Result<()> {
    let mut all = Vec::new();
    let outcome = eventually(&format!("{reason} tells {words:?}"), LIMIT, || {
        all = events(node, reason).ok()?;
        all.iter().any(|message| words.iter().all(|word| message.contains(word))).then_some(())
    });
    outcome.with_context(|| format!("told was: {all:#?}"))
}

/// Waits until the ENI has no IPv4 address on the node, and the node no way by it.
pub(crate) fn cleared(node: &Node, nic: &str) -> Result<()> {
    let mut there = String::new();
    let outcome = eventually("the ENI has no address and no way of the node's", LIMIT, || {
        let say = |words: &[&str]| reader::text(&node.netns, "ip", &[words, &["dev", nic]].concat()).ok();
        there = say(&["-4", "-o", "address", "show"])? + &say(&["-4", "route", "show", "default"])?;
        there.is_empty().then_some(())
    });
    outcome.context(there)
}

/// What `terway-cli doctor` finds about a service, with the files that the service sees; none if it is not at work.
pub(crate) fn diagnosed(node: &Node, service: &Service, agent: &str) -> Result<Option<Value>> {
    let output = node.cli(&["doctor", "--root", &service.root(), "-o", "json"])?;
    let findings: Vec<Value> = serde_json::from_slice(&output.stdout).context("findings are no JSON")?;
    Ok(findings.into_iter().find(|finding| finding["check"] == agent))
}

/// The doctor says that a service takes what is not its own, and names the settings that help.
pub(crate) fn doctor_warns(node: &Node, service: &Service, agent: &str) -> Result<()> {
    let found = diagnosed(node, service, agent)?.with_context(|| format!("{agent} was not found"))?;
    let remedy = found["remedy"].as_str().unwrap_or_default();
    ensure!(found["outcome"] == "wrong" && remedy.contains("deploy/host"), "{found}");
    Ok(())
}

/// Nothing was put on ENIs or taken away from pods.
pub(crate) fn untouched(node: &Node) -> Result<()> {
    for reason in ["HostStateRepaired", "HostStateLost", "HostStateFought", "EniCleared"] {
        ensure!(events(node, reason)?.is_empty(), "{reason}: {:?}", events(node, reason)?);
    }
    Ok(())
}
