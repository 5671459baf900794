//! Routes.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::{IpNetwork, Ipv4Network, Ipv6Network};
use terway_types::IpFamily;

use super::{OUR_PROTOCOL, Scope};

/// The main routing table.
pub const MAIN_TABLE: u32 = 254;

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

impl RouteFilter {
    pub(in crate::kernel) fn lets_through(&self, route: &Route) -> bool {
        self.family.is_none_or(|family| route.family() == family)
            && self.table.is_none_or(|table| route.table == table)
            && self.oif.is_none_or(|oif| route.oif == Some(oif))
    }
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
