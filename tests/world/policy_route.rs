//! Pods on shared ENIs, by the shipped plugin and `terwayd --daemon-mode ENIMultiIP`: what the runtime is told, who
//! reaches whom, and that nothing stays on the node, whatever way a pod ends.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use terway_datapath::kernel::{Netlink, QdiscKind};
use terway_rig::eventually::eventually;
use terway_rig::plugin::Outcome;
use terway_rig::pod::Pod;
use terway_rig::world::{Plan, World};
use terway_rig::{reach, reader};

use crate::by_the_node::{self, Damage, nothing_left};
use crate::support::{LIMIT, Scenario, both, events, once, started, text, unguarded};

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![
        both("policy_route::every_path_is_as_it_should_be", reachability),
        once("policy_route::result_kernel_and_check_agree", result_and_kernel),
        once("policy_route::every_drift_is_named", drifts),
        once("policy_route::del_leaves_nothing_whatever_way_a_pod_ends", |plan| {
            by_the_node::ends(&mut booted(plan)?)
        }),
        once("policy_route::gc_takes_what_is_left", |plan| by_the_node::garbage(&mut booted(plan)?)),
        once("policy_route::ipvlan_or_an_event_that_the_kernel_has_none", virtual_type),
        once("policy_route::limits_hold_both_ways", limits),
        once("policy_route::forty_at_once", |plan| by_the_node::forty_at_once(&mut booted(plan)?)),
        once("policy_route::answers_leave_by_the_nic_the_question_came_by", symmetric_routing),
        once("exclusive::every_path_is_as_it_should_be", exclusive),
    ]
}

/// A running world whose pods share ENIs.
fn booted(plan: &Plan) -> Result<World> {
    let mut world = started(&shared(plan))?;
    world.boot()?;
    Ok(world)
}

fn shared(plan: &Plan) -> Plan {
    Plan { shared: true, enis: 4, pool: (4, 60), addresses: 20, ..plan.clone() }
}

pub(crate) fn all_held(plan: &Plan, world: &mut World) -> Result<()> {
    let gateways = plan.cloud.names().gateways.map(|text| text.parse().ok());
    let gateways = [gateways[0].context("no gateway")?, gateways[1].context("no gateway")?];
    let rows = reach::explore(world, gateways)?;
    let mut failures = Vec::new();
    for row in &rows {
        for (family, outcome) in [("IPv4", &row.v4), ("IPv6", &row.v6)] {
            if let reach::Cell::Broken(error) = outcome {
                failures.push(format!("{}, {family}: {error:#}", row.path));
            }
        }
    }
    ensure!(failures.is_empty(), "{}", failures.join("\n"));
    Ok(())
}

fn reachability(plan: &Plan) -> Result<()> {
    let mut world = started(&shared(&Plan { nodes: 2, ..plan.clone() }))?;
    reach::prepare(&world)?;
    world.boot()?;
    all_held(plan, &mut world)
}

/// What symmetric routing has on the node.
fn symmetric(host: &Path) -> Result<String> {
    let mut text = String::new();
    for (program, words) in [
        ("nft", &["list", "ruleset"][..]),
        ("ip", &["-4", "rule"]),
        ("ip", &["-6", "rule"]),
        ("ip", &["-4", "route", "show", "table", "all"]),
        ("ip", &["-6", "route", "show", "table", "all"]),
    ] {
        let shown = reader::text(host, program, words)?;
        let signs = ["terway_symmetric", "fwmark", "table 100 "];
        let ours = shown.lines().filter(|line| signs.iter().any(|sign| line.contains(sign)));
        text = ours.fold(text, |text, line| text + line.trim() + "\n");
    }
    Ok(text)
}

