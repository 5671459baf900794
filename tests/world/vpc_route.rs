//! Pods with addresses of their node's podCIDR, by the shipped plugin and `terwayd --daemon-mode VPC`: who reaches whom,
//! that no address has two owners through crashes, restarts and lost ledgers, and that nothing stays on the node.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::json;
use terway_datapath::kernel::Netns;
use terway_rig::eventually::eventually;
use terway_rig::node::Node;
use terway_rig::pod::Pod;
use terway_rig::world::{Plan, World};
use terway_rig::{namespace, reach, reader};

use crate::by_the_node::{self, Damage, nothing_left};
use crate::policy_route::all_held;
use crate::support::{LIMIT, Scenario, both, events, once, started, text, unguarded};

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![
        both("vpc_route::every_path_is_as_it_should_be", reachability),
        both("vpc_route::the_cloud_is_asked_for_nothing", no_calls),
        once("vpc_route::addresses_that_no_pod_has_lead_nowhere", unassigned),
        once("vpc_route::result_kernel_and_check_agree", result_and_kernel),
        once("vpc_route::every_drift_is_named", drifts),
        once("vpc_route::del_leaves_nothing_whatever_way_a_pod_ends", |plan| {
            by_the_node::ends(&mut booted(plan)?)
        }),
        once("vpc_route::gc_takes_what_is_left", |plan| by_the_node::garbage(&mut booted(plan)?)),
        once("vpc_route::a_route_to_a_pod_that_somebody_takes_is_put_back", guarded),
        once("vpc_route::a_full_range_says_so_and_a_released_address_rests", full),
        once("vpc_route::a_daemon_that_dies_anywhere_gives_no_address_twice", dies),
        once("vpc_route::a_lost_ledger_gives_nothing_until_it_is_made_anew", lost),
        once("vpc_route::another_range_leaves_pods_their_addresses", other_range),
        once("vpc_route::forty_at_once", |plan| by_the_node::forty_at_once(&mut booted(plan)?)),
        once("vpc_route::a_start_without_a_range_is_refused", refused),
    ]
}

fn routed(plan: &Plan) -> Plan {
    Plan { routed: Some(24), ..plan.clone() }
}

fn booted(plan: &Plan) -> Result<World> {
    running(&routed(plan))
}

fn running(plan: &Plan) -> Result<World> {
    let mut world = started(plan)?;
    world.boot()?;
    Ok(world)
}

fn reachability(plan: &Plan) -> Result<()> {
    let mut world = started(&routed(&Plan { nodes: 2, ..plan.clone() }))?;
    reach::prepare(&world)?;
    world.boot()?;
    all_held(plan, &mut world)
}

/// Not even for what other modes must know at the start; and the operator hears that the mode is deprecated.
fn no_calls(plan: &Plan) -> Result<()> {
    let mut world = booted(plan)?;
    let mut pod = world.nodes[0].pod("web")?;
    pod.add()?;
    pod.del()?;
    let calls = world.cloud_calls(0)?;
    let of_api: Vec<_> = calls.iter().filter(|call| call["action"] != "metadata").collect();
    ensure!(of_api.is_empty(), "{of_api:?}");
    let told = events(&world.nodes[0], "VpcModeDeprecated")?;
    ensure!(told.len() == 1 && told[0].contains("ENIMultiIP"), "{told:?}");
    Ok(())
}

