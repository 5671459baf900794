//! The vendor's answers as they come, and their translation. Unknown fields are skipped; a field that is
//! needed and missing is an error that names it.

use std::net::Ipv4Addr;

use ipnetwork::IpNetwork;
use secrecy::SecretString;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use terway_types::{AddressSet, Addresses, EniId, InstanceId, SecurityGroupId, Subnets};

use super::api::ADDRESSES_PER_CALL;
use crate::answer::drop_nulls;
use crate::cloud::{EniDescription, EniKind, EniStatus, InstanceLimits, VSwitch};
use crate::credentials::{AccessKey, Fetched, LinkError};
use crate::exchange::Answered;

/// An answer that lacks what it must have, or has something else there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{object} has {field} {value:?}")]
pub(super) struct WireError {
    object: String,
    field: &'static str,
    value: String,
}

/// Reads an answer. The vendor writes what is not there as an empty text, as `null`, or not at all.
pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<Answered<T>, serde_json::Error> {
    let mut value: Value = serde_json::from_slice(body)?;
    drop_nulls(&mut value);
    let request_id = value.get("RequestId").and_then(Value::as_str).map(str::to_owned);
    Ok(Answered { content: serde_json::from_value(value)?, request_id })
}

/// An answer that says no.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Refusal {
    pub(super) code: String,
    pub(super) message: String,
}

/// A temporary key, as STS and the metadata service write it.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct TemporaryKey {
    access_key_id: String,
    access_key_secret: String,
    security_token: String,
    expiration: String,
}

impl TemporaryKey {
    pub(super) fn fetched(self) -> Result<Fetched, LinkError> {
        let expires = self.expiration.parse().map_err(|_| {
            LinkError::Failed(format!("the key comes with the expiration {:?}", self.expiration))
        })?;
        let token = Some(SecretString::from(self.security_token));
        let key = AccessKey::new(self.access_key_id, SecretString::from(self.access_key_secret), token)
            .map_err(|error| LinkError::Failed(format!("the key that came is none: {error}")))?;
        Ok(Fetched { key, expires: Some(expires), recheck: None })
    }
}

