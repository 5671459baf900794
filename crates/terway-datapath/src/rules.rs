//! Policy routing of pods on the node: the rules to and from one pod's address, and the table of the ENI they lead to.
//!
//! Rules carry no mark that says whose they are, so they are told by what they are: our priorities, one whole address.
//! An address has one owner, and where another attachment's link leads to it, the rules are that attachment's.
//!
//! The routes of an ENI's table serve every attachment on it, and come and go without any lock. Who needs them makes
//! its rule first and the route second. Who goes deletes its rules, gives the route the protocol of what is leaving,
//! looks whether a rule leads to the table, and deletes only what is still leaving. So a route is missing only where
//! no rule is, whoever dies wherever: somebody who came in between has made it ours again, or makes it afterwards.

use std::collections::{BTreeSet, HashSet};
use std::net::IpAddr;

use ipnetwork::IpNetwork;
use terway_types::IpFamily;

use crate::describe::FIRST_TABLE;
use crate::kernel::objects::{Link, MAIN_TABLE, OUR_PROTOCOL, Route, RouteFilter, Rule};
use crate::kernel::{KernelError, Netlink, Netns, Request};
use crate::mark::Mark;
use crate::tags;

/// The priority of rules for packets to a pod. The existing implementation's; chained agents know it.
pub const TO_POD: u32 = 512;

/// The priority of rules for packets from a pod.
pub const FROM_POD: u32 = 2048;

/// The protocol number of a shared route that is about to go: one more than that of those that stay.
pub(crate) const LEAVING: u8 = OUR_PROTOCOL + 1;

/// The pod's address, if this is a rule of a pod on the node, whoever made it.
pub(crate) fn pod_of(rule: &Rule) -> Option<IpAddr> {
    let prefix = match (rule.priority, rule.from, rule.to) {
        (TO_POD, None, Some(to)) if rule.table == MAIN_TABLE => to,
        (FROM_POD, Some(from), None) if rule.table > FIRST_TABLE => from,
        _ => return None,
    };
    // Those of children routed on the node are only about what the ENI would send.
    let plain = rule.iif.is_none() && rule.mark.is_none() && (rule.oif.is_none() || rule.to.is_none());
    (plain && is_one_address(&prefix)).then(|| prefix.ip())
}

/// Whether a prefix holds one address only.
pub(crate) fn is_one_address(prefix: &IpNetwork) -> bool {
    prefix.prefix() == if prefix.is_ipv4() { 32 } else { 128 }
}

/// The addresses that links of attachments lead to, each with the mark of its link.
pub(crate) fn led_to(host: &mut Netlink) -> Result<Vec<(IpAddr, Mark)>, KernelError> {
    let links = host.links()?;
    let of_link = |index: u32| links.iter().find(|link| link.index == index);
    let mark_of = |link: &Link| link.alias.as_deref().and_then(Mark::parse);
    let routes = host.routes(RouteFilter { table: Some(MAIN_TABLE), ..RouteFilter::default() })?;
    let to_pods = routes.iter().filter(|route| is_one_address(&route.destination));
    Ok(to_pods.filter_map(|route| Some((route.destination.ip(), mark_of(of_link(route.oif?)?)?))).collect())
}

/// Whose link leads to an address by a route of its own.
pub(crate) fn owner(host: &mut Netlink, address: IpAddr) -> Result<Option<Mark>, KernelError> {
    let way = host.route_to(address)?.filter(|route| is_one_address(&route.destination));
    let Some(index) = way.and_then(|route| route.oif) else { return Ok(None) };
    let link = host.link_by_index(index)?;
    Ok(link.and_then(|link| link.alias.as_deref().and_then(Mark::parse)))
}

/// The addresses of an attachment: those known that no other's link leads to. If none is known, those that its links lead
/// to among those with rules, for which all rules and links are looked at.
pub(crate) fn addresses_of(
    host: &mut Netlink,
    mark: &Mark,
    known: &[IpAddr],
) -> Result<Vec<IpAddr>, KernelError> {
    let mut own = known.to_vec();
    if known.is_empty() {
        let with_rules: BTreeSet<_> = host.rules()?.iter().filter_map(pod_of).collect();
        if !with_rules.is_empty() {
            let led_to =
                led_to(host)?.into_iter().filter(|(to, owner)| owner == mark && with_rules.contains(to));
            own.extend(led_to.map(|(address, _)| address));
        }
        return Ok(own);
    }
    for address in known {
        if owner(host, *address)?.is_some_and(|owner| owner != *mark) {
            own.retain(|one| one != address);
        }
    }
    Ok(own)
}

