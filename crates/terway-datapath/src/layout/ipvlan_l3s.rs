//! An address of an ENI that several pods share, by a child of the ENI (IPVlan) in mode L3S: nothing is resolved in the
//! pod, and what it sends is routed in the node's namespace, as if the ENI had sent it, so the node's packet filter sees
//! all of it both ways. Children of one ENI reach each other directly in this mode too.
//!
//! ```text
//!   pod                        node
//!   eth0 = child of the ENI -> rule from the pod by eth1 -- table of the ENI -+-> eth1 = the ENI ---> VPC
//!                                                                             +-> the node itself
//!                              what a service led elsewhere: table main, source NAT ---> uplink, caliY
//!   eth0 <-------------------- caliX = child of the ENI
//! ```
//!
//! The kernel looks for the pod's way with the ENI as the link to leave by (`ipvlan_process_outbound`), and anew without
//! once a service was translated. So the rule says the ENI too: only what the pod itself sends to the VPC takes its table.
//! The kernel finds the node's own addresses there over IPv6; over IPv4 the table has to say them.

use ipnetwork::IpNetwork;
use terway_types::{AttachmentKey, InterfacePlan, IpFamily, PodRef};

use super::ipvlan::{nodes_child, pods_child, to_the_pod};
use super::policy_route::table_of_nic;
use super::ways::{add, of_family, route};
use super::{own_table, shared_nic};
use crate::describe::{Layout, NamespaceLayout, Route, Rule, SourceNat, Table};
use crate::facts::{HostFacts, NicFacts};
use crate::kernel::IpvlanMode;
use crate::rules::FROM_POD;

/// Lays out a plan that [`super::validate`] found possible.
pub(super) fn layout(
    plan: &InterfacePlan,
    key: &AttachmentKey,
    pod: &PodRef,
    facts: &HostFacts,
    nic: &NicFacts,
) -> Layout {
    let mode = IpvlanMode::L3s;
    let mut layout = pods_child(mode, plan, key, facts, nic);
    // It is the node that resolves the gateway.
    shared_nic::can_solicit(plan, facts, &mut layout.host);
    if plan.own_table {
        own_table::of_interface(plan, &[], &mut layout.pod);
    }
    let end = nodes_child(mode, plan, key, pod, nic);
    to_the_pod(plan, facts, end, &nic.name, &mut layout.host);
    for address in plan.addresses.iter() {
        let family = IpFamily::of(&address);
        layout.host.rules.push(Rule {
            family,
            priority: FROM_POD,
            from: Some(IpNetwork::from(address)),
            to: None,
            oif: Some(nic.name.clone()),
            table: Table::OfLink(nic.name.clone()),
        });
        if let Some(gateway) = plan.eni_gateways.get(family) {
            layout.host.routes.extend(table_of_nic(gateway, &nic.name));
        }
        let node = facts.addresses.get(family);
        layout.host.source_nat.extend(node.map(|node| SourceNat { pod: address, node, of_services: true }));
    }
    the_node_itself(plan, facts, &nic.name, &mut layout.host);
    layout
}

/// What the node takes as its own, as far as pods on the ENI are concerned.
fn the_node_itself(plan: &InterfacePlan, facts: &HostFacts, nic: &str, host: &mut NamespaceLayout) {
    if plan.addresses.v4.is_none() {
        return;
    }
    let node = facts.addresses.v4.map(|address| IpNetwork::from(std::net::IpAddr::V4(address)));
    for destination in node.into_iter().chain(of_family(&plan.host_stack_cidrs, IpFamily::V4)) {
        let way = Route {
            table: Table::OfLink(nic.to_owned()),
            local: true,
            shared: true,
            ..route(destination, nic)
        };
        add(&mut host.routes, way);
    }
}
