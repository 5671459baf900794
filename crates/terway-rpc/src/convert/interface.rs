//! One interface of an attachment on the wire: made by the daemon from what it knows of an ENI, read
//! back by the plugin with every value checked and every refusal naming field and value.

use std::str::FromStr;

use ipnetwork::{IpNetwork, Ipv4Network, Ipv6Network};
use terway_types::{
    Addresses, Datapath, DualStack, EniId, EniRecord, Gateways, IfName, IpFamily, MacAddr, PriorityClass,
    Subnets,
};

use crate::wire::{self, AddressPair, AttachmentType};

/// What the daemon tells the plugin about one interface; the rest of an `InterfacePlan` is the plugin's
/// own configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceParts {
    /// The name inside the pod; `None` is the one the runtime asked for.
    pub ifname: Option<IfName>,
    /// The ENI's id; the Go daemon does not tell it.
    pub eni: Option<EniId>,
    /// The ENI's hardware address.
    pub mac: MacAddr,
    /// The pod's addresses.
    pub addresses: Addresses,
    /// The vSwitch's CIDRs.
    pub subnets: Subnets,
    /// The vSwitch's gateways.
    pub gateways: Gateways,
    /// The gateways of the vSwitch the ENI's netdev is in, a trunk's own; the same as above where the daemon says none.
    pub eni_gateways: Gateways,
    /// Service CIDRs, IPv4 first.
    pub service_cidrs: Vec<IpNetwork>,
    /// Whether it carries the pod's default route.
    pub default_route: bool,
    /// Further destinations behind its gateway.
    pub extra_routes: Vec<IpNetwork>,
    /// Limit into the pod in bytes per second; never zero.
    pub ingress: Option<u64>,
    /// Limit out of the pod in bytes per second; never zero.
    pub egress: Option<u64>,
    /// The class of the pod's packets among those that leave by the same ENI, if it asks for one.
    pub class: Option<PriorityClass>,
    /// Whether the ENI is one for eRDMA, so that pods with policy routing use its RDMA device.
    pub erdma: bool,
    /// Kernel link kinds that count as a NIC besides those without any.
    pub nic_kinds: Vec<String>,
    /// The VLAN of a trunk ENI's member on its trunk, whose hardware address is `mac` then.
    pub vlan: Option<u16>,
    /// The number of the virtual function that is the ENI, on nodes whose card has such.
    pub vf: Option<u32>,
}

/// An interface that cannot be used as the daemon described it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InterfaceError {
    /// A field has no value.
    #[error("{field} is missing")]
    Missing {
        /// The field's path in the message.
        field: &'static str,
    },
    /// A field's value cannot be read.
    #[error("{field} is {value:?}: {reason}")]
    Invalid {
        /// The field's path in the message.
        field: &'static str,
        /// What it says.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The other side wants something this build has no data path for.
    #[error("{field} is {value}, for which this build has no data path")]
    Unsupported {
        /// The field's path in the message.
        field: &'static str,
        /// What it says.
        value: String,
    },
}

/// The data path an answer's type stands for.
pub fn datapath(kind: i32) -> Result<Datapath, InterfaceError> {
    match AttachmentType::try_from(kind) {
        Ok(AttachmentType::TypeVpceni) => Ok(Datapath::Exclusive),
        Ok(AttachmentType::TypeEniMultiIp) => Ok(Datapath::PolicyRoute),
        Ok(AttachmentType::TypeVpcip) => Ok(Datapath::VpcRoute),
        Err(_) => Err(unsupported("type", &kind)),
    }
}

impl InterfaceParts {
    /// The only interface of an attachment that holds this whole ENI. Fails while the ENI has no hardware
    /// address or no address: such a record must not have been given away.
    pub fn of_eni(eni: &EniRecord) -> Result<Self, InterfaceError> {
        if eni.addresses.is_empty() {
            return Err(InterfaceError::Missing { field: "the ENI's address" });
        }
        Ok(Self {
            ifname: None,
            eni: eni.id.clone(),
            mac: eni.mac.ok_or(InterfaceError::Missing { field: "the ENI's MAC address" })?,
            addresses: eni.addresses,
            subnets: eni.subnets,
            gateways: eni.gateways,
            eni_gateways: eni.gateways,
            service_cidrs: Vec::new(),
            default_route: true,
            extra_routes: Vec::new(),
            ingress: None,
            egress: None,
            class: None,
            erdma: false,
            nic_kinds: Vec::new(),
            vlan: None,
            vf: None,
        })
    }

