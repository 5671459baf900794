//! nf_tables state: idempotent making, marks, deletion by handle, chains in use.

use libtest_mimic::Trial;
use terway_datapath::kernel::nft::{
    Base, Batch, Chain, Comment, Deletion, Family, Hook, Kind, Nft, Policy, RuleBody, Table, priority,
};

use crate::bench::{netns, trial};
use crate::needs::Need;
use crate::nft_needs::NAT;

pub(crate) fn trials() -> Vec<(Trial, &'static [Need])> {
    let trials = [
        trial("rules_are_found_by_their_mark_and_deleted_by_handle", marked),
        trial("a_chain_in_use_is_not_deleted", in_use),
        trial("a_batch_with_a_wrong_change_changes_nothing", atomic),
    ];
    trials.into_iter().map(|trial| (trial, &[NAT][..])).collect()
}

pub(crate) fn postrouting(family: Family) -> Chain {
    let base =
        Base { kind: Kind::Nat, hook: Hook::Postrouting, priority: priority::SRCNAT, policy: Policy::Accept };
    Chain::base(&Table::new(family, "terway"), "postrouting", base)
}

fn rule(pod: &str) -> RuleBody {
    RuleBody::new().saddr(pod.parse().unwrap()).snat_to("10.0.1.9".parse().unwrap())
}

fn install(chain: &Chain, pods: &[&str]) -> Batch {
    let batch = Batch::new().add_table(&chain.table).add_chain(chain);
    pods.iter().fold(batch, |batch, pod| {
        batch.add_rule(chain, &rule(pod), Some(&Comment::new(format!("terway:{pod}")).unwrap()))
    })
}

fn marked() {
    let mut nft = Nft::open(&netns()).unwrap();
    let chain = postrouting(Family::Ip);
    assert_eq!(nft.rules(&chain).unwrap(), vec![]);
    assert_eq!(nft.chains(&chain.table).unwrap(), vec![]);
    nft.commit(&install(&chain, &["10.0.0.2/32"])).unwrap();
    nft.commit(&install(&chain, &["10.0.0.3/32", "10.0.0.0/20"])).unwrap();
    assert_eq!(nft.chains(&chain.table).unwrap(), vec![chain.clone()]);
    let rules = nft.rules(&chain).unwrap();
    let bodies: Vec<_> = rules.iter().map(|rule| rule.body.clone()).collect();
    assert_eq!(bodies, ["10.0.0.2/32", "10.0.0.3/32", "10.0.0.0/20"].map(rule), "read back as written");
    let ours = rules.iter().find(|rule| rule.is_marked("terway:10.0.0.3/32")).unwrap();
    nft.commit(&Batch::new().delete_rule(&chain, ours.handle)).unwrap();
    let left = nft.rules(&chain).unwrap();
    assert_eq!(left.len(), 2);
    assert!(left.iter().all(|rule| !rule.is_marked("terway:10.0.0.3/32")));
    let again = nft.commit(&Batch::new().delete_rule(&chain, ours.handle)).unwrap_err();
    assert!(again.is_absent(), "{again:?}");
}

fn in_use() {
    let mut nft = Nft::open(&netns()).unwrap();
    let chain = postrouting(Family::Ip6);
    let body = RuleBody::new().saddr("fd00::2/128".parse().unwrap()).snat_to("fd00::9".parse().unwrap());
    nft.commit(&install(&chain, &[]).add_rule(&chain, &body, None)).unwrap();
    let sweep =
        Batch::new().delete_chain(&chain, Deletion::IfEmpty).delete_table(&chain.table, Deletion::IfEmpty);
    let error = nft.commit(&sweep).unwrap_err();
    assert!(error.is_busy(), "{error:?}");
    assert_eq!(error.what(), "delete chain ip6 terway postrouting");
    let handle = nft.rules(&chain).unwrap()[0].handle;
    nft.commit(&Batch::new().delete_rule(&chain, handle)).unwrap();
    nft.commit(&sweep).unwrap();
    assert!(nft.commit(&sweep).unwrap_err().is_absent());
}

fn atomic() {
    let mut nft = Nft::open(&netns()).unwrap();
    let chain = postrouting(Family::Ip);
    let other = Chain { name: "absent".into(), ..chain.clone() };
    let batch = install(&chain, &["10.0.0.2/32"]).add_rule(&other, &rule("10.0.0.3/32"), None);
    let error = nft.commit(&batch).unwrap_err();
    assert_eq!(error.what(), "add a rule to chain ip terway absent");
    assert_eq!(nft.chains(&chain.table).unwrap(), vec![], "all or nothing");
}
