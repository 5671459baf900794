//! Subnets, instances and what they can carry, as they are described.

use serde::Deserialize;
use terway_types::Subnets;

use super::super::api::ADDRESSES_PER_CALL;
use super::super::gateways;
use super::{WireError, parse};
use crate::cloud::{InstanceDescription, InstanceLimits, InstanceStatus, VSwitch};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::tencent) struct SubnetPage {
    pub(in crate::tencent) subnet_set: Vec<Subnet>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(in crate::tencent) struct Subnet {
    #[serde(rename = "SubnetId")]
    id: String,
    vpc_id: String,
    cidr_block: String,
    ipv6_cidr_block: String,
    zone: String,
    available_ip_address_count: u32,
}

impl Subnet {
    pub(in crate::tencent) fn describe(self) -> Result<VSwitch, WireError> {
        let object = format!("subnet {}", self.id);
        let v6 = Some(self.ipv6_cidr_block).filter(|text| !text.is_empty());
        let subnets = Subnets {
            v4: Some(parse(&object, "CidrBlock", &self.cidr_block)?),
            v6: v6.map(|text| parse(&object, "Ipv6CidrBlock", &text)).transpose()?,
        };
        Ok(VSwitch {
            subnets,
            gateways: gateways::of(subnets),
            id: self.id.into(),
            zone: self.zone.into(),
            vpc: self.vpc_id,
            free_ipv4: self.available_ip_address_count,
        })
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::tencent) struct InstancePage {
    pub(in crate::tencent) instance_set: Vec<Instance>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(in crate::tencent) struct Instance {
    #[serde(rename = "InstanceId")]
    id: String,
    #[serde(rename = "InstanceType")]
    kind: String,
    #[serde(rename = "InstanceState")]
    state: String,
    placement: Placement,
    virtual_private_cloud: Network,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Placement {
    zone: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Network {
    vpc_id: String,
    subnet_id: String,
}

impl Instance {
    pub(in crate::tencent) fn describe(self) -> InstanceDescription {
        InstanceDescription {
            id: self.id.into(),
            instance_type: self.kind,
            zone: self.placement.zone.into(),
            vpc: self.virtual_private_cloud.vpc_id,
            vswitch: self.virtual_private_cloud.subnet_id.into(),
            status: match self.state.as_str() {
                "RUNNING" => InstanceStatus::Running,
                "STOPPED" => InstanceStatus::Stopped,
                _ => InstanceStatus::Changing,
            },
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(in crate::tencent) struct Limits {
    #[serde(rename = "EniQuantity")]
    enis: u32,
    #[serde(rename = "EniPrivateIpAddressQuantity")]
    addresses: u32,
    #[serde(rename = "SubEniQuantity")]
    members: u32,
}

impl Limits {
    pub(in crate::tencent) fn limits(&self) -> InstanceLimits {
        InstanceLimits {
            enis: self.enis,
            ipv4_per_eni: self.addresses,
            // The documents give one number of addresses per ENI, for either family.
            ipv6_per_eni: self.addresses,
            members: self.members,
            trunk: self.members > 0,
            prefixes_per_eni: 0,
            assign_batch: ADDRESSES_PER_CALL,
        }
    }
}
