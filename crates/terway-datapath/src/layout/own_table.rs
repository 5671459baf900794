//! The table of one interface of a pod that has several. What bears the interface's address, or is bound to it, leaves
//! by it: a VPC drops an address that leaves by another ENI.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use terway_types::IpFamily;

use crate::describe::{NamespaceLayout, Route, Rule, Table};

/// The priority of these rules inside the pod.
const OWN: u32 = 512;

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
