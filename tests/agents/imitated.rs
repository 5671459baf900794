//! Services that need more of an operating system than a guest has: NetworkManager a system bus and its policy,
//! cloud-init an instance's metadata and an init. Scripts do what their sources do to an ENI they take for the node's.

use anyhow::Result;
use terway_rig::eventually::eventually;
use terway_rig::reader;

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
