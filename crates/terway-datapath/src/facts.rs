//! What a layout needs to know about the node: the link its default route leaves by, its addresses there, whether
//! that link lives by router advertisements, and what the ENIs are called that stay on the node.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::time::Instant;

use terway_types::{Addresses, Fault, FaultCode, IpFamily, MacAddr};

use crate::kernel::objects::MAIN_TABLE;
use crate::kernel::rdma::device_for_pods;
use crate::kernel::sysctl::{Sysctl, SysctlError, ipv6_conf};
use crate::kernel::{
    Address, KernelError, Link, Netlink, Netns, NetnsError, NicError, NicRule, RdmaError, Route, RouteFilter,
    RouteKind, Scope, SmcEntry, SmcMember, SmcTable, nic_at, wait_for_nic,
};
use crate::names;

/// Facts about the node, true at the moment they were observed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostFacts {
    /// The name of the link with the best default route (IPv4's, if the node uses both families).
    pub uplink: String,
    /// Its index.
    pub uplink_index: u32,
    /// Its hardware address, if it has one.
    pub uplink_mac: Option<MacAddr>,
    /// The node's primary address per family, each on the link of that family's default route.
    pub addresses: Addresses,
    /// Its MTU in bytes.
    pub uplink_mtu: u32,
    /// The uplink's `accept_ra`: `0` never, `1` unless it forwards, `2` always. None without IPv6.
    pub uplink_accept_ra: Option<u8>,
    /// The ENIs on the node that were asked for.
    pub nics: Vec<NicFacts>,
}

/// What there is to know about an ENI that stays on the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NicFacts {
    /// Its hardware address.
    pub mac: MacAddr,
    /// The name of its netdev.
    pub name: String,
    /// Its index.
    pub index: u32,
    /// Its RDMA device, if a pod on it asks for one.
    pub rdma: Option<RdmaFacts>,
}

/// What there is to know about an ENI's RDMA device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RdmaFacts {
    /// Its name.
    pub device: String,
    /// The physical network it belongs to, or shall, by SMC-R's table. None where the kernel has no such table.
    pub network: Option<String>,
}

