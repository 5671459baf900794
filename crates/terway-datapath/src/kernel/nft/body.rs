//! Rules in the words of `nft`: `saddr 10.0.0.2 snat to 10.0.1.9` as a chain of calls.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use terway_types::{IpFamily, MacAddr};

use super::expression::{Comparison, Expr, MetaKey, NatKind, PayloadBase, Register, Verdict};
use super::map::Map;

/// What an Ethernet frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EtherType {
    /// IPv4.
    Ip = 0x0800,
    /// ARP.
    Arp = 0x0806,
    /// IPv6.
    Ip6 = 0x86dd,
}

/// The expressions of a rule, in order. Each matching call lets only matching packets go on. Matches on
/// addresses read the network header blindly: in tables that see several protocols, say first which one
/// ([`RuleBody::ethertype`] in `netdev`, [`RuleBody::nfproto`] in `inet`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct RuleBody {
    /// The expressions.
    pub expressions: Vec<Expr>,
}

impl RuleBody {
    /// A rule that says nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Came in by this link.
    #[must_use]
    pub fn iifname(self, name: &str) -> Self {
        self.meta(MetaKey::IifName, Comparison::Eq, padded(name))
    }

    /// Came in by another link.
    #[must_use]
    pub fn not_iifname(self, name: &str) -> Self {
        self.meta(MetaKey::IifName, Comparison::Ne, padded(name))
    }

    /// Came in by a link of this group.
    #[must_use]
    pub fn iifgroup(self, group: u32) -> Self {
        self.meta(MetaKey::IifGroup, Comparison::Eq, group.to_ne_bytes().to_vec())
    }

    /// The node would not answer its source by the link it came in by.
    #[must_use]
    pub fn has_no_way_back(self) -> Self {
        let (register, none) = (Register::FIRST, 0_u32.to_ne_bytes().to_vec());
        let way = self.then([Expr::WayBack { to: register }]);
        way.then([Expr::Cmp { register, comparison: Comparison::Eq, value: none }])
    }

    /// Leaves by this link.
    #[must_use]
    pub fn oifname(self, name: &str) -> Self {
        self.meta(MetaKey::OifName, Comparison::Eq, padded(name))
    }

    /// Leaves by another link.
    #[must_use]
    pub fn not_oifname(self, name: &str) -> Self {
        self.meta(MetaKey::OifName, Comparison::Ne, padded(name))
    }

    /// Carries this transport protocol (6 TCP, 17 UDP, 1 ICMP, 58 ICMPv6).
    #[must_use]
    pub fn l4proto(self, number: u8) -> Self {
        self.meta(MetaKey::L4Proto, Comparison::Eq, vec![number])
    }

    /// Is of this family; for tables of family `inet`.
    #[must_use]
    pub fn nfproto(self, family: IpFamily) -> Self {
        let number = match family {
            IpFamily::V4 => 2,
            IpFamily::V6 => 10,
        };
        self.meta(MetaKey::NfProto, Comparison::Eq, vec![number])
    }

    /// Carries this; for tables of family `netdev`.
    #[must_use]
    pub fn ethertype(self, kind: EtherType) -> Self {
        self.meta(MetaKey::Protocol, Comparison::Eq, (kind as u16).to_be_bytes().to_vec())
    }

    /// The source address is in the prefix.
    #[must_use]
    pub fn saddr(self, prefix: IpNetwork) -> Self {
        self.address(Side::Source, Comparison::Eq, prefix)
    }

    /// The source address is not in the prefix.
    #[must_use]
    pub fn not_saddr(self, prefix: IpNetwork) -> Self {
        self.address(Side::Source, Comparison::Ne, prefix)
    }

    /// The destination address is in the prefix.
    #[must_use]
    pub fn daddr(self, prefix: IpNetwork) -> Self {
        self.address(Side::Destination, Comparison::Eq, prefix)
    }

    /// The Ethernet source is another one.
    #[must_use]
    pub fn not_ether_saddr(self, mac: MacAddr) -> Self {
        self.payload(PayloadBase::Link, 6, Comparison::Ne, mac.0.to_vec())
    }

