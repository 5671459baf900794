//! Tags of a trunk's members on the node: filters in the trunk's clsact, with the priorities of the existing
//! implementation, between which chained agents place theirs. An agent's filter sees packets of pods as they are:
//! incoming ones are looked at anew once their tag is off, outgoing ones get it last.
//!
//! Filters carry no mark, so they are told by what they are: our priorities, one whole address, one tag. They come after
//! the rule by which the address leaves by the trunk and go after it: one without that rule is stale. The filter that
//! takes tags off serves all and comes and goes without a lock: who comes tags first and looks for it second; who goes
//! looks once more after it took it away. Clsact stays, and empty priorities in it: somebody may be about to use them, and
//! the kernel takes neither away only if it is empty.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnetwork::IpNetwork;

use crate::describe::{NamespaceLayout, Tagging};
use crate::kernel::objects::Link;
use crate::kernel::{Action, Filter, Hook, InstalledFilter, KernelError, Match, Netlink, Request};
use crate::mark::Mark;
use crate::rules;

/// Before the filters of agents.
const OFF: u16 = 20_000;
/// Behind them. A priority has filters of one protocol.
const ON_IPV4: u16 = 50_001;
const ON_IPV6: u16 = 50_002;

/// The filter that does it.
pub(crate) fn filter(tagging: Tagging) -> Filter {
    match tagging {
        Tagging::On { source, id } => Filter {
            hook: Hook::Egress,
            priority: if source.is_ipv4() { ON_IPV4 } else { ON_IPV6 },
            matches: Match::From(IpNetwork::from(source)),
            actions: vec![Action::PushVlan(id)],
        },
        Tagging::Off => Filter {
            hook: Hook::Ingress,
            priority: OFF,
            matches: Match::Tagged,
            actions: vec![Action::PopVlan],
        },
    }
}

/// What a filter does, for people.
pub(crate) fn words(filter: &Filter) -> String {
    let word = |action: &Action| match action {
        Action::PopVlan => "vlan pop".to_owned(),
        Action::PushVlan(id) => format!("vlan push {id}"),
        other => format!("{other:?}"),
    };
    filter.actions.iter().map(word).collect::<Vec<_>>().join(", ")
}

/// The tags of a layout with their links' indexes, in the order they must be made in.
pub(crate) fn by_index(wanted: &NamespaceLayout, links: &[Link]) -> impl Iterator<Item = (u32, Tagging)> {
    let found = wanted.tags.iter().filter_map(|tag| {
        let link = links.iter().find(|link| link.name == tag.link)?;
        Some((link.index, tag.tagging))
    });
    let (on, off): (Vec<_>, Vec<_>) = found.partition(|(_, tagging)| *tagging != Tagging::Off);
    on.into_iter().chain(off)
}

/// What is left to do for a tag on this link. An address has one owner, so another tag on it is one that an older
/// attachment left.
pub(crate) fn missing(host: &mut Netlink, link: u32, tagging: Tagging) -> Result<Vec<Request>, KernelError> {
    let wanted = filter(tagging);
    let there = host.filters(link, wanted.hook)?;
    let is_rival = |one: &&InstalledFilter| {
        (one.filter.priority, one.filter.matches) == (wanted.priority, wanted.matches) && one.filter != wanted
    };
    let mut requests: Vec<_> =
        there.iter().filter(is_rival).map(|stale| Request::delete_filter(link, stale)).collect();
    if !there.iter().any(|one| one.filter == wanted) {
        let needs = "(needs kernel modules sch_ingress, cls_u32 and act_vlan)";
        requests.push(Request::ensure_clsact(link).described(format!("give the trunk a clsact {needs}")));
        let what = format!("add a filter at {} of the trunk: {} {needs}", wanted.hook, words(&wanted));
        requests.push(Request::add_filter(link, &wanted).described(what));
    }
    Ok(requests)
}

/// Whether what comes in by a link loses its tag, so that no VLAN link on it hears anything.
pub(crate) fn come_off(host: &mut Netlink, link: u32) -> Result<bool, KernelError> {
    let wanted = filter(Tagging::Off);
    Ok(host.filters(link, wanted.hook)?.iter().any(|installed| installed.filter == wanted))
}

