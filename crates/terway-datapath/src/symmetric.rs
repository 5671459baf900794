//! Symmetric routing on a node with shared ENIs: what came in by the node's own NIC is answered by it. A pod's answer
//! to a client of a NodePort would else leave by the pod's ENI, with the node's address, and a VPC drops that.
//!
//! Connections that come in by the uplink get a mark; packets of such a connection that come from elsewhere on the node
//! get it too, and a rule between those to pods and those from pods sends them to a table with the way out by the
//! uplink. Only the bits of our mask are changed. Names, priority and table are those of the existing implementation.

use ipnetwork::IpNetwork;
use terway_types::IpFamily;

use crate::kernel::nft::{
    Base, Batch, Chain, Comment, Deletion, Family, Hook, InstalledRule, Kind, Nft, Policy, RuleBody, Table,
    priority,
};
use crate::kernel::objects::{MAIN_TABLE, OUR_PROTOCOL, Route, RouteFilter, RouteKind, Rule};
use crate::kernel::sysctl::{Sysctl, SysctlError, ipv4_conf};
use crate::kernel::{KernelError, Netlink, Netns, NetnsError, Request};

/// The comment of our rules.
const COMMENT: &str = "terway-symmetric";
/// The same where the uplink, named behind it, did not forward before: rules are what outlives the daemon with them.
const SWITCHED: &str = "terway-symmetric forwarding on ";

