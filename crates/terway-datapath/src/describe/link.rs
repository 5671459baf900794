//! Links of a layout.

use std::fmt;
use std::net::Ipv6Addr;

use terway_types::MacAddr;

use crate::kernel::IpvlanMode;
use crate::mark::Mark;

/// The namespace's `lo`, which must be up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loopback;

/// An ENI's netdev that stays on the node and serves several attachments. It is never made, moved or marked, nor given an
/// address to be known by: it must be there, up, take packets of this size, and be able to ask for its gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedNic {
    /// Its name on the node.
    pub name: String,
    /// Its hardware address.
    pub mac: MacAddr,
    /// The least MTU it must have; none if its MTU is not ours to change.
    pub mtu: Option<u32>,
    /// The link-local address to give it if it has none; none if nobody needs one.
    pub link_local: Option<Ipv6Addr>,
}

/// A link that must exist, be up, and look like this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its name in its namespace.
    pub name: String,
    /// Where it comes from.
    pub kind: LinkKind,
    /// Its hardware address.
    pub mac: MacAddr,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// Whose it is, kept in its alias.
    pub mark: Mark,
    /// The group of links it must be in; none if that does not matter.
    pub group: Option<u32>,
}

/// Where a link comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkKind {
    /// An ENI's netdev, found in the host by its MAC and moved here.
    Nic {
        /// Its name in the host, before and after.
        home: String,
    },
    /// One end of a pair; the other end is in the other namespace.
    PairEnd {
        /// The other end's name.
        peer: String,
    },
    /// A child of an ENI that stays on the node, with the traffic of one VLAN.
    Vlan {
        /// The ENI's name on the node.
        trunk: String,
        /// The VLAN's id.
        id: u16,
    },
    /// A child of an ENI that stays on the node, with the traffic of its own addresses (IPVlan).
    Ipvlan {
        /// The ENI's name on the node.
        parent: String,
        /// How it reaches others; an ENI has one for all its children.
        mode: IpvlanMode,
    },
    /// An intermediate link that redirected incoming traffic passes.
    Ifb,
}

impl LinkKind {
    /// Whether it is made on an ENI that stays, and has its MAC.
    pub(crate) fn is_child(&self) -> bool {
        matches!(self, Self::Vlan { .. } | Self::Ipvlan { .. })
    }

    /// The field's word for it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Nic { .. } => "nic",
            Self::PairEnd { .. } => "veth",
            Self::Vlan { .. } => "vlan",
            Self::Ipvlan { .. } => "ipvlan",
            Self::Ifb => "ifb",
        }
    }
}

impl fmt::Display for Loopback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("link lo up")
    }
}

impl fmt::Display for SharedNic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "link {} shared nic address {}", self.name, self.mac)?;
        if let Some(mtu) = self.mtu {
            write!(f, " mtu {mtu} or more")?;
        }
        f.write_str(" up")?;
        self.link_local.map_or(Ok(()), |address| write!(f, " link-local {address}"))
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "link {} ", self.name)?;
        match &self.kind {
            LinkKind::Nic { home } => write!(f, "nic (at home {home})")?,
            LinkKind::PairEnd { peer } => write!(f, "veth (peer {peer})")?,
            LinkKind::Vlan { trunk, id } => write!(f, "vlan {id} of {trunk}")?,
            LinkKind::Ipvlan { parent, mode } => write!(f, "ipvlan {mode} of {parent}")?,
            LinkKind::Ifb => f.write_str("ifb")?,
        }
        write!(f, " address {} mtu {} up", self.mac, self.mtu)?;
        if let Some(group) = self.group {
            write!(f, " group {group}")?;
        }
        write!(f, " alias {}", self.mark)
    }
}
