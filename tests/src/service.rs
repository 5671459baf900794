//! Services: a rule that translates a virtual address, standing in for kube-proxy.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context as _, Result};
use terway_datapath::kernel::namespace::Netns;
use terway_datapath::kernel::nft::{
    Base, Batch, Chain, Family, Hook, Kind, Nft, Policy, RuleBody, Table, priority,
};

/// The IP protocol number of TCP.
pub const TCP: u8 = 6;
/// The IP protocol number of UDP.
pub const UDP: u8 = 17;

/// Translates what a protocol sends to `virtual_address` into `backend`, for traffic that passes the node at `netns`.
/// Source addresses are left alone, that is the data path's business; but for a backend that calls itself, which
/// kube-proxy gives the node's address too.
pub fn translate(netns: &Path, protocol: u8, virtual_address: SocketAddr, backend: SocketAddr) -> Result<()> {
    let node = Netns::open(netns).with_context(|| format!("failed to open {}", netns.display()))?;
    let family = if virtual_address.is_ipv4() { Family::Ip } else { Family::Ip6 };
    let table = Table::new(family, "services");
    let chain = |hook, priority| Base { kind: Kind::Nat, hook, priority, policy: Policy::Accept };
    let before = Chain::base(&table, "prerouting", chain(Hook::Prerouting, priority::DSTNAT));
    let after = Chain::base(&table, "postrouting", chain(Hook::Postrouting, priority::SRCNAT - 1));
    let there = RuleBody::new()
        .daddr(virtual_address.ip().into())
        .l4proto(protocol)
        .dport(virtual_address.port())
        .dnat_to(backend.ip(), Some(backend.port()));
    let to_itself = RuleBody::new().saddr(backend.ip().into()).daddr(backend.ip().into()).masquerade();
    let batch = Batch::new()
        .add_table(&table)
        .add_chain(&before)
        .add_chain(&after)
        .add_rule(&before, &there, None)
        .add_rule(&after, &to_itself, None);
    Nft::open(&node)?.commit(&batch).with_context(|| format!("failed to translate {virtual_address}"))
}
