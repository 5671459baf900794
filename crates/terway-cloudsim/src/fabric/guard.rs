//! Port security: what leaves an ENI must bear the ENI's MAC and one of its addresses. A VPC drops
//! everything else, and so a missing or wrong source translation shows as a dead packet here too.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::{IpNetwork, Ipv6Network};
use terway_datapath::kernel::nft::{
    Base, Batch, Chain, Deletion, EtherType, Family, Hook, Kind, Policy, RuleBody, Table, priority,
};

use crate::model::{Nic, ipv4s_of};

/// The batch that puts the guard on a port, in place of any guard left there.
pub(super) fn install(port: &str, nic: &Nic, gateway: Option<Ipv4Addr>) -> Batch {
    let table = table(port);
    let hook = Hook::Ingress { device: port.to_owned() };
    let base = Base { kind: Kind::Filter, hook, priority: priority::FILTER, policy: Policy::Drop };
    let chain = Chain::base(&table, "ingress", base);
    // Adding first makes the deletion succeed in any case.
    let fresh = Batch::new().add_table(&table).delete_table(&table, Deletion::Whole).add_table(&table);
    rules(nic, gateway).iter().fold(fresh.add_chain(&chain), |batch, rule| batch.add_rule(&chain, rule, None))
}

/// The batch that takes the guard of a port away.
pub(super) fn remove(port: &str, how: Deletion) -> Batch {
    Batch::new().delete_table(&table(port), how)
}

fn table(port: &str) -> Table {
    Table::new(Family::Netdev, port.to_owned())
}

/// What may pass; the last rule counts and drops the rest. The unspecified addresses are those of ARP
/// probes (RFC 5227) and of duplicate address detection (RFC 4862); link-local ones carry neighbour
/// discovery. Who asks for the gateway may do so with any address: an ENI that has none on the node, because
/// pods share it, asks with the node's, and the VPC learns nothing from questions.
fn rules(nic: &Nic, gateway: Option<Ipv4Addr>) -> Vec<RuleBody> {
    let new = RuleBody::new;
    let mut rules = vec![new().not_ether_saddr(nic.mac).counter().drop()];
    let set = &nic.addresses;
    let (v4_prefixes, v6_prefixes): (Vec<_>, Vec<_>) = set.prefixes.iter().partition(|net| net.is_ipv4());
    let hosts = set.ipv4.iter().map(|address| IpNetwork::from(IpAddr::V4(*address)));
    let (v4_routes, v6_routes): (Vec<_>, Vec<_>) = nic.routes.iter().copied().partition(IpNetwork::is_ipv4);
    for source in hosts.chain(v4_prefixes.iter().copied().copied()).chain(v4_routes) {
        rules.push(new().ethertype(EtherType::Ip).saddr(source).accept());
    }
    let in_prefixes = v4_prefixes.iter().flat_map(|net| ipv4s_of(net));
    for address in set.ipv4.iter().copied().chain(in_prefixes).chain([Ipv4Addr::UNSPECIFIED]) {
        rules.push(new().ethertype(EtherType::Arp).arp_saddr(address).accept());
    }
    rules.extend(gateway.map(|gateway| new().ethertype(EtherType::Arp).arp_request_for(gateway).accept()));
    if !set.ipv6.is_empty() || !v6_prefixes.is_empty() {
        let link_local = Ipv6Network::new(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10).ok();
        let hosts = set.ipv6.iter().copied().chain([Ipv6Addr::UNSPECIFIED]).map(Ipv6Network::from);
        let prefixes = v6_prefixes.into_iter().copied();
        let sources = hosts.chain(link_local).map(IpNetwork::V6).chain(prefixes).chain(v6_routes);
        for source in sources {
            rules.push(new().ethertype(EtherType::Ip6).saddr(source).accept());
        }
    }
    rules.push(new().counter().drop());
    rules
}
