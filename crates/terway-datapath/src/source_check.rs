//! IPv6 sources of pods on the node: what comes in by a pod's link must bear an address that the node would answer by that
//! link. IPv4 has a switch for it (`rp_filter`), IPv6 has none. One rule of the packet filter for all pods, whose links
//! are in a group of their own, so that it costs the same however many there are.
//!
//! Link-local addresses belong to the link whoever has them there, and are routed nowhere.

use std::net::Ipv6Addr;

use ipnetwork::{IpNetwork, Ipv6Network};

use crate::kernel::nft::{
    Base, Batch, Chain, Deletion, Family, Hook, Kind, Nft, Policy, RuleBody, Table, priority,
};
use crate::kernel::{KernelError, Netns};

/// The group of links whose sources are checked. The number of our protocol: groups have no owners.
pub const GROUP: u32 = 157;

/// The name of the table.
pub(crate) const TABLE: &str = "terway_sources";

/// Makes the rule; says whether it was missing. Needs the kernel module `nft_fib_ipv6`.
pub fn install(host: &Netns) -> Result<bool, KernelError> {
    let (mut nft, chain, rule) = (Nft::open(host)?, chain(), rule());
    let there = nft.rules(&chain)?;
    if there.iter().map(|rule| &rule.body).eq([&rule]) {
        return Ok(false);
    }
    let batch = Batch::new().add_table(&chain.table).add_chain(&chain);
    let batch = there.iter().fold(batch, |batch, stale| batch.delete_rule(&chain, stale.handle));
    nft.commit(&batch.add_rule(&chain, &rule, None))?;
    Ok(true)
}

/// Takes it away; says whether it was there.
pub fn remove(host: &Netns) -> Result<bool, KernelError> {
    let (mut nft, table) = (Nft::open(host)?, chain().table);
    if nft.chains(&table)?.is_empty() {
        return Ok(false);
    }
    nft.commit(&Batch::new().delete_table(&table, Deletion::Whole))?;
    Ok(true)
}

fn rule() -> RuleBody {
    let rule = RuleBody::new().iifgroup(GROUP);
    let link_local = Ipv6Network::new(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10);
    let routed = link_local.into_iter().map(IpNetwork::from).fold(rule, RuleBody::not_saddr);
    routed.has_no_way_back().drop()
}

fn chain() -> Chain {
    let (kind, hook) = (Kind::Filter, Hook::Prerouting);
    let base = Base { kind, hook, priority: priority::RAW, policy: Policy::Accept };
    Chain::base(&Table::new(Family::Ip6, TABLE), "prerouting", base)
}
