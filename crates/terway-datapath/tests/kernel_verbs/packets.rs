//! What rules do to real packets.

use libtest_mimic::Trial;
use terway_datapath::kernel::nft::{
    Base, Batch, Chain, EtherType, Family, Hook, Kind, Nft, Policy, RuleBody, Table, priority,
};
use terway_datapath::kernel::sysctl::Sysctl;
use terway_datapath::kernel::{Netlink, Netns, Request, Route};
use terway_types::{IpFamily, MacAddr};

use crate::bench::{connect, index, netns, receive, set_up, socket, trial};
use crate::needs::Need;
use crate::nft_needs::{NAT, PORTS};
use crate::translation::postrouting;

/// Tables that see both families.
const INET: Need = Need {
    what: "nf_tables of family inet",
    probe: "nft add table inet probe && nft delete table inet probe",
};

pub(crate) fn trials() -> Vec<(Trial, &'static [Need])> {
    vec![
        (trial("source_nat_gives_ipv4_packets_the_nodes_address_both_ways", || source_nat(&V4)), &[NAT]),
        (trial("source_nat_gives_ipv6_packets_the_nodes_address_both_ways", || source_nat(&V6)), &[NAT]),
        (trial("masquerade_takes_the_address_of_the_link", masquerade), &[NAT]),
        (trial("destination_nat_leads_a_service_address_to_a_pod", service), &[NAT, INET]),
        (trial("a_port_filter_drops_foreign_sources", port_filter), &[PORTS]),
    ]
}

struct World {
    family: Family,
    pod: &'static str,
    host_end: &'static str,
    node: &'static str,
    remote: &'static str,
    prefix: u8,
}

const V4: World = World {
    family: Family::Ip,
    pod: "10.0.0.2",
    host_end: "10.0.0.1",
    node: "10.0.1.9",
    remote: "10.0.1.1",
    prefix: 24,
};
const V6: World = World {
    family: Family::Ip6,
    pod: "fd00::2",
    host_end: "fd00::1",
    node: "fd00:1::9",
    remote: "fd00:1::1",
    prefix: 64,
};

impl World {
    /// A pod behind a node behind a network: the pod's gateway is the node, the remote knows the way to the pod.
    fn build(&self) -> [Netns; 3] {
        let [pod, node, remote] = [netns(), netns(), netns()];
        let of = |address: &str| format!("{address}/{}", self.prefix);
        let [a, b, c, d] = [self.pod, self.host_end, self.node, self.remote].map(of);
        connect((&pod, "eth0", &[&a]), (&node, "cali0", &[&b]));
        connect((&node, "eth0", &[&c]), (&remote, "eth0", &[&d]));
        let family = IpFamily::of(&self.pod.parse().unwrap());
        let way = |netns: &Netns, via: &str| {
            let route = Route::default_of(family).via(via.parse().unwrap()).dev(index(netns, "eth0"));
            Netlink::open(netns).unwrap().transact(&[Request::add_route(&route)]).unwrap();
        };
        way(&pod, self.host_end);
        way(&remote, self.node);
        forward(&node);
        [pod, node, remote]
    }
}

fn forward(node: &Netns) {
    let set = |name| Sysctl::default().set(name, "1").unwrap();
    node.run(|| (set("net/ipv4/ip_forward"), set("net/ipv6/conf/all/forwarding"))).unwrap();
}

fn source_nat(world: &World) {
    let [pod, node, remote] = world.build();
    let (inside, outside) = (socket(&pod, world.pod), socket(&remote, world.remote));
    inside.send_to(b"bare", outside.local_addr().unwrap()).unwrap();
    assert_eq!(receive(&outside), ("bare".to_owned(), inside.local_addr().unwrap()));

    let chain = postrouting(world.family);
    let pod_only = || ipnetwork(world.pod);
    let node_address = world.node.parse().unwrap();
    let out = RuleBody::new().saddr(pod_only()).snat_to(node_address);
    let back = RuleBody::new().daddr(pod_only()).not_saddr(ipnetwork(world.node)).snat_to(node_address);
    let batch = Batch::new().add_table(&chain.table).add_chain(&chain);
    let batch = batch.add_rule(&chain, &out, None).add_rule(&chain, &back, None);
    Nft::open(&node).unwrap().commit(&batch).unwrap();

    // New sockets: the connection without translation is still tracked.
    let (inside, outside) = (socket(&pod, world.pod), socket(&remote, world.remote));
    inside.send_to(b"out", outside.local_addr().unwrap()).unwrap();
    let (text, from) = receive(&outside);
    assert_eq!((text.as_str(), from.ip()), ("out", node_address));
    outside.send_to(b"answer", from).unwrap();
    assert_eq!(receive(&inside), ("answer".to_owned(), outside.local_addr().unwrap()));

    let (inside, outside) = (socket(&pod, world.pod), socket(&remote, world.remote));
    outside.send_to(b"in", inside.local_addr().unwrap()).unwrap();
    let (text, from) = receive(&inside);
    assert_eq!((text.as_str(), from.ip()), ("in", node_address));
    inside.send_to(b"answer", from).unwrap();
    assert_eq!(receive(&outside), ("answer".to_owned(), inside.local_addr().unwrap()));
}