    /// The only interface of an attachment that holds these addresses of the ranges that the VPC leads to the node.
    /// `node_mac` is that of the node's own NIC. Fails where there are none.
    pub fn of_route(
        eni: &EniRecord,
        addresses: Addresses,
        node_mac: MacAddr,
    ) -> Result<Self, InterfaceError> {
        Self::of_shared_eni(&EniRecord { addresses, mac: Some(node_mac), ..eni.clone() }, addresses)
    }

    /// The only interface of an attachment that holds these addresses of an ENI it shares. Fails where there are
    /// none, or while the ENI has no hardware address.
    pub fn of_shared_eni(eni: &EniRecord, addresses: Addresses) -> Result<Self, InterfaceError> {
        if addresses.is_empty() {
            return Err(InterfaceError::Missing { field: "the attachment's address" });
        }
        Ok(Self { addresses, ..Self::of_eni(eni)? })
    }
}

impl From<&InterfaceParts> for wire::Interface {
    fn from(parts: &InterfaceParts) -> Self {
        let limits = wire::PodInfo {
            ingress: parts.ingress.unwrap_or_default(),
            egress: parts.egress.unwrap_or_default(),
            network_priority: parts.class.map(PriorityClass::word).unwrap_or_default().to_owned(),
        };
        Self {
            basic: Some(wire::BasicInfo {
                pod_ip: Some(parts.addresses.into()),
                pod_cidr: Some(parts.subnets.into()),
                gateway: Some(parts.gateways.into()),
                service_cidr: Some(join(&parts.service_cidrs)),
            }),
            eni: Some(wire::EniInfo {
                mac: parts.mac.to_string(),
                gateway: Some(parts.eni_gateways.into()),
                id: parts.eni.as_ref().map(ToString::to_string).unwrap_or_default(),
                erdma: parts.erdma,
                nic_kinds: parts.nic_kinds.clone(),
                trunk: parts.vlan.is_some(),
                vlan_id: parts.vlan.unwrap_or_default().into(),
                vf_id: parts.vf,
                ..Default::default()
            }),
            pod: Some(limits),
            ifname: parts.ifname.as_ref().map(ToString::to_string).unwrap_or_default(),
            extra_routes: parts
                .extra_routes
                .iter()
                .map(|net| wire::Route { destination: net.to_string() })
                .collect(),
            default_route: parts.default_route,
        }
    }
}

impl TryFrom<&wire::Interface> for InterfaceParts {
    type Error = InterfaceError;

    fn try_from(message: &wire::Interface) -> Result<Self, InterfaceError> {
        let basic = message.basic.as_ref().ok_or(InterfaceError::Missing { field: "basic" })?;
        let eni = message.eni.as_ref().ok_or(InterfaceError::Missing { field: "eni" })?;
        let addresses: Addresses = pair("basic.pod_ip", basic.pod_ip.as_ref())?;
        if addresses.is_empty() {
            return Err(InterfaceError::Missing { field: "basic.pod_ip" });
        }
        let mac: MacAddr = value("eni.mac", &eni.mac)?;
        if !mac.is_unicast() {
            return Err(invalid("eni.mac", &eni.mac, "no card can have it"));
        }
        let limits = message.pod.clone().unwrap_or_default();
        let gateways: Gateways = pair("basic.gateway", basic.gateway.as_ref())?;
        let of_eni: Gateways = pair("eni.gateway", eni.gateway.as_ref())?;
        Ok(Self {
            ifname: ifname(&message.ifname)?,
            eni: (!eni.id.is_empty()).then(|| eni.id.as_str().into()),
            mac,
            addresses,
            subnets: pair::<Ipv4Network, Ipv6Network>("basic.pod_cidr", basic.pod_cidr.as_ref())?,
            gateways,
            eni_gateways: Gateways::new(of_eni.v4.or(gateways.v4), of_eni.v6.or(gateways.v6)),
            service_cidrs: split("basic.service_cidr", basic.service_cidr.as_ref())?,
            default_route: message.default_route,
            extra_routes: message
                .extra_routes
                .iter()
                .map(|route| value("extra_routes", &route.destination))
                .collect::<Result<_, _>>()?,
            ingress: (limits.ingress > 0).then_some(limits.ingress),
            egress: (limits.egress > 0).then_some(limits.egress),
            class: class(&limits.network_priority)?,
            erdma: eni.erdma,
            nic_kinds: eni.nic_kinds.clone(),
            vlan: vlan(eni)?,
            vf: virtual_function(eni)?,
        })
    }
}

