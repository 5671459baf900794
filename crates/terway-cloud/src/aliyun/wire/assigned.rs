//! What an assign call gave.

use ipnetwork::IpNetwork;
use serde::Deserialize;
use terway_types::{AddressSet, EniId};

use super::{WireError, sorted};

/// What an assign call gave, of either family.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(in crate::aliyun) struct Assigned {
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
    pub(in crate::aliyun) fn set(&self, eni: &EniId) -> Result<AddressSet, WireError> {
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