/// Switched on it is there, comes back when somebody takes it and the daemon starts again, and leaves marks and rules
/// of others alone; switched off it is gone.
fn symmetric_routing(plan: &Plan) -> Result<()> {
    let mut world = started(&shared(plan))?;
    reach::prepare(&world)?;
    let node = &mut world.nodes[0];
    let host = node.netns.clone();
    reader::text(
        &host,
        "ip",
        &["rule", "add", "fwmark", "0x4000/0x4000", "lookup", "100", "priority", "900"],
    )?;
    node.start()?;
    node.wait_ready()?;
    let whole =
        |text: &str| text.matches("table ip").count() == 2 && text.matches("fwmark 0x10/0x10").count() == 2;
    let mut seen = String::new();
    let there = eventually("it is there", LIMIT, || {
        seen = symmetric(&host).ok()?;
        whole(&seen).then(|| seen.clone())
    });
    let there = there.with_context(|| seen.clone())?;
    let way = format!("default via {} dev eth0 table 100 proto 157", plan.cloud.names().home_gateway);
    ensure!(there.contains(&way), "{there}");
    let rules = reader::text(&host, "nft", &["list", "table", "ip", "terway_symmetric"])?;
    ensure!(rules.contains("ct mark set ct mark | 0x00000010"), "only our bits: {rules}");

    node.kill()?;
    reader::text(&host, "nft", &["flush", "ruleset"])?;
    reader::text(&host, "ip", &["rule", "del", "priority", "600"])?;
    node.start()?;
    node.wait_ready()?;
    eventually("it is there again", LIMIT, || symmetric(&host).ok().filter(|now| *now == there))?;

    // Heard of at once, not at the next round a minute later.
    node.tell_plugin("symmetric_routing", json!(false))?;
    let mut left = String::new();
    eventually("it is gone", LIMIT, || {
        left = symmetric(&host).ok()?;
        (left.lines().count() == 1 && left.contains("0x4000/0x4000")).then_some(())
    })
    .with_context(|| left.clone())?;

    // The uplink forwards as long as it has to.
    let forwards =
        || Ok::<_, anyhow::Error>(reader::text(&host, "sysctl", &["-n", FORWARDING])?.trim() == "1");
    reader::text(&host, "sysctl", &["-w", &format!("{FORWARDING}=0")])?;
    for (on, lines) in [(true, there.lines().count()), (false, 1)] {
        node.tell_plugin("symmetric_routing", json!(on))?;
        let mut now = (String::new(), false);
        let switched = eventually("it is switched", LIMIT, || {
            now = (symmetric(&host).ok()?, forwards().ok()?);
            (now.0.lines().count() == lines && now.1 == on).then_some(())
        });
        switched.with_context(|| format!("on: {on}; forwards: {}\n{}", now.1, now.0))?;
    }
    Ok(())
}

/// The uplink's switch.
const FORWARDING: &str = "net.ipv4.conf.eth0.forwarding";

fn exclusive(plan: &Plan) -> Result<()> {
    let mut world = crate::support::booted(&Plan { nodes: 2, pool: (2, 4), ..plan.clone() })?;
    all_held(plan, &mut world)
}

fn result_and_kernel(plan: &Plan) -> Result<()> {
    let mut world = booted(plan)?;
    let mut pod = world.nodes[0].pod("web")?;
    pod.configuration["veth_prefix"] = json!("vp");
    pod.configuration["auto_mtu"] = json!(true);
    reader::text(&pod.host, "ip", &["link", "set", "eth0", "mtu", "1450"])?;
    let result = pod.add()?.output.clone();
    let (inside, outside) = (&result["interfaces"][0], &result["interfaces"][1]);
    ensure!(inside["name"] == "eth0" && inside["sandbox"] == json!(pod.netns), "{result}");
    ensure!(text(outside, "name").starts_with("vp") && outside["sandbox"].is_null(), "{result}");
    ensure!(inside["mtu"] == 1450, "the MTU follows the node's: {result}");
    ensure!(result["ips"][0]["gateway"] == "169.254.1.1", "{result}");
    for (link, listed, netns) in [("eth0", inside, &pod.netns), (&text(outside, "name"), outside, &pod.host)]
    {
        let shown = reader::link(netns, link)?.with_context(|| format!("{link} is not there"))?;
        ensure!(shown["address"] == listed["mac"] && shown["mtu"] == listed["mtu"], "{shown} {listed}");
    }
    pod.call_with_result("CHECK").run()?.expect_ok("CHECK")?;
    pod.del()?;
    nothing_left(&pod)
}

