//! EFLO's answers: an envelope with a number that says whether the call was accepted, and the ENIs and quotas in it.

use serde::Deserialize;
use terway_types::{AddressSet, Addresses, InstanceId, SecurityGroupId};

use super::super::api::ADDRESSES_PER_CALL;
use super::super::wire::{WireError, optional, required};
use super::api::read_marks;
use crate::cloud::{EniDescription, EniKind, EniStatus, InstanceLimits};

/// An answer with content.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Envelope<T> {
    pub(super) content: T,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Created {
    pub(super) elastic_network_interface_id: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Listing {
    pub(super) data: Vec<Leni>,
    pub(super) total: usize,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Leni {
    elastic_network_interface_id: String,
    status: String,
    #[serde(rename = "Type")]
    role: String,
    mac: String,
    ip: String,
    v_switch_id: String,
    zone_id: String,
    security_group_id: String,
    node_id: String,
    description: String,
}

impl Leni {
    /// Whether it has a hardware address yet.
    pub(super) fn is_born(&self) -> bool {
        !self.mac.is_empty()
    }

    pub(super) fn describe(self) -> Result<EniDescription, WireError> {
        let object = format!("ENI {}", self.elastic_network_interface_id);
        let primary = optional(&object, "Ip", &self.ip)?;
        let node = (!self.node_id.is_empty()).then(|| InstanceId::from(self.node_id));
        Ok(EniDescription {
            status: status(&object, &self.status, node.is_some()),
            mac: required(&object, "Mac", &self.mac)?,
            id: self.elastic_network_interface_id.into(),
            vswitch: self.v_switch_id.into(),
            zone: self.zone_id.into(),
            security_groups: Some(self.security_group_id)
                .filter(|group| !group.is_empty())
                .map(SecurityGroupId::from)
                .into_iter()
                .collect(),
            addresses: Addresses { v4: primary, v6: None },
            assigned: AddressSet { ipv4: primary.into_iter().collect(), ..AddressSet::default() },
            instance: node,
            // Those of type DEFAULT belong to the system.
            kind: if self.role == "DEFAULT" { EniKind::Primary } else { EniKind::Secondary },
            vlan_id: None,
            trunk: None,
            tags: read_marks(&self.description),
            description: self.description,
        })
    }
}

/// `Available` is the word for an ENI that a node has. One that failed on its way is where it was; one that could not
/// be made or deleted is of no use to anybody.
fn status(object: &str, text: &str, on_a_node: bool) -> EniStatus {
    match text {
        "Available" | "Detach Failed" => EniStatus::InUse,
        "Unattached" | "Attach Failed" => EniStatus::Available,
        "Attaching" => EniStatus::Attaching,
        "Detaching" => EniStatus::Detaching,
        "Deleting" | "Create Failed" | "Delete Failed" => EniStatus::Deleting,
        "Executing" | "" if on_a_node => EniStatus::Attaching,
        "Executing" | "" => EniStatus::Creating,
        unknown => {
            tracing::warn!(object, status = unknown, "the cloud tells a status that is not known here");
            EniStatus::Creating
        }
    }
}

/// What one node may have.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Node {
    leni_quota: u32,
    leni_sip_quota: u32,
}

impl Node {
    /// The quota of ENIs counts those of the system; that of addresses does not count an ENI's first.
    pub(super) fn limits(&self) -> InstanceLimits {
        InstanceLimits {
            enis: self.leni_quota,
            ipv4_per_eni: self.leni_sip_quota + 1,
            ipv6_per_eni: 0,
            members: 0,
            trunk: false,
            prefixes_per_eni: 0,
            assign_batch: ADDRESSES_PER_CALL,
        }
    }
}
