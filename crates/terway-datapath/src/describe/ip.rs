//! Addresses, routes, rules and neighbours of a layout, printed the way `ip` takes them.

use std::fmt;
use std::net::IpAddr;

use ipnetwork::IpNetwork;
use terway_types::{IpFamily, MacAddr};

use crate::kernel::objects::{self as kernel, RouteKind, Scope};

/// An address of a link. IPv6 addresses skip duplicate detection: the VPC gives each to one ENI only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The link.
    pub link: String,
    /// Address and prefix length.
    pub address: IpNetwork,
}

/// The table of a link is its index plus this, so that its number needs no bookkeeping. The same as the existing
/// implementation's, because chained agents read it.
pub const FIRST_TABLE: u32 = 1000;

/// A routing table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Table {
    /// The one every packet is looked up in at last.
    Main,
    /// A link's own.
    OfLink(String),
}

/// A route, with our protocol number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The table it is in.
    pub table: Table,
    /// Where to.
    pub destination: IpNetwork,
    /// The next hop; without one the destination is on the link.
    pub via: Option<IpAddr>,
    /// The link.
    pub link: String,
    /// Whether the next hop counts as reachable on the link though no address says so.
    pub onlink: bool,
    /// The address the node speaks with when it uses this route.
    pub source: Option<IpAddr>,
    /// Whether the node takes what goes there as its own.
    pub local: bool,
    /// Whether it serves several attachments: made by whoever needs it first, gone with the last rule that looks up
    /// its table.
    pub shared: bool,
}

/// A policy routing rule, with our protocol number where the kernel keeps one (since 4.17).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The family.
    pub family: IpFamily,
    /// The place in the order of rules; lower comes first.
    pub priority: u32,
    /// Packets with a source in this prefix.
    pub from: Option<IpNetwork>,
    /// Packets with a destination in this prefix.
    pub to: Option<IpNetwork>,
    /// Packets of sockets bound to the link of this name.
    pub oif: Option<String>,
    /// The table looked up for them.
    pub table: Table,
}

/// A neighbour entry that is never resolved nor expires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// The link.
    pub link: String,
    /// The neighbour's address.
    pub address: IpAddr,
    /// The neighbour's hardware address.
    pub mac: MacAddr,
}

/// `ip` says `default` for the network of all addresses and leaves out the length of host routes.
pub(crate) fn destination(network: &IpNetwork) -> String {
    let host_bits = if network.is_ipv4() { 32 } else { 128 };
    match network.prefix() {
        0 => "default".to_owned(),
        length if length == host_bits => network.ip().to_string(),
        _ => network.to_string(),
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "address {} dev {}", self.address, self.link)?;
        if self.address.is_ipv6() { f.write_str(" nodad") } else { Ok(()) }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.local { "route local " } else { "route " })?;
        if self.destination.prefix() == 0 && self.destination.is_ipv6() {
            f.write_str("IPv6 ")?;
        }
        f.write_str(&destination(&self.destination))?;
        if let Some(via) = self.via {
            write!(f, " via {via}")?;
        }
        write!(f, " dev {}", self.link)?;
        if let Some(source) = self.source {
            write!(f, " src {source}")?;
        }
        if self.table != Table::Main {
            write!(f, " table {}", self.table)?;
        }
        if self.onlink { f.write_str(" onlink") } else { Ok(()) }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Main => f.write_str("main"),
            Self::OfLink(link) => write!(f, "{FIRST_TABLE}+{link}"),
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rule {}", self.priority)?;
        if self.from.is_none() && self.to.is_none() && self.family == IpFamily::V6 {
            f.write_str(" IPv6")?;
        }
        for (word, prefix) in [("from", &self.from), ("to", &self.to)] {
            if let Some(prefix) = prefix {
                write!(f, " {word} {}", destination(prefix))?;
            }
        }
        if let Some(link) = &self.oif {
            write!(f, " oif {link}")?;
        }
        write!(f, " lookup {}", self.table)
    }
}

impl fmt::Display for Neighbour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "neighbour {} lladdr {} dev {} permanent", self.address, self.mac, self.link)
    }
}

impl Table {
    /// The link whose table it is.
    pub fn link(&self) -> Option<&str> {
        match self {
            Self::Main => None,
            Self::OfLink(link) => Some(link),
        }
    }

    /// Its number, once the indexes of links are known; none if the link is not there.
    pub(crate) fn number(&self, index_of: impl Fn(&str) -> Option<u32>) -> Option<u32> {
        match self {
            Self::Main => Some(kernel::MAIN_TABLE),
            Self::OfLink(link) => index_of(link).map(|index| FIRST_TABLE + index),
        }
    }
}

impl Route {
    /// The route as the kernel takes it, once the link's index and the table's number are known.
    pub(crate) fn request(&self, index: u32, table: u32) -> kernel::Route {
        let base = kernel::Route::to(self.destination).dev(index).table(table);
        kernel::Route {
            gateway: self.via,
            prefsrc: self.source,
            onlink: self.onlink,
            ..match self.via {
                _ if self.local => kernel::Route { kind: RouteKind::Local, scope: Scope::Host, ..base },
                None => base.scope_link(),
                Some(_) => base,
            }
        }
    }
}

impl Rule {
    /// The rule as the kernel takes it, once the table's number is known.
    pub(crate) fn request(&self, table: u32) -> kernel::Rule {
        kernel::Rule {
            from: self.from,
            to: self.to,
            oif: self.oif.clone(),
            ..kernel::Rule::lookup(self.family, self.priority, table)
        }
    }
}
