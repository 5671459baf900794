//! The table of one interface of a pod that has several. What bears the interface's address, or is bound to it, leaves
//! by it: a VPC drops an address that leaves by another ENI.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use terway_types::{InterfacePlan, IpFamily};

use super::ways::via;
use crate::describe::{NamespaceLayout, Route, Rule, Table};
use crate::kernel::objects::any;

/// The priority of these rules inside the pod.
const OWN: u32 = 512;

/// Adds the table of an interface that has the ENI's gateway as next hop: all ways of the pod so far, which are this
/// interface's, these further ones, and the default route.
pub(super) fn of_interface(plan: &InterfacePlan, further: &[Route], pod: &mut NamespaceLayout) {
    let link = plan.ifname.as_str();
    let known: Vec<_> =
        pod.routes.iter().filter(|route| route.table == Table::Main).chain(further).cloned().collect();
    for address in plan.addresses.iter() {
        let family = IpFamily::of(&address);
        let default = plan.gateways.get(family).map(|gateway| via(any(family), gateway, link));
        let ways = known.iter().filter(|way| IpFamily::of(&way.destination.ip()) == family).cloned();
        add(address, link, ways.chain(default), pod);
    }
}

/// Adds the rules of one address of a link and the ways in the link's table.
pub(super) fn add(
    address: IpAddr,
    link: &str,
    ways: impl IntoIterator<Item = Route>,
    pod: &mut NamespaceLayout,
) {
    let table = Table::OfLink(link.to_owned());
    let rule = Rule {
        family: IpFamily::of(&address),
        priority: OWN,
        from: None,
        to: None,
        oif: None,
        table: table.clone(),
    };
    pod.rules.push(Rule { from: Some(IpNetwork::from(address)), ..rule.clone() });
    pod.rules.push(Rule { oif: Some(link.to_owned()), ..rule });
    for way in ways {
        super::ways::add(&mut pod.routes, Route { table: table.clone(), ..way });
    }
}
