//! What all scenarios share: where the binaries are, a world with a name of its own, and the books.

use std::collections::BTreeSet;
use std::env;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::{Failed, Trial};
use serde_json::Value;
use terway_rig::cloud::{Cloud, Feature};
use terway_rig::eventually::eventually;
use terway_rig::node::Node;
use terway_rig::slowest;
use terway_rig::world::{Plan, World};

/// Generous: the machine may be busy; every wait ends with its condition.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// The folder with the shipped binaries: `TERWAY_BIN_DIR`, else what `cargo xtask build` fills.
pub(crate) fn binaries() -> PathBuf {
    env::var_os("TERWAY_BIN_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/dist"), PathBuf::from)
}

/// The cloud of all scenarios that are told once, if `TERWAY_CLOUD` names it.
pub(crate) fn chosen_cloud() -> Result<Option<Cloud>> {
    env::var("TERWAY_CLOUD").ok().map(|name| name.parse()).transpose()
}

/// A scenario: a story told in a world of its own.
pub(crate) struct Scenario {
    name: &'static str,
    clouds: Clouds,
    tell: fn(&Plan) -> Result<()>,
}

/// Where a scenario is told.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Clouds {
    /// On each: what a cloud does has a part in it.
    All,
    /// On those that have it.
    With(Feature),
    /// On those that lack it.
    Without(Feature),
    /// On any one: it is about the plugin, the kernel or the daemon's files.
    Any,
}

/// A scenario that is told on every cloud.
pub(crate) const fn both(name: &'static str, tell: fn(&Plan) -> Result<()>) -> Scenario {
    Scenario { name, clouds: Clouds::All, tell }
}

/// A scenario in which the cloud has no part, so that it is told on one.
pub(crate) const fn once(name: &'static str, tell: fn(&Plan) -> Result<()>) -> Scenario {
    Scenario { name, clouds: Clouds::Any, tell }
}

/// A scenario about what not every cloud has.
pub(crate) const fn with(feature: Feature, name: &'static str, tell: fn(&Plan) -> Result<()>) -> Scenario {
    Scenario { name, clouds: Clouds::With(feature), tell }
}

/// A scenario about the want of what some cloud has.
pub(crate) const fn without(feature: Feature, name: &'static str, tell: fn(&Plan) -> Result<()>) -> Scenario {
    Scenario { name, clouds: Clouds::Without(feature), tell }
}

impl Scenario {
    /// As the harness wants it, once for each cloud: `CLOUD::attach::...`. Those told once are told on the chosen cloud,
    /// or else on the one that their name falls to, so that each cloud hears its share of them.
    pub(crate) fn trials(self, chosen: Option<Cloud>) -> Vec<Trial> {
        let told = |cloud: &Cloud| match self.clouds {
            Clouds::All => true,
            Clouds::With(feature) => cloud.has(feature),
            Clouds::Without(feature) => !cloud.has(feature),
            Clouds::Any => *cloud == chosen.unwrap_or_else(|| falls_to(self.name)),
        };
        let clouds = Cloud::ALL.iter().copied().filter(told);
        if self.clouds == Clouds::Any {
            return clouds
                .map(|cloud| self.on(cloud, self.name.to_owned()).with_kind(format!("on {cloud}")))
                .collect();
        }
        clouds.map(|cloud| self.on(cloud, format!("{cloud}::{}", self.name))).collect()
    }

    fn on(&self, cloud: Cloud, title: String) -> Trial {
        let tell = self.tell;
        let plan = Plan { name: short(&title), cloud, ..Plan::default() };
        let told = title.clone();
        Trial::test(title, move || {
            slowest::timed(&told, || tell(&plan)).map_err(|error| Failed::from(format!("{error:#}")))
        })
    }
}

/// A cloud for a name: always the same one, whatever other scenarios there are.
fn falls_to(name: &str) -> Cloud {
    Cloud::ALL[name.bytes().map(usize::from).sum::<usize>() % Cloud::ALL.len()]
}

/// A name for files and namespaces: short and unique.
fn short(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).take(40).collect()
}

/// A world whose daemons are not started yet.
pub(crate) fn started(plan: &Plan) -> Result<World> {
    World::start(plan, &binaries(), Path::new("/run/terway"))
}

/// A running world with all its daemons ready.
pub(crate) fn booted(plan: &Plan) -> Result<World> {
    let mut world = started(plan)?;
    world.boot()?;
    for node in &world.nodes {
        wait_warm(node, plan.pool.0)?;
    }
    Ok(world)
}

/// A running world where nobody puts back what is taken from a node.
pub(crate) fn unguarded(plan: &Plan) -> Result<World> {
    let mut world = started(plan)?;
    for node in &mut world.nodes {
        node.flags.push("--no-host-guard".to_owned());
    }
    world.boot()?;
    Ok(world)
}

/// Waits until the node has its minimum of ready ENIs.
pub(crate) fn wait_warm(node: &Node, minimum: u32) -> Result<()> {
    eventually(&format!("{minimum} ENIs of {} are ready", node.name), LIMIT, || {
        let ready = node.phases().ok()?.iter().filter(|phase| *phase == "Ready").count();
        (ready >= minimum as usize).then_some(())
    })
    .with_context(|| node.log_tail())
}

/// Waits until nothing is on its way any more.
pub(crate) fn wait_quiet(node: &Node) -> Result<()> {
    eventually(&format!("the pool of {} is quiet", node.name), LIMIT, || {
        let phases = node.phases().ok()?;
        phases.iter().all(|phase| phase == "Ready" || phase == "InUse").then_some(())
    })
    .with_context(|| format!("{:?}\n{}", node.phases(), node.log_tail()))
}

/// Compares cloud and pools once nothing is on its way: the same ENIs, every one attached to the node whose pool has
/// it, no attachment twice.
pub(crate) fn audit(world: &World) -> Result<()> {
    world.nodes.iter().try_for_each(wait_quiet)?;
    compare(world)
}

fn compare(world: &World) -> Result<()> {
    let cloud = world.cloud_enis()?;
    let mut known = BTreeSet::new();
    let mut attachments = BTreeSet::new();
    for node in &world.nodes {
        for eni in node.mapping()? {
            let id = text(&eni, "id");
            let other = cloud.iter().find(|other| text(other, "id") == id);
            let other = other.with_context(|| format!("{id} of {} is unknown to the cloud", node.name))?;
            ensure!(
                text(other, "instance") == node.instance,
                "{id} is on {}, not on {}",
                other["instance"],
                node.instance
            );
            ensure!(known.insert(id.clone()), "{id} is in two pools");
            if !eni["attachment"].is_null() {
                ensure!(
                    attachments.insert(eni["attachment"].to_string()),
                    "{} holds two ENIs",
                    eni["attachment"]
                );
            }
        }
    }
    for eni in &cloud {
        ensure!(known.contains(&text(eni, "id")), "{} leaked: in the cloud, in no pool", eni["id"]);
    }
    Ok(())
}

/// The messages of the node's events of this kind.
pub(crate) fn events(node: &Node, reason: &str) -> Result<Vec<String>> {
    let output = node.cli(&["events", "-o", "json"])?;
    let events: Vec<Value> = serde_json::from_slice(&output.stdout).context("events are no JSON")?;
    Ok(events.iter().filter(|event| event["reason"] == reason).map(|event| text(event, "message")).collect())
}

/// A field as text.
pub(crate) fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}
