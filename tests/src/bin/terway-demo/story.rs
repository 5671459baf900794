//! The chapters, in the order a newcomer would ask.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;
use terway_rig::cloud::Cloud;
use terway_rig::eventually::eventually;
use terway_rig::pod::Pod;
use terway_rig::probe::{icmp, multicast, tcp, udp};
use terway_rig::world::{Plan, World};
use terway_rig::{reader, service};

use crate::chapter::{Report, line, ms, rate};

/// Generous: the machine may be busy, and a broken path must still end.
const LIMIT: Duration = Duration::from_secs(5);
/// What the cloud takes to attach an ENI: seconds, as real ones do. An ADD that is quicker had one that was there.
const ATTACH_MS: u32 = 3000;
/// The egress limit shown, in bits per second.
const EGRESS: u64 = 40_000_000;

/// Tells the story with the binaries in `binaries`; whether every promise held.
pub(crate) fn tell(binaries: &Path, cloud: Cloud) -> Result<bool> {
    let mut report = Report::new();
    let mut world = boot(&mut report, binaries, cloud)?;
    let mut pods = attach(&mut report, &mut world)?;
    reach(&mut report, &pods)?;
    group(&mut report, &pods)?;
    serve(&mut report, &world, &pods)?;
    limit(&mut report, &pods)?;
    spoof(&mut report, &pods)?;
    check(&mut report, &pods[0])?;
    books(&mut report, &world)?;
    reuse(&mut report, &mut world, &mut pods)?;
    for pod in &mut pods {
        if pod.result.is_some() {
            pod.del()?;
        }
    }
    drop(world);
    Ok(report.close())
}

fn boot(report: &mut Report, binaries: &Path, cloud: Cloud) -> Result<World> {
    report.chapter(&format!(
        "a cloud with two nodes: terway-cloudsim speaking for {cloud}, and terwayd on each node"
    ));
    let plan = Plan { cloud, nodes: 2, pool: (3, 4), latency: [50, ATTACH_MS, 300, 50], ..Plan::default() };
    let mut world = World::start(&plan, binaries, Path::new("/run/terway"))?;
    let start = std::time::Instant::now();
    world.boot()?;
    for node in &world.nodes {
        node.wait_phase("Ready", 3)?;
    }
    report.finding(
        "the pool warms up",
        true,
        format!("3 ENIs ready on each node after {}", ms(start.elapsed())),
    );
    Ok(world)
}

fn attach(report: &mut Report, world: &mut World) -> Result<Vec<Pod>> {
    report.chapter("six pods, each by one call of the shipped plugin, as a runtime calls it");
    let mut pods = Vec::new();
    let mut times = Vec::new();
    for number in 0..6 {
        let node = &mut world.nodes[number % 2];
        let mut pod = node.pod(&format!("web-{}", number + 1))?;
        if number == 5 {
            pod.limit(None, Some(EGRESS));
        }
        let outcome = pod.add()?;
        let mac = outcome.output["interfaces"][0]["mac"].as_str().unwrap_or_default().to_owned();
        let eni = node
            .mapping()?
            .into_iter()
            .find(|eni| eni["mac"] == mac.as_str())
            .context("the pool lost an ENI")?;
        times.push(outcome.elapsed);
        let id = eni["id"].as_str().unwrap_or_default();
        let (v4, v6) = (outcome.address(4)?, outcome.address(6)?);
        line(format!("{:6} {:6} {id}  {v4:12} {v6:22} {}", pod.name, node.name, ms(outcome.elapsed)));
        pods.push(pod);
    }
    times.sort();
    let cloud = Duration::from_millis(u64::from(ATTACH_MS));
    report.finding(
        "a warm ADD waits for no cloud",
        times[5] * 3 < cloud,
        format!("median {}, slowest {}; to attach an ENI takes {}", ms(times[3]), ms(times[5]), ms(cloud)),
    );
    Ok(pods)
}

