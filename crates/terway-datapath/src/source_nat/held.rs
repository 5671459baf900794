//! What the kernel has of source translation, for those who compare it and for those who look for what is left.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use terway_types::IpFamily;

use super::{chain, map, maps, rules_of};
use crate::describe::SourceNat;
use crate::kernel::nft::{Comment, Element, Nft, RuleBody};
use crate::kernel::{KernelError, Netns};
use crate::mark::Mark;

/// What there is for an attachment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Translation {
    /// The addresses that are translated for it.
    pub pods: Vec<SourceNat>,
    /// The rules that look pods up, which all attachments have in common, and those of its own that an earlier program
    /// made.
    pub rules: Vec<RuleBody>,
}

/// What there is for all attachments.
#[derive(Debug, Default)]
pub(crate) struct All {
    shared: Vec<RuleBody>,
    by_mark: HashMap<String, Translation>,
}

impl All {
    /// What there is for one of them.
    pub(crate) fn of(&self, mark: &Mark) -> Translation {
        let mut own = self.by_mark.get(mark.as_str()).cloned().unwrap_or_default();
        own.rules.extend(self.shared.iter().cloned());
        own
    }
}

/// What there is for an attachment, of what it wants.
pub(crate) fn held(wanted: &[SourceNat], mark: &Mark, netns: &Netns) -> Result<Translation, KernelError> {
    let mut nft = Nft::open(netns)?;
    let mut found = Translation::default();
    for family in IpFamily::BOTH {
        if !wanted.iter().any(|nat| IpFamily::of(&nat.pod) == family) {
            continue;
        }
        let rules = nft.rules(&chain(family))?;
        let is_ours = |comment: Option<&str>| comment.is_none_or(|comment| comment == mark.as_str());
        let ours = rules.into_iter().filter(|rule| is_ours(rule.comment.as_ref().map(Comment::as_str)));
        found.rules.extend(ours.map(|rule| rule.body));
    }
    for nat in wanted {
        let there = nft.elements_at(&[(map(nat), nat.pod)])?;
        let ours = there.iter().filter(|one| is_of(one, mark));
        found.pods.extend(ours.map(|one| translated(one.key, one.value, nat.of_services)));
    }
    Ok(found)
}

/// What there is for all.
pub(crate) fn all(netns: &Netns) -> Result<All, KernelError> {
    let mut nft = Nft::open(netns)?;
    let mut all = All::default();
    for family in IpFamily::BOTH {
        for rule in nft.rules(&chain(family))? {
            match rule.comment {
                Some(comment) => {
                    all.by_mark.entry(comment.as_str().to_owned()).or_default().rules.push(rule.body);
                }
                None => all.shared.push(rule.body),
            }
        }
        for (of_services, map) in maps(family) {
            for Element { key, value, comment } in nft.elements(&map)? {
                let Some(comment) = comment else { continue };
                let own = all.by_mark.entry(comment.as_str().to_owned()).or_default();
                own.pods.push(translated(key, value, of_services));
            }
        }
    }
    Ok(all)
}

/// The marks of all that is there.
pub(crate) fn marks(netns: &Netns) -> Result<BTreeSet<String>, KernelError> {
    Ok(all(netns)?.by_mark.into_keys().collect())
}

/// Whether an element is this attachment's.
pub(super) fn is_of(element: &Element, mark: &Mark) -> bool {
    element.comment.as_ref().is_some_and(|comment| comment.as_str() == mark.as_str())
}

/// Whether a rule is one of those that look pods up.
pub(super) fn is_shared(rule: &RuleBody, family: IpFamily) -> bool {
    maps(family).iter().any(|(of_services, map)| rules_of(*of_services, map).contains(rule))
}

fn translated(pod: IpAddr, node: IpAddr, of_services: bool) -> SourceNat {
    SourceNat { pod, node, of_services }
}
