//! The rule which links are network cards, in one place. Children share their parent's MAC (VLAN, IPVlan), and so does a
//! pod's end of a pair for eRDMA; so an ENI's netdev is found by MAC *and* by being a NIC.

use terway_types::{Fault, FaultCode, MacAddr};

use super::error::KernelError;
use super::netlink::Netlink;
use super::objects::Link;
use crate::names::ENI_MAC_GROUP;

/// Which links count as a NIC.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NicRule {
    /// Kinds that count besides those without any. Empty on real nodes; `veth` where a simulated cloud makes
    /// its ENIs of veth ends.
    pub extra_kinds: Vec<String>,
}

/// No link, or no single one, is the NIC sought.
#[derive(Debug, thiserror::Error)]
pub enum NicError {
    /// There is none.
    #[error("no NIC has MAC {mac}{}", waited(*.waited_ms))]
    Missing {
        /// The MAC sought.
        mac: MacAddr,
        /// How long it was waited for, in milliseconds, if it was.
        waited_ms: Option<u64>,
    },
    /// There are several.
    #[error("{} NICs have MAC {mac}: {}", .names.len(), .names.join(", "))]
    Ambiguous {
        /// The MAC sought.
        mac: MacAddr,
        /// The links that have it.
        names: Vec<String>,
    },
    /// The links could not be read.
    #[error(transparent)]
    Kernel(#[from] KernelError),
}

fn waited(ms: Option<u64>) -> String {
    ms.map_or(String::new(), |ms| format!(" after waiting {ms} ms"))
}

impl NicRule {
    /// A rule that lets the links of these kinds count as NICs too.
    pub fn with_kinds(kinds: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { extra_kinds: kinds.into_iter().map(Into::into).collect() }
    }

    /// Whether a link is a NIC: Ethernet, not loopback, and of no rtnl kind (physical, virtio, VF) or of one of
    /// the extra kinds; and none that was made for a pod with an ENI's MAC.
    pub fn is_nic(&self, link: &Link) -> bool {
        let kind_fits = match &link.kind {
            None => true,
            Some(kind) => self.extra_kinds.contains(kind),
        };
        link.ether && !link.loopback && link.group != ENI_MAC_GROUP && kind_fits
    }
}

impl NicError {
    /// The failure as a person meets it.
    pub fn fault(&self) -> Fault {
        let code = match self {
            Self::Missing { .. } => FaultCode::NicMissing,
            Self::Ambiguous { .. } => FaultCode::NicAmbiguous,
            Self::Kernel(error) => return error.fault(),
        };
        Fault::new(code, self.to_string())
    }
}

/// The link with this index, if it is the NIC of this MAC. Where another link has the index now there is none.
pub fn nic_at(
    netlink: &mut Netlink,
    index: Option<u32>,
    mac: MacAddr,
    rule: &NicRule,
) -> Result<Option<Link>, KernelError> {
    let Some(index) = index else { return Ok(None) };
    let link = netlink.link_by_index(index)?;
    Ok(link.filter(|link| link.mac == Some(mac) && rule.is_nic(link)))
}

/// The one NIC with this MAC.
pub fn find_nic<'a>(links: &'a [Link], mac: MacAddr, rule: &NicRule) -> Result<&'a Link, NicError> {
    let mut found = links.iter().filter(|link| link.mac == Some(mac) && rule.is_nic(link));
    match (found.next(), found.next()) {
        (Some(link), None) => Ok(link),
        (None, _) => Err(NicError::Missing { mac, waited_ms: None }),
        (Some(one), Some(two)) => {
            let names = [one, two].into_iter().chain(found).map(|link| link.name.clone()).collect();
            Err(NicError::Ambiguous { mac, names })
        }
    }
}
