//! Kernel objects as plain values: what dumps give, and for routes and rules also what requests take.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::{IpNetwork, Ipv4Network, Ipv6Network};
use terway_types::{IpFamily, MacAddr};

use super::tbf::Tbf;

/// The main routing table.
pub const MAIN_TABLE: u32 = 254;
/// The route and rule protocol number that marks an object as ours.
pub const OUR_PROTOCOL: u8 = 157;

/// A network link.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// The index of the bridge, bond or VRF this link is a port of.
    pub master: Option<u32>,
    /// The index of the peer (veth) or parent (vlan, macvlan). It counts in the namespace `peer_netns_id` names,
    /// else in this one.
    pub peer: Option<u32>,
    /// This namespace's id for the namespace of `peer`, if that is another one. `-1` if it has none.
    pub peer_netns_id: Option<i32>,
    /// The PCI address of the device behind the link, if it is on the PCI bus.
    pub pci: Option<String>,
    /// Whether it is a loopback link.
    pub loopback: bool,
    /// Whether its link layer is Ethernet (`ARPHRD_ETHER`).
    pub ether: bool,
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

/// What a route does with a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RouteKind {
    /// Sends it on.
    #[default]
    Unicast,
    /// Takes it as one of this host.
    Local,
    /// Drops it in silence.
    Blackhole,
    /// Drops it and tells the sender.
    Unreachable,
    /// Another kind by number.
    Other(u8),
}

/// A route.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Route {
    /// Where to; `0.0.0.0/0` or `::/0` for a default route.
    pub destination: IpNetwork,
    /// What it does.
    pub kind: RouteKind,
    /// The next hop. Of several next hops, the first.
    pub gateway: Option<IpAddr>,
    /// The index of the link it leaves by.
    pub oif: Option<u32>,
    /// The routing table.
    pub table: u32,
    /// The preferred source address.
    pub prefsrc: Option<IpAddr>,
    /// How far it reaches.
    pub scope: Scope,
    /// Who made it.
    pub protocol: u8,
    /// The metric; lower is preferred. Zero in a request lets the kernel choose (IPv6: 1024).
    pub metric: u32,
    /// The gateway is taken for reachable on the link without a route to it.
    pub onlink: bool,
}

/// Which routes a dump gives. Empty means all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RouteFilter {
    /// Only this family.
    pub family: Option<IpFamily>,
    /// Only this table.
    pub table: Option<u32>,
    /// Only routes leaving by the link with this index.
    pub oif: Option<u32>,
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

/// A policy routing rule that sends packets to a table.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rule {
    /// The family.
    pub family: IpFamily,
    /// The place in the order of rules; lower comes first.
    pub priority: u32,
    /// Source prefix.
    pub from: Option<IpNetwork>,
    /// Destination prefix.
    pub to: Option<IpNetwork>,
    /// Name of the link the packet came in by.
    pub iif: Option<String>,
    /// Name of the link a local socket is bound to.
    pub oif: Option<String>,
    /// Packet mark and the mask it is compared under.
    pub mark: Option<(u32, u32)>,
    /// The table looked up; zero if the rule does something else.
    pub table: u32,
    /// Who made it.
    pub protocol: u8,
}

impl Route {
    /// A route of ours to `destination`, in the main table, with nothing else said.
    pub fn to(destination: IpNetwork) -> Self {
        Self {
            destination,
            kind: RouteKind::Unicast,
            gateway: None,
            oif: None,
            table: MAIN_TABLE,
            prefsrc: None,
            scope: Scope::Universe,
            protocol: OUR_PROTOCOL,
            metric: 0,
            onlink: false,
        }
    }

    /// The default route of a family.
    pub fn default_of(family: IpFamily) -> Self {
        Self::to(any(family))
    }

    /// Leaves by the link with this index.
    #[must_use]
    pub fn dev(mut self, index: u32) -> Self {
        self.oif = Some(index);
        self
    }

    /// Goes by a gateway.
    #[must_use]
    pub fn via(mut self, gateway: IpAddr) -> Self {
        self.gateway = Some(gateway);
        self
    }

    /// Takes the gateway for reachable on the link.
    #[must_use]
    pub fn onlink(mut self) -> Self {
        self.onlink = true;
        self
    }

    /// Packets of this host take this source address.
    #[must_use]
    pub fn src(mut self, address: IpAddr) -> Self {
        self.prefsrc = Some(address);
        self
    }

    /// The destination is on the link itself. IPv6 has no scopes for routes: nothing changes there.
    #[must_use]
    pub fn scope_link(mut self) -> Self {
        if self.family() == IpFamily::V4 {
            self.scope = Scope::Link;
        }
        self
    }

    /// Puts the route in another table.
    #[must_use]
    pub fn table(mut self, table: u32) -> Self {
        self.table = table;
        self
    }

    /// Gives the route a metric.
    #[must_use]
    pub fn metric(mut self, metric: u32) -> Self {
        self.metric = metric;
        self
    }

    /// The family of the destination.
    pub fn family(&self) -> IpFamily {
        IpFamily::of(&self.destination.ip())
    }

    /// Whether it is a default route.
    pub fn is_default(&self) -> bool {
        self.destination.prefix() == 0
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.destination)?;
        if let Some(gateway) = self.gateway {
            write!(f, " via {gateway}")?;
        }
        if let Some(index) = self.oif {
            write!(f, " dev #{index}")?;
        }
        if let Some(source) = self.prefsrc {
            write!(f, " src {source}")?;
        }
        if self.table != MAIN_TABLE {
            write!(f, " table {}", self.table)?;
        }
        Ok(())
    }
}

impl Rule {
    /// A rule of ours that sends every packet of a family to a table.
    pub fn lookup(family: IpFamily, priority: u32, table: u32) -> Self {
        Self {
            family,
            priority,
            from: None,
            to: None,
            iif: None,
            oif: None,
            mark: None,
            table,
            protocol: OUR_PROTOCOL,
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.priority)?;
        for (word, prefix) in [("from", &self.from), ("to", &self.to)] {
            if let Some(prefix) = prefix {
                write!(f, " {word} {prefix}")?;
            }
        }
        for (word, name) in [("iif", &self.iif), ("oif", &self.oif)] {
            if let Some(name) = name {
                write!(f, " {word} {name}")?;
            }
        }
        if let Some((mark, mask)) = self.mark {
            write!(f, " fwmark {mark:#x}/{mask:#x}")?;
        }
        write!(f, " lookup {}", self.table)
    }
}

const ANY_V4: Ipv4Network = match Ipv4Network::new_checked(Ipv4Addr::UNSPECIFIED, 0) {
    Some(network) => network,
    None => panic!("a prefix length of zero is valid"),
};
const ANY_V6: Ipv6Network = match Ipv6Network::new_checked(Ipv6Addr::UNSPECIFIED, 0) {
    Some(network) => network,
    None => panic!("a prefix length of zero is valid"),
};

/// The prefix that holds every address of a family.
pub fn any(family: IpFamily) -> IpNetwork {
    match family {
        IpFamily::V4 => ANY_V4.into(),
        IpFamily::V6 => ANY_V6.into(),
    }
}