/// An answer whose content does not matter.
#[derive(Debug, Deserialize)]
pub(super) struct Accepted {}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct EniPage {
    pub(super) network_interface_sets: EniSet,
    pub(super) next_token: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct EniSet {
    pub(super) network_interface_set: Vec<Eni>,
}

/// An ENI, as create and describe answer it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Eni {
    network_interface_id: String,
    status: String,
    #[serde(rename = "Type")]
    role: String,
    mac_address: String,
    v_switch_id: String,
    zone_id: String,
    private_ip_address: String,
    private_ip_sets: PrivateIpSets,
    ipv6_sets: Ipv6Sets,
    ipv4_prefix_sets: Ipv4PrefixSets,
    ipv6_prefix_sets: Ipv6PrefixSets,
    description: String,
    security_group_ids: SecurityGroups,
    tags: Tags,
    instance_id: String,
    attachment: Attachment,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct PrivateIpSets {
    private_ip_set: Vec<PrivateIp>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct PrivateIp {
    private_ip_address: String,
    primary: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Ipv6Sets {
    ipv6_set: Vec<Ipv6>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Ipv4PrefixSets {
    ipv4_prefix_set: Vec<Ipv4Prefix>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Ipv4Prefix {
    ipv4_prefix: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Ipv6PrefixSets {
    ipv6_prefix_set: Vec<Ipv6Prefix>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Ipv6Prefix {
    ipv6_prefix: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Ipv6 {
    ipv6_address: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct SecurityGroups {
    security_group_id: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Tags {
    tag: Vec<Tag>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Tag {
    tag_key: String,
    tag_value: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Attachment {
    instance_id: String,
    device_index: Option<u32>,
    trunk_network_interface_id: String,
}

/// What an assign call gave, of either family.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Assigned {
    #[serde(rename = "AssignedPrivateIpAddressesSet")]
    ipv4_set: AssignedV4,
    ipv6_sets: AssignedV6,
    ipv6_prefix_sets: AssignedV6Prefixes,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct AssignedV4 {
    private_ip_set: AssignedV4Singles,
    ipv4_prefix_set: AssignedV4Prefixes,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct AssignedV4Singles {
    private_ip_address: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct AssignedV4Prefixes {
    ipv4_prefixes: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct AssignedV6 {
    ipv6_address: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct AssignedV6Prefixes {
    ipv6_prefix: Vec<String>,
}

impl Assigned {
    /// An answer that names nothing is of no use: what was given is then unknown.
    pub(super) fn set(&self, eni: &EniId) -> Result<AddressSet, WireError> {
        let object = format!("the assignment to {eni}");
        let v4 = &self.ipv4_set;
        let prefixes = v4
            .ipv4_prefix_set
            .ipv4_prefixes
            .iter()
            .chain(&self.ipv6_prefix_sets.ipv6_prefix)
            .map(String::as_str);
        let set = AddressSet {
            ipv4: sorted(
                &object,
                "PrivateIpAddress",
                v4.private_ip_set.private_ip_address.iter().map(String::as_str),
            )?,
            ipv6: sorted(&object, "Ipv6Address", self.ipv6_sets.ipv6_address.iter().map(String::as_str))?,
            prefixes: sorted::<IpNetwork>(&object, "a prefix", prefixes)?,
        };
        if set.is_empty() {
            return Err(WireError { object, field: "no address and no prefix in", value: String::new() });
        }
        Ok(set)
    }
}

impl Eni {
    /// All addresses and prefixes, and the primary IPv4 address among them.
    fn assigned(&self, object: &str) -> Result<(AddressSet, Option<Ipv4Addr>), WireError> {
        let singles = &self.private_ip_sets.private_ip_set;
        let named =
            singles.iter().find(|single| single.primary).map(|single| single.private_ip_address.as_str());
        let primary = match self.private_ip_address.as_str() {
            "" => named.unwrap_or_default(),
            address => address,
        };
        let primary: Option<Ipv4Addr> = optional(object, "PrivateIpAddress", primary)?;
        let singles = singles.iter().map(|single| single.private_ip_address.as_str());
        let mut ipv4: Vec<Ipv4Addr> = sorted(object, "PrivateIpAddress", singles)?;
        if let Some(primary) = primary
            && let Err(place) = ipv4.binary_search(&primary)
        {
            ipv4.insert(place, primary);
        }
        let ipv6 = self.ipv6_sets.ipv6_set.iter().map(|single| single.ipv6_address.as_str());
        let v4_prefixes = self.ipv4_prefix_sets.ipv4_prefix_set.iter().map(|set| set.ipv4_prefix.as_str());
        let v6_prefixes = self.ipv6_prefix_sets.ipv6_prefix_set.iter().map(|set| set.ipv6_prefix.as_str());
        let assigned = AddressSet {
            ipv4,
            ipv6: sorted(object, "Ipv6Address", ipv6)?,
            prefixes: sorted(object, "a prefix", v4_prefixes.chain(v6_prefixes))?,
        };
        Ok((assigned, primary))
    }

    pub(super) fn describe(self) -> Result<EniDescription, WireError> {
        if self.network_interface_id.is_empty() {
            return Err(WireError {
                object: "an ENI".into(),
                field: "NetworkInterfaceId",
                value: String::new(),
            });
        }
        let object = format!("ENI {}", self.network_interface_id);
        let (assigned, primary) = self.assigned(&object)?;
        // Which IPv6 address was first is nowhere told but by the order of the list.
        let first_v6 = self.ipv6_sets.ipv6_set.first().map(|first| first.ipv6_address.as_str());
        let addresses =
            Addresses { v4: primary, v6: optional(&object, "Ipv6Address", first_v6.unwrap_or_default())? };
        let kind = kind(&self.role);
        let member = kind == EniKind::Member;
        let trunk = self.attachment.trunk_network_interface_id;
        let attached_to = [self.instance_id, self.attachment.instance_id];
        Ok(EniDescription {
            status: status(&object, &self.status),
            mac: required(&object, "MacAddress", &self.mac_address)?,
            id: self.network_interface_id.into(),
            vswitch: self.v_switch_id.into(),
            zone: self.zone_id.into(),
            security_groups: self
                .security_group_ids
                .security_group_id
                .into_iter()
                .map(SecurityGroupId::from)
                .collect(),
            addresses,
            instance: attached_to.into_iter().find(|id| !id.is_empty()).map(InstanceId::from),
            assigned,
            kind,
            // The API has no field of its own for a member's VLAN.
            vlan_id: self.attachment.device_index.filter(|_| member),
            trunk: (!trunk.is_empty()).then(|| EniId::from(trunk)),
            description: self.description,
            tags: self.tags.tag.into_iter().map(|tag| (tag.tag_key, tag.tag_value)).collect(),
        })
    }
}

/// The kind as the API names it. Create leaves it out for ordinary ENIs.
fn kind(text: &str) -> EniKind {
    match text {
        "Primary" => EniKind::Primary,
        "Trunk" => EniKind::Trunk,
        "Member" => EniKind::Member,
        _ => EniKind::Secondary,
    }
}

/// A status that the API's documents do not list means that the ENI is not usable yet: something goes on.
fn status(object: &str, text: &str) -> EniStatus {
    match text {
        "Available" => EniStatus::Available,
        "Attaching" => EniStatus::Attaching,
        "InUse" => EniStatus::InUse,
        "Detaching" => EniStatus::Detaching,
        "Deleting" => EniStatus::Deleting,
        "Creating" | "" => EniStatus::Creating,
        unknown => {
            tracing::warn!(object, status = unknown, "the cloud tells a status that is not known here");
            EniStatus::Creating
        }
    }
}

fn required<T: std::str::FromStr>(object: &str, field: &'static str, text: &str) -> Result<T, WireError> {
    text.parse().map_err(|_| WireError { object: object.to_owned(), field, value: text.to_owned() })
}

/// A list in order and without repetition; empty texts stand for nothing.
fn sorted<'a, T: std::str::FromStr + Ord>(
    object: &str,
    field: &'static str,
    texts: impl Iterator<Item = &'a str>,
) -> Result<Vec<T>, WireError> {
    let filled = texts.filter(|text| !text.is_empty());
    let mut items = filled.map(|text| required(object, field, text)).collect::<Result<Vec<T>, _>>()?;
    items.sort_unstable();
    items.dedup();
    Ok(items)
}

fn optional<T: std::str::FromStr>(
    object: &str,
    field: &'static str,
    text: &str,
) -> Result<Option<T>, WireError> {
    if text.is_empty() { Ok(None) } else { required(object, field, text).map(Some) }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct VSwitchPage {
    pub(super) v_switches: VSwitchSet,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct VSwitchSet {
    pub(super) v_switch: Vec<WireVSwitch>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct WireVSwitch {
    pub(super) v_switch_id: String,
    zone_id: String,
    cidr_block: String,
    ipv6_cidr_block: String,
    available_ip_address_count: u32,
}

impl WireVSwitch {
    pub(super) fn describe(self) -> Result<VSwitch, WireError> {
        let object = format!("vSwitch {}", self.v_switch_id);
        Ok(VSwitch {
            subnets: Subnets {
                v4: Some(required(&object, "CidrBlock", &self.cidr_block)?),
                v6: optional(&object, "Ipv6CidrBlock", &self.ipv6_cidr_block)?,
            },
            id: self.v_switch_id.into(),
            zone: self.zone_id.into(),
            free_ipv4: self.available_ip_address_count,
        })
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct InstanceTypePage {
    pub(super) instance_types: InstanceTypeSet,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct InstanceTypeSet {
    pub(super) instance_type: Vec<InstanceType>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct InstanceType {
    #[serde(rename = "InstanceTypeId")]
    pub(super) id: String,
    eni_quantity: u32,
    eni_total_quantity: u32,
    eni_private_ip_address_quantity: u32,
    eni_ipv6_address_quantity: u32,
    eni_trunk_supported: bool,
}

impl InstanceType {
    pub(super) fn limits(&self) -> InstanceLimits {
        // The total counts the ENIs and the members of trunks.
        let members = self.eni_total_quantity.saturating_sub(self.eni_quantity);
        InstanceLimits {
            enis: self.eni_quantity,
            ipv4_per_eni: self.eni_private_ip_address_quantity,
            ipv6_per_eni: self.eni_ipv6_address_quantity,
            members: if self.eni_trunk_supported { members } else { 0 },
            trunk: self.eni_trunk_supported,
            // One place is the primary address's.
            prefixes_per_eni: self.eni_private_ip_address_quantity.saturating_sub(1),
            assign_batch: ADDRESSES_PER_CALL,
        }
    }
}
