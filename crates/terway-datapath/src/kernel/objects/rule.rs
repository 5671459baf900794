//! Policy routing rules.

use std::fmt;

use ipnetwork::IpNetwork;
use terway_types::IpFamily;

use super::OUR_PROTOCOL;

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
