//! Source translation of pods' traffic in nf_tables: one table per family, named `terway`, shared by all
//! attachments of the node and gone with the last. Every rule carries its attachment's mark, so that it can be
//! told from the others' without knowing what it says.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use ipnetwork::IpNetwork;
use terway_types::IpFamily;

use crate::describe::SourceNat;
use crate::kernel::nft::{
    Base, Batch, Chain, Comment, Deletion, Family, Hook, Kind, Nft, Policy, RuleBody, Table, priority,
};
use crate::kernel::{KernelError, Netns};
use crate::mark::Mark;

/// The name of our tables.
pub(crate) const TABLE: &str = "terway";

/// The chain of a family.
fn chain(family: IpFamily) -> Chain {
    let family = match family {
        IpFamily::V4 => Family::Ip,
        IpFamily::V6 => Family::Ip6,
    };
    let base =
        Base { kind: Kind::Nat, hook: Hook::Postrouting, priority: priority::SRCNAT, policy: Policy::Accept };
    Chain::base(&Table::new(family, TABLE), "postrouting", base)
}

/// What the kernel must do for a pod: what it sends through the node, and what others send it through the node,
/// bears the node's address. What the node itself sends bears it anyway.
pub(crate) fn rules(nat: &SourceNat) -> [RuleBody; 2] {
    let node: IpAddr = nat.node;
    let from_pod = RuleBody::new().saddr(IpNetwork::from(nat.pod));
    // What the node serves itself passes by `lo`, and comes back by the node whoever asked.
    let from_pod = if nat.of_services { from_pod.to_translated().not_oifname("lo") } else { from_pod };
    [
        from_pod.snat_to(node),
        RuleBody::new().daddr(IpNetwork::from(nat.pod)).not_saddr(IpNetwork::from(node)).snat_to(node),
    ]
}

/// What adds the rules of an attachment.
pub(crate) fn additions(wanted: &[SourceNat], mark: &Mark) -> Batch {
    let comment = Comment::new(mark.as_str()).ok();
    wanted.iter().fold(Batch::new(), |batch, nat| {
        let chain = chain(IpFamily::of(&nat.pod));
        let batch = batch.add_table(&chain.table).add_chain(&chain);
        rules(nat).iter().fold(batch, |batch, rule| batch.add_rule(&chain, rule, comment.as_ref()))
    })
}

/// Adds them, all or none.
pub(crate) fn install(additions: &Batch, netns: &Netns) -> Result<(), KernelError> {
    if additions.is_empty() {
        return Ok(());
    }
    Nft::open(netns)?.commit(additions)
}

/// The rules of an attachment that are there.
pub(crate) fn installed(mark: &Mark, netns: &Netns) -> Result<Vec<RuleBody>, KernelError> {
    let mut nft = Nft::open(netns)?;
    let mut found = Vec::new();
    for family in IpFamily::BOTH {
        found.extend(nft.marked(&chain(family), mark.as_str())?.into_iter().map(|rule| rule.body));
    }
    Ok(found)
}

/// All rules that are there, by their marks.
pub(crate) fn all(netns: &Netns) -> Result<HashMap<String, Vec<RuleBody>>, KernelError> {
    let mut nft = Nft::open(netns)?;
    let mut found: HashMap<_, Vec<_>> = HashMap::new();
    for family in IpFamily::BOTH {
        for rule in nft.rules(&chain(family))? {
            if let Some(comment) = rule.comment {
                found.entry(comment.as_str().to_owned()).or_default().push(rule.body);
            }
        }
    }
    Ok(found)
}

/// The marks of all rules that are there.
pub(crate) fn marks(netns: &Netns) -> Result<BTreeSet<String>, KernelError> {
    Ok(all(netns)?.into_keys().collect())
}

/// Deletes the rules of an attachment, and a table nobody needs any more. Says how many rules there were.
pub(crate) fn remove(mark: &Mark, netns: &Netns) -> Result<usize, KernelError> {
    let mut nft = Nft::open(netns)?;
    let mut count = 0;
    for family in IpFamily::BOTH {
        count += remove_of(&chain(family), mark, &mut nft)?;
    }
    Ok(count)
}

fn remove_of(chain: &Chain, mark: &Mark, nft: &mut Nft) -> Result<usize, KernelError> {
    let ours = nft.marked(chain, mark.as_str())?;
    if ours.is_empty() {
        return Ok(0);
    }
    let batch = ours.iter().fold(Batch::new(), |batch, rule| batch.delete_rule(chain, rule.handle));
    match nft.commit(&batch) {
        // Another remover of the same attachment was faster: see what it left.
        Err(error) if error.is_absent() => return remove_of(chain, mark, nft),
        outcome => outcome?,
    }
    // Looked at only now: of several that remove at the same time, the last one sees that nothing is left.
    if nft.is_empty(chain)? {
        let batch =
            Batch::new().delete_chain(chain, Deletion::IfEmpty).delete_table(&chain.table, Deletion::IfEmpty);
        match nft.commit(&batch) {
            // A rule came in meanwhile, or somebody else was faster.
            Err(error) if !error.is_busy() && !error.is_absent() => return Err(error),
            _ => {}
        }
    }
    Ok(ours.len())
}
