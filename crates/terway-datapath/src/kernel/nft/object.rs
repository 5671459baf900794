//! Tables and chains.

use std::borrow::Cow;
use std::fmt;

use crate::kernel::attribute::{Attributes, text_value, u32_value, value};

const NFTA_CHAIN_TABLE: u16 = 1;
const NFTA_CHAIN_NAME: u16 = 3;
const NFTA_CHAIN_HOOK: u16 = 4;
const NFTA_CHAIN_POLICY: u16 = 5;
const NFTA_CHAIN_TYPE: u16 = 7;
const NFTA_HOOK_HOOKNUM: u16 = 1;
const NFTA_HOOK_PRIORITY: u16 = 2;
const NFTA_HOOK_DEV: u16 = 3;

/// Well-known priorities of base chains; lower runs first.
pub mod priority {
    /// Before connections are tracked.
    pub const RAW: i32 = -300;
    /// Where packets are marked before they are routed.
    pub const MANGLE: i32 = -150;
    /// Where destinations are translated (prerouting).
    pub const DSTNAT: i32 = -100;
    /// Where packets are filtered.
    pub const FILTER: i32 = 0;
    /// Where sources are translated (postrouting).
    pub const SRCNAT: i32 = 100;
}

/// Which packets a table sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    Ip,
    /// IPv6.
    Ip6,
    /// Both.
    Inet,
    /// Whatever passes a link.
    Netdev,
}

impl Family {
    pub(super) fn number(self) -> u8 {
        match self {
            Self::Inet => 1,
            Self::Ip => 2,
            Self::Netdev => 5,
            Self::Ip6 => 10,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ip => "ip",
            Self::Ip6 => "ip6",
            Self::Inet => "inet",
            Self::Netdev => "netdev",
        })
    }
}

/// A table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Table {
    /// Its family.
    pub family: Family,
    /// Its name, unique in the family.
    pub name: Cow<'static, str>,
}

impl Table {
    /// Names a table.
    pub fn new(family: Family, name: impl Into<Cow<'static, str>>) -> Self {
        Self { family, name: name.into() }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.family, self.name)
    }
}

/// A chain of rules.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Chain {
    /// Its table.
    pub table: Table,
    /// Its name, unique in the table.
    pub name: Cow<'static, str>,
    /// Where packets enter it; none for a chain that is only jumped to.
    pub base: Option<Base>,
}

/// Where packets enter a base chain.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Base {
    /// What it may do.
    pub kind: Kind,
    /// The place in the packet's way.
    pub hook: Hook,
    /// The order among chains of the same hook; see [`priority`].
    pub priority: i32,
    /// What becomes of packets no rule decides on.
    pub policy: Policy,
}

/// What a base chain may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Let pass or drop.
    Filter,
    /// Translate addresses; sees the first packet of each connection only.
    Nat,
}

/// A place in a packet's way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Hook {
    /// Arrived, not yet routed.
    Prerouting,
    /// For this host.
    Input,
    /// Passing through.
    Forward,
    /// Made by this host.
    Output,
    /// About to leave.
    Postrouting,
    /// Arriving on one link (family `netdev`).
    Ingress {
        /// The link's name.
        device: String,
    },
}

/// What becomes of packets no rule decides on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Policy {
    /// They are dropped.
    Drop,
    /// They pass.
    Accept,
}

impl Chain {
    /// A chain at a hook.
    pub fn base(table: &Table, name: impl Into<Cow<'static, str>>, base: Base) -> Self {
        Self { table: table.clone(), name: name.into(), base: Some(base) }
    }

    /// The attributes of a request to make it.
    pub(super) fn encode(&self) -> Attributes {
        let attributes = self.encode_name();
        let Some(base) = &self.base else { return attributes };
        let (number, device) = base.hook.encode();
        let mut hook = Attributes::new()
            .u32(NFTA_HOOK_HOOKNUM, number)
            .u32(NFTA_HOOK_PRIORITY, base.priority.cast_unsigned());
        if let Some(device) = device {
            hook = hook.text(NFTA_HOOK_DEV, device);
        }
        let kind = match base.kind {
            Kind::Filter => "filter",
            Kind::Nat => "nat",
        };
        let policy = match base.policy {
            Policy::Drop => 0,
            Policy::Accept => 1,
        };
        attributes.text(NFTA_CHAIN_TYPE, kind).u32(NFTA_CHAIN_POLICY, policy).nest(NFTA_CHAIN_HOOK, &hook)
    }

    /// The attributes that name it.
    pub(super) fn encode_name(&self) -> Attributes {
        Attributes::new().text(NFTA_CHAIN_TABLE, &self.table.name).text(NFTA_CHAIN_NAME, &self.name)
    }

    /// Reads a chain of the given family; none if it is at a hook we have no word for.
    pub(super) fn decode(family: Family, bytes: &[u8]) -> Option<Self> {
        let table = Table::new(family, text_value(bytes, NFTA_CHAIN_TABLE)?);
        let name = text_value(bytes, NFTA_CHAIN_NAME)?.into();
        let Some(hook) = value(bytes, NFTA_CHAIN_HOOK) else {
            return Some(Self { table, name, base: None });
        };
        let base = Base {
            kind: match text_value(bytes, NFTA_CHAIN_TYPE)?.as_str() {
                "filter" => Kind::Filter,
                "nat" => Kind::Nat,
                _ => return None,
            },
            hook: Hook::decode(family, u32_value(hook, NFTA_HOOK_HOOKNUM)?, text_value(hook, NFTA_HOOK_DEV))?,
            priority: u32_value(hook, NFTA_HOOK_PRIORITY)?.cast_signed(),
            policy: match u32_value(bytes, NFTA_CHAIN_POLICY)? {
                0 => Policy::Drop,
                _ => Policy::Accept,
            },
        };
        Some(Self { table, name, base: Some(base) })
    }
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.table, self.name)
    }
}

impl Hook {
    fn encode(&self) -> (u32, Option<&str>) {
        match self {
            Self::Prerouting => (0, None),
            Self::Input => (1, None),
            Self::Forward => (2, None),
            Self::Output => (3, None),
            Self::Postrouting => (4, None),
            Self::Ingress { device } => (0, Some(device)),
        }
    }

    fn decode(family: Family, number: u32, device: Option<String>) -> Option<Self> {
        match (family, number, device) {
            (Family::Netdev, 0, Some(device)) => Some(Self::Ingress { device }),
            (Family::Netdev, ..) => None,
            (_, 0, _) => Some(Self::Prerouting),
            (_, 1, _) => Some(Self::Input),
            (_, 2, _) => Some(Self::Forward),
            (_, 3, _) => Some(Self::Output),
            (_, 4, _) => Some(Self::Postrouting),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_survive() {
        let table = Table::new(Family::Netdev, "ports");
        let hook = Hook::Ingress { device: "v0".into() };
        let base = Base { kind: Kind::Filter, hook, priority: -150, policy: Policy::Drop };
        let chain = Chain::base(&table, "v0", base);
        assert_eq!(Chain::decode(Family::Netdev, &chain.encode().0), Some(chain));
    }
}
