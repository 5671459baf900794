//! Sandboxes through containerd's CRI, as kubelet asks for them.

use std::net::IpAddr;

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use terway_rig::reader;
use terway_rig::world::Plan;

use crate::containerd::{Containerd, Release};
use crate::fixture;
use crate::recording::Call;
use crate::stage::{books_agree, extend_conflist, in_use, prepared, trial, wait_warm};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("containerd::the_network_is_ready_once_the_daemon_is", conflist),
        trial("containerd::a_dual_stack_sandbox_lives_and_goes", |name| life(name, Release::Installed)),
    ]
}

/// No conflist, no network; the daemon writes it, containerd's watcher sees it, pods can start. containerd 1.6 never
/// asks the plugin for its STATUS: the conflist is all it goes by.
fn conflist(name: &str) -> Result<()> {
    let mut world = prepared(&Plan { name: name.to_owned(), ..Plan::default() })?;
    let containerd = Containerd::start(&world.nodes[0])?;
    let cri = containerd.cri()?;
    let (ready, message) = cri.network_ready()?;
    ensure!(!ready, "the network is ready without a conflist: {message}");
    let refused = cri.run(&containerd.pod("early")).err().context("a sandbox without a network")?;
    ensure!(refused.to_string().contains("cni"), "{refused:#}");
    world.boot()?;
    containerd.wait_network()?;
    wait_warm(&world.nodes[0], 1)?;
    let id = cri.run(&containerd.pod("web"))?;
    ensure!(cri.addresses(&id)?.len() == 2);
    // A daemon that starts again writes its conflist again; containerd must not lose the network over it.
    world.nodes[0].stop()?;
    ensure!(cri.network_ready()?.0, "the network went with the daemon");
    world.nodes[0].start()?;
    world.nodes[0].wait_ready()?;
    ensure!(cri.network_ready()?.0, "the network went with the daemon's restart");
    cri.stop(&id)?;
    cri.remove(&id)?;
    let polled = containerd.plugins.calls()?.iter().filter(|call| call.verb() == "STATUS").count();
    let version = cri.version()?.runtime_version;
    ensure!(
        polled == 0 || !version.starts_with("1."),
        "containerd {version} asked for STATUS {polled} times"
    );
    books_agree(&mut world, 0, &[])
}

/// What both families, an annotation and the order of calls become.
pub(crate) fn life(name: &str, release: Release) -> Result<()> {
    let mut world = prepared(&Plan { name: name.to_owned(), ..Plan::default() })?;
    extend_conflist(&world.nodes[0], &["io.kubernetes.cri.pod-annotations"], &[])?;
    world.boot()?;
    wait_warm(&world.nodes[0], 1)?;
    let containerd = Containerd::of(release, &world.nodes[0], 1)?;
    containerd.wait_network()?;
    let cri = containerd.cri()?;
    let mut pod = containerd.pod("web");
    pod.annotations.insert("kubernetes.io/egress-bandwidth".to_owned(), "20M".to_owned());
    let id = cri.run(&pod)?;

    let addresses = cri.addresses(&id)?;
    let families: Vec<bool> =
        addresses.iter().map(|text| text.parse().map(|ip: IpAddr| ip.is_ipv4())).collect::<Result<_, _>>()?;
    ensure!(families == [true, false], "{addresses:?}");
    let netns = cri.netns(&id)?;
    let shown = reader::text(&netns, "ip", &["-o", "address", "show", "dev", "eth0", "scope", "global"])?;
    ensure!(addresses.iter().all(|address| shown.contains(&format!(" {address}/"))), "{addresses:?} {shown}");
    let qdisc = reader::json(&netns, "tc", &["qdisc", "show", "dev", "eth0"])?;
    ensure!(qdisc[0]["options"]["rate"] == 2_500_000, "20 Mbit/s were asked for: {qdisc}");
    ensure!(in_use(&world.nodes[0])? == 1);

    cri.stop(&id)?;
    ensure!(in_use(&world.nodes[0])? == 0, "the ENI is still held after StopPodSandbox");
    cri.remove(&id)?;
    ensure!(cri.list()?.is_empty());
    let calls = containerd.plugins.calls_of(&id)?;
    what_was_sent(&calls, &netns.to_string_lossy())?;
    fixture::hold("containerd", &cri.version()?.runtime_version, &world.nodes[0], &calls)?;
    books_agree(&mut world, 0, &[])
}

/// ADD, DEL of Stop with namespace and result, DEL of Remove with neither: an answer of success each.
fn what_was_sent(calls: &[Call], netns: &str) -> Result<()> {
    let verbs: Vec<&str> = calls.iter().map(Call::verb).collect();
    ensure!(verbs == ["ADD", "DEL", "DEL"], "{verbs:?}");
    let [add, first, last] = calls else { unreachable!("there are three") };
    ensure!(add.variable("CNI_NETNS") == netns || netns.ends_with(add.variable("CNI_NETNS")), "{add:?}");
    ensure!(add.input["runtimeConfig"]["bandwidth"]["EgressRate"] == 20_000_000, "{add:?}");
    ensure!(
        first.input["prevResult"]["ips"] == add.answer.as_ref().context("ADD without answer")?["ips"],
        "{first:?}"
    );
    ensure!(last.variable("CNI_NETNS").is_empty(), "{last:?}");
    ensure!(last.input["prevResult"].is_null(), "{last:?}");
    ensure!(first.answer.is_none() && last.answer.is_none(), "DEL prints nothing: {first:?} {last:?}");
    Ok(())
}
