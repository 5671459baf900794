//! Pods on shared ENIs, by the shipped plugin and `terwayd --daemon-mode ENIMultiIP`: what the runtime is told, who
//! reaches whom, and that nothing stays on the node, whatever way a pod ends.

use std::path::Path;
use std::thread;

use anyhow::{Context as _, Result, anyhow, ensure};
use serde_json::json;
use terway_datapath::kernel::{Netlink, QdiscKind};
use terway_rig::eventually::eventually;
use terway_rig::plugin::Outcome;
use terway_rig::pod::Pod;
use terway_rig::world::{Plan, World};
use terway_rig::{reach, reader};

use crate::support::{LIMIT, Scenario, both, events, once, started, text, unguarded};

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![
        both("policy_route::every_path_is_as_it_should_be", reachability),
        once("policy_route::result_kernel_and_check_agree", result_and_kernel),
        once("policy_route::every_drift_is_named", drifts),
        once("policy_route::del_leaves_nothing_whatever_way_a_pod_ends", ends),
        once("policy_route::gc_takes_what_is_left", garbage),
        once("policy_route::ipvlan_or_an_event_that_the_kernel_has_none", virtual_type),
        once("policy_route::limits_hold_both_ways", limits),
        once("policy_route::forty_at_once", many),
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
    .with_context(|| left.clone())
}

fn exclusive(plan: &Plan) -> Result<()> {
    let mut world = crate::support::booted(&Plan { nodes: 2, pool: (2, 4), ..plan.clone() })?;
    all_held(plan, &mut world)
}

/// What of pods is on a node: rules and routes of our making, links of pods, without the shared ENIs themselves.
pub(crate) fn left(pod: &Pod) -> Result<String> {
    let mut left = Vec::new();
    for (words, sign) in [
        (&["-4", "rule"][..], "157"),
        (&["-6", "rule"], "157"),
        (&["-4", "route", "show", "table", "all"], "proto 157"),
        (&["-6", "route", "show", "table", "all"], "proto 157"),
        (&["-o", "link"], "terway:"),
    ] {
        let shown = reader::text(&pod.host, "ip", words)?;
        left.extend(shown.lines().filter(|line| line.contains(sign)).map(str::to_owned));
    }
    Ok(left.join("\n"))
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
    ensure!(left(&pod)?.is_empty(), "{}", left(&pod)?);
    Ok(())
}

/// What somebody does to a pod or its node, and the words CHECK must say about it. The guard, which puts back what is
/// taken from the node, is off here.
const DAMAGE: &[(&str, bool, &[&str], &str)] = &[
    ("default route gone", true, &["route", "del", "default"], "default"),
    ("IPv6 address gone", true, &["-6", "address", "flush", "dev", "eth0", "scope", "global"], "fd00"),
    ("pair gone", true, &["link", "del", "eth0"], "eth0"),
    ("rule to the pod gone", false, &["rule", "del", "priority", "512"], "rule 512"),
    ("IPv6 rule from the pod gone", false, &["-6", "rule", "del", "priority", "2048"], "rule 2048"),
    ("table flushed", false, &["route", "flush", "table", "all", "protocol", "157"], "route"),
];

fn drifts(plan: &Plan) -> Result<()> {
    let mut world = unguarded(&shared(plan))?;
    for (what, inside, words, expected) in DAMAGE {
        let mut pod = world.nodes[0].pod("web")?;
        pod.add()?;
        pod.call_with_result("CHECK").run()?.expect_ok("CHECK of a sound pod")?;
        reader::text(if *inside { &pod.netns } else { &pod.host }, "ip", words).context(*what)?;
        let (code, text) = pod.call_with_result("CHECK").run()?.expect_error(what)?;
        ensure!(code == 103 && text.contains(expected), "{what}: code {code}, {text}");
        pod.del()?;
        ensure!(left(&pod)?.is_empty(), "{what}: {}", left(&pod)?);
    }
    Ok(())
}

fn ends(plan: &Plan) -> Result<()> {
    let mut world = booted(plan)?;
    let mut stays = world.nodes[0].pod("stays")?;
    stays.add()?;
    let before = left(&stays)?;
    for way in ["usual", "again", "namespace gone", "daemon away", "daemon away, namespace gone"] {
        let mut pod = world.nodes[0].pod("goes")?;
        pod.add()?;
        let del = pod.call_with_result("DEL");
        if way.contains("namespace gone") {
            pod.vanish()?;
        }
        if way.contains("daemon away") {
            world.nodes[0].kill()?;
        }
        for _ in 0..=usize::from(way == "again") {
            del.run()?.expect_ok(way)?;
        }
        ensure!(left(&stays)? == before, "{way}: {before}\nbecame\n{}", left(&stays)?);
        if way.contains("daemon away") {
            world.nodes[0].start()?;
            world.nodes[0].wait_ready()?;
        }
        stays.call_with_result("CHECK").run()?.expect_ok(way)?;
    }
    stays.del()?;
    ensure!(left(&stays)?.is_empty(), "{}", left(&stays)?);
    Ok(())
}

fn garbage(plan: &Plan) -> Result<()> {
    let mut world = booted(plan)?;
    let mut stays = world.nodes[0].pod("stays")?;
    stays.add()?;
    let before = left(&stays)?;
    let mut goes = world.nodes[0].pod("goes")?;
    goes.add()?;
    goes.vanish()?;
    let names = ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS"];
    let call = names.iter().fold(stays.call("GC"), |call, key| call.without(key));
    let valid = json!([{ "containerID": stays.container, "ifname": "eth0" }]);
    call.configured("cni.dev/valid-attachments", valid).run()?.expect_ok("GC")?;
    ensure!(left(&stays)? == before, "{before}\nbecame\n{}", left(&stays)?);
    stays.call_with_result("CHECK").run()?.expect_ok("CHECK of the pod that stays")?;
    Ok(())
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
    ensure!(left(&pod)?.is_empty(), "{}", left(&pod)?);
    Ok(())
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
    ensure!(text.contains("network-priority") && text.contains("\"first\" is none of guaranteed"), "{text}");
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

fn many(plan: &Plan) -> Result<()> {
    let mut world = booted(plan)?;
    let mut pods =
        (0..40).map(|number| world.nodes[0].pod(&format!("web{number}"))).collect::<Result<Vec<_>>>()?;
    at_once(&mut pods, |pod| pod.add().map(drop)).with_context(|| world.nodes[0].log_tail())?;
    let mut addresses: Vec<_> = pods.iter().map(|pod| pod.address(4)).collect::<Result<_>>()?;
    addresses.sort_unstable();
    addresses.dedup();
    ensure!(addresses.len() == 40, "{addresses:?}");
    at_once(&mut pods, |pod| pod.call_with_result("CHECK").run()?.expect_ok("CHECK").map(drop))?;
    at_once(&mut pods, |pod| pod.del().map(drop))?;
    ensure!(left(&pods[0])?.is_empty(), "{}", left(&pods[0])?);
    Ok(())
}

/// Does the same with all pods at once.
pub(crate) fn at_once(pods: &mut [Pod], deed: fn(&mut Pod) -> Result<()>) -> Result<()> {
    thread::scope(|scope| {
        let all: Vec<_> = pods.iter_mut().map(|pod| scope.spawn(move || deed(pod))).collect();
        all.into_iter().try_for_each(|one| one.join().map_err(|_| anyhow!("a call panicked"))?)
    })
}
