//! Programs that set up a link's queues, as tuned and shapers do, which throw away those there are, or flush routes: `tc`
//! and `ip` stand for them, started by nothing that takes time itself.

use std::time::Instant;

use anyhow::{Result, ensure};
use serde_json::json;
use terway_rig::eventually::eventually;
use terway_rig::reader;

use crate::networkd::PROMISED;
use crate::node::{LIMIT, check, of_pods, pods, restored, shared_nic, told, world};

/// Pods have classes at the ENI they share, which is known of them by what is there alone.
pub(crate) fn a_shaper(name: &str) -> Result<()> {
    let mut world = world(name)?;
    world.nodes[0].tell_plugin("enable_network_priority", json!(true))?;
    world.boot()?;
    let node = &mut world.nodes[0];
    let pods = pods(node)?;
    let (host, nic) = (node.netns.clone(), shared_nic(node)?);
    let shown = || {
        let qdiscs = reader::text(&host, "tc", &["qdisc", "show", "dev", &nic]).ok()?;
        let prios = qdiscs.lines().filter_map(|line| line.strip_prefix("qdisc prio "));
        let handles = prios.filter_map(|rest| rest.split_whitespace().next());
        let filters =
            handles.map(|at| reader::text(&host, "tc", &["filter", "show", "dev", &nic, "parent", at]).ok());
        let filters: Option<Vec<String>> = filters.collect();
        Some(filters?.concat().lines().filter(|line| line.contains("flowid")).count())
    };
    // Of every pod an address per family, wherever packets wait.
    let whole = eventually("pods have classes", LIMIT, || shown().filter(|count| *count >= 2 * pods.len()))?;
    check(&pods)?;
    let mut gone = Vec::new();
    for _ in 0..3 {
        let began = Instant::now();
        reader::text(&host, "tc", &["qdisc", "del", "dev", &nic, "root"])?;
        eventually("the classes are there again", LIMIT, || (shown()? == whole).then_some(()))?;
        gone.push(began.elapsed());
        check(&pods)?;
    }
    gone.sort();
    ensure!(gone[gone.len() / 2] < PROMISED, "gone were {gone:?}");
    told(node, "HostStateRepaired", &["qdisc prio", &nic])
}

/// What the node takes as its own for pods on an ENI in mode L3S is in that ENI's table, and what of it the plugin's
/// configuration asked for is known by what is there alone.
pub(crate) fn a_flush(name: &str) -> Result<()> {
    let mut world = world(name)?;
    for (key, value) in [("eniip_virtual_type", "IPVlan"), ("ipvlan_mode", "l3s")] {
        world.nodes[0].tell_plugin(key, json!(value))?;
    }
    world.boot()?;
    let node = &mut world.nodes[0];
    let pods = pods(node)?;
    let before = of_pods(node)?;
    let local = "local 169.254.20.10 dev";
    ensure!(before.contains(local), "no local route for the agent on the node:\n{before}");
    // It knows them once it has seen them; so it has when it put back what else the pods have.
    let ip = |words: &[&str]| reader::text(&node.netns, "ip", words);
    for _ in &pods {
        ip(&["-4", "rule", "del", "priority", "2048"])?;
    }
    restored(node, &before)?;
    let ways = ["table", "all", "proto", "157", "type", "local"];
    let locals = || ip(&[&["-4", "route", "show"], &ways[..]].concat());
    let (whole, mut gone) = (locals()?, Vec::new());
    for _ in 0..3 {
        let began = Instant::now();
        ip(&[&["-4", "route", "flush"], &ways[..]].concat())?;
        eventually("the local routes are there again", LIMIT, || (locals().ok()? == whole).then_some(()))?;
        gone.push(began.elapsed());
        restored(node, &before)?;
        check(&pods)?;
    }
    gone.sort();
    ensure!(gone[gone.len() / 2] < PROMISED, "gone were {gone:?}");
    told(node, "HostStateRepaired", &[local])
}
