//! vSwitches, instances and instance types as they are described.

use serde::Deserialize;
use terway_types::Subnets;

use super::super::api::ADDRESSES_PER_CALL;
use super::super::gateways;
use super::{WireError, optional, required};
use crate::cloud::{InstanceDescription, InstanceLimits, InstanceStatus, VSwitch};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::aliyun) struct VSwitchPage {
    pub(in crate::aliyun) v_switches: VSwitchSet,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::aliyun) struct VSwitchSet {
    pub(in crate::aliyun) v_switch: Vec<WireVSwitch>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(in crate::aliyun) struct WireVSwitch {
    pub(in crate::aliyun) v_switch_id: String,
    vpc_id: String,
    zone_id: String,
    cidr_block: String,
    ipv6_cidr_block: String,
    available_ip_address_count: u32,
}

impl WireVSwitch {
    pub(in crate::aliyun) fn describe(self) -> Result<VSwitch, WireError> {
        let object = format!("vSwitch {}", self.v_switch_id);
        let subnets = Subnets {
            v4: Some(required(&object, "CidrBlock", &self.cidr_block)?),
            v6: optional(&object, "Ipv6CidrBlock", &self.ipv6_cidr_block)?,
        };
        Ok(VSwitch {
            subnets,
            gateways: gateways::of(subnets),
            id: self.v_switch_id.into(),
            zone: self.zone_id.into(),
            vpc: self.vpc_id,
            free_ipv4: self.available_ip_address_count,
        })
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::aliyun) struct InstancePage {
    pub(in crate::aliyun) instances: InstanceSet,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::aliyun) struct InstanceSet {
    pub(in crate::aliyun) instance: Vec<Instance>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(in crate::aliyun) struct Instance {
    #[serde(rename = "InstanceId")]
    id: String,
    #[serde(rename = "InstanceType")]
    kind: String,
    zone_id: String,
    status: String,
    vpc_attributes: VpcAttributes,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct VpcAttributes {
    vpc_id: String,
    v_switch_id: String,
}

impl Instance {
    pub(in crate::aliyun) fn describe(self) -> InstanceDescription {
        InstanceDescription {
            id: self.id.into(),
            instance_type: self.kind,
            zone: self.zone_id.into(),
            vpc: self.vpc_attributes.vpc_id,
            vswitch: self.vpc_attributes.v_switch_id.into(),
            status: match self.status.as_str() {
                "Running" => InstanceStatus::Running,
                "Stopped" => InstanceStatus::Stopped,
                _ => InstanceStatus::Changing,
            },
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::aliyun) struct InstanceTypePage {
    pub(in crate::aliyun) instance_types: InstanceTypeSet,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::aliyun) struct InstanceTypeSet {
    pub(in crate::aliyun) instance_type: Vec<InstanceType>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(in crate::aliyun) struct InstanceType {
    #[serde(rename = "InstanceTypeId")]
    pub(in crate::aliyun) id: String,
    eni_quantity: u32,
    eni_total_quantity: u32,
    eni_private_ip_address_quantity: u32,
    eni_ipv6_address_quantity: u32,
    eni_trunk_supported: bool,
}

impl InstanceType {
    pub(in crate::aliyun) fn limits(&self) -> InstanceLimits {
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