fn masquerade() {
    let [pod, node, remote] = V4.build();
    let chain = postrouting(Family::Ip);
    let rule = RuleBody::new().saddr("10.0.0.0/24".parse().unwrap()).oifname("eth0").counter().masquerade();
    let batch = Batch::new().add_table(&chain.table).add_chain(&chain).add_rule(&chain, &rule, None);
    Nft::open(&node).unwrap().commit(&batch).unwrap();
    let (inside, outside) = (socket(&pod, V4.pod), socket(&remote, V4.remote));
    inside.send_to(b"hidden", outside.local_addr().unwrap()).unwrap();
    let (text, from) = receive(&outside);
    assert_eq!((text, from.ip().to_string()), ("hidden".to_owned(), V4.node.to_owned()));
}

fn service() {
    let [pod, node, remote] = V4.build();
    let server = socket(&remote, V4.remote);
    let base =
        Base { kind: Kind::Nat, hook: Hook::Prerouting, priority: priority::DSTNAT, policy: Policy::Accept };
    let chain = Chain::base(&Table::new(Family::Inet, "services"), "prerouting", base);
    let rule = RuleBody::new()
        .nfproto(IpFamily::V4)
        .daddr(ipnetwork("10.96.0.1"))
        .l4proto(17)
        .dport(53)
        .dnat_to(V4.remote.parse().unwrap(), Some(server.local_addr().unwrap().port()));
    let batch = Batch::new().add_table(&chain.table).add_chain(&chain).add_rule(&chain, &rule, None);
    let mut nft = Nft::open(&node).unwrap();
    nft.commit(&batch).unwrap();
    assert_eq!(nft.rules(&chain).unwrap()[0].body, rule, "read back as written");
    let client = socket(&pod, V4.pod);
    client.send_to(b"question", "10.96.0.1:53").unwrap();
    let (text, from) = receive(&server);
    assert_eq!(text, "question");
    server.send_to(b"answer", from).unwrap();
    assert_eq!(receive(&client), ("answer".to_owned(), "10.96.0.1:53".parse().unwrap()));
}

/// A port of a simulated VPC: what does not come from the card's own MAC and address is dropped.
fn port_filter() {
    let (vpc, node) = (netns(), netns());
    connect(
        (&vpc, "port0", &["10.0.0.1/24", "fd00::1/64"]),
        (&node, "eth0", &["10.0.0.2/24", "10.0.0.66/24", "fd00::2/64", "fd00::66/64"]),
    );
    set_up(&node, "lo");
    let mac = Netlink::open(&node).unwrap().link_by_name("eth0").unwrap().unwrap().mac.unwrap();
    let mut nft = Nft::open(&vpc).unwrap();
    nft.commit(&filter(mac, "10.0.0.2", "fd00::2")).unwrap();
    for (foreign, own, target) in [("10.0.0.66", "10.0.0.2", "10.0.0.1"), ("fd00::66", "fd00::2", "fd00::1")]
    {
        let server = socket(&vpc, target);
        let to = server.local_addr().unwrap();
        socket(&node, foreign).send_to(b"foreign", to).unwrap();
        socket(&node, own).send_to(b"own", to).unwrap();
        // One link keeps the order: had the foreign one passed, it would be first.
        assert_eq!(receive(&server).0, "own");
    }
    nft.commit(
        &Batch::new().delete_table(
            &Table::new(Family::Netdev, "ports"),
            terway_datapath::kernel::nft::Deletion::Whole,
        ),
    )
    .unwrap();
    let server = socket(&vpc, "10.0.0.1");
    socket(&node, "10.0.0.66").send_to(b"foreign", server.local_addr().unwrap()).unwrap();
    assert_eq!(receive(&server).0, "foreign", "without the filter it passes");
    nft.commit(&filter(MacAddr([2; 6]), "10.0.0.2", "fd00::2")).unwrap();
    let (sender, other) = (socket(&node, "10.0.0.2"), socket(&vpc, "10.0.0.1"));
    sender.send_to(b"wrong card", other.local_addr().unwrap()).unwrap();
    nft.commit(&filter(mac, "10.0.0.2", "fd00::2")).unwrap();
    sender.send_to(b"right card", other.local_addr().unwrap()).unwrap();
    assert_eq!(receive(&other).0, "right card");
}

fn filter(mac: MacAddr, ipv4: &str, ipv6: &str) -> Batch {
    let table = Table::new(Family::Netdev, "ports");
    let hook = Hook::Ingress { device: "port0".into() };
    let base = Base { kind: Kind::Filter, hook, priority: priority::FILTER, policy: Policy::Accept };
    let chain = Chain::base(&table, "port0", base);
    let rules = [
        RuleBody::new().not_ether_saddr(mac).drop(),
        RuleBody::new().ethertype(EtherType::Ip).not_saddr(ipnetwork(ipv4)).drop(),
        RuleBody::new().ethertype(EtherType::Arp).not_arp_saddr(ipv4.parse().unwrap()).drop(),
        RuleBody::new()
            .ethertype(EtherType::Ip6)
            .not_saddr(ipnetwork(ipv6))
            .not_saddr("fe80::/10".parse().unwrap())
            .drop(),
    ];
    // Made anew in one batch, so that no packet meets a port without its filter.
    let batch = Batch::new()
        .add_table(&table)
        .delete_table(&table, terway_datapath::kernel::nft::Deletion::Whole)
        .add_table(&table)
        .add_chain(&chain);
    rules.iter().fold(batch, |batch, rule| batch.add_rule(&chain, rule, None))
}

fn ipnetwork(address: &str) -> ipnetwork::IpNetwork {
    address.parse::<std::net::IpAddr>().unwrap().into()
}