/// Pods 0, 2 and 4 are on the first node, 1, 3 and 5 on the second.
fn reach(report: &mut Report, pods: &[Pod]) -> Result<()> {
    report.chapter("pods talk to pods");
    for (title, from, to) in [("on one node", 0, 2), ("across nodes", 0, 1)] {
        for version in [4, 6] {
            let time = icmp::ping(&pods[from].netns, pods[to].address(version)?, 56, LIMIT);
            let finding = time.as_ref().map_or_else(|error| format!("{error:#}"), |time| ms(*time));
            report.finding(&format!("ping {title}, IPv{version}"), time.is_ok(), finding);
        }
    }
    let server = SocketAddr::new(pods[1].address(4)?, 5001);
    let speed = tcp::throughput(&pods[0].netns, &pods[1].netns, server, Duration::from_secs(1))?;
    report.finding("TCP across nodes", speed > 0.0, rate(speed));
    Ok(())
}

fn group(report: &mut Report, pods: &[Pod]) -> Result<()> {
    report.chapter("one pod speaks to a multicast group, the others hear it");
    let group: IpAddr = "239.1.2.3".parse()?;
    let local = |pod: &Pod| match pod.address(4) {
        Ok(IpAddr::V4(address)) => Ok(address),
        _ => anyhow::bail!("{} has no IPv4 address", pod.name),
    };
    let ears = pods[1..5]
        .iter()
        .map(|pod| multicast::join(&pod.netns, group, 7000, local(pod)?, 0))
        .collect::<Result<Vec<_>>>()?;
    let mouth = udp::bind(&pods[0].netns, SocketAddr::new(pods[0].address(4)?, 0))?;
    let mut heard = 0;
    for ear in &ears {
        let from = udp::deliver(&mouth, ear, SocketAddr::new(group, 7000), b"hello, group", LIMIT)?;
        heard += usize::from(from.is_some_and(|from| Some(from.ip()) == pods[0].address(4).ok()));
    }
    report.finding(
        "multicast between exclusive ENIs",
        heard == ears.len(),
        format!("{heard} of {} heard it", ears.len()),
    );
    Ok(())
}

fn serve(report: &mut Report, world: &World, pods: &[Pod]) -> Result<()> {
    report
        .chapter("a service address, translated by the node's stack (a DNAT rule stands in for kube-proxy)");
    let node = &world.nodes[0];
    for (version, address) in [(4, "172.16.0.10"), (6, "fd00:5e::10")] {
        let backend = SocketAddr::new(pods[1].address(version)?, 8080);
        tcp::Mirror::start(&pods[1].netns, backend)?;
        let virtual_address = SocketAddr::new(address.parse()?, 80);
        service::translate(&node.netns, service::TCP, virtual_address, backend)?;
        let seen = tcp::ask(&pods[0].netns, virtual_address, LIMIT);
        let finding = match &seen {
            Ok(client) => {
                format!("{virtual_address} answered; the server saw the node's address {}", client.ip())
            }
            Err(error) => format!("{error:#}"),
        };
        report.finding(&format!("service through the host pair, IPv{version}"), seen.is_ok(), finding);
    }
    Ok(())
}

fn limit(report: &mut Report, pods: &[Pod]) -> Result<()> {
    report.chapter("a pod with an egress limit of 40 Mbit/s");
    let server = SocketAddr::new(pods[0].address(4)?, 5002);
    let speed = tcp::throughput(&pods[5].netns, &pods[0].netns, server, Duration::from_secs(3))?;
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let share = speed * 8.0 / EGRESS as f64;
    report.finding("an egress limit holds", (0.5..1.2).contains(&share), format!("{} measured", rate(speed)));
    Ok(())
}

fn spoof(report: &mut Report, pods: &[Pod]) -> Result<()> {
    report.chapter("a pod sends with an address that is not its own");
    let ear = udp::bind(&pods[1].netns, SocketAddr::new(pods[1].address(4)?, 7001))?;
    let honest = udp::bind(&pods[0].netns, SocketAddr::new(pods[0].address(4)?, 0))?;
    let liar = udp::bind_foreign(&pods[0].netns, "10.1.15.99".parse()?)?;
    let to = SocketAddr::new(pods[1].address(4)?, 7001);
    let passes = udp::deliver(&honest, &ear, to, b"my own", LIMIT)?.is_some();
    let leaks = udp::deliver(&liar, &ear, to, b"not mine", Duration::from_millis(500))?.is_some();
    report.finding(
        "the VPC drops a spoofed source",
        passes && !leaks,
        format!("own address {}, foreign address {}", fate(passes), fate(leaks)),
    );
    Ok(())
}

