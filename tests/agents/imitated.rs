//! Services that need more of an operating system than a guest has: NetworkManager a system bus and its policy,
//! cloud-init an instance's metadata and an init. Scripts do what their sources do to an ENI they take for the node's. And
//! programs that set up a link's queues, as tuned and shapers do, which throw away those there are.

use std::time::Instant;

use anyhow::{Result, ensure};
use serde_json::json;
use terway_rig::eventually::eventually;
use terway_rig::reader;

use crate::networkd::PROMISED;
use crate::node::{LIMIT, check, of_pods, pods, restored, shared_nic, told, world};
use crate::service::Service;

/// NetworkManager's automatic connection (nm-device.c, nm-l3cfg.c): the link down and up, IPv6 left to itself, addresses
/// and routes that are not of the connection removed, the lease's put there with metric 100.
const NETWORK_MANAGER: &str = "ip link set NIC down
ip link set NIC addrgenmode none
ip link set NIC up
ip address flush dev NIC scope global
ip route flush dev NIC table all proto 157
ip address add 10.1.14.8/20 dev NIC noprefixroute
ip route add 10.1.0.0/20 dev NIC proto dhcp scope link metric 100
ip route add default via 10.1.15.253 dev NIC onlink proto dhcp metric 100";

/// cloud-init's hook (hotplug_hook.py) renders the new NIC's configuration with its primary address and a table of its
/// own, and brings it up by ifupdown or networkd.
const CLOUD_INIT: &str = "ip link set NIC up
ip address add 10.1.14.9/20 dev NIC
ip route add default via 10.1.15.253 dev NIC onlink metric 200
ip route add default via 10.1.15.253 dev NIC onlink table 101
ip rule add from 10.1.14.9 lookup 101 priority 32765";

fn by_script(name: &str, script: &str, address: &str) -> Result<()> {
    let mut world = world(name)?;
    world.boot()?;
    let node = &mut world.nodes[0];
    let pods = pods(node)?;
    let (before, nic) = (of_pods(node)?, shared_nic(node)?);
    Service::run(node, &script.replace("NIC", &nic))?;
    told(node, "EniCleared", &[address])?;
    eventually("the ENI has no address and no way of the node's", LIMIT, || {
        let addresses =
            reader::text(&node.netns, "ip", &["-4", "-o", "address", "show", "dev", &nic]).ok()?;
        let ways = reader::text(&node.netns, "ip", &["-4", "route", "show", "default", "dev", &nic]).ok()?;
        (addresses.is_empty() && ways.is_empty()).then_some(())
    })?;
    restored(node, &before)?;
    check(&pods)
}

pub(crate) fn network_manager(name: &str) -> Result<()> {
    by_script(name, NETWORK_MANAGER, "10.1.14.8/20")
}

pub(crate) fn cloud_init(name: &str) -> Result<()> {
    by_script(name, CLOUD_INIT, "10.1.14.9/20")
}

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
        Service::run(node, &format!("tc qdisc del dev {nic} root"))?;
        eventually("the classes are there again", LIMIT, || (shown()? == whole).then_some(()))?;
        gone.push(began.elapsed());
        check(&pods)?;
    }
    gone.sort();
    ensure!(gone[gone.len() / 2] < PROMISED, "gone were {gone:?}");
    told(node, "HostStateRepaired", &["qdisc prio", &nic])
}
