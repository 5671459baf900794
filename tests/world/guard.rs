//! What services of the node take away of pods' routes, rules, neighbours and links comes back by itself, told and
//! counted; and nobody is fought. The whole state of the node, as iproute2 shows it, is compared.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use terway_rig::eventually::eventually;
use terway_rig::node::Node;
use terway_rig::reader;
use terway_rig::world::Plan;

use crate::support::{LIMIT, Scenario, booted, once, started, text};

/// Long before the guard looks at everything without being told.
const SOON: Duration = Duration::from_secs(15);

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![
        once("guard::what_is_taken_from_the_node_comes_back", exclusive),
        once("guard::what_is_taken_of_shared_enis_comes_back", shared),
        once("guard::nobody_is_fought", fought),
    ]
}

/// One way to do a node harm, by words of `ip`; `LINK` stands for the pod's link on the node.
type Harm = &'static [&'static str];

const WITH_A_WHOLE_ENI: &[Harm] = &[
    &["-4", "route", "flush", "proto", "157"],
    &["-6", "route", "flush", "proto", "157"],
    &["neighbour", "flush", "dev", "LINK", "nud", "permanent"],
    &["link", "set", "LINK", "down"],
];

const ON_A_SHARED_ENI: &[Harm] = &[
    &["-4", "rule", "del", "priority", "512"],
    &["-6", "rule", "del", "priority", "2048"],
    &["-4", "route", "flush", "proto", "157", "table", "all"],
    &["-6", "route", "flush", "proto", "157", "table", "all"],
    &["link", "set", "LINK", "down"],
];

fn exclusive(plan: &Plan) -> Result<()> {
    let mut world = booted(&Plan { pool: (2, 3), ..plan.clone() })?;
    harm(&mut world.nodes[0], WITH_A_WHOLE_ENI)
}

fn shared(plan: &Plan) -> Result<()> {
    let mut world = started(&Plan { shared: true, enis: 3, pool: (2, 4), ..plan.clone() })?;
    world.boot()?;
    harm(&mut world.nodes[0], ON_A_SHARED_ENI)
}

fn harm(node: &mut Node, ways: &[Harm]) -> Result<()> {
    let mut pods = [node.pod("web")?, node.pod("db")?];
    for pod in &mut pods {
        pod.add()?;
    }
    let host = node.netns.clone();
    let before = of_pods(&host)?;
    let links = pod_links(&host)?;
    for way in ways {
        let words: Vec<&str> =
            way.iter().map(|word| if *word == "LINK" { &*links[0] } else { word }).collect();
        reader::text(&host, "ip", &words).with_context(|| words.join(" "))?;
        same(node, &before).with_context(|| format!("after ip {}", words.join(" ")))?;
    }
    for pod in &mut pods {
        pod.call_with_result("CHECK").run()?.expect_ok("CHECK after the repairs")?;
    }
    let told = events(node, "HostStateRepaired")?;
    ensure!(told.iter().any(|message| message.contains("default/web")), "{told:?}");
    for pod in &mut pods {
        pod.del()?;
    }
    let left = of_pods(&host)?;
    ensure!(links.iter().all(|link| !left.contains(link)) && !left.contains("proto 157"), "left:\n{left}");
    Ok(())
}

/// A service that takes a route away as often as it is put back is let have its way for a while, and told of.
fn fought(plan: &Plan) -> Result<()> {
    let mut world = booted(plan)?;
    let node = &mut world.nodes[0];
    let mut pod = node.pod("web")?;
    pod.add()?;
    let host = node.netns.clone();
    let before = of_pods(&host)?;
    let take = || reader::text(&host, "ip", &["-4", "route", "flush", "proto", "157"]);
    for _ in 0..3 {
        take()?;
        same(node, &before)?;
    }
    take()?;
    eventually("the fight is told of", LIMIT, || {
        let told = events(node, "HostStateFought").ok()?;
        told.iter().any(|message| message.contains("terway-cli doctor")).then_some(())
    })?;
    ensure!(of_pods(&host)? != before, "it was put back at once");
    same(node, &before).context("after the pause")
}

/// What there is on the node for pods: their links and all on them, what bears our protocol number, and all rules.
/// ENIs come and go meanwhile, and link-local addresses are the kernel's own.
fn of_pods(host: &Path) -> Result<String> {
    let concerns = |line: &&str| {
        let is_rule = line.split_once(':').is_some_and(|(priority, _)| priority.parse::<u32>().is_ok());
        let is_of_pods = line.contains("cali") || line.contains("proto 157");
        (is_of_pods || (is_rule && line.contains("lookup"))) && !line.contains("fe80::")
    };
    let all = reader::recording(host)?;
    Ok(all.lines().filter(concerns).fold(String::new(), |text, line| text + line + "\n"))
}

/// Waits until the node's state is as it was.
fn same(node: &Node, before: &str) -> Result<()> {
    let mut now = String::new();
    let outcome = eventually("the node's state is as it was", SOON, || {
        now = of_pods(&node.netns).ok()?;
        (now == before).then_some(())
    });
    outcome.with_context(|| format!("was:\n{before}\nis:\n{now}\n{}", node.log_tail()))
}

fn pod_links(host: &Path) -> Result<Vec<String>> {
    let links = reader::json(host, "ip", &["link", "show"])?;
    let names = links.as_array().into_iter().flatten().map(|link| text(link, "ifname"));
    Ok(names.filter(|name| name.starts_with("cali")).collect())
}

/// The messages of the node's events of this kind.
fn events(node: &Node, reason: &str) -> Result<Vec<String>> {
    let output = node.cli(&["events", "-o", "json"])?;
    let events: Vec<Value> = serde_json::from_slice(&output.stdout).context("events are no JSON")?;
    Ok(events.iter().filter(|event| event["reason"] == reason).map(|event| text(event, "message")).collect())
}
