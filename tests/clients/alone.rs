//! Containers without a cluster: podman gives them ENIs as it gives them any CNI network.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use serde_json::json;
use terway_rig::node::Node;
use terway_rig::reader;
use terway_rig::world::Plan;

use crate::fixture;
use crate::podman::Podman;
use crate::stage::{books_agree, booted, in_use, trial};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("podman::a_container_comes_restarts_and_goes", life),
        trial("podman::an_eni_moves_into_and_out_of_a_running_container", hot_plug),
    ]
}

fn life(name: &str) -> Result<()> {
    let mut world = booted(&Plan { name: name.to_owned(), pool: (2, 4), ..Plan::default() })?;
    let node = &world.nodes[0];
    let podman = Podman::new(node)?;
    let listed = podman.run(&["network", "ls", "--format", "{{.Name}} {{.Driver}}"])?;
    ensure!(listed.lines().any(|line| line == "terway terway"), "{listed}");

    podman.start("web", &["terway"])?;
    let first = holds(&podman, "web")?;
    ensure!(in_use(node)? == 1);
    podman.run(&["restart", "--time", "0", "web"])?;
    let second = holds(&podman, "web")?;
    ensure!(first != second, "a restarted container has a new sandbox: {first:?}");
    ensure!(in_use(node)? == 1, "{:?}", node.phases());
    podman.run(&["rm", "--force", "--time", "0", "web"])?;
    ensure!(in_use(node)? == 0, "the ENI is still held");
    what_was_sent(&podman)?;
    let version = podman.run(&["version", "--format", "{{.Client.Version}}"])?;
    fixture::hold("podman", &version, node, &podman.plugins.calls()?)?;
    books_agree(&mut world, 0, &[])
}

/// Container, `podman inspect` and the pool agree; what the container has: its sandbox and its MAC.
fn holds(podman: &Podman, name: &str) -> Result<(String, String)> {
    let settings = podman.networks(name)?;
    let network = &settings["Networks"]["terway"];
    let shown = podman.exec(name, &["ip", "-o", "address", "show", "dev", "eth0"])?;
    for key in ["IPAddress", "GlobalIPv6Address"] {
        let address = network[key].as_str().filter(|address| !address.is_empty());
        let address = address.with_context(|| format!("inspect shows no {key}: {network}"))?;
        ensure!(shown.contains(&format!(" {address}/")), "{address}: {shown}");
    }
    let sandbox = settings["SandboxKey"].as_str().context("inspect shows no sandbox")?;
    Ok((sandbox.to_owned(), network["MacAddress"].to_string()))
}

/// A probe of the versions with `dummy` values, then calls with a name and nothing else about a pod.
fn what_was_sent(podman: &Podman) -> Result<()> {
    let calls = podman.plugins.calls()?;
    let probe = calls.first().context("podman called no plugin")?;
    ensure!(probe.verb() == "VERSION", "{probe:?}");
    for name in ["CNI_IFNAME", "CNI_NETNS", "CNI_PATH"] {
        ensure!(probe.variable(name) == "dummy", "{probe:?}");
    }
    ensure!(probe.answer.as_ref().is_some_and(|answer| answer["supportedVersions"].is_array()), "{probe:?}");
    let count = |verb: &str| calls.iter().filter(|call| call.verb() == verb).count();
    ensure!(count("ADD") == 2 && count("DEL") >= 2, "{calls:?}");
    for call in calls.iter().filter(|call| call.verb() == "ADD") {
        ensure!(call.variable("CNI_ARGS") == "IgnoreUnknown=1;K8S_POD_NAME=web", "{call:?}");
    }
    Ok(())
}

/// `network connect` gives a running container an ENI as its second interface, `disconnect` takes it away.
fn hot_plug(name: &str) -> Result<()> {
    let mut world = booted(&Plan { name: name.to_owned(), pool: (2, 4), ..Plan::default() })?;
    let node = &world.nodes[0];
    local_network(node)?;
    let podman = Podman::new(node)?;
    podman.start("web", &["local"])?;
    podman.run(&["network", "connect", "terway", "web"])?;
    let shown = podman.exec("web", &["ip", "-o", "address", "show", "dev", "eth1"])?;
    ensure!(shown.contains("inet 10.1."), "{shown}");
    ensure!(in_use(node)? == 1);
    let netns: PathBuf = podman.networks("web")?["SandboxKey"].as_str().context("no sandbox")?.into();
    books_agree(&mut world, 0, &[&netns])?;
    world.nodes[0].start()?;
    world.nodes[0].wait_ready()?;
    let node = &world.nodes[0];

    podman.run(&["network", "disconnect", "terway", "web"])?;
    ensure!(reader::link(&netns, "eth1")?.is_none(), "the ENI is still in the container");
    ensure!(reader::link(&netns, "eth0")?.is_some(), "the other interface went too");
    ensure!(in_use(node)? == 0, "the ENI is still held");
    podman.run(&["rm", "--force", "--time", "0", "web"])?;
    books_agree(&mut world, 0, &[])
}

/// A network of the reference plugins, for a container to begin with.
pub(crate) fn local_network(node: &Node) -> Result<()> {
    let list = json!({
        "cniVersion": "1.0.0",
        "name": "local",
        "plugins": [{
            "type": "ptp",
            "ipam": {
                "type": "host-local",
                "dataDir": node.path("host-local"),
                "ranges": [[{ "subnet": "192.168.77.0/24" }]],
            },
        }],
    });
    fs::write(node.path("net.d/50-local.conflist"), list.to_string()).context("failed to write a conflist")
}
