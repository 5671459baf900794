//! A layout's objects as requests to the kernel.

use std::net::IpAddr;

use ipnetwork::Ipv6Network;

use super::StepError;
use crate::describe::{Layout, Link, LinkKind, NamespaceLayout, Route, Table};
use crate::kernel::objects as kernel;
use crate::kernel::{LinkChange, Netlink, Netns, NewLink, Request, Words};
use crate::{names, rules};

/// Makes the links that do not exist yet, each at once in its namespace. Sent in the host.
pub(super) fn make_links(layout: &Layout, pod: &Netns) -> Vec<Request> {
    let mut requests = Vec::new();
    for link in &layout.host.links {
        let LinkKind::PairEnd { peer } = &link.kind else { continue };
        let Some(far) = layout.pod.link(peer) else { continue };
        requests.push(Request::add_veth(&new(link, None), &new(far, Some(pod))));
        // The kernel takes no alias at creation.
        let marked = LinkChange { alias: Some(link.mark.as_str()), ..LinkChange::default() };
        requests.push(Request::set_link(link.name.as_str(), &marked));
    }
    for link in layout.pod.links.iter().filter(|link| link.kind == LinkKind::Ifb) {
        let what = format!("create ifb {} (needs kernel module ifb)", link.name);
        requests.push(Request::add_ifb(&new(link, Some(pod))).described(what));
    }
    requests
}

/// Makes the links that are children of an ENI that stays; it must be up first, and take packets of their size. Sent in
/// the host.
pub(super) fn make_children(
    layout: &Layout,
    eni: Option<&kernel::Link>,
    pod: &Netns,
) -> Result<Vec<Request>, StepError> {
    let is_child = |link: &&Link| link.kind.is_child();
    let Some(eni) = eni.filter(|_| layout.pod.links.iter().any(|link| link.kind.is_child())) else {
        return Ok(Vec::new());
    };
    let mut requests = shared_nics(&layout.host, std::slice::from_ref(eni))?;
    for link in layout.pod.links.iter().filter(is_child) {
        let name = names::unnamed_child(&layout.key, &link.name);
        requests.extend(make_child(link, &NewLink { name: &name, ..new(link, Some(pod)) }, eni.index));
    }
    for link in layout.host.links.iter().filter(is_child) {
        requests.extend(make_child(link, &new(link, None), eni.index));
        let marked = LinkChange { alias: Some(link.mark.as_str()), ..LinkChange::default() };
        requests.push(Request::set_link(link.name.as_str(), &marked));
    }
    Ok(requests)
}

/// The MAC is the parent's; the kernel takes it from there.
fn make_child(link: &Link, child: &NewLink<'_>, eni: u32) -> Option<Request> {
    let child = NewLink { mac: None, ..*child };
    match &link.kind {
        LinkKind::Vlan { trunk, id } => {
            let what = format!(
                "make VLAN {id} of trunk {trunk} the pod's {} (a trunk has each VLAN once; needs kernel module 8021q)",
                link.name
            );
            Some(Request::add_vlan(&child, eni, *id).described(what))
        }
        LinkKind::Ipvlan { parent, mode } => {
            let what = format!("make {} a child of {parent} (needs kernel module ipvlan)", link.name);
            Some(Request::add_ipvlan(&child, eni, *mode).described(what))
        }
        _ => None,
    }
}

/// Gives children their names and marks. Sent in the pod.
pub(super) fn name_children(layout: &Layout, links: &[kernel::Link]) -> Vec<Request> {
    let named = layout.pod.links.iter().filter_map(|link| {
        let made = names::unnamed_child(&layout.key, &link.name);
        let child = links.iter().find(|one| one.name == made)?;
        let change =
            LinkChange { name: Some(&link.name), alias: Some(link.mark.as_str()), ..LinkChange::default() };
        Some(Request::set_link(child.index, &change).described(format!("name link {}", link.name)))
    });
    named.collect()
}

/// Moves the ENI's netdev to the pod under its name there. Sent in the host.
pub(super) fn move_nic(link: &Link, nic: &kernel::Link, pod: &Netns) -> Request {
    let change = LinkChange {
        name: Some(&link.name),
        mtu: Some(link.mtu),
        alias: Some(link.mark.as_str()),
        netns: Some(pod),
        ..LinkChange::default()
    };
    let what = format!("move NIC {} of MAC {} to the pod as {}", nic.name, link.mac, link.name);
    Request::set_link(nic.index, &change).described(what)
}

/// Brings the ENIs that stay to the state they must have; what they have already is not asked for again, because
/// every change of a link is an event for the whole node.
fn shared_nics(wanted: &NamespaceLayout, links: &[kernel::Link]) -> Result<Vec<Request>, StepError> {
    let mut requests = Vec::new();
    for nic in &wanted.nics {
        let link = links.iter().find(|link| link.name == nic.name);
        let link = link.ok_or_else(|| StepError::Vanished(nic.name.clone()))?;
        let change = LinkChange {
            mtu: nic.mtu.filter(|mtu| link.mtu < *mtu),
            up: (!link.up).then_some(true),
            ..LinkChange::default()
        };
        if change.mtu.is_some() || change.up.is_some() {
            let what = format!("set up the shared ENI {}", nic.name);
            requests.push(Request::set_link(link.index, &change).described(what));
        }
    }
    Ok(requests)
}

