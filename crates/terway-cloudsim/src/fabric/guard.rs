//! Port security: what leaves an ENI must bear the ENI's MAC and one of its addresses. A VPC drops
//! everything else, and so a missing or wrong source translation shows as a dead packet here too.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnetwork::{IpNetwork, Ipv6Network};
use terway_datapath::kernel::nft::{
    Base, Batch, Chain, Deletion, EtherType, Family, Hook, Kind, Policy, RuleBody, Table, priority,
};

use crate::model::Nic;

/// The batch that puts the guard on a port, in place of any guard left there.
pub(super) fn install(port: &str, nic: &Nic) -> Batch {
    let table = table(port);
    let hook = Hook::Ingress { device: port.to_owned() };
    let base = Base { kind: Kind::Filter, hook, priority: priority::FILTER, policy: Policy::Drop };
    let chain = Chain::base(&table, "ingress", base);
    // Adding first makes the deletion succeed in any case.
    let fresh = Batch::new().add_table(&table).delete_table(&table, Deletion::Whole).add_table(&table);
    rules(nic).iter().fold(fresh.add_chain(&chain), |batch, rule| batch.add_rule(&chain, rule, None))
}

/// The batch that takes the guard of a port away.
pub(super) fn remove(port: &str, how: Deletion) -> Batch {
    Batch::new().delete_table(&table(port), how)
}

fn table(port: &str) -> Table {
    Table::new(Family::Netdev, port)
}

/// What may pass; the last rule counts and drops the rest. The unspecified addresses are those of ARP
/// probes (RFC 5227) and of duplicate address detection (RFC 4862); link-local ones carry neighbour
/// discovery.
fn rules(nic: &Nic) -> Vec<RuleBody> {
    let new = RuleBody::new;
    let mut rules = vec![new().not_ether_saddr(nic.mac).counter().drop()];
    for address in &nic.ipv4 {
        rules.push(
            new().ethertype(EtherType::Ip).saddr(IpNetwork::from(std::net::IpAddr::V4(*address))).accept(),
        );
    }
    for address in nic.ipv4.iter().copied().chain([Ipv4Addr::UNSPECIFIED]) {
        rules.push(new().ethertype(EtherType::Arp).arp_saddr(address).accept());
    }
    if !nic.ipv6.is_empty() {
        let link_local = Ipv6Network::new(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10).ok();
        let hosts = nic.ipv6.iter().copied().chain([Ipv6Addr::UNSPECIFIED]).map(Ipv6Network::from);
        for prefix in hosts.chain(link_local) {
            rules.push(new().ethertype(EtherType::Ip6).saddr(IpNetwork::V6(prefix)).accept());
        }
    }
    rules.push(new().counter().drop());
    rules
}
