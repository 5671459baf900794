//! The vendor's answers as they come, and their translation. Unknown fields are skipped; a field that is
//! needed and missing is an error that names it.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use terway_types::{Addresses, InstanceId, SecurityGroupId, Subnets};

use crate::cloud::{EniDescription, EniStatus, InstanceLimits, VSwitch};

/// An answer that lacks what it must have, or has something else there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{object} has {field} {value:?}")]
pub(super) struct WireError {
    object: String,
    field: &'static str,
    value: String,
}

/// Reads an answer. The vendor writes what is not there as an empty text, as `null`, or not at all.
pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, serde_json::Error> {
    let mut value = serde_json::from_slice(body)?;
    drop_nulls(&mut value);
    serde_json::from_value(value)
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, field| !field.is_null());
            fields.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

/// An answer that says no.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Refusal {
    pub(super) code: String,
    pub(super) message: String,
    pub(super) request_id: Option<String>,
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
    ipv6_sets: Ipv6Set,
    security_group_ids: SecurityGroups,
    tags: Tags,
    instance_id: String,
    attachment: Attachment,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Ipv6Set {
    ipv6_set: Vec<Ipv6>,
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
}

impl Eni {
    pub(super) fn describe(self) -> Result<EniDescription, WireError> {
        if self.network_interface_id.is_empty() {
            return Err(WireError {
                object: "an ENI".into(),
                field: "NetworkInterfaceId",
                value: String::new(),
            });
        }
        let object = format!("ENI {}", self.network_interface_id);
        let addresses = Addresses {
            v4: optional(&object, "PrivateIpAddress", &self.private_ip_address)?,
            v6: match self.ipv6_sets.ipv6_set.first() {
                Some(first) => optional(&object, "Ipv6Address", &first.ipv6_address)?,
                None => None,
            },
        };
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
            primary: self.role == "Primary",
            tags: self.tags.tag.into_iter().map(|tag| (tag.tag_key, tag.tag_value)).collect(),
        })
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
        }
    }
}
