//! The namespaces that play instances, and what an instance's image does at boot: its primary NIC comes
//! up with the address and routes the cloud gave it.

use std::net::IpAddr;
use std::path::Path;

use ipnetwork::{IpNetwork, Ipv4Network, Ipv6Network};
use nix::mount::{MsFlags, mount};
use terway_datapath::kernel::{Link, LinkChange, Netlink, Netns, NetnsError, Request, Route};
use terway_types::IpFamily;
use terway_types::fault::chain;

use super::FabricError;
use super::vpc::{Home, index_of, set};
use crate::model::{MAC_PREFIX, Nic};

/// The name of every instance's primary NIC.
pub(super) const PRIMARY: &str = "eth0";

/// Where `ip netns` keeps namespaces.
const NAMED: &str = "/run/netns";

/// Makes a namespace at a path, with the folders to it.
pub(super) fn create(path: &Path) -> Result<Netns, NetnsError> {
    if let Some(folder) = path.parent() {
        // A folder that cannot be made or shared shows when the file in it cannot be.
        let _ = std::fs::create_dir_all(folder);
        if folder == Path::new(NAMED) {
            let _ = share(folder);
        }
    }
    Netns::create_named(path)
}

/// Makes the folder a shared mount of itself, as the first `ip netns add` does (ip-netns(8)). Were it done
/// after our namespaces are mounted there, they would be mounted twice and could not be removed.
fn share(folder: &Path) -> nix::Result<()> {
    let (none, shared) = (None::<&str>, MsFlags::MS_SHARED | MsFlags::MS_REC);
    if mount(none, folder, none, shared, none).is_ok() {
        return Ok(());
    }
    mount(Some(folder), folder, none, MsFlags::MS_BIND | MsFlags::MS_REC, none)?;
    mount(none, folder, none, shared, none)
}

/// Makes a node's namespace unless it is there; says whether it had to.
pub(super) fn ensure(path: &Path) -> Result<bool, FabricError> {
    match Netns::open(path) {
        Ok(netns) => sweep(&netns).map(|()| false),
        Err(NetnsError::Missing { .. }) => Ok(create(path).map(|_| true)?),
        Err(error) => Err(error.into()),
    }
}

/// Deletes the ENIs that a killed simulation left in a node. They would die with its VPC's namespace, but
/// only some moments after its name is gone.
fn sweep(netns: &Netns) -> Result<(), FabricError> {
    let mut netlink = Netlink::open(netns)?;
    let is_ours = |link: &Link| {
        link.kind.as_deref() == Some("veth") && link.mac.is_some_and(|mac| mac.0.starts_with(&MAC_PREFIX))
    };
    for link in netlink.links()?.into_iter().filter(is_ours) {
        match netlink.transact(&[Request::delete_link(link.index)]) {
            Err(error) if !error.is_absent() => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}

/// Removes a namespace of ours; failure is told, not fatal.
pub(super) fn remove(path: &Path) {
    if let Err(error) = Netns::remove_named(path) {
        tracing::warn!(path = %path.display(), error = chain(&error), "failed to remove a namespace");
    }
}

/// Boots the node's network: loopback and primary NIC up, addresses, default routes by the gateways.
pub(super) fn boot(netns: &Netns, nic: &Nic, home: &Home) -> Result<(), FabricError> {
    // The address is the VPC's word: nothing to detect, nothing to learn from router advertisements.
    set(netns, &[("net/ipv6/conf/eth0/accept_dad", "0"), ("net/ipv6/conf/eth0/accept_ra", "0")])?;
    let mut netlink = Netlink::open(netns)?;
    let (lo, eth0) = (index_of(&mut netlink, "lo")?, index_of(&mut netlink, PRIMARY)?);
    let up = LinkChange { up: Some(true), ..LinkChange::default() };
    let mut requests = vec![Request::set_link(lo, &up), Request::set_link(eth0, &up)];
    requests.extend(addresses(nic, home).map(|address| Request::replace_address(eth0, address)));
    let gateways = home.gateways;
    let by = |gateway: IpAddr| Route::default_of(IpFamily::of(&gateway)).dev(eth0).via(gateway);
    let v4 = gateways.v4.filter(|_| !nic.addresses.ipv4.is_empty()).map(IpAddr::V4);
    let v6 = gateways.v6.filter(|_| !nic.addresses.ipv6.is_empty()).map(IpAddr::V6);
    // Protocol 3 is "boot": these routes are not ours but the image's.
    let boot = |route: Route| Route { protocol: 3, ..route };
    requests.extend(v4.into_iter().chain(v6).map(|gateway| Request::replace_route(&boot(by(gateway)))));
    Ok(netlink.transact(&requests)?)
}

fn addresses(nic: &Nic, home: &Home) -> impl Iterator<Item = IpNetwork> {
    let v4 = home.subnets.v4.zip(nic.addresses.ipv4.first().copied());
    let v6 = home.subnets.v6.zip(nic.addresses.ipv6.first().copied());
    let v4 = v4.and_then(|(net, address)| Ipv4Network::new(address, net.prefix()).ok());
    let v6 = v6.and_then(|(net, address)| Ipv6Network::new(address, net.prefix()).ok());
    v4.map(IpNetwork::V4).into_iter().chain(v6.map(IpNetwork::V6))
}