    /// An ARP message's sender address is another one.
    #[must_use]
    pub fn not_arp_saddr(self, address: std::net::Ipv4Addr) -> Self {
        self.payload(PayloadBase::Network, 14, Comparison::Ne, address.octets().to_vec())
    }

    /// An ARP message's sender address is this one.
    #[must_use]
    pub fn arp_saddr(self, address: std::net::Ipv4Addr) -> Self {
        self.payload(PayloadBase::Network, 14, Comparison::Eq, address.octets().to_vec())
    }

    /// An ARP message asks who has this address.
    #[must_use]
    pub fn arp_request_for(self, address: std::net::Ipv4Addr) -> Self {
        let request = self.payload(PayloadBase::Network, 6, Comparison::Eq, 1_u16.to_be_bytes().to_vec());
        request.payload(PayloadBase::Network, 24, Comparison::Eq, address.octets().to_vec())
    }

    /// The source port; say [`RuleBody::l4proto`] first.
    #[must_use]
    pub fn sport(self, port: u16) -> Self {
        self.payload(PayloadBase::Transport, 0, Comparison::Eq, port.to_be_bytes().to_vec())
    }

    /// The destination port; say [`RuleBody::l4proto`] first.
    #[must_use]
    pub fn dport(self, port: u16) -> Self {
        self.payload(PayloadBase::Transport, 2, Comparison::Eq, port.to_be_bytes().to_vec())
    }

    /// Counts packets that came so far.
    #[must_use]
    pub fn counter(self) -> Self {
        self.then([Expr::Counter])
    }

    /// Lets them pass this chain.
    #[must_use]
    pub fn accept(self) -> Self {
        self.then([Expr::Verdict(Verdict::Accept)])
    }

    /// Drops them.
    #[must_use]
    pub fn drop(self) -> Self {
        self.then([Expr::Verdict(Verdict::Drop)])
    }

    /// Gives the connection this source address; in nat chains at postrouting.
    #[must_use]
    pub fn snat_to(self, address: IpAddr) -> Self {
        self.nat(NatKind::Source, address, None)
    }

    /// Gives the connection the source address that a map has for the source of its packets; passes on those of others.
    #[must_use]
    pub fn snat_by_saddr(self, map: &Map) -> Self {
        self.snat_by(Side::Source, map)
    }

    /// The same by the destination of its packets.
    #[must_use]
    pub fn snat_by_daddr(self, map: &Map) -> Self {
        self.snat_by(Side::Destination, map)
    }

    /// Gives the connection this destination, and port if one is given (say [`RuleBody::l4proto`] first); in nat
    /// chains at prerouting or output.
    #[must_use]
    pub fn dnat_to(self, address: IpAddr, port: Option<u16>) -> Self {
        self.nat(NatKind::Destination, address, port)
    }

    /// Gives the connection the source address of the link it leaves by; in nat chains at postrouting.
    #[must_use]
    pub fn masquerade(self) -> Self {
        self.then([Expr::Masquerade])
    }

    /// Is of a connection whose mark is this one under this mask.
    #[must_use]
    pub fn of_connection(self, mark: u32, mask: u32) -> Self {
        let (register, bits) = (Register::FIRST, |bits: u32| bits.to_ne_bytes().to_vec());
        self.then([
            Expr::CtMark { to: register },
            Expr::Mask { register, mask: bits(mask) },
            Expr::Cmp { register, comparison: Comparison::Eq, value: bits(mark) },
        ])
    }

    /// Is of a connection whose destination was translated.
    #[must_use]
    pub fn to_translated(self) -> Self {
        // `IPS_DST_NAT`.
        let (register, bits) = (Register::FIRST, |bits: u32| bits.to_ne_bytes().to_vec());
        self.then([
            Expr::CtStatus { to: register },
            Expr::Mask { register, mask: bits(0x20) },
            Expr::Cmp { register, comparison: Comparison::Ne, value: bits(0) },
        ])
    }