fn fate(passed: bool) -> &'static str {
    if passed { "passed" } else { "dropped" }
}

fn check(report: &mut Report, pod: &Pod) -> Result<()> {
    report.chapter("CHECK, before and after somebody deletes a route in the pod");
    let before = pod.call_with_result("CHECK").run()?;
    let via: Value = reader::json(&pod.netns, "ip", &["route", "show", "default"])?;
    let gateway = via[0]["gateway"].as_str().context("the pod has no default route")?.to_owned();
    reader::text(&pod.netns, "ip", &["route", "del", "default"])?;
    let after = pod.call_with_result("CHECK").run()?;
    let text = format!("{} {}", after.output["msg"], after.output["details"]);
    line(&text);
    reader::text(
        &pod.netns,
        "ip",
        &["route", "add", "default", "via", &gateway, "dev", "eth0", "onlink", "proto", "157"],
    )?;
    let again = pod.call_with_result("CHECK").run()?;
    let held = before.ok() && !after.ok() && text.contains(&gateway) && again.ok();
    report.finding(
        "CHECK names what is missing",
        held,
        format!("code {} after the deletion", after.output["code"]),
    );
    Ok(())
}

fn books(report: &mut Report, world: &World) -> Result<()> {
    report.chapter("the books of cloud, pool and kernel");
    let cloud = world.cloud_enis()?;
    let pools = world.nodes.iter().map(terway_rig::node::Node::mapping).collect::<Result<Vec<_>>>()?.concat();
    let agree = cloud.len() == pools.len()
        && pools
            .iter()
            .all(|eni| cloud.iter().any(|other| other["id"] == eni["id"] && other["mac"] == eni["mac"]));
    report.finding(
        "books agree",
        agree,
        format!("{} ENIs in the cloud, {} in the pools", cloud.len(), pools.len()),
    );
    Ok(())
}

fn reuse(report: &mut Report, world: &mut World, pods: &mut Vec<Pod>) -> Result<()> {
    report.chapter("DEL brings the ENI home, the next pod gets a warm one");
    let mut gone = pods.remove(0);
    let released = mac(&gone)?;
    let time = gone.del()?.elapsed;
    line(format!("DEL of {} took {}", gone.name, ms(time)));
    let node = &mut world.nodes[0];
    eventually("the released ENI is ready again", LIMIT, || {
        let enis = node.mapping().ok()?;
        enis.iter().any(|eni| eni["mac"] == released.as_str() && eni["phase"] == "Ready").then_some(())
    })?;
    let home = format!("eni{}", released.replace(':', ""));
    let at_home = reader::link(&node.netns, &home)?.is_some();
    let before = node.mapping()?;
    let mut next = node.pod("web-7")?;
    let time = next.add()?.elapsed;
    let given = mac(&next)?;
    let warm = before.iter().any(|eni| eni["mac"] == given.as_str() && eni["phase"] == "Ready");
    let finding = format!(
        "it is {} as {home}; the next ADD took {} with a {} ENI",
        if at_home { "at home" } else { "NOT at home" },
        ms(time),
        if warm { "warm" } else { "NEW" }
    );
    report.finding("a released ENI is ready for the next pod", at_home && warm, finding);
    pods.push(next);
    Ok(())
}

/// The hardware address of a pod's ENI, as the result of its ADD names it.
fn mac(pod: &Pod) -> Result<String> {
    let result = pod.result.as_ref().context("the pod was not added")?;
    let mac = result.output["interfaces"][0]["mac"].as_str();
    Ok(mac.context("the result names no hardware address")?.to_owned())
}
