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

/// What adds the element of an address, where it has none.
pub(crate) fn addition(nat: &SourceNat, mark: &Mark) -> Batch {
    Batch::new().add_element(&map(nat), &element(nat, mark))
}

/// Makes the additions of an attachment, and what they lack. The kernel waits for its readers at each commit that makes a
/// chain, and at each that it refuses: so there is one for both families, and it is asked first whether the maps are there.
pub(crate) fn install(
    additions: &[(SourceNat, Batch)],
    mark: &Mark,
    netns: &Netns,
) -> Result<(), KernelError> {
    let mut nft = Nft::open(netns)?;
    let maps: BTreeSet<_> = additions.iter().map(|(nat, _)| map(nat)).collect();
    if nft.maps_there(&maps)? == maps {
        let all = additions.iter().fold(Batch::new(), |all, (_, addition)| all.and(addition));
        match nft.commit(&all) {
            // What an address had before makes way: it has one owner.
            Err(error) if error.is_absent() || error.is_exists() || error.is_busy() => {}
            outcome => return outcome,
        }
    }
    nft.commit_as_read(|nft| Ok((missing(additions, mark, nft)?, ())))
}

/// Makes what is missing of an attachment's translation, and of what it has in common with others.
pub(crate) fn restore(wanted: &[SourceNat], mark: &Mark, netns: &Netns) -> Result<(), KernelError> {
    let additions: Vec<_> = wanted.iter().map(|nat| (*nat, addition(nat, mark))).collect();
    Nft::open(netns)?.commit_as_read(|nft| Ok((missing(&additions, mark, nft)?, ())))
}

fn missing(additions: &[(SourceNat, Batch)], mark: &Mark, nft: &mut Nft) -> Result<Batch, KernelError> {
    let mut batch = Batch::new();
    for (nat, addition) in additions {
        batch = missing_in_common(nat, mark, batch, nft)?;
        let (map, element) = (map(nat), element(nat, mark));
        let before = nft.elements_at(&[(map.clone(), nat.pod)])?;
        if !before.contains(&element) {
            batch = before.iter().fold(batch, |batch, before| batch.delete_element(&map, before.key));
            batch = batch.and(addition);
        }
    }
    Ok(batch)
}

/// Table, chain, map and rules. An attachment has one address of a family.
fn missing_in_common(
    nat: &SourceNat,
    mark: &Mark,
    batch: Batch,
    nft: &mut Nft,
) -> Result<Batch, KernelError> {
    let (chain, map, wanted) = (chain(IpFamily::of(&nat.pod)), map(nat), rules(nat));
    let there = nft.rules(&chain)?;
    let mut batch = batch.add_table(&chain.table).add_chain(&chain).add_map(&map);
    // Of an earlier program's.
    let mut stale: Vec<_> = there.iter().filter(|rule| rule.is_marked(mark.as_str())).collect();
    let shared = |rule: &&InstalledRule| wanted.contains(&rule.body);
    if !there.iter().filter(shared).map(|rule| &rule.body).eq(&wanted) {
        stale.extend(there.iter().filter(shared));
        batch = wanted.iter().fold(batch, |batch, rule| batch.add_rule(&chain, rule, None));
    }
    Ok(stale.iter().fold(batch, |batch, rule| batch.delete_rule(&chain, rule.handle)))
}

/// Deletes what is translated of an attachment, and a table nobody needs any more. Says how many addresses there were.
/// All pods are looked at only if its addresses are not known.
pub(crate) fn remove(mark: &Mark, addresses: &[IpAddr], netns: &Netns) -> Result<usize, KernelError> {
    let mut nft = Nft::open(netns)?;
    let mut all_of = |and_tables: bool| {
        nft.commit_as_read(|nft| {
            let (mut batch, mut count) = (Batch::new(), 0);
            for family in IpFamily::BOTH {
                let found = Found::read(family, mark, addresses, nft)?;
                count += found.count();
                let is_last = and_tables && found.count() > 0 && found.is_last(mark, netns)?;
                batch = if is_last { found.delete_table(batch) } else { found.delete_own(batch) };
            }
            Ok((batch, count))
        })
    };
    match all_of(true) {
        // Somebody else made something in our table.
        Err(error) if error.is_busy() => all_of(false),
        outcome => outcome,
    }
}

/// What a DEL finds in a family.
struct Found {
    family: IpFamily,
    rules: Vec<InstalledRule>,
    /// Rules that an earlier program made for the attachment, by handle.
    earlier: Vec<u64>,
    /// The maps that are there, with the attachment's elements.
    maps: Vec<(Map, Vec<Element>)>,
}

impl Found {
    fn read(family: IpFamily, mark: &Mark, addresses: &[IpAddr], nft: &mut Nft) -> Result<Self, KernelError> {
        let rules = nft.rules(&chain(family))?;
        let own = rules.iter().filter(|rule| rule.is_marked(mark.as_str()));
        let earlier = own.map(|rule| rule.handle).collect();
        let known: BTreeSet<_> = addresses.iter().filter(|one| IpFamily::of(one) == family).collect();
        let mut maps = Vec::new();
        for map in nft.maps_there(&self::maps(family).map(|(_, map)| map).into())? {
            let at: Vec<_> = known.iter().map(|address| (map.clone(), **address)).collect();
            let mut found = if addresses.is_empty() { nft.elements(&map)? } else { nft.elements_at(&at)? };
            found.retain(|one| held::is_of(one, mark));
            maps.push((map, found));
        }
        Ok(Self { family, rules, earlier, maps })
    }

    /// How many addresses that are: earlier programs made two rules for each.
    fn count(&self) -> usize {
        self.earlier.len().div_ceil(2) + self.maps.iter().map(|(_, own)| own.len()).sum::<usize>()
    }

    /// Whether nothing of anybody else is there.
    fn is_last(&self, mark: &Mark, netns: &Netns) -> Result<bool, KernelError> {
        let is_ours =
            |rule: &InstalledRule| rule.is_marked(mark.as_str()) || held::is_shared(&rule.body, self.family);
        if !self.rules.iter().all(is_ours) {
            return Ok(false);
        }
        for (map, _) in &self.maps {
            if Nft::open(netns)?.any_element(map, |one| !held::is_of(one, mark))? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn delete_own(&self, batch: Batch) -> Batch {
        let chain = chain(self.family);
        let batch = self.earlier.iter().fold(batch, |batch, handle| batch.delete_rule(&chain, *handle));
        let elements = self.maps.iter().flat_map(|(map, own)| own.iter().map(move |one| (map, one.key)));
        elements.fold(batch, |batch, (map, key)| batch.delete_element(map, key))
    }

    /// With all that is in it, and with nothing else that came there.
    fn delete_table(&self, batch: Batch) -> Batch {
        let chain = chain(self.family);
        let batch = self.rules.iter().fold(batch, |batch, rule| batch.delete_rule(&chain, rule.handle));
        let batch = self.maps.iter().fold(batch, |batch, (map, _)| batch.delete_map(map, Deletion::Whole));
        batch.delete_chain(&chain, Deletion::IfEmpty).delete_table(&chain.table, Deletion::IfEmpty)
    }
}