/// The link-local addresses that ENIs need and have not got from the kernel when they came up.
pub(super) fn link_locals(
    wanted: &NamespaceLayout,
    links: &[kernel::Link],
    netlink: &mut Netlink,
) -> Result<Vec<Request>, StepError> {
    let mut requests = Vec::new();
    for (nic, address) in wanted.nics.iter().filter_map(|nic| Some((nic, nic.link_local?))) {
        let link = links.iter().find(|link| link.name == nic.name);
        let index = link.ok_or_else(|| StepError::Vanished(nic.name.clone()))?.index;
        let there = netlink.addresses(Some(index))?;
        if let (false, Ok(network)) =
            (there.iter().any(kernel::Address::asks_for_neighbours), Ipv6Network::new(address, 64))
        {
            let what = format!("give the shared ENI {} the address {address}", nic.name);
            requests.push(Request::replace_address(index, network.into()).described(what));
        }
    }
    Ok(requests)
}

/// Everything on the links of one namespace. Limits come before the links are up: no packet passes unlimited. The
/// rules come between the routes of the main table and those of other tables ([`crate::rules`] says why).
pub(super) fn inside(
    wanted: &NamespaceLayout,
    links: &[kernel::Link],
    there: &[kernel::Rule],
) -> Result<Vec<Request>, StepError> {
    let by_name = ByName(links);
    let mut requests = shared_nics(wanted, links)?;
    requests.extend(on_links(wanted, &by_name)?);
    let first = |route: &&Route| route.table == Table::Main && !is_looked_up(route);
    let (main, others): (Vec<_>, Vec<_>) = wanted.routes.iter().partition(first);
    let (last, own): (Vec<_>, Vec<_>) = others.into_iter().partition(|route| route.table == Table::Main);
    let (own, direct): (Vec<_>, Vec<_>) = own.into_iter().partition(|route| is_looked_up(route));
    for route in main {
        requests.push(self::route(route, &by_name)?);
    }
    let (stale, missing) = rules::make_way(&rules(wanted, links)?, there);
    requests.extend(stale);
    requests.extend(missing.iter().map(Request::add_rule));
    for route in direct.into_iter().chain(own).chain(last) {
        requests.push(self::route(route, &by_name)?);
    }
    Ok(requests)
}

/// The links of one namespace, by name.
struct ByName<'a>(&'a [kernel::Link]);

impl ByName<'_> {
    fn find(&self, name: &str) -> Option<u32> {
        self.0.iter().find(|link| link.name == name).map(|link| link.index)
    }

    /// The index of a link that must be there.
    fn index(&self, name: &str) -> Result<u32, StepError> {
        self.find(name).ok_or_else(|| StepError::Vanished(name.to_owned()))
    }

    /// The number of a table, whose link must be there.
    fn table(&self, table: &Table) -> Result<u32, StepError> {
        let number = table.number(|name| self.find(name));
        number.ok_or_else(|| StepError::Vanished(table.link().unwrap_or_default().to_owned()))
    }
}

/// What is put on links before anything is routed over them.
fn on_links(wanted: &NamespaceLayout, by_name: &ByName<'_>) -> Result<Vec<Request>, StepError> {
    let mut requests = Vec::new();
    for limit in &wanted.limits {
        let what = format!("add {limit} (needs kernel module sch_tbf)");
        requests.push(Request::replace_tbf(by_name.index(&limit.link)?, &limit.bucket).described(what));
    }
    for redirect in &wanted.redirects {
        let (from, to) = (by_name.index(&redirect.from)?, by_name.index(&redirect.to)?);
        let what = format!("add clsact to {} (needs kernel module sch_ingress)", redirect.from);
        requests.push(Request::add_clsact(from).described(what));
        let what = format!("add {redirect} (needs kernel modules cls_u32 and act_mirred)");
        requests.push(Request::redirect_ingress(from, to).described(what));
    }
    for link in &wanted.links {
        let (alias, group) = (Some(link.mark.as_str()), link.group);
        let change = LinkChange { up: Some(true), alias, group, ..LinkChange::default() };
        let request = Request::set_link(by_name.index(&link.name)?, &change);
        requests.push(request.described(Words::about("mark and set up link", &link.name)));
    }
    for address in &wanted.addresses {
        let request = Request::add_address(by_name.index(&address.link)?, address.address);
        requests.push(request.described(Words::about("add", address)));
    }
    for neighbour in &wanted.neighbours {
        let index = by_name.index(&neighbour.link)?;
        let request = Request::replace_neighbour(index, neighbour.address, neighbour.mac);
        requests.push(request.described(Words::about("add", neighbour)));
    }
    Ok(requests)
}

/// Whether the kernel looks for the next hop's link: what leads there must exist before. A link-local one is where the
/// route says.
fn is_looked_up(route: &Route) -> bool {
    let is_global = |via: IpAddr| matches!(via, IpAddr::V6(via) if !via.is_unicast_link_local());
    !route.onlink && route.via.is_some_and(is_global)
}

/// The rules as the kernel shall have them.
pub(super) fn rules(
    wanted: &NamespaceLayout,
    links: &[kernel::Link],
) -> Result<Vec<kernel::Rule>, StepError> {
    let by_name = ByName(links);
    wanted.rules.iter().map(|rule| Ok(rule.request(by_name.table(&rule.table)?))).collect()
}

/// A route with a preferred source is the node's way to a pod: it replaces one an older attachment of the same
/// address left. A shared one may be there already. In the pod nothing is replaced; what stands there is another
/// plugin's.
fn route(route: &Route, by_name: &ByName<'_>) -> Result<Request, StepError> {
    let wanted = route.request(by_name.index(&route.link)?, by_name.table(&route.table)?);
    let request = if route.source.is_some() || route.shared {
        Request::replace_route(&wanted)
    } else {
        Request::add_route(&wanted)
    };
    Ok(request.described(Words::about("add", route)))
}

fn new<'a>(link: &'a Link, netns: Option<&'a Netns>) -> NewLink<'a> {
    let (mac, mtu) = (Some(link.mac), Some(link.mtu));
    NewLink { name: &link.name, mac, mtu, group: link.group, netns, ..NewLink::default() }
}
