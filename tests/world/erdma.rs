//! Pods for eRDMA, on ENIs that come with an RDMA device: they use it, and one that cannot have the device that it was
//! promised is not made. No machine of ours has such ENIs, so a folder says to daemon and plugin what a node's sysfs would.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use terway_datapath::names::ENI_MAC_GROUP;
use terway_rig::eventually::eventually;
use terway_rig::node::Node;
use terway_rig::pod::Pod;
use terway_rig::probe::icmp;
use terway_rig::reader;
use terway_rig::world::{Plan, World};
use terway_types::MacAddr;

use crate::by_the_node::nothing_left;
use crate::support::{LIMIT, Scenario, events, once, started, text, wait_warm};

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![
        once("erdma::pods_speak_with_the_address_their_device_goes_by", used),
        once("erdma::a_promised_device_that_is_not_there_is_named", missing),
        once("erdma::without_device_or_key_pods_are_as_ever", as_ever),
    ]
}

/// A node that was told to use RDMA devices, and has none yet.
fn booted(plan: &Plan) -> Result<World> {
    let keys = vec![("enable_erdma", json!(true))];
    let mut world = started(&Plan { shared: true, pool: (2, 8), keys, ..plan.clone() })?;
    let node = &mut world.nodes[0];
    let root = node.path("root");
    fs::create_dir_all(root.join("sys"))?;
    node.flags.extend(["--host-root".to_owned(), root.display().to_string()]);
    world.boot()?;
    wait_warm(&world.nodes[0], 1)?;
    Ok(world)
}

/// Gives every ENI of the node its device, as the driver does.
fn plug(node: &Node) -> Result<()> {
    for (number, eni) in node.mapping()?.iter().enumerate() {
        let mac: MacAddr = text(eni, "mac").parse()?;
        let guid: Vec<_> = mac.eui64().chunks(2).map(|two| format!("{:02x}{:02x}", two[0], two[1])).collect();
        let device = node.path(&format!("root/sys/class/infiniband/erdma_{number}"));
        fs::create_dir_all(&device)?;
        fs::write(device.join("node_guid"), guid.join(":") + "\n")?;
    }
    Ok(())
}

/// The plugin where the node's sysfs is the folder.
fn plugin(node: &Node) -> Result<PathBuf> {
    let script = format!(
        "#!/bin/sh\nPATH=/usr/sbin:/usr/bin:/sbin:/bin exec unshare --mount sh -c 'mount --bind {} /sys && exec {}'\n",
        node.path("root/sys").display(),
        node.binaries.join("terway").display(),
    );
    let path = node.path("terway");
    fs::write(&path, script)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    Ok(path)
}

/// The pod's end of its pair.
fn end(pod: &Pod) -> Result<Value> {
    reader::link(&pod.netns, "eth0")?.context("the pod has no eth0")
}

fn speaks_for_the_eni(node: &Node, pod: &Pod) -> Result<bool> {
    let end = end(pod)?;
    let enis = node.mapping()?;
    let is_its = enis.iter().any(|eni| eni["mac"] == end["address"]);
    let group = end["group"].as_str().and_then(|number| number.parse().ok());
    ensure!(is_its == (group == Some(ENI_MAC_GROUP)), "{end}");
    Ok(is_its)
}

fn used(plan: &Plan) -> Result<()> {
    let mut world = booted(plan)?;
    plug(&world.nodes[0])?;
    let program = plugin(&world.nodes[0])?;
    let mut pods = Vec::new();
    for name in ["web", "db"] {
        let mut pod = Pod { program: program.clone(), ..world.nodes[0].pod(name)? };
        pod.add().with_context(|| world.nodes[0].log_tail())?;
        ensure!(speaks_for_the_eni(&world.nodes[0], &pod)?, "{}", end(&pod)?);
        pods.push(pod);
    }
    for version in [4, 6] {
        icmp::ping(&pods[0].netns, pods[1].address(version)?, 56, LIMIT)?;
    }
    for pod in &mut pods {
        pod.call_with_result("CHECK").run()?.expect_ok("CHECK")?;
        pod.del()?;
    }
    nothing_left(&pods[0])
}

fn missing(plan: &Plan) -> Result<()> {
    let mut world = booted(plan)?;
    plug(&world.nodes[0])?;
    let node = &mut world.nodes[0];
    let pod = node.pod("web")?;
    let before = reader::recording(&pod.netns)?;
    // The plugin looks at the machine's own devices, none of which is the ENI's.
    let (code, message) = pod.call("ADD").run()?.expect_error("ADD without a device")?;
    for word in ["rdma-unusable", "node GUID", "remedy: ", "modprobe erdma"] {
        ensure!(code == 11 && message.contains(word), "code {code}, no {word:?} in {message}");
    }
    ensure!(reader::recording(&pod.netns)? == before, "something is left in the pod");
    nothing_left(&pod)?;
    let held = node.mapping()?.iter().any(|eni| eni["shares"].to_string().contains(&pod.container));
    ensure!(!held, "an address is held: {:?}", node.mapping()?);

    // The device has come.
    let mut pod = Pod { program: plugin(node)?, ..pod };
    pod.add()?;
    ensure!(speaks_for_the_eni(node, &pod)?, "{}", end(&pod)?);
    pod.del()?;
    nothing_left(&pod)
}

fn as_ever(plan: &Plan) -> Result<()> {
    let mut world = booted(plan)?;
    let mut no_device = world.nodes[0].pod("no-device")?;
    no_device.add()?;
    plug(&world.nodes[0])?;
    no_device.call_with_result("CHECK").run()?.expect_ok("CHECK after a device came")?;

    // The daemon goes by the key it started with, and says so.
    let node = &mut world.nodes[0];
    let mut conf: Value = serde_json::from_slice(&fs::read(node.path("eni_conf"))?)?;
    conf["enable_erdma"] = json!(false);
    node.configure(&conf)?;
    let told = || events(node, "ConfigApplied").ok()?.into_iter().find(|text| text.contains("enable_erdma"));
    eventually("the key that waits for a restart is named", LIMIT, told)?;
    node.kill()?;
    node.start()?;
    node.wait_ready()?;
    let mut no_key = Pod { program: plugin(node)?, ..node.pod("no-key")? };
    no_key.add()?;
    for pod in [&mut no_device, &mut no_key] {
        ensure!(!speaks_for_the_eni(node, pod)?, "{}: {}", pod.name, end(pod)?);
        pod.call_with_result("CHECK").run()?.expect_ok("CHECK")?;
        pod.del()?;
    }
    nothing_left(&no_key)
}
