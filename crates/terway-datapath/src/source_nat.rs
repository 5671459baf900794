//! Source translation of pods' traffic in nf_tables: one table per family, named `terway`, shared by all attachments of
//! the node and gone with the last. A pod is an element of a map there, from its address to the node's, which carries its
//! attachment's mark; the rules that look pods up are the same for all, so that neither packets nor calls cost more on a
//! node with more pods. Where `held` tells what is there, `restore` makes what is missing.
//!
//! Invariant: what several calls have in common (table, chain, map, rules) is made and taken away only if nothing of the
//! node's packet filter was changed since it was looked at, and so is an element that somebody else may have replaced.
//!
//! Earlier programs made two rules per pod, each with the mark. They stay as long as their pods, and go with them.

mod held;

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnetwork::IpNetwork;
use terway_types::IpFamily;

pub(crate) use held::{All, Translation, all, held, marks};

use crate::describe::SourceNat;
use crate::kernel::nft::{
    Base, Batch, Chain, Comment, Deletion, Element, Family, Hook, InstalledRule, Kind, Map, Nft, Policy,
    RuleBody, Table, priority,
};
use crate::kernel::{KernelError, Netns};
use crate::mark::Mark;

/// The name of our tables.
pub(crate) const TABLE: &str = "terway";
/// The maps of pods: whose packets are all translated, and whose are on their way to services.
const SORTS: [(bool, &str); 2] = [(false, "pods"), (true, "pods_to_services")];

/// The chain of a family.
fn chain(family: IpFamily) -> Chain {
    let base =
        Base { kind: Kind::Nat, hook: Hook::Postrouting, priority: priority::SRCNAT, policy: Policy::Accept };
    Chain::base(&table(family), "postrouting", base)
}

fn table(family: IpFamily) -> Table {
    match family {
        IpFamily::V4 => Table::new(Family::Ip, TABLE),
        IpFamily::V6 => Table::new(Family::Ip6, TABLE),
    }
}

/// The maps of a family, with what their pods have in common.
fn maps(family: IpFamily) -> [(bool, Map); 2] {
    SORTS.map(|(of_services, name)| (of_services, Map::new(&table(family), name)))
}

/// The map that a pod is an element of.
fn map(nat: &SourceNat) -> Map {
    let [(_, of_all), (_, of_services)] = maps(IpFamily::of(&nat.pod));
    if nat.of_services { of_services } else { of_all }
}

fn element(nat: &SourceNat, mark: &Mark) -> Element {
    Element { key: nat.pod, value: nat.node, comment: Comment::new(mark.as_str()).ok() }
}

/// What the kernel must do for the pods of a map: what they send through the node, and what others send them through the
/// node, bears the node's address. What the node itself sends bears it anyway.
fn rules_of(of_services: bool, map: &Map) -> [RuleBody; 2] {
    [sent(of_services).snat_by_saddr(map), RuleBody::new().snat_by_daddr(map)]
}

/// The rules that serve a pod.
pub(crate) fn rules(nat: &SourceNat) -> [RuleBody; 2] {
    rules_of(nat.of_services, &map(nat))
}

fn sent(of_services: bool) -> RuleBody {
    // What the node serves itself passes by `lo`, and comes back by the node whoever asked.
    if of_services { RuleBody::new().to_translated().not_oifname("lo") } else { RuleBody::new() }
}

/// What earlier programs made for each pod.
pub(crate) fn earlier_rules(nat: &SourceNat) -> [RuleBody; 2] {
    let (pod, node) = (IpNetwork::from(nat.pod), nat.node);
    let sent = if nat.of_services {
        RuleBody::new().saddr(pod).to_translated().not_oifname("lo")
    } else {
        RuleBody::new().saddr(pod)
    };
    let to_pod = RuleBody::new().daddr(pod).not_saddr(IpNetwork::from(node));
    [sent.snat_to(node), to_pod.snat_to(node)]
}

/// What adds the element of an address, where that is all there is to do.
pub(crate) fn addition(nat: &SourceNat, mark: &Mark) -> Batch {
    Batch::new().add_element(&map(nat), &element(nat, mark))
}

/// Makes the additions of an attachment, and what they lack.
pub(crate) fn install(
    additions: &[(SourceNat, Batch)],
    mark: &Mark,
    netns: &Netns,
) -> Result<(), KernelError> {
    let mut nft = Nft::open(netns)?;
    additions.iter().try_for_each(|(nat, addition)| match nft.commit(addition) {
        // The first pod makes the table; what an address had before makes way: it has one owner.
        Err(error) if error.is_absent() || error.is_exists() || error.is_busy() => {
            restore_one(nat, mark, &mut nft)
        }
        outcome => outcome,
    })
}

/// Makes what is missing of an attachment's translation, and of what it has in common with others.
pub(crate) fn restore(wanted: &[SourceNat], mark: &Mark, netns: &Netns) -> Result<(), KernelError> {
    let mut nft = Nft::open(netns)?;
    wanted.iter().try_for_each(|nat| restore_one(nat, mark, &mut nft))
}

