//! Kernel objects as plain values: what dumps give, and for routes and rules also what requests take.

mod route;
mod rule;

pub use route::{MAIN_TABLE, Route, RouteFilter, RouteKind, any};
pub use rule::Rule;

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use terway_types::MacAddr;

use super::request::IpvlanMode;
use super::tbf::Tbf;

/// The route and rule protocol number that marks an object as ours.
pub const OUR_PROTOCOL: u8 = 157;

/// A network link.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// The interface index, unique in its namespace.
    pub index: u32,
    /// The interface name.
    pub name: String,
    /// The hardware address, if it is one of six bytes.
    pub mac: Option<MacAddr>,
    /// The MTU in bytes.
    pub mtu: u32,
    /// Whether the link is administratively up (`IFF_UP`).
    pub up: bool,
    /// The rtnl kind, e.g. `veth`; none for physical, virtio and VF devices.
    pub kind: Option<String>,
    /// The alias, if not empty.
    pub alias: Option<String>,
    /// The group of links it is in; 0 unless somebody said otherwise.
    pub group: u32,
    /// The index of the bridge, bond or VRF this link is a port of.
    pub master: Option<u32>,
    /// The index of the peer (veth) or parent (vlan, macvlan). It counts in the namespace `peer_netns_id` names,
    /// else in this one.
    pub peer: Option<u32>,
    /// This namespace's id for the namespace of `peer`, if that is another one. `-1` if it has none.
    pub peer_netns_id: Option<i32>,
    /// How it is a child of `peer`, if it is one.
    pub child: Option<Child>,
    /// The PCI address of the device behind the link, if it is on the PCI bus.
    pub pci: Option<String>,
    /// How many queues it can send by; more than one of a NIC whose interrupts go to several processors.
    pub tx_queues: u32,
    /// Whether it is a loopback link.
    pub loopback: bool,
    /// Whether its link layer is Ethernet (`ARPHRD_ETHER`).
    pub ether: bool,
}

/// How a link is a child of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Child {
    /// It has the frames of the VLAN with this id.
    Vlan(u16),
    /// It has addresses of its own; none for a mode we do not make.
    Ipvlan(Option<IpvlanMode>),
}

/// An address of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The link's index.
    pub index: u32,
    /// Address and prefix length.
    pub network: IpNetwork,
    /// How far the address is valid.
    pub scope: Scope,
    /// Another address of the same subnet came first (IPv4), or it is a temporary one (IPv6).
    pub secondary: bool,
    /// Duplicate address detection is skipped.
    pub nodad: bool,
    /// Duplicate address detection is not done yet.
    pub tentative: bool,
    /// Duplicate address detection found another owner.
    pub dadfailed: bool,
    /// The address has no end of life.
    pub permanent: bool,
}

impl Address {
    /// Whether the kernel asks with it who has an address on the link, for packets that it forwards there.
    pub fn asks_for_neighbours(&self) -> bool {
        matches!(self.network.ip(), IpAddr::V6(ip) if ip.is_unicast_link_local()) && !self.dadfailed
    }
}

/// How far an address or route reaches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Anywhere; the only scope IPv6 routes know.
    #[default]
    Universe,
    /// The link.
    Link,
    /// This host.
    Host,
    /// Another scope by number.
    Other(u8),
}

/// A neighbour table entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// The link's index.
    pub index: u32,
    /// The neighbour's address.
    pub address: IpAddr,
    /// Its hardware address, if known.
    pub mac: Option<MacAddr>,
    /// Whether the entry is permanent.
    pub permanent: bool,
}

/// A queueing discipline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Qdisc {
    /// The link's index.
    pub index: u32,
    /// Its parent; [`Qdisc::ROOT`] for the root of the link.
    pub parent: u32,
    /// Its handle; zero for one the kernel put there by default.
    pub handle: u32,
    /// Its kind, e.g. `tbf`.
    pub kind: String,
    /// The parameters if it is a token bucket filter.
    pub tbf: Option<Tbf>,
}

impl Qdisc {
    /// The parent of a root qdisc (`TC_H_ROOT`).
    pub const ROOT: u32 = 0xffff_ffff;
    /// The parent of a clsact or ingress qdisc (`TC_H_CLSACT`).
    pub const CLSACT: u32 = 0xffff_fff1;

    /// Whether this is the root qdisc of its link.
    pub fn is_root(&self) -> bool {
        self.parent == Self::ROOT
    }
}