/// Deletes the rules of pods' addresses, and gives them. Nothing is listed for it: the kernel tells what it deleted.
pub(crate) fn take(host: &mut Netlink, addresses: &[IpAddr]) -> Result<Vec<Rule>, KernelError> {
    let both = |address: &IpAddr| {
        let (pod, family) = (Some(IpNetwork::from(*address)), IpFamily::of(address));
        let to = Rule { to: pod, ..Rule::lookup(family, TO_POD, MAIN_TABLE) };
        let from = Rule { from: pod, ..Rule::lookup(family, FROM_POD, FIRST_TABLE) };
        [to, from].map(|rule| Request::delete_rule_about(&rule))
    };
    let requests: Vec<_> = addresses.iter().flat_map(both).collect();
    let mut taken = Vec::new();
    loop {
        let gone = host.take_rules(&requests)?;
        if gone.is_empty() {
            return Ok(taken);
        }
        // One that went may have had others behind it.
        taken.extend(gone);
    }
}

/// The pods' addresses with the index of the link whose table they leave by.
pub(crate) fn ways_out(rules: &[Rule]) -> BTreeSet<(u32, IpAddr)> {
    let out = rules.iter().filter(|rule| rule.priority == FROM_POD);
    out.filter_map(|rule| Some((rule.table.checked_sub(FIRST_TABLE)?, pod_of(rule)?))).collect()
}

/// Deletes whatever is said about the same addresses at the same place: an address has one owner, so all of it is what an
/// older attachment left. How many rules the node has does not matter to this.
pub(crate) fn clear(host: &mut Netlink, wanted: &[Rule]) -> Result<(), KernelError> {
    let about = |rule: &Rule| Request::delete_rule_about(&Rule { oif: None, ..rule.clone() });
    let mut left: Vec<Request> = wanted.iter().map(about).collect();
    while !left.is_empty() {
        let outcomes = host.transact_each(&left);
        let mut deleted = outcomes.iter().map(Result::is_ok).collect::<Vec<_>>().into_iter();
        // One that went may have had others behind it.
        left.retain(|_| deleted.next().unwrap_or_default());
        outcomes.into_iter().filter_map(Result::err).find(|error| !error.is_absent()).map_or(Ok(()), Err)?;
    }
    Ok(())
}

/// What is in the way of the rules wanted and what of them is there: an address has one owner, so a rule about it
/// that leads elsewhere is one an older attachment left.
pub(crate) fn make_way(wanted: &[Rule], there: &[Rule]) -> (Vec<Request>, Vec<Rule>) {
    let about = |rule: &Rule| (rule.family, rule.priority, rule.from, rule.to, rule.oif.clone());
    let rivals = there.iter().filter(|rule| wanted.iter().any(|own| about(own) == about(rule)));
    let stale = rivals.filter(|rule| !wanted.contains(rule)).map(Request::delete_rule);
    let missing = wanted.iter().filter(|rule| !there.contains(rule)).cloned();
    (stale.collect(), missing.collect())
}

/// The tables of ENIs that rules lead to.
pub(crate) fn tables_of(rules: &[Rule]) -> BTreeSet<u32> {
    rules.iter().map(|rule| rule.table).filter(|table| *table > FIRST_TABLE).collect()
}

/// Deletes what attachments left that are gone without a trace: rules of our making about an address that no
/// attachment's link leads to, our routes of tables that no rule leads to, and the tags of VLANs that go with them.
/// Gives the addresses.
///
/// An attachment that comes at the same time loses nothing: its link and the route over it are there before its
/// rules, its rules before the routes of the table, and they are looked at here in the opposite order.
pub fn sweep(host: &Netns) -> Result<BTreeSet<IpAddr>, KernelError> {
    let mut host = Netlink::open(host)?;
    let is_ours = |rule: &Rule| rule.protocol == OUR_PROTOCOL;
    let rules: Vec<_> = host.rules()?.into_iter().filter(is_ours).collect();
    let led_to = led_to(&mut host)?;
    let is_stale = |address: IpAddr| !led_to.iter().any(|(to, _)| *to == address);
    let stale: Vec<_> = rules.into_iter().filter(|rule| pod_of(rule).is_some_and(is_stale)).collect();
    settle(&mut host, &stale.iter().map(Request::delete_rule).collect::<Vec<_>>())?;
    let routes = host.routes(RouteFilter::default())?;
    let in_tables = routes.iter().filter(|route| route.table > FIRST_TABLE && is_our_route(route));
    free(&mut host, &in_tables.map(|route| route.table).collect())?;
    tags::sweep(&mut host)?;
    Ok(stale.iter().filter_map(pod_of).collect())
}

fn is_our_route(route: &Route) -> bool {
    [OUR_PROTOCOL, LEAVING].contains(&route.protocol)
}

