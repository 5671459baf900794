//! Which packets wait in which class: a filter by the pod's address, in every place where packets wait.
//!
//! Filters bear no mark, so they are told by what they are: our priorities, one whole address, one of the three classes.
//! An address has one owner, so another class for it is one that an older attachment left, and makes way.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnetwork::IpNetwork;
use terway_types::PriorityClass;

use crate::describe::Class;
use crate::kernel::objects::{Link, Qdisc};
use crate::kernel::{Action, Filter, Hook, InstalledFilter, KernelError, Match, Netlink, Request};
use crate::mark::Mark;
use crate::rules::is_one_address;

/// A priority has filters of one protocol. That of what bears a tag is the tag's, whatever is behind it.
const IPV4: u16 = 1;
const IPV6: u16 = 2;
const TAGGED: u16 = 3;

/// The filter that puts packets into their class of the qdisc with this handle.
pub(crate) fn filter(wanted: &Class, prio: u32) -> Filter {
    let prefix = IpNetwork::from(wanted.source);
    let minor = (1..).zip(PriorityClass::ALL).find(|(_, class)| *class == wanted.class);
    let (priority, matches) = match (wanted.tagged, wanted.source.is_ipv4()) {
        (true, _) => (TAGGED, Match::TaggedFrom(prefix)),
        (false, true) => (IPV4, Match::From(prefix)),
        (false, false) => (IPV6, Match::From(prefix)),
    };
    let to = Action::ToClass(prio | minor.map_or(0, |(minor, _)| minor));
    Filter { hook: Hook::Wait(prio), priority, matches, actions: vec![to] }
}

/// The class that a filter leads to. The kernel heeds the minor number alone.
pub(crate) fn class_of(filter: &Filter) -> Option<PriorityClass> {
    let [Action::ToClass(class)] = filter.actions[..] else { return None };
    let place = usize::try_from(class & 0xffff).ok()?.checked_sub(1)?;
    PriorityClass::ALL.get(place).copied()
}

/// The address whose packets a filter of ours is for.
pub(crate) fn source(filter: &Filter) -> Option<IpAddr> {
    let (Match::From(prefix) | Match::TaggedFrom(prefix)) = filter.matches else { return None };
    let is_ours = [IPV4, IPV6, TAGGED].contains(&filter.priority) && class_of(filter).is_some();
    (is_ours && is_one_address(&prefix)).then(|| prefix.ip())
}

/// What puts an address into its class where these filters are.
pub(crate) fn place(link: &Link, wanted: &Class, prio: u32, there: &[InstalledFilter]) -> Vec<Request> {
    let exact = filter(wanted, prio);
    let (own, rivals): (Vec<_>, Vec<_>) = there
        .iter()
        .filter(|one| source(&one.filter) == Some(wanted.source))
        .partition(|one| one.filter.matches == exact.matches && class_of(&one.filter) == Some(wanted.class));
    let mut requests: Vec<_> =
        rivals.into_iter().map(|stale| Request::delete_filter(link.index, stale)).collect();
    if own.is_empty() {
        let what = format!("add {wanted} (needs kernel module cls_u32)");
        requests.push(Request::add_filter(link.index, &exact).described(what));
    }
    requests
}

/// Has these addresses be of no class on these links.
pub(crate) fn remove(
    host: &mut Netlink,
    links: &BTreeSet<u32>,
    addresses: &BTreeSet<IpAddr>,
) -> Result<(), KernelError> {
    for index in links {
        // Most nodes have no classes, which one answer tells.
        if !host.qdisc(*index, Qdisc::ROOT)?.is_some_and(|root| super::may_have_classes(&root)) {
            continue;
        }
        let Some(link) = host.link_by_index(*index)? else { continue };
        let mut gone = of_link(host, &link)?;
        gone.retain(|(address, _)| addresses.contains(address));
        let requests: Vec<_> = gone.iter().map(|(_, one)| Request::delete_filter(*index, one)).collect();
        let refused = host.transact_each(&requests).into_iter().filter_map(Result::err);
        refused.filter(|error| !error.is_absent()).map(Err).next().unwrap_or(Ok(()))?;
    }
    Ok(())
}

/// The addresses that are of a class somewhere, with the indexes of those links. Links of attachments have none.
pub(crate) fn left(host: &mut Netlink) -> Result<BTreeMap<IpAddr, BTreeSet<u32>>, KernelError> {
    let is_marked = |link: &Link| link.alias.as_deref().and_then(Mark::parse).is_some();
    let mut all: BTreeMap<IpAddr, BTreeSet<u32>> = BTreeMap::new();
    for link in host.links()?.into_iter().filter(|link| !link.loopback && !is_marked(link)) {
        for (address, _) in of_link(host, &link)? {
            all.entry(address).or_default().insert(link.index);
        }
    }
    Ok(all)
}

fn of_link(host: &mut Netlink, link: &Link) -> Result<Vec<(IpAddr, InstalledFilter)>, KernelError> {
    let mut all = Vec::new();
    for handle in super::bare(host, link)?.prios() {
        let filters = host.filters(link.index, Hook::Wait(handle))?.into_iter();
        all.extend(filters.filter_map(|one| Some((source(&one.filter)?, one))));
    }
    Ok(all)
}
