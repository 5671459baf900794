//! What services of the node put on ENIs that are ours: addresses, and ways of the node that lead out by them. On the
//! node an ENI of pods has neither. With them the node would speak by the wrong ENI, which a VPC does not let through,
//! and would take for itself what is sent to a pod.

use std::collections::BTreeSet;
use std::fmt;

use ipnetwork::IpNetwork;
use terway_types::MacAddr;

use crate::kernel::objects::{Link, MAIN_TABLE, OUR_PROTOCOL, Route, RouteFilter, RouteKind};
use crate::kernel::{KernelError, Netlink, NicRule, Request, Scope};
use crate::rules::LEAVING;

/// `RTPROT_KERNEL`: the route of an address, which goes with it, or of the link itself.
const KERNEL_PROTOCOL: u8 = 2;

/// One object that has no business there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intruder {
    /// The ENI.
    pub mac: MacAddr,
    /// Its name on the node.
    nic: String,
    index: u32,
    what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    Address(IpNetwork),
    Way(Route),
}

/// Everything of this sort on the ENIs with these hardware addresses. Link-local addresses are the kernel's own.
pub fn find(
    host: &mut Netlink,
    links: &[Link],
    macs: &BTreeSet<MacAddr>,
    rule: &NicRule,
) -> Result<Vec<Intruder>, KernelError> {
    let is_ours = |link: &&Link| {
        rule.is_nic(link) && link.master.is_none() && link.mac.is_some_and(|mac| macs.contains(&mac))
    };
    let ours: Vec<&Link> = links.iter().filter(is_ours).collect();
    if ours.is_empty() {
        return Ok(Vec::new());
    }
    let addresses = host.addresses(None)?;
    let ways = host.routes(RouteFilter { table: Some(MAIN_TABLE), ..RouteFilter::default() })?;
    let mut found = Vec::new();
    for nic in ours {
        let (Some(mac), false) = (nic.mac, alone_leads_out(nic.index, &ways)) else { continue };
        let put = |what| Intruder { mac, nic: nic.name.clone(), index: nic.index, what };
        let foreign = ways.iter().filter(|way| way.oif == Some(nic.index) && is_foreign(way));
        found.extend(foreign.map(|way| put(What::Way(way.clone()))));
        let global = addresses.iter().filter(|one| one.index == nic.index && one.scope == Scope::Universe);
        found.extend(global.map(|address| put(What::Address(address.network))));
    }
    Ok(found)
}

/// Takes them off; what is gone meanwhile is no failure.
pub fn expel(host: &mut Netlink, intruders: &[Intruder]) -> Result<(), KernelError> {
    let requests: Vec<Request> = intruders.iter().map(Intruder::deletion).collect();
    host.transact_if_present(&requests).map(drop)
}

fn is_foreign(way: &Route) -> bool {
    ![OUR_PROTOCOL, LEAVING, KERNEL_PROTOCOL].contains(&way.protocol)
}

/// Whether a link is the only one that leads the node out: the node's own then, whatever the books say.
fn alone_leads_out(index: u32, ways: &[Route]) -> bool {
    let leads_out = |way: &&Route| way.is_default() && way.kind == RouteKind::Unicast;
    let mut out = ways.iter().filter(leads_out).peekable();
    out.peek().is_some() && out.all(|way| way.oif == Some(index))
}

impl Intruder {
    fn deletion(&self) -> Request {
        match &self.what {
            What::Address(network) => Request::delete_address(self.index, *network),
            What::Way(way) => Request::delete_route(way),
        }
    }
}

impl fmt::Display for Intruder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            What::Address(network) => write!(f, "address {network} on {}", self.nic),
            What::Way(way) => {
                let gateway = way.gateway.map(|gateway| format!(" via {gateway}")).unwrap_or_default();
                write!(f, "route {}{gateway} dev {}", way.destination, self.nic)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(to: &str, oif: u32, protocol: u8) -> Route {
        Route { protocol, ..Route::to(to.parse().unwrap()).dev(oif) }
    }

    #[test]
    fn the_only_way_out_is_the_nodes_own() {
        let (own, foreign) = (way("0.0.0.0/0", 2, 3), way("0.0.0.0/0", 3, 16));
        assert!(alone_leads_out(2, std::slice::from_ref(&own)));
        assert!(!alone_leads_out(3, &[own, foreign]));
        assert!(!alone_leads_out(2, &[way("10.0.0.0/8", 2, 3)]));
    }

    #[test]
    fn ways_of_ours_and_of_the_kernel_stay() {
        for (protocol, foreign) in
            [(OUR_PROTOCOL, false), (LEAVING, false), (2, false), (3, true), (16, true)]
        {
            assert_eq!(is_foreign(&way("10.0.0.0/8", 3, protocol)), foreign, "{protocol}");
        }
    }
}
