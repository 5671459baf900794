//! What the kernel this runs on has, found by asking it.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use terway_datapath::kernel::Netlink;

use crate::{namespace, reader};

/// Its version: `uname -r` without what its maker put behind the numbers.
pub fn release() -> Result<String> {
    let text = fs::read_to_string("/proc/sys/kernel/osrelease").context("failed to read the release")?;
    Ok(text.trim().split('-').next().unwrap_or_default().to_owned())
}

/// Whether it has IPVS, in it or loaded.
pub fn has_ipvs() -> bool {
    // That of the thread's own namespace.
    Path::new("/proc/thread-self/net/ip_vs").exists()
}

/// Whether it makes IPVlan links.
pub fn has_ipvlan() -> Result<bool> {
    Ok(Netlink::here()?.has_ipvlan()?)
}

/// Whether it makes links for VLANs.
pub fn has_vlan() -> Result<bool> {
    goes_through(&[&["link", "add", "link", "probe", "name", "vlan", "type", "vlan", "id", "5"]], "ip")
}

/// Whether it makes children with a MAC of their own.
pub fn has_macvlan() -> Result<bool> {
    goes_through(&[&["link", "add", "link", "probe", "name", "child", "type", "macvlan"]], "ip")
}

/// Whether it makes netkit pairs.
pub fn has_netkit() -> Result<bool> {
    goes_through(&[&["link", "add", "name", "pair", "type", "netkit"]], "ip")
}

/// Whether it has filters that put tags of VLANs on and take them off.
pub fn has_tags() -> Result<bool> {
    let push = "filter add dev probe egress protocol ip u32 match ip src 10.0.0.1/32 action vlan push id 7";
    let push: Vec<_> = push.split(' ').collect();
    goes_through(&[&["qdisc", "add", "dev", "probe", "clsact"], &push], "tc")
}

/// Whether all of these go through about a link `probe`, in a namespace of their own.
fn goes_through(commands: &[&[&str]], program: &str) -> Result<bool> {
    let probe = Path::new("/run/netns/probe");
    namespace::create(probe)?;
    let made = reader::text(probe, "ip", &["link", "add", "probe", "type", "veth", "peer", "name", "far"]);
    let went = commands.iter().all(|words| reader::text(probe, program, words).is_ok());
    namespace::remove(probe)?;
    made.map(|_| went)
}