fn class(word: &str) -> Result<Option<PriorityClass>, InterfaceError> {
    let unknown = || {
        let words = PriorityClass::ALL.map(PriorityClass::word).join(", ");
        invalid("pod.network_priority", word, format!("it is none of {words}"))
    };
    if word.is_empty() { Ok(None) } else { PriorityClass::of(word).ok_or_else(unknown).map(Some) }
}

/// The VLAN of a trunk's member; none for an ENI that is no trunk.
fn vlan(eni: &wire::EniInfo) -> Result<Option<u16>, InterfaceError> {
    match (eni.trunk, u16::try_from(eni.vlan_id)) {
        (true, Ok(id @ 1..=4094)) => Ok(Some(id)),
        (false, Ok(0)) => Ok(None),
        (true, _) => Err(invalid(
            "eni.vlan_id",
            &eni.vlan_id.to_string(),
            "a trunk's member has a VLAN within 1 to 4094",
        )),
        (false, _) => Err(invalid("eni.vlan_id", &eni.vlan_id.to_string(), "eni.trunk is false")),
    }
}

/// The virtual function that is the ENI; a trunk cannot be one.
fn virtual_function(eni: &wire::EniInfo) -> Result<Option<u32>, InterfaceError> {
    match eni.vf_id {
        Some(vf) if eni.trunk => Err(unsupported("eni.vf_id", &format!("{vf} of a trunk"))),
        vf => Ok(vf),
    }
}

impl<V4: ToString, V6: ToString> From<DualStack<V4, V6>> for AddressPair {
    fn from(pair: DualStack<V4, V6>) -> Self {
        Self {
            ipv4: pair.v4.map(|v4| v4.to_string()).unwrap_or_default(),
            ipv6: pair.v6.map(|v6| v6.to_string()).unwrap_or_default(),
        }
    }
}

/// Reads one value of each family; an empty text, or no message, is a family not in use.
fn pair<V4, V6>(field: &'static str, pair: Option<&AddressPair>) -> Result<DualStack<V4, V6>, InterfaceError>
where
    V4: FromStr<Err: ToString>,
    V6: FromStr<Err: ToString>,
{
    let Some(pair) = pair else { return Ok(DualStack::default()) };
    Ok(DualStack {
        v4: (!pair.ipv4.is_empty()).then(|| value(field, &pair.ipv4)).transpose()?,
        v6: (!pair.ipv6.is_empty()).then(|| value(field, &pair.ipv6)).transpose()?,
    })
}

/// The CIDRs of both families, several per family joined by commas.
fn join(cidrs: &[IpNetwork]) -> AddressPair {
    let of = |family: IpFamily| {
        let texts: Vec<_> =
            cidrs.iter().filter(|net| IpFamily::of(&net.ip()) == family).map(ToString::to_string).collect();
        texts.join(",")
    };
    AddressPair { ipv4: of(IpFamily::V4), ipv6: of(IpFamily::V6) }
}

fn split(field: &'static str, pair: Option<&AddressPair>) -> Result<Vec<IpNetwork>, InterfaceError> {
    let Some(pair) = pair else { return Ok(Vec::new()) };
    [&pair.ipv4, &pair.ipv6]
        .into_iter()
        .flat_map(|texts| texts.split(','))
        .map(str::trim)
        .filter(|text| !text.is_empty())
        .map(|text| value(field, text))
        .collect()
}

fn ifname(text: &str) -> Result<Option<IfName>, InterfaceError> {
    if text.is_empty() {
        return Ok(None);
    }
    IfName::new(text).map(Some).map_err(|error| invalid("ifname", text, error.rule))
}

fn value<T: FromStr<Err: ToString>>(field: &'static str, text: &str) -> Result<T, InterfaceError> {
    text.parse().map_err(|error: T::Err| invalid(field, text, error.to_string()))
}

fn invalid(field: &'static str, value: &str, reason: impl Into<String>) -> InterfaceError {
    InterfaceError::Invalid { field, value: value.to_owned(), reason: reason.into() }
}

fn unsupported(field: &'static str, value: &impl ToString) -> InterfaceError {
    InterfaceError::Unsupported { field, value: value.to_string() }
}

#[cfg(test)]
mod tests;
