//! ENIs as create and describe answer them.

use std::net::Ipv4Addr;

use serde::Deserialize;
use terway_types::{AddressSet, Addresses, EniId, InstanceId, SecurityGroupId};

use super::{WireError, optional, required, sorted};
use crate::cloud::{EniDescription, EniKind, EniStatus};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::aliyun) struct EniPage {
    pub(in crate::aliyun) network_interface_sets: EniSet,
    pub(in crate::aliyun) next_token: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::aliyun) struct EniSet {
    pub(in crate::aliyun) network_interface_set: Vec<Eni>,
}

/// An ENI, as create and describe answer it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(in crate::aliyun) struct Eni {
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

    pub(in crate::aliyun) fn describe(self) -> Result<EniDescription, WireError> {
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