fn restore_one(nat: &SourceNat, mark: &Mark, nft: &mut Nft) -> Result<(), KernelError> {
    nft.commit_as_read(|nft| Ok((missing(nat, mark, nft)?, ())))
}

fn missing(nat: &SourceNat, mark: &Mark, nft: &mut Nft) -> Result<Batch, KernelError> {
    let (chain, map, wanted) = (chain(IpFamily::of(&nat.pod)), map(nat), rules(nat));
    let there = nft.rules(&chain)?;
    let mut batch = Batch::new().add_table(&chain.table).add_chain(&chain).add_map(&map);
    // Of an earlier program's.
    let mut stale: Vec<_> = there.iter().filter(|rule| rule.is_marked(mark.as_str())).collect();
    let shared = |rule: &&InstalledRule| wanted.contains(&rule.body);
    if !there.iter().filter(shared).map(|rule| &rule.body).eq(&wanted) {
        stale.extend(there.iter().filter(shared));
        batch = wanted.iter().fold(batch, |batch, rule| batch.add_rule(&chain, rule, None));
    }
    batch = stale.iter().fold(batch, |batch, rule| batch.delete_rule(&chain, rule.handle));
    let element = element(nat, mark);
    let before = nft.elements_at(&[(map.clone(), nat.pod)])?;
    if before.contains(&element) {
        return Ok(batch);
    }
    let batch = before.iter().fold(batch, |batch, before| batch.delete_element(&map, before.key));
    Ok(batch.add_element(&map, &element))
}

/// Deletes what is translated of an attachment, and a table nobody needs any more. Says how many addresses there were.
/// All pods are looked at only if its addresses are not known.
pub(crate) fn remove(mark: &Mark, addresses: &[IpAddr], netns: &Netns) -> Result<usize, KernelError> {
    let mut nft = Nft::open(netns)?;
    let mut count = 0;
    for family in IpFamily::BOTH {
        let known: BTreeSet<_> =
            addresses.iter().copied().filter(|one| IpFamily::of(one) == family).collect();
        let known = (!addresses.is_empty()).then_some(known);
        let (removed, others) = nft.commit_as_read(|nft| removal(family, mark, known.as_ref(), nft))?;
        count += removed;
        if removed > 0 && !others {
            clear(family, &mut nft, netns)?;
        }
    }
    Ok(count)
}

/// What deletes what a family has of an attachment; how many addresses that are, and whether rules of others are there.
fn removal(
    family: IpFamily,
    mark: &Mark,
    known: Option<&BTreeSet<IpAddr>>,
    nft: &mut Nft,
) -> Result<(Batch, (usize, bool)), KernelError> {
    let (chain, maps) = (chain(family), maps(family));
    let there = nft.rules(&chain)?;
    let (own, others): (Vec<_>, Vec<_>) = there.iter().partition(|rule| rule.is_marked(mark.as_str()));
    // Earlier programs made two for each address.
    let mut count = own.len().div_ceil(2);
    let mut batch = own.iter().fold(Batch::new(), |batch, rule| batch.delete_rule(&chain, rule.handle));
    for (_, map) in &maps {
        let at = |known: &BTreeSet<IpAddr>| known.iter().map(|it| (map.clone(), *it)).collect::<Vec<_>>();
        let found = match known {
            Some(known) => nft.elements_at(&at(known))?,
            None => nft.elements(map)?,
        };
        for element in found.iter().filter(|one| held::is_of(one, mark)) {
            batch = batch.delete_element(map, element.key);
            count += 1;
        }
    }
    let of_others = others.iter().any(|rule| !held::is_shared(&rule.body, family));
    Ok((batch, (count, of_others)))
}

/// Deletes a table without pods. Looked at only now: of several that remove at the same time, the last one sees that
/// nothing is left.
fn clear(family: IpFamily, nft: &mut Nft, netns: &Netns) -> Result<(), KernelError> {
    let mut empty = Vec::new();
    for (_, map) in maps(family) {
        match Nft::open(netns)?.has_elements(&map)? {
            Some(true) => return Ok(()),
            Some(false) => empty.push(map),
            None => {}
        }
    }
    let chain = chain(family);
    let rules = nft.rules(&chain)?;
    let shared = rules.iter().filter(|rule| held::is_shared(&rule.body, family));
    let batch = shared.fold(Batch::new(), |batch, rule| batch.delete_rule(&chain, rule.handle));
    let batch = empty.iter().fold(batch, |batch, map| batch.delete_map(map, Deletion::IfEmpty));
    let batch = batch.delete_chain(&chain, Deletion::IfEmpty).delete_table(&chain.table, Deletion::IfEmpty);
    match nft.commit(&batch) {
        // A pod or a rule came in meanwhile, or somebody else was faster.
        Err(error) if !error.is_busy() && !error.is_absent() => Err(error),
        _ => Ok(()),
    }
}
