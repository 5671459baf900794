//! One ENI's link: a veth pair with one end as a port of its vSwitch's bridge, the other made directly in
//! the node, where it stands for a hot-plugged NIC.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use ipnetwork::IpNetwork;
use terway_datapath::kernel::nft::Deletion;
use terway_datapath::kernel::{LinkChange, Netns, NewLink, Request, Route};

use super::vpc::{Home, Vpc, index_of};
use super::{FabricError, guard, neighbours, node};
use crate::model::Nic;

/// The kernel gives the lowest free number, as it does for a NIC it discovers.
const HOT_PLUGGED: &str = "eth%d";

/// The VPC's side of an ENI's link.
#[derive(Clone, Debug)]
pub(super) struct Port {
    /// Its name, made of the ENI's MAC.
    pub(super) name: String,
    /// Its index. A port made anew has another one.
    pub(super) index: u32,
    /// The index of its vSwitch's bridge.
    bridge: u32,
    /// The vSwitch's gateway.
    gateway: Option<Ipv4Addr>,
    /// The addresses known to be behind it.
    known: BTreeSet<IpAddr>,
}

impl Port {
    /// Makes guard and neighbours fit the ENI's addresses.
    pub(super) fn fit(&mut self, vpc: &mut Vpc, nic: &Nic) -> Result<(), FabricError> {
        if let Some(nft) = &mut vpc.nft {
            nft.commit(&guard::install(&self.name, nic, self.gateway))?;
        }
        self.known = neighbours::learn(self.bridge, nic, &self.known, &mut vpc.netlink)?;
        Ok(())
    }

    /// Forgets what is behind a port that is gone.
    pub(super) fn forget(&self, vpc: &mut Vpc) -> Result<(), FabricError> {
        Ok(neighbours::forget(self.bridge, &self.known, &mut vpc.netlink)?)
    }
}

/// Makes an ENI's link. The port comes up when its guard stands. A secondary NIC stays down and bare; a
/// primary one is configured.
pub(super) fn plug(vpc: &mut Vpc, nic: &Nic, node: &Path) -> Result<Port, FabricError> {
    let home = vpc.vswitch(&nic.vswitch)?;
    let netns = Netns::open(node)?;
    let name = format!("p{}", nic.mac.hex());
    let near = NewLink { name: &name, master: Some(home.bridge), ..NewLink::default() };
    let far_name = if nic.primary { node::PRIMARY } else { HOT_PLUGGED };
    let far = NewLink { name: far_name, mac: Some(nic.mac), netns: Some(&netns), ..NewLink::default() };
    vpc.netlink.transact(&[Request::add_veth(&near, &far)])?;
    let outcome = finish(vpc, nic, &name, &home).and_then(|port| {
        if nic.primary {
            node::boot(&netns, nic, &home)?;
            vpc.netlink.transact(&table_entries(nic, &home))?;
        }
        Ok(port)
    });
    if outcome.is_err() {
        // The first error is the one that matters.
        let _ = vpc.netlink.transact(&[Request::delete_link(&*name)]);
    }
    outcome
}

/// The VPC's route table, as far as it leads to this node.
fn table_entries(nic: &Nic, home: &Home) -> Vec<Request> {
    let own = |net: &IpNetwork| match net {
        IpNetwork::V4(_) => nic.addresses.ipv4.first().map(|address| IpAddr::V4(*address)),
        IpNetwork::V6(_) => nic.addresses.ipv6.first().map(|address| IpAddr::V6(*address)),
    };
    let entries = nic.routes.iter().filter_map(|net| Some(Route::to(*net).dev(home.bridge).via(own(net)?)));
    entries.map(|route| Request::replace_route(&route)).collect()
}

fn finish(vpc: &mut Vpc, nic: &Nic, name: &str, home: &Home) -> Result<Port, FabricError> {
    let alias = nic.eni.as_str();
    let index = index_of(&mut vpc.netlink, name)?;
    let (bridge, gateway) = (home.bridge, home.gateways.v4);
    let mut port = Port { name: name.to_owned(), index, bridge, gateway, known: BTreeSet::new() };
    port.fit(vpc, nic)?;
    let change = LinkChange { up: Some(true), alias: Some(alias), ..LinkChange::default() };
    vpc.netlink.transact(&[Request::set_link(index, &change)])?;
    Ok(port)
}

/// Takes an ENI's link away, wherever its other end is.
pub(super) fn unplug(vpc: &mut Vpc, port: &Port) -> Result<(), FabricError> {
    port.forget(vpc)?;
    match vpc.netlink.transact(&[Request::delete_link(port.index)]) {
        // It died with its namespace a moment ago.
        Err(error) if !error.is_absent() => return Err(error.into()),
        _ => {}
    }
    let Some(nft) = &mut vpc.nft else { return Ok(()) };
    match nft.commit(&guard::remove(&port.name, Deletion::Whole)) {
        Err(error) if !error.is_absent() => Err(error.into()),
        _ => Ok(()),
    }
}