/// What somebody takes of the node.
const DAMAGE: &[Damage] = &[
    ("rule to the pod gone", false, &["rule", "del", "priority", "512"], "rule 512"),
    ("IPv6 rule from the pod gone", false, &["-6", "rule", "del", "priority", "2048"], "rule 2048"),
    ("table flushed", false, &["route", "flush", "table", "all", "protocol", "157"], "route"),
];

fn drifts(plan: &Plan) -> Result<()> {
    by_the_node::damage_is_named(&mut unguarded(&shared(plan))?, DAMAGE)
}

/// What the kernel can do is found out by `ip`.
fn virtual_type(plan: &Plan) -> Result<()> {
    let mut world = booted(plan)?;
    let mut pod = world.nodes[0].pod("web")?;
    pod.configuration["eniip_virtual_type"] = json!("IPVlan");
    let probe = ["link", "add", "link", "eth0", "name", "probe", "type", "ipvlan", "mode", "l2"];
    let has_ipvlan = reader::text(&pod.host, "ip", &probe).is_ok();
    if has_ipvlan {
        reader::text(&pod.host, "ip", &["link", "del", "probe"])?;
    }
    pod.add()?;
    let link = reader::json(&pod.netns, "ip", &["-d", "link", "show", "dev", "eth0"])?;
    let wanted = if has_ipvlan { "ipvlan" } else { "veth" };
    ensure!(link[0]["linkinfo"]["info_kind"] == wanted, "not {wanted}: {link}");
    let told = events(&world.nodes[0], "VirtualModeChanged")?;
    let says_so = |message: &String| message.contains("no IPVlan links") && message.contains("web");
    ensure!(
        if has_ipvlan { told.is_empty() } else { told.len() == 1 && told.iter().all(says_so) },
        "{told:?}"
    );
    pod.call_with_result("CHECK").run()?.expect_ok("CHECK")?;
    pod.del()?;
    nothing_left(&pod)
}

fn limits(plan: &Plan) -> Result<()> {
    let mut world = booted(plan)?;
    let mut slow = world.nodes[0].pod("slow")?;
    slow.limit(Some(20_000_000), Some(40_000_000));
    let result = slow.add()?.output.clone();
    let host_end = text(&result["interfaces"][1], "name");
    for (netns, link, rate) in [(&slow.host, host_end.as_str(), 2_500_000), (&slow.netns, "eth0", 5_000_000)]
    {
        let qdisc = reader::json(netns, "tc", &["qdisc", "show", "dev", link])?;
        ensure!(qdisc[0]["kind"] == "tbf" && qdisc[0]["options"]["rate"] == rate, "{link}: {qdisc}");
    }
    slow.call_with_result("CHECK").run()?.expect_ok("CHECK")?;
    ensure!(events(&world.nodes[0], "NetworkPriorityUnheeded")?.is_empty(), "nobody asked for a class");
    let mut classed = world.nodes[0].pod("classed")?;
    classed.ask_for_class("guaranteed");
    classed.add()?;
    let told = events(&world.nodes[0], "NetworkPriorityUnheeded")?;
    if Netlink::here()?.has_qdisc(QdiscKind::Prio)? {
        ensure!(told.is_empty(), "{told:?}");
    } else {
        ensure!(told.len() == 1 && told[0].contains("classed") && told[0].contains("guaranteed"), "{told:?}");
    }
    classed.call_with_result("CHECK").run()?.expect_ok("CHECK")?;
    classed.ask_for_class("first");
    let (_, text) = world_again(&mut world, &classed)?.expect_error("a class there is none of")?;
    ensure!(text.contains("network-priority") && text.contains("is none of guaranteed"), "{text}");
    slow.limit(Some(100), None);
    let (_, text) = world_again(&mut world, &slow)?.expect_error("a limit below one packet")?;
    ensure!(text.contains("bandwidth.ingressRate 100 is") && text.contains("ask for 480000 to"), "{text}");
    Ok(())
}

/// Another pod with the same configuration, whose ADD is told as it ended.
fn world_again(world: &mut World, like: &Pod) -> Result<Outcome> {
    let mut pod = world.nodes[0].pod("again")?;
    pod.configuration.clone_from(&like.configuration);
    pod.call("ADD").run()
}