/// A node that could not be set up so.
#[derive(Debug, thiserror::Error)]
pub enum SymmetricError {
    /// The kernel refused.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// The node's namespace is unusable.
    #[error(transparent)]
    Netns(#[from] NetnsError),
    /// The uplink cannot be made to forward.
    #[error(transparent)]
    Sysctl(#[from] SysctlError),
}

/// How it is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SymmetricRouting {
    /// The node's own NIC, by name.
    pub uplink: String,
    /// The mark; not zero, and all its bits are in the mask.
    pub mark: u32,
    /// The bits that are ours.
    pub mask: u32,
    /// The table with the way out.
    pub table: u32,
    /// The priority of the rule that leads there.
    pub priority: u32,
}

/// Makes it so in each family in which the uplink has a default route; says whether anything was missing.
pub fn install(wanted: &SymmetricRouting, host: &Netns) -> Result<bool, SymmetricError> {
    let (mut netlink, mut nft) = (Netlink::open(host)?, Nft::open(host)?);
    let link = netlink.link_by_name(&wanted.uplink)?.map(|link| link.index);
    let out = netlink.routes(RouteFilter { table: Some(MAIN_TABLE), oif: link, family: None })?;
    let mut changed = false;
    for family in IpFamily::BOTH {
        let is_out = |route: &&Route| {
            route.is_default() && route.family() == family && route.kind == RouteKind::Unicast
        };
        let Some(way) = out.iter().filter(is_out).min_by_key(|route| route.metric) else { continue };
        let there = ours(family, &mut nft)?;
        // IPv4 forwards what comes in by a link only if that link does; pods on ENIs do not need it of the uplink.
        let comment = match family {
            IpFamily::V4 => forwarding(&wanted.uplink, &there, host)?,
            IpFamily::V6 => COMMENT.to_owned(),
        };
        changed |= marks(wanted, family, &there, &comment, &mut nft)?;
        changed |= way_out(wanted, way, &mut netlink)?;
        if family == IpFamily::V4 {
            host.run(|| Sysctl::default().set(&ipv4_conf(&wanted.uplink, "forwarding"), "1"))??;
        }
    }
    Ok(changed)
}

/// Takes all of it away, whatever its numbers are; says whether there was anything. An uplink that did not forward before
/// does not any more.
pub fn remove(host: &Netns) -> Result<bool, SymmetricError> {
    let (mut netlink, mut nft) = (Netlink::open(host)?, Nft::open(host)?);
    let mut changed = false;
    for family in IpFamily::BOTH {
        let chain = chain(family);
        if nft.chains(&chain.table)?.is_empty() {
            continue;
        }
        if let Some(uplink) = switched(&ours(family, &mut nft)?) {
            stop_forwarding(uplink, host)?;
        }
        nft.commit(&Batch::new().delete_table(&chain.table, Deletion::Whole))?;
        changed = true;
    }
    // No other rule of ours goes by a mark.
    let is_ours = |rule: &Rule| rule.protocol == OUR_PROTOCOL && rule.mark.is_some();
    let rules: Vec<Rule> = netlink.rules()?.into_iter().filter(is_ours).collect();
    for rule in &rules {
        let filter = RouteFilter { family: Some(rule.family), table: Some(rule.table), oif: None };
        let routes = netlink.routes(filter)?.into_iter().filter(|route| route.protocol == OUR_PROTOCOL);
        let mut requests = vec![Request::delete_rule(rule)];
        requests.extend(routes.map(|route| Request::delete_route(&route)));
        netlink.transact(&requests)?;
        changed = true;
    }
    Ok(changed)
}

fn chain(family: IpFamily) -> Chain {
    let table = match family {
        IpFamily::V4 => Table::new(Family::Ip, "terway_symmetric"),
        IpFamily::V6 => Table::new(Family::Ip6, "terway_symmetric_ipv6"),
    };
    let base = Base {
        kind: Kind::Filter,
        hook: Hook::Prerouting,
        priority: priority::MANGLE,
        policy: Policy::Accept,
    };
    Chain::base(&table, "prerouting", base)
}

/// The two rules of the packet filter.
fn rules(wanted: &SymmetricRouting) -> [RuleBody; 2] {
    let SymmetricRouting { uplink, mark, mask, .. } = wanted;
    [
        RuleBody::new().iifname(uplink).mark_connection(*mark, *mask),
        // What is on its way in is routed like anything else.
        RuleBody::new().not_iifname(uplink).of_connection(*mark, *mask).mark_packet(*mark, *mask),
    ]
}

/// Our rules of a family.
fn ours(family: IpFamily, nft: &mut Nft) -> Result<Vec<InstalledRule>, KernelError> {
    let is_ours =
        |rule: &InstalledRule| rule.comment.as_ref().is_some_and(|it| it.as_str().starts_with(COMMENT));
    Ok(nft.rules(&chain(family))?.into_iter().filter(is_ours).collect())
}

/// The uplink that forwards only because of these rules.
fn switched(rules: &[InstalledRule]) -> Option<&str> {
    rules.iter().find_map(|rule| rule.comment.as_ref()?.as_str().strip_prefix(SWITCHED))
}

/// What rules shall say of the uplink's forwarding, before it is switched on. An uplink of older rules is as before.
fn forwarding(uplink: &str, there: &[InstalledRule], host: &Netns) -> Result<String, SymmetricError> {
    let before = switched(there);
    let was_off = match before {
        Some(before) if before == uplink => true,
        Some(before) => {
            stop_forwarding(before, host)?;
            is_off(uplink, host)?
        }
        // Rules that say nothing were made where it was on.
        None => there.is_empty() && is_off(uplink, host)?,
    };
    Ok(if was_off { format!("{SWITCHED}{uplink}") } else { COMMENT.to_owned() })
}

fn is_off(uplink: &str, host: &Netns) -> Result<bool, SymmetricError> {
    Ok(host.run(|| Sysctl::default().get(&ipv4_conf(uplink, "forwarding")))?? == "0")
}

fn stop_forwarding(uplink: &str, host: &Netns) -> Result<(), SymmetricError> {
    match host.run(|| Sysctl::default().set(&ipv4_conf(uplink, "forwarding"), "0"))? {
        // The link is gone, and its switch with it.
        Err(SysctlError::Missing { .. }) => Ok(()),
        outcome => Ok(outcome.map(drop)?),
    }
}

fn marks(
    wanted: &SymmetricRouting,
    family: IpFamily,
    there: &[InstalledRule],
    comment: &str,
    nft: &mut Nft,
) -> Result<bool, KernelError> {
    let (chain, rules) = (chain(family), rules(wanted));
    let says = |rule: &InstalledRule| rule.is_marked(comment);
    if there.iter().map(|rule| &rule.body).eq(&rules) && there.iter().all(says) {
        return Ok(false);
    }
    let comment = Comment::new(comment).ok();
    let batch = Batch::new().add_table(&chain.table).add_chain(&chain);
    let batch = there.iter().fold(batch, |batch, rule| batch.delete_rule(&chain, rule.handle));
    let batch = rules.iter().fold(batch, |batch, rule| batch.add_rule(&chain, rule, comment.as_ref()));
    nft.commit(&batch)?;
    Ok(true)
}

/// The way first, the rule second: never a rule that leads nowhere.
fn way_out(wanted: &SymmetricRouting, out: &Route, netlink: &mut Netlink) -> Result<bool, KernelError> {
    let family = out.family();
    let rule = Rule {
        mark: Some((wanted.mark, wanted.mask)),
        ..Rule::lookup(family, wanted.priority, wanted.table)
    };
    // IPv6 takes a next hop for granted only if the main table does not know it.
    let onlink = out.gateway.is_some() && family == IpFamily::V4;
    let route = Route {
        table: wanted.table,
        protocol: OUR_PROTOCOL,
        metric: 0,
        prefsrc: None,
        onlink,
        ..out.clone()
    };
    let filter = RouteFilter { family: Some(family), table: Some(wanted.table), oif: None };
    let is_it = |one: &Route| {
        one.is_default() && (one.gateway, one.oif, one.protocol) == (route.gateway, route.oif, OUR_PROTOCOL)
    };
    let has_route = netlink.routes(filter)?.iter().any(is_it);
    let others = |one: &Rule| one.protocol == OUR_PROTOCOL && one.mark.is_some() && one.family == family;
    let there: Vec<Rule> = netlink.rules()?.into_iter().filter(others).collect();
    let mut requests = Vec::new();
    if !has_route {
        requests.extend(next_hop(&route).map(|hop| Request::replace_route(&hop)));
        requests.push(Request::replace_route(&route));
    }
    if !there.contains(&rule) {
        requests.push(Request::add_rule(&rule));
    }
    requests.extend(there.iter().filter(|one| **one != rule).map(Request::delete_rule));
    netlink.transact(&requests)?;
    Ok(!requests.is_empty())
}

/// In a table of its own IPv6 finds the next hop only if the table says where it is.
fn next_hop(route: &Route) -> Option<Route> {
    let gateway = route.gateway.filter(std::net::IpAddr::is_ipv6)?;
    Some(Route { destination: IpNetwork::from(gateway), gateway: None, ..route.clone() })
}