/// Deletes our routes of tables that no rule leads to. Those of both families, though only one may have had a rule left:
/// somebody may have deleted the other's.
pub fn free_tables(host: &Netns, tables: &BTreeSet<u32>) -> Result<(), KernelError> {
    if tables.is_empty() { Ok(()) } else { free(&mut Netlink::open(host)?, tables) }
}

/// The same. Rules are read once for all tables, and once more if something has to go.
pub(crate) fn free(host: &mut Netlink, tables: &BTreeSet<u32>) -> Result<(), KernelError> {
    IpFamily::BOTH.into_iter().try_for_each(|family| {
        let used = if tables.is_empty() { HashSet::new() } else { host.tables_led_to(family)? };
        let (mut routes, mut changes) = (Vec::new(), Vec::new());
        for table in tables.iter().filter(|table| !used.contains(table)) {
            routes.extend(ours_in(host, family, *table)?);
        }
        changes.extend(routes.iter().map(|route| Request::change_route(&leaving(route))));
        // A route whose next hop somebody took away cannot be changed any more; it goes as it is.
        let changed = host.transact_each(&changes);
        let used = if routes.is_empty() { HashSet::new() } else { host.tables_led_to(family)? };
        let last = routes.iter().zip(&changed).map(|(route, changed)| match changed {
            _ if used.contains(&route.table) => {
                Request::replace_route(&Route { protocol: OUR_PROTOCOL, ..route.clone() })
            }
            Ok(()) => Request::delete_route(&leaving(route)),
            Err(_) => Request::delete_route(route),
        });
        settle(host, &last.collect::<Vec<_>>())
    })
}

fn leaving(route: &Route) -> Route {
    Route { protocol: LEAVING, ..route.clone() }
}

/// Our routes of a table, those on the link first: the next hop of the others is among them.
fn ours_in(host: &mut Netlink, family: IpFamily, table: u32) -> Result<Vec<Route>, KernelError> {
    let filter = RouteFilter { family: Some(family), table: Some(table), oif: None };
    let ours = host.routes(filter)?.into_iter().filter(is_our_route);
    let (mut routes, others): (Vec<_>, Vec<_>) = ours.partition(|route| route.gateway.is_none());
    routes.extend(others);
    Ok(routes)
}

/// What is not there any more need not be changed.
fn settle(host: &mut Netlink, requests: &[Request]) -> Result<(), KernelError> {
    let outcomes = host.transact_each(requests);
    outcomes.into_iter().filter_map(Result::err).find(|error| !error.is_absent()).map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(priority: u32, from: Option<&str>, to: Option<&str>, table: u32) -> Rule {
        let prefix = |text: Option<&str>| text.map(|text| text.parse().unwrap());
        Rule { from: prefix(from), to: prefix(to), ..Rule::lookup(IpFamily::V4, priority, table) }
    }

    #[test]
    fn a_pods_rules_are_told_by_priority_address_and_table() {
        let pod = "10.0.1.5".parse().ok();
        for (rule, wanted) in [
            (rule(512, None, Some("10.0.1.5/32"), 254), pod),
            (rule(2048, Some("10.0.1.5/32"), None, 1003), pod),
            (rule(512, None, Some("10.0.1.0/24"), 254), None),
            (rule(512, None, Some("10.0.1.5/32"), 1003), None),
            (rule(2048, Some("10.0.1.5/32"), None, 254), None),
            (rule(2048, Some("10.0.1.5/32"), Some("10.0.0.0/8"), 1003), None),
            (rule(600, Some("10.0.1.5/32"), None, 1003), None),
            (Rule { oif: Some("eth1".into()), ..rule(2048, Some("10.0.1.5/32"), None, 1003) }, pod),
            (Rule { oif: Some("eth1".into()), ..rule(512, None, Some("10.0.1.5/32"), 254) }, None),
            (Rule { iif: Some("eth0".into()), ..rule(512, None, Some("10.0.1.5/32"), 254) }, None),
            (Rule { mark: Some((1, 1)), ..rule(2048, Some("10.0.1.5/32"), None, 1003) }, None),
        ] {
            assert_eq!(pod_of(&rule), wanted, "{rule}");
        }
    }

    #[test]
    fn what_an_older_attachment_of_the_address_left_makes_way() {
        let wanted = [rule(512, None, Some("10.0.1.5/32"), 254), rule(2048, Some("10.0.1.5/32"), None, 1003)];
        let old = rule(2048, Some("10.0.1.5/32"), None, 1007);
        let others = rule(2048, Some("10.0.1.6/32"), None, 1007);
        let (stale, missing) = make_way(&wanted, &[wanted[0].clone(), old, others]);
        let stale: Vec<_> = stale.iter().map(Request::what).collect();
        assert_eq!(stale, ["delete rule 2048 from 10.0.1.5/32 lookup 1007"]);
        assert_eq!(missing, wanted[1..]);
    }
}