fn cli(node: &Node, words: &[&str]) -> Result<String> {
    let output = node.cli(words)?;
    Ok(said(&output))
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The one IPv4 address of a node.
fn own_address(host: &Path) -> Result<String> {
    let links = reader::json(host, "ip", &["-4", "address", "show", "dev", "eth0"])?;
    let [own] = links[0]["addr_info"].as_array().map_or(&[][..], Vec::as_slice) else {
        bail!("not one address: {links}")
    };
    Ok(text(own, "local"))
}

fn result_and_kernel(plan: &Plan) -> Result<()> {
    let mut world = booted(plan)?;
    let mut pod = world.nodes[0].pod("web")?;
    let result = pod.add()?.output.clone();
    ensure!(result["ips"][0]["address"] == "172.20.1.2/32", "the first after network and gateway: {result}");
    ensure!(result["ips"][1]["address"] == "fd00:20:0:1::2/128", "{result}");
    ensure!(result["ips"][0]["gateway"] == "169.254.1.1", "{result}");
    let end = text(&result["interfaces"][1], "name");
    let rules = reader::text(&pod.host, "ip", &["rule"])?;
    ensure!(!rules.contains("172.20."), "no rule is needed: {rules}");
    let route = reader::text(&pod.host, "ip", &["route", "show", "172.20.1.2"])?;
    let own = own_address(&pod.host)?;
    ensure!(
        route.contains(&format!("dev {end}")) && route.split_whitespace().any(|word| word == own),
        "{route}"
    );
    pod.call_with_result("CHECK").run()?.expect_ok("CHECK")?;

    let node = &world.nodes[0];
    let shown = cli(node, &["show", "addresses"])?;
    ensure!(
        shown.contains("172.20.1.2") && shown.contains("web") && shown.contains("172.20.1.0/24"),
        "{shown}"
    );
    let explained = cli(node, &["explain", "default/web"])?;
    ensure!(explained.contains("172.20.1.2") && explained.contains(&end), "{explained}");
    let status = cli(node, &["status"])?;
    ensure!(status.contains("vpc-route") && status.contains("1 in use, 252 idle"), "{status}");
    let looked = cli(node, &["inventory"])?;
    ensure!(looked.contains("no ENIs to look for"), "{looked}");
    pod.del()?;
    nothing_left(&pod)
}

/// The VPC leads the whole range to the node: what is for nobody must not go back there, and come again.
fn unassigned(plan: &Plan) -> Result<()> {
    let mut world = booted(&routed(plan))?;
    let node = &mut world.nodes[0];
    let mut pod = node.pod("web")?;
    pod.add()?;
    let nobody = ["172.20.1.77", "fd00:20:0:1::77"];
    let nft = |words: &str| reader::text(&pod.host, "nft", &[words]);
    nft("add table inet watch; add chain inet watch out { type filter hook postrouting priority 0; }; \
         add rule inet watch out ip daddr 172.20.1.77 counter; \
         add rule inet watch out ip6 daddr fd00:20:0:1::77 counter")?;
    let inside = Netns::open(&pod.netns)?;
    for nobody in nobody {
        let to: IpAddr = nobody.parse()?;
        // Other sockets do not hear of it: only a port can refuse them.
        let connect = || TcpStream::connect_timeout(&SocketAddr::new(to, 7000), Duration::from_secs(2));
        let answer = || inside.run(connect).ok()?.err().map(|error| error.kind());
        let told = [ErrorKind::HostUnreachable, ErrorKind::NetworkUnreachable];
        eventually("the pod is told that nobody is there", LIMIT, || {
            answer().filter(|kind| told.contains(kind))
        })?;
    }
    let passed = nft("list table inet watch")?;
    ensure!(passed.matches("packets 0 bytes 0").count() == 2, "{passed}");
    // Kept like everything else of ours.
    for family in ["-4", "-6"] {
        reader::text(&pod.host, "ip", &[family, "route", "flush", "type", "unreachable", "proto", "157"])?;
    }
    let there = |family| {
        let shown = reader::text(&pod.host, "ip", &[family, "route", "show", "type", "unreachable"]);
        shown.is_ok_and(|shown| shown.contains("proto 157"))
    };
    eventually("the node says so again", LIMIT, || (there("-4") && there("-6")).then_some(()))
}

/// What somebody takes of the node.
const DAMAGE: &[Damage] = &[
    ("routes to pods gone", false, &["route", "flush", "protocol", "157"], "route"),
    ("IPv6 routes to pods gone", false, &["-6", "route", "flush", "protocol", "157"], "route"),
    ("neighbours gone", false, &["neighbour", "flush", "nud", "permanent"], "neighbour"),
];

fn drifts(plan: &Plan) -> Result<()> {
    by_the_node::damage_is_named(&mut unguarded(&routed(plan))?, DAMAGE)
}

fn guarded(plan: &Plan) -> Result<()> {
    let mut world = booted(plan)?;
    let mut pod = world.nodes[0].pod("web")?;
    let own = own_address(&pod.host)?;
    pod.add()?;
    for words in [&["route", "flush", "protocol", "157"][..], &["-6", "route", "flush", "protocol", "157"]] {
        reader::text(&pod.host, "ip", words)?;
    }
    eventually("CHECK is content again", LIMIT, || {
        pod.call_with_result("CHECK").run().ok()?.expect_ok("CHECK").ok().map(drop)
    })?;
    let now = own_address(&pod.host)?;
    ensure!(now == own, "the node keeps its own address {own}: {now}");
    eventually("the repair is told", LIMIT, || events(&world.nodes[0], "HostStateRepaired").ok()?.pop())
        .map(drop)
}

fn v4(pods: &[Pod]) -> Result<BTreeSet<IpAddr>> {
    pods.iter().map(|pod| pod.address(4)).collect()
}

/// How long an ADD waits that cannot be served: so that more than one fits into the rest of an address.
const SHORT: Duration = Duration::from_secs(2);

/// Five pods fit into a /29.
fn full(plan: &Plan) -> Result<()> {
    let plan = Plan { routed: Some(29), quarantine: "15s".to_owned(), ..plan.clone() };
    let mut world = running(&plan)?;
    let mut pods =
        (0..5).map(|number| world.nodes[0].pod(&format!("p{number}"))).collect::<Result<Vec<_>>>()?;
    pods.iter_mut().try_for_each(|pod| pod.add().map(drop))?;
    let wanted = (2..=6).map(|last| IpAddr::from([172, 20, 1, last])).collect();
    ensure!(v4(&pods)? == wanted, "all but network, gateway and broadcast: {:?}", v4(&pods)?);

    let late = world.nodes[0].pod("late")?;
    let (code, text) = late.add_refused(SHORT).context("a sixth pod")?;
    ensure!(code == 11 && text.contains("172.20.1.0/29") && text.contains("5 addresses in use"), "{text}");
    ensure!(text.contains("maxPods"), "a remedy: {text}");

    let freed = pods[0].address(4)?;
    pods[0].del()?;
    let (_, text) = late.add_refused(SHORT).context("before the rest is over")?;
    ensure!(text.contains("1 in quarantine"), "{text}");
    world.nodes[0].tell_plugin("allocate_timeout", json!(1))?;
    let mut last = world.nodes[0].pod("last")?;
    eventually("the address has rested", LIMIT * 2, || last.add().ok().map(drop))?;
    ensure!(last.address(4)? == freed, "{} is not {freed}", last.address(4)?);
    Ok(())
}

/// The daemon dies before each effect of an ADD and a DEL in turn, and comes back.
fn dies(plan: &Plan) -> Result<()> {
    let mut world = booted(plan)?;
    let flags = world.nodes[0].flags.clone();
    let mut pods: Vec<Pod> = Vec::new();
    for effects in 0..6 {
        let node = &mut world.nodes[0];
        node.kill()?;
        node.flags.clone_from(&flags);
        node.flags.extend(["--die-after-effects".to_owned(), effects.to_string()]);
        node.start()?;
        let mut pod = node.pod(&format!("p{effects}"))?;
        // Told or not: the runtime repeats what failed.
        let _ = pod.call("ADD").configured("allocate_timeout", json!(2)).run()?;
        node.kill()?;
        node.flags.clone_from(&flags);
        node.start()?;
        node.wait_ready()?;
        if pod.add().is_err() {
            pod.call("DEL").run()?.expect_ok("DEL of what failed")?;
            pod.add().with_context(|| format!("after {effects} effects"))?;
        }
        pods.push(pod);
        ensure!(v4(&pods)?.len() == pods.len(), "after {effects} effects: {:?}", v4(&pods)?);
    }
    pods.iter().try_for_each(|pod| pod.call_with_result("CHECK").run()?.expect_ok("CHECK").map(drop))?;
    let status = cli(&world.nodes[0], &["status"])?;
    ensure!(status.contains("6 in use"), "{status}");
    Ok(())
}

fn recover(node: &Node) -> Result<String> {
    let daemon = node.daemon_command();
    let mut command = Command::new(daemon.get_program());
    command.arg("recover").args(daemon.get_args());
    let output = namespace::inside(&node.netns, move || command.output())?.context("no terwayd recover")?;
    ensure!(output.status.success(), "{}", said(&output));
    Ok(said(&output))
}

fn lost(plan: &Plan) -> Result<()> {
    let mut world = booted(plan)?;
    let mut pods = vec![world.nodes[0].pod("web")?, world.nodes[0].pod("db")?];
    pods.iter_mut().try_for_each(|pod| pod.add().map(drop))?;
    world.nodes[0].kill()?;
    fs::remove_file(world.nodes[0].path("state/ledger.redb"))?;
    world.nodes[0].start()?;
    eventually("the loss is said", LIMIT, || {
        let status = cli(&world.nodes[0], &["status"]).ok()?;
        (status.contains("would give the address again") && status.contains("terwayd recover")).then_some(())
    })
    .with_context(|| world.nodes[0].log_tail())?;
    world.nodes[0].kill()?;
    let lines = recover(&world.nodes[0])?;
    ensure!(lines.contains("holds 172.20.1.2 and fd00:20:0:1::2"), "{lines}");
    world.nodes[0].start()?;
    world.nodes[0].wait_ready()?;
    pods.push(world.nodes[0].pod("new")?);
    pods[2].add()?;
    ensure!(v4(&pods)?.len() == 3, "{:?}", v4(&pods)?);
    for pod in &mut pods {
        pod.call_with_result("CHECK").run()?.expect_ok("CHECK")?;
        pod.del()?;
    }
    nothing_left(&pods[0])
}

fn other_range(plan: &Plan) -> Result<()> {
    let mut world = booted(plan)?;
    let mut before = world.nodes[0].pod("before")?;
    before.add()?;
    world.nodes[0].kill()?;
    world.nodes[0].flags = ["--pod-cidr", "172.21.0.0/24,fd00:21::/64"].map(str::to_owned).to_vec();
    world.nodes[0].start()?;
    world.nodes[0].wait_ready()?;
    before.call_with_result("CHECK").run()?.expect_ok("CHECK of the pod from before")?;
    let mut after = world.nodes[0].pod("after")?;
    after.add()?;
    ensure!(after.address(4)?.to_string() == "172.21.0.2", "{}", after.address(4)?);
    let told = events(&world.nodes[0], "PodCidrChanged")?;
    ensure!(told.len() == 2 && told[0].contains("172.20.1.0/24"), "{told:?}");
    let shown = cli(&world.nodes[0], &["show", "addresses"])?;
    ensure!(shown.contains("172.20.1.2"), "{shown}");
    before.del()?;
    eventually("the former range is gone", LIMIT, || {
        let shown = cli(&world.nodes[0], &["show", "addresses"]).ok()?;
        (shown.contains("172.21.0.2") && !shown.contains("172.20.1.")).then_some(())
    })
}

fn refused(plan: &Plan) -> Result<()> {
    let mut world = started(&routed(plan))?;
    let node = &mut world.nodes[0];
    let mut starts = |flags: &[&str]| -> Result<(Option<i32>, String)> {
        node.flags = flags.iter().map(|word| (*word).to_owned()).collect();
        let mut command = node.daemon_command();
        let output = namespace::inside(&node.netns, move || command.output())??;
        Ok((output.status.code(), said(&output)))
    };
    for (flags, words) in [
        (&[][..], "--pod-cidr: is missing: give the IPv4 range"),
        (&["--pod-cidr", "172.20.1.0/24"], "--pod-cidr: has no IPv6 range, but `ip_stack` is \"dual\""),
        (
            &["--pod-cidr", "172.20.1.9/24"],
            "172.20.1.9/24 is an address, not a range: the range is 172.20.1.0/24",
        ),
        (
            &["--pod-cidr", "172.16.9.0/24,fd00:20::/64"],
            "172.16.9.0/24 overlaps `service_cidr` 172.16.0.0/16",
        ),
    ] {
        let (code, text) = starts(flags)?;
        ensure!(code == Some(78) && text.contains(words), "{flags:?}: {code:?} {text}");
    }
    Ok(())
}
