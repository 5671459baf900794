//! Addresses, routes and neighbours of a layout, printed the way `ip` takes them.

use std::fmt;
use std::net::IpAddr;

use ipnetwork::IpNetwork;
use terway_types::MacAddr;

use crate::kernel::objects as kernel;

/// An address of a link. IPv6 addresses skip duplicate detection: the VPC gives each to one ENI only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The link.
    pub link: String,
    /// Address and prefix length.
    pub address: IpNetwork,
}

/// A route of the main table, with our protocol number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
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
        write!(f, "route ")?;
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
        if self.onlink { f.write_str(" onlink") } else { Ok(()) }
    }
}

impl fmt::Display for Neighbour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "neighbour {} lladdr {} dev {} permanent", self.address, self.mac, self.link)
    }
}

impl Route {
    /// The route as the kernel takes it, once the link's index is known.
    pub(crate) fn request(&self, index: u32) -> kernel::Route {
        let base = kernel::Route::to(self.destination).dev(index);
        kernel::Route {
            gateway: self.via,
            prefsrc: self.source,
            onlink: self.onlink,
            ..if self.via.is_none() { base.scope_link() } else { base }
        }
    }
}
