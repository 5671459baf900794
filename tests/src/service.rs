//! Services, standing in for kube-proxy: a rule that translates a virtual address, or a virtual server of IPVS.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use terway_datapath::kernel::namespace::Netns;
use terway_datapath::kernel::nft::{
    Base, Batch, Chain, Family, Hook, Kind, Nft, Policy, RuleBody, Table, priority,
};

use crate::reader;

/// The IP protocol number of TCP.
pub const TCP: u8 = 6;
/// The IP protocol number of UDP.
pub const UDP: u8 = 17;

/// Translates what a protocol sends to `virtual_address` into `backend`, for traffic that passes the node at `netns` or
/// begins there.
/// Source addresses are left alone, that is the data path's business; but for a backend that calls itself, which
/// kube-proxy gives the node's address too.
pub fn translate(netns: &Path, protocol: u8, virtual_address: SocketAddr, backend: SocketAddr) -> Result<()> {
    let node = Netns::open(netns).with_context(|| format!("failed to open {}", netns.display()))?;
    let family = if virtual_address.is_ipv4() { Family::Ip } else { Family::Ip6 };
    let table = Table::new(family, "services");
    let chain = |hook, priority| Base { kind: Kind::Nat, hook, priority, policy: Policy::Accept };
    let before = Chain::base(&table, "prerouting", chain(Hook::Prerouting, priority::DSTNAT));
    let own = Chain::base(&table, "output", chain(Hook::Output, priority::DSTNAT));
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
        .add_chain(&own)
        .add_chain(&after)
        .add_rule(&before, &there, None)
        .add_rule(&own, &there, None)
        .add_rule(&after, &to_itself, None);
    Nft::open(&node)?.commit(&batch).with_context(|| format!("failed to translate {virtual_address}"))
}

/// A virtual server of IPVS at a node: connections to its address, which is the node's own then, go to the backend.
/// Gone when dropped.
#[derive(Debug)]
pub struct Balancer {
    node: PathBuf,
    address: SocketAddr,
}

impl Balancer {
    /// Starts one for TCP, as kube-proxy does in its mode `ipvs`.
    pub fn start(node: &Path, address: SocketAddr, backend: SocketAddr) -> Result<Self> {
        let balancer = Self { node: node.to_owned(), address };
        balancer.ip("add")?;
        let (server, backend) = (address.to_string(), backend.to_string());
        // So that what is translated is known to the packet filter as well.
        reader::text(node, "sysctl", &["-w", "net.ipv4.vs.conntrack=1"])?;
        reader::text(node, "ipvsadm", &["--add-service", "--tcp-service", &server, "--scheduler", "rr"])?;
        let words = ["--add-server", "--tcp-service", &server, "--real-server", &backend, "--masquerading"];
        reader::text(node, "ipvsadm", &words)?;
        Ok(balancer)
    }

    fn ip(&self, verb: &str) -> Result<()> {
        let ip = self.address.ip();
        let own = format!("{ip}/{}", if ip.is_ipv4() { 32 } else { 128 });
        reader::text(&self.node, "ip", &["address", verb, &own, "dev", "lo"]).map(drop)
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        let server = self.address.to_string();
        // Whatever of it was made.
        let _ = reader::text(&self.node, "ipvsadm", &["--delete-service", "--tcp-service", &server]);
        let _ = self.ip("delete");
    }
}