/// Takes the tags of these addresses off these links.
pub(crate) fn remove(host: &mut Netlink, sources: &BTreeSet<(u32, IpAddr)>) -> Result<(), KernelError> {
    let links: BTreeSet<_> = sources.iter().map(|(link, _)| *link).collect();
    links.into_iter().try_for_each(|link| {
        let all = tagged(host, link)?;
        let mut gone = all.iter().filter(|(source, _)| sources.contains(&(link, *source))).peekable();
        if gone.peek().is_none() {
            return Ok(());
        }
        drop_all(host, link, gone.map(|(_, filter)| filter))?;
        settle(host, link)
    })
}

/// Deletes the tags of addresses that no rule leads to their link, from every link that is no attachment's.
pub(crate) fn sweep(host: &mut Netlink) -> Result<(), KernelError> {
    let is_marked = |link: &Link| link.alias.as_deref().and_then(Mark::parse).is_some();
    let links = host.links()?.into_iter().filter(|link| !link.loopback && !is_marked(link));
    for Link { index, .. } in links.collect::<Vec<_>>() {
        let all = tagged(host, index)?;
        if !all.is_empty() {
            // Read behind the filters: of an attachment that has just come, the rule was there before them.
            let led = rules::ways_out(&host.rules()?);
            let stale = all.iter().filter(|(source, _)| !led.contains(&(index, *source)));
            drop_all(host, index, stale.map(|(_, filter)| filter))?;
        }
        settle(host, index)?;
    }
    Ok(())
}

/// The filters that put tags on what leaves by a link, with the address each is for.
fn tagged(host: &mut Netlink, link: u32) -> Result<Vec<(IpAddr, InstalledFilter)>, KernelError> {
    let all = host.filters(link, Hook::Egress)?.into_iter();
    Ok(all.filter_map(|installed| Some((source(&installed.filter)?, installed))).collect())
}

/// The address a filter of ours tags.
fn source(filter: &Filter) -> Option<IpAddr> {
    match (filter.matches, &filter.actions[..]) {
        (Match::From(prefix), [Action::PushVlan(_)]) if rules::is_one_address(&prefix) => {
            [ON_IPV4, ON_IPV6].contains(&filter.priority).then(|| prefix.ip())
        }
        _ => None,
    }
}

/// Takes away what takes tags off, unless somebody needs it.
fn settle(host: &mut Netlink, link: u32) -> Result<(), KernelError> {
    let wanted = filter(Tagging::Off);
    let mut off = host.filters(link, Hook::Ingress)?;
    off.retain(|installed| installed.filter == wanted);
    if off.is_empty() || !tagged(host, link)?.is_empty() {
        return Ok(());
    }
    drop_all(host, link, &off)?;
    if tagged(host, link)?.is_empty() {
        return Ok(());
    }
    let back = missing(host, link, Tagging::Off)?;
    host.transact(&back)
}

fn drop_all<'a>(
    host: &mut Netlink,
    link: u32,
    filters: impl IntoIterator<Item = &'a InstalledFilter>,
) -> Result<(), KernelError> {
    let requests: Vec<_> = filters.into_iter().map(|filter| Request::delete_filter(link, filter)).collect();
    host.transact_if_present(&requests).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::describe::VlanTag;

    /// Chained agents have 25000 between them.
    #[test]
    fn priorities_are_those_of_the_existing_implementation() {
        let priority = |tagging| filter(tagging).priority;
        let on = |source: &str| Tagging::On { source: source.parse().unwrap(), id: 7 };
        assert_eq!([Tagging::Off, on("10.0.1.5"), on("fd00::5")].map(priority), [20_000, 50_001, 50_002]);
    }

    #[test]
    fn who_comes_tags_first_and_looks_for_what_serves_all_second() {
        let tag = |tagging| VlanTag { link: "eth1".into(), tagging };
        let on = Tagging::On { source: "10.0.1.5".parse().unwrap(), id: 7 };
        let wanted = NamespaceLayout { tags: vec![tag(Tagging::Off), tag(on)], ..NamespaceLayout::default() };
        let link = Link { index: 3, name: "eth1".into(), ..Link::default() };
        assert_eq!(by_index(&wanted, &[link]).collect::<Vec<_>>(), [(3, on), (3, Tagging::Off)]);
    }
}
