//! Debian's reference plugins behind ours in one chain: they build on our result, and what they refuse is undone.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use serde_json::json;
use terway_rig::eventually::eventually;
use terway_rig::namespace;
use terway_rig::reader;
use terway_rig::world::{Plan, World};

use crate::containerd::Containerd;
use crate::cri::messages::PortMapping;
use crate::image;
use crate::stage::{LIMIT, books_agree, extend_conflist, in_use, prepared, sharing, trial, wait_warm};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("chain::portmap_and_tuning_build_on_our_result", portmap),
        trial("chain::a_plugin_that_refuses_our_result_leaves_nothing", refused),
        trial("chain::bandwidth_limits_a_pod_on_a_shared_eni", limited),
    ]
}

/// A world with two nodes, and these plugins behind ours on the first.
fn chained(name: &str, behind: &[serde_json::Value]) -> Result<World> {
    let mut world = prepared(&Plan { name: name.to_owned(), nodes: 2, ..Plan::default() })?;
    extend_conflist(&world.nodes[0], &[], behind)?;
    world.boot()?;
    wait_warm(&world.nodes[0], 1)?;
    Ok(world)
}

fn portmap(name: &str) -> Result<()> {
    let behind = [
        json!({ "type": "tuning", "sysctl": { "net.core.somaxconn": "321" } }),
        json!({ "type": "portmap", "capabilities": { "portMappings": true }, "snat": true }),
    ];
    let mut world = chained(name, &behind)?;
    let containerd = Containerd::start(&world.nodes[0])?;
    containerd.wait_network()?;
    let cri = containerd.cri()?;
    let mut pod = containerd.pod("web");
    pod.port_mappings = vec![PortMapping { protocol: 0, container_port: 80, host_port: 8080 }];
    let id = cri.run(&pod)?;
    let container = cri.container(&id, &pod, image::NAME, &["/bin/httpd", "-f", "-p", "80", "-h", "/www"])?;
    let tuned = cri.exec(&container, &["busybox", "cat", "/proc/sys/net/core/somaxconn"])?;
    ensure!(tuned.trim() == "321", "{tuned}");
    let node = primary_address(&world, &world.nodes[0].instance)?;
    eventually("the pod serves on its node's port", LIMIT, || {
        let page = get(&world.nodes[1].netns, SocketAddr::new(node, 8080)).ok()?;
        page.ends_with("served by a pod\n").then_some(())
    })?;
    cri.stop(&id)?;
    cri.remove(&id)?;
    let rules = reader::text(&world.nodes[0].netns, "iptables-save", &["-t", "nat"])?;
    ensure!(!rules.contains("dport 8080"), "{rules}");
    books_agree(&mut world, 0, &[])
}

/// The address of a node's own NIC.
fn primary_address(world: &World, instance: &str) -> Result<IpAddr> {
    let state = world.cloud_state()?;
    let enis = state["enis"].as_array().context("the cloud has no ENIs")?;
    let primary = enis.iter().find(|eni| eni["type"] == "Primary" && eni["instance"] == instance);
    let address = primary.and_then(|eni| eni["ipv4"][0].as_str()).context("the node has no address")?;
    Ok(address.parse()?)
}

/// The answer to one request from inside a namespace.
fn get(netns: &Path, server: SocketAddr) -> Result<String> {
    namespace::inside(netns, move || {
        let mut stream = TcpStream::connect_timeout(&server, Duration::from_secs(5))
            .with_context(|| format!("failed to connect to {server}"))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    })?
}

/// `bandwidth` limits a pair of links, and a whole ENI is none: it fails behind us, containerd calls DEL for the
/// whole chain, and the reason reaches whoever asked. (The limit of an ENI is ours: see the capability.)
fn refused(name: &str) -> Result<()> {
    let behind = [json!({ "type": "bandwidth", "egressRate": 8_000_000, "egressBurst": 8_000_000 })];
    let mut world = chained(name, &behind)?;
    let containerd = Containerd::start(&world.nodes[0])?;
    containerd.wait_network()?;
    let cri = containerd.cri()?;
    let refused = cri.run(&containerd.pod("web")).err().context("bandwidth took a whole ENI for a pair")?;
    ensure!(refused.to_string().contains("bandwidth"), "{refused:#}");
    ensure!(in_use(&world.nodes[0])? == 0, "the ENI is still held");
    books_agree(&mut world, 0, &[])
}

/// On a shared ENI the pod has a pair of links, and `bandwidth` finds its end on the node by our result.
fn limited(name: &str) -> Result<()> {
    let behind = [json!({ "type": "bandwidth", "ingressRate": 8_000_000, "ingressBurst": 8_000_000 })];
    let mut world = prepared(&Plan { name: name.to_owned(), ..sharing() })?;
    extend_conflist(&world.nodes[0], &[], &behind)?;
    world.boot()?;
    wait_warm(&world.nodes[0], 1)?;
    let containerd = Containerd::start(&world.nodes[0])?;
    containerd.wait_network()?;
    let cri = containerd.cri()?;
    let id = cri.run(&containerd.pod("web"))?;
    let netns = &world.nodes[0].netns;
    let qdiscs = reader::json(netns, "tc", &["qdisc", "show"])?;
    let shaped = qdiscs.as_array().into_iter().flatten().find(|qdisc| qdisc["kind"] == "tbf");
    let shaped = shaped.with_context(|| format!("no limit on the node: {qdiscs}"))?;
    ensure!(shaped["options"]["rate"] == 1_000_000, "{shaped}");
    let link = shaped["dev"].as_str().unwrap_or_default().to_owned();
    cri.stop(&id)?;
    cri.remove(&id)?;
    ensure!(reader::link(netns, &link)?.is_none(), "{link} outlived its pod");
    Ok(())
}
