//! Services: a rule that translates a virtual address, standing in for kube-proxy.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context as _, Result};
use terway_datapath::kernel::namespace::Netns;
use terway_datapath::kernel::nft::{
    Base, Batch, Chain, Family, Hook, Kind, Nft, Policy, RuleBody, Table, priority,
};

/// The IP protocol number of TCP.
const TCP: u8 = 6;

/// Translates TCP to `virtual_address` into `backend`, for traffic that passes the node at `netns`. Source
/// addresses are left alone: that is the data path's business.
pub fn translate(netns: &Path, virtual_address: SocketAddr, backend: SocketAddr) -> Result<()> {
    let node = Netns::open(netns).with_context(|| format!("failed to open {}", netns.display()))?;
    let family = if virtual_address.is_ipv4() { Family::Ip } else { Family::Ip6 };
    let table = Table::new(family, "services");
    let base =
        Base { kind: Kind::Nat, hook: Hook::Prerouting, priority: priority::DSTNAT, policy: Policy::Accept };
    let chain = Chain::base(&table, "prerouting", base);
    let rule = RuleBody::new()
        .daddr(virtual_address.ip().into())
        .l4proto(TCP)
        .dport(virtual_address.port())
        .dnat_to(backend.ip(), Some(backend.port()));
    let batch = Batch::new().add_table(&table).add_chain(&chain).add_rule(&chain, &rule, None);
    Nft::open(&node)?.commit(&batch).with_context(|| format!("failed to translate {virtual_address}"))
}