/// A fact that is missing.
#[derive(Debug, thiserror::Error)]
pub enum FactsError {
    /// No way out.
    #[error("the node has no {0} default route")]
    NoDefaultRoute(IpFamily),
    /// No name to be known by.
    #[error("the node's uplink {uplink} has no global {family} address")]
    NoAddress {
        /// The family.
        family: IpFamily,
        /// The link with the default route.
        uplink: String,
    },
    /// The kernel did not tell.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// A switch could not be read.
    #[error(transparent)]
    Sysctl(#[from] SysctlError),
    /// The node's namespace is unusable.
    #[error(transparent)]
    Netns(#[from] NetnsError),
}

impl FactsError {
    /// The failure as a person meets it.
    pub fn fault(&self) -> Fault {
        let fault = Fault::new(FaultCode::KernelRefused, "the node's network is not as a pod needs it")
            .caused_by(self);
        match self {
            Self::NoDefaultRoute(family) => fault.remedy(format!(
                "give the node an {family} default route, or turn {family} off in the pod's network"
            )),
            Self::NoAddress { family, uplink } => fault.remedy(format!(
                "give {uplink} an {family} address, or turn {family} off in the pod's network"
            )),
            _ => fault,
        }
    }
}

impl HostFacts {
    /// Reads the facts of the families in use from the node's namespace.
    pub fn observe(host: &Netns, families: impl IntoIterator<Item = IpFamily>) -> Result<Self, FactsError> {
        Self::observe_over(&mut Netlink::open(host)?, host, families)
    }

    /// The same, over a connection to the node that is open already.
    pub fn observe_over(
        netlink: &mut Netlink,
        host: &Netns,
        families: impl IntoIterator<Item = IpFamily>,
    ) -> Result<Self, FactsError> {
        let mut facts = Self::default();
        // Nearly always both families leave by one link.
        let mut seen: Option<(Link, Vec<Address>)> = None;
        for family in families {
            let index = default_link(netlink, family)?.ok_or(FactsError::NoDefaultRoute(family))?;
            let known = seen.take().filter(|(link, _)| link.index == index);
            let (link, addresses) = if let Some(known) = known {
                known
            } else {
                let link = netlink.link_by_index(index)?.ok_or(FactsError::NoDefaultRoute(family))?;
                (link, netlink.addresses(Some(index))?)
            };
            let address = primary(&addresses, family)
                .ok_or_else(|| FactsError::NoAddress { family, uplink: link.name.clone() })?;
            match address {
                IpAddr::V4(address) => facts.addresses.v4 = Some(address),
                IpAddr::V6(address) => facts.addresses.v6 = Some(address),
            }
            if facts.uplink.is_empty() || family == IpFamily::V4 {
                (facts.uplink, facts.uplink_index) = (link.name.clone(), index);
                (facts.uplink_mac, facts.uplink_mtu) = (link.mac, link.mtu);
            }
            seen = Some((link, addresses));
        }
        if facts.addresses.v6.is_some() {
            facts.uplink_accept_ra = accept_ra(host, &facts.uplink)?;
        }
        Ok(facts)
    }

    /// Looks for an ENI on the node, first where it was seen last, and waits for it until the deadline.
    pub fn find_nic(
        &mut self,
        host: &Netns,
        mac: MacAddr,
        rule: &NicRule,
        hint: Option<u32>,
        deadline: Instant,
    ) -> Result<(), NicError> {
        let link = match nic_at(&mut Netlink::open(host)?, hint, mac, rule)? {
            Some(link) => link,
            None => wait_for_nic(host, mac, rule, deadline)?,
        };
        self.add_nic(&link, mac);
        Ok(())
    }

    /// Takes note of an ENI that was found.
    pub fn add_nic(&mut self, link: &Link, mac: MacAddr) {
        self.nics.push(NicFacts { mac, name: link.name.clone(), index: link.index, rdma: None });
    }

    /// Looks for the RDMA device of an ENI that was found, in the sysfs below the node's root folder.
    pub fn find_rdma(&mut self, root: &Path, host: &Netns, mac: MacAddr) -> Result<(), RdmaError> {
        let device = device_for_pods(root, mac)?;
        let network = match SmcTable::open(host)? {
            Some(mut table) => network_of(&device, &table.entries()?),
            None => None,
        };
        for nic in self.nics.iter_mut().filter(|nic| nic.mac == mac) {
            nic.rdma = Some(RdmaFacts { device: device.clone(), network: network.clone() });
        }
        Ok(())
    }

    /// The ENI with this hardware address, if it was found.
    pub fn nic(&self, mac: MacAddr) -> Option<&NicFacts> {
        self.nics.iter().find(|nic| nic.mac == mac)
    }
}

/// The network that the node's owner has put a device into goes before ours.
fn network_of(device: &str, entries: &[SmcEntry]) -> Option<String> {
    let own = SmcMember::Device(device.to_owned());
    let theirs = entries.iter().find(|entry| entry.member == own).map(|entry| entry.network.clone());
    theirs.or_else(|| names::smc_network(device))
}

/// The index of the link the node's packets leave by, if it has a default route: IPv4's before IPv6's.
pub fn uplink_index(host: &mut Netlink) -> Result<Option<u32>, KernelError> {
    match default_link(host, IpFamily::V4)? {
        None => default_link(host, IpFamily::V6),
        found => Ok(found),
    }
}

/// A node has a route per pod, so the kernel is asked which route it would take to an address that nobody has. Where a
/// rule or a narrower route leads that elsewhere, all routes are looked at.
fn default_link(host: &mut Netlink, family: IpFamily) -> Result<Option<u32>, KernelError> {
    let taken = host.route_to(nowhere(family)).ok().flatten().filter(|route| route.table == MAIN_TABLE);
    if let Some(index) = taken.as_ref().and_then(|route| best_way_out(std::slice::from_ref(route))) {
        return Ok(Some(index));
    }
    let filter = RouteFilter { family: Some(family), table: Some(MAIN_TABLE), oif: None };
    Ok(best_way_out(&host.routes(filter)?))
}

/// An address that no network has: of IPv4's reserved class (RFC 1112), of IPv6's for documentation (RFC 9637).
fn nowhere(family: IpFamily) -> IpAddr {
    match family {
        IpFamily::V4 => Ipv4Addr::new(240, 0, 0, 1).into(),
        IpFamily::V6 => Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 1).into(),
    }
}

/// The link of the default route with the lowest metric.
fn best_way_out(routes: &[Route]) -> Option<u32> {
    let leads_out =
        |route: &&Route| route.is_default() && route.kind == RouteKind::Unicast && route.oif.is_some();
    routes.iter().filter(leads_out).min_by_key(|route| route.metric)?.oif
}

/// The first address of global scope that is neither secondary nor a duplicate. The kernel lists IPv4 addresses
/// in the order they were added, and picks the first as source itself.
fn primary(addresses: &[Address], family: IpFamily) -> Option<IpAddr> {
    let fits = |address: &&Address| {
        let own = IpFamily::of(&address.network.ip()) == family;
        own && address.scope == Scope::Universe && !address.secondary && !address.dadfailed
    };
    // An address given for good before one that router advertisements gave for a time.
    let best = addresses.iter().filter(fits).min_by_key(|address| !address.permanent);
    best.map(|address| address.network.ip())
}

fn accept_ra(host: &Netns, uplink: &str) -> Result<Option<u8>, FactsError> {
    match host.run(|| Sysctl::default().get(&ipv6_conf(uplink, "accept_ra")))? {
        Ok(text) => Ok(text.parse().ok()),
        Err(SysctlError::Missing { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(to: &str, index: u32, metric: u32) -> Route {
        Route::to(to.parse().unwrap()).dev(index).metric(metric)
    }

    fn address(text: &str) -> Address {
        Address {
            index: 2,
            network: text.parse().unwrap(),
            scope: Scope::Universe,
            secondary: false,
            nodad: false,
            tentative: false,
            dadfailed: false,
            permanent: true,
        }
    }

    #[test]
    fn the_default_route_of_least_metric_names_the_uplink() {
        let routes = [route("10.0.0.0/8", 9, 0), route("0.0.0.0/0", 3, 200), route("0.0.0.0/0", 2, 100)];
        assert_eq!(best_way_out(&routes), Some(2));
        assert_eq!(best_way_out(&routes[..1]), None);
    }

    #[test]
    fn a_device_stays_in_the_network_that_it_is_in() {
        let entry = |network: &str, device: &str| SmcEntry {
            network: network.into(),
            member: SmcMember::Device(device.into()),
        };
        let there = [entry("FAST", "erdma_1"), entry("SLOW", "erdma_10")];
        assert_eq!(network_of("erdma_1", &there).as_deref(), Some("FAST"));
        assert_eq!(network_of("erdma_10", &there).as_deref(), Some("SLOW"));
        assert_eq!(network_of("erdma_0", &there).as_deref(), Some("0"));
    }

    #[test]
    fn the_primary_address_is_global_and_permanent_and_first() {
        let temporary = Address { permanent: false, ..address("fd00::99/64") };
        let local = Address { scope: Scope::Link, ..address("fe80::1/64") };
        let duplicate = Address { dadfailed: true, ..address("fd00::1/64") };
        let all = [
            temporary,
            local,
            duplicate,
            address("fd00::2/64"),
            address("10.0.0.2/24"),
            address("fd00::3/64"),
        ];
        assert_eq!(primary(&all, IpFamily::V6), "fd00::2".parse().ok());
        assert_eq!(primary(&all, IpFamily::V4), "10.0.0.2".parse().ok());
        assert_eq!(primary(&all[1..3], IpFamily::V6), None);
    }
}
