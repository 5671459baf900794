//! Questions and answers over UDP, and services that lead to them.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use ipnetwork::IpNetwork;
use terway_datapath::kernel::Netns;
use terway_datapath::kernel::nft::{
    Base, Batch, Chain, Family, Hook, Kind, Nft, Policy, RuleBody, Table, priority,
};

const UDP: u8 = 17;

/// Longest wait for one answer; who hears none asks again.
const PATIENCE: Duration = Duration::from_millis(2500);

/// Sends a datagram and its answer; gives the address the server saw. The answer must come from where the question
/// went. UDP promises nothing, so who hears no answer asks again, as any resolver does.
pub(crate) fn ask(client: &Netns, to: SocketAddr, server: &Netns, listen: SocketAddr) -> IpAddr {
    let socket = |netns: &Netns, address: SocketAddr| {
        let socket = netns.run(|| UdpSocket::bind(address)).unwrap().unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
    };
    let any: IpAddr = if to.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
    let (server, client) = (socket(server, listen), socket(client, SocketAddr::new(any, 0)));
    let mut buffer = [0; 16];
    let mut heard = None;
    for _ in 0..8 {
        client.send_to(b"question", to).unwrap();
        let Ok((length, peer)) = server.recv_from(&mut buffer) else { continue };
        assert_eq!(&buffer[..length], b"question");
        heard = Some(peer);
        server.send_to(b"answer", peer).unwrap();
        let Ok((_, from)) = client.recv_from(&mut buffer) else { continue };
        assert_eq!(from, to);
        return peer.ip();
    }
    panic!("no answer from {to}; its server heard {heard:?}")
}

/// What kube-proxy does for a service of one backend.
pub(crate) fn translate(node: &Netns, service: IpAddr, port: u16, backend: SocketAddr) {
    let family = if service.is_ipv4() { Family::Ip } else { Family::Ip6 };
    let table = Table::new(family, "services");
    let base = |hook| Base { kind: Kind::Nat, hook, priority: priority::DSTNAT, policy: Policy::Accept };
    let chain = Chain::base(&table, "prerouting", base(Hook::Prerouting));
    let own = Chain::base(&table, "output", base(Hook::Output));
    let rule = RuleBody::new()
        .daddr(IpNetwork::from(service))
        .l4proto(UDP)
        .dport(port)
        .dnat_to(backend.ip(), Some(backend.port()));
    let batch = Batch::new().add_table(&table).add_chain(&chain).add_chain(&own);
    let batch = batch.add_rule(&chain, &rule, None).add_rule(&own, &rule, None);
    Nft::open(node).unwrap().commit(&batch).unwrap();
}