    /// Gives the connection the bits of a mark that are in a mask, and leaves it all others.
    #[must_use]
    pub fn mark_connection(self, mark: u32, mask: u32) -> Self {
        let register = Register::FIRST;
        let marked = self.then([Expr::CtMark { to: register }, marked(register, mark, mask)]);
        marked.then([Expr::SetCtMark { from: register }])
    }

    /// The same for the packet.
    #[must_use]
    pub fn mark_packet(self, mark: u32, mask: u32) -> Self {
        let register = Register::FIRST;
        let key = MetaKey::Mark;
        let marked = self.then([Expr::Meta { key, to: register }, marked(register, mark, mask)]);
        marked.then([Expr::SetMark { from: register }])
    }

    fn then(mut self, expressions: impl IntoIterator<Item = Expr>) -> Self {
        self.expressions.extend(expressions);
        self
    }

    fn meta(self, key: MetaKey, comparison: Comparison, value: Vec<u8>) -> Self {
        let register = Register::FIRST;
        self.then([Expr::Meta { key, to: register }, Expr::Cmp { register, comparison, value }])
    }

    fn payload(self, base: PayloadBase, offset: u32, comparison: Comparison, value: Vec<u8>) -> Self {
        let register = Register::FIRST;
        self.then([load(base, offset, value.len()), Expr::Cmp { register, comparison, value }])
    }

    fn address(self, side: Side, comparison: Comparison, prefix: IpNetwork) -> Self {
        let (offset, value) = (side.offset(prefix.is_ipv6()), octets(prefix.network()));
        let register = Register::FIRST;
        let loaded = self.then([load(PayloadBase::Network, offset, value.len())]);
        let mask = octets(prefix.mask());
        let masked = if mask.iter().all(|byte| *byte == 0xff) {
            loaded
        } else {
            loaded.then([Expr::Mask { register, mask }])
        };
        masked.then([Expr::Cmp { register, comparison, value }])
    }

    fn snat_by(self, side: Side, map: &Map) -> Self {
        let (register, ipv6) = (Register::FIRST, map.is_ipv6());
        let loaded = load(PayloadBase::Network, side.offset(ipv6), if ipv6 { 16 } else { 4 });
        let found = Expr::Lookup { map: map.name.to_string(), key: register, to: register };
        self.then([loaded, found, Expr::Nat { kind: NatKind::Source, ipv6, address: register, port: None }])
    }

    fn nat(self, kind: NatKind, address: IpAddr, port: Option<u16>) -> Self {
        let load = Expr::Load { value: octets(address), to: Register::FIRST };
        let load_port =
            port.map(|port| Expr::Load { value: port.to_be_bytes().to_vec(), to: Register::SECOND });
        let port = port.map(|_| Register::SECOND);
        let nat = Expr::Nat { kind, ipv6: address.is_ipv6(), address: Register::FIRST, port };
        self.then([load]).then(load_port).then([nat])
    }
}

/// Which address of an IP header.
#[derive(Clone, Copy)]
enum Side {
    Source,
    Destination,
}

impl Side {
    fn offset(self, ipv6: bool) -> u32 {
        match (self, ipv6) {
            (Self::Source, false) => 12,
            (Self::Destination, false) => 16,
            (Self::Source, true) => 8,
            (Self::Destination, true) => 24,
        }
    }
}

fn load(base: PayloadBase, offset: u32, length: usize) -> Expr {
    #[expect(clippy::cast_possible_truncation, reason = "at most 16")]
    let length = length as u32;
    Expr::Payload { base, offset, length, to: Register::FIRST }
}

fn marked(register: Register, mark: u32, mask: u32) -> Expr {
    let bits = |bits: u32| bits.to_ne_bytes().to_vec();
    Expr::Bits { register, keep: bits(!mask), flip: bits(mark) }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// The kernel compares all 16 bytes of an interface name.
fn padded(name: &str) -> Vec<u8> {
    let mut bytes = name.as_bytes().to_vec();
    bytes.resize(16, 0);
    bytes
}
