//! The vendor's answers as they come, and their translation. Unknown fields are skipped; a field that is
//! needed and missing is an error that names it.

mod key;
mod place;

use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use terway_types::{AddressSet, Addresses, InstanceId, SecurityGroupId};

pub(super) use self::key::{RoleKey, SessionKey};
pub(super) use self::place::{Instance, InstancePage, Limits, SubnetPage};
use crate::answer::{No, drop_nulls};
use crate::cloud::{EniDescription, EniKind, EniStatus};
use crate::exchange::Answered;

/// An answer that lacks what it must have, or has something else there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{object} has {field} {value:?}")]
pub(super) struct WireError {
    object: String,
    field: &'static str,
    value: String,
}

/// What an answer says: yes with content, or no.
pub(super) enum Said<T> {
    Yes(Answered<T>),
    No(No),
}

/// Reads an answer. Everything is inside `Response`; a refusal has an `Error` there.
pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<Said<T>, serde_json::Error> {
    let mut value: Value = serde_json::from_slice(body)?;
    drop_nulls(&mut value);
    let mut response = match value.get_mut("Response") {
        Some(response @ Value::Object(_)) => response.take(),
        _ => return Err(serde::de::Error::custom("no Response in it")),
    };
    let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    let request_id = text(&response, "RequestId");
    if let Some(error) = response.get_mut("Error").map(Value::take) {
        let code = text(&error, "Code").filter(|code| !code.is_empty());
        let code = code.ok_or_else(|| serde::de::Error::custom("an Error without a Code in it"))?;
        return Ok(Said::No(No { code, message: text(&error, "Message").unwrap_or_default(), request_id }));
    }
    Ok(Said::Yes(Answered { content: serde_json::from_value(response)?, request_id }))
}

/// An answer whose content does not matter.
#[derive(Debug, Deserialize)]
pub(super) struct Accepted {}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Created {
    pub(super) network_interface: Eni,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct EniPage {
    pub(super) network_interface_set: Vec<Eni>,
    #[serde(default)]
    pub(super) total_count: usize,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Eni {
    network_interface_id: String,
    network_interface_description: String,
    subnet_id: String,
    group_set: Vec<String>,
    primary: bool,
    #[serde(rename = "EniType")]
    role: u32,
    mac_address: String,
    state: String,
    private_ip_address_set: Vec<PrivateIp>,
    ipv6_address_set: Vec<Ipv6>,
    attachment: Attachment,
    zone: String,
    tag_set: Vec<Tag>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct PrivateIp {
    private_ip_address: String,
    primary: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Ipv6 {
    address: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Attachment {
    instance_id: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Tag {
    key: String,
    value: String,
}

impl Eni {
    pub(super) fn describe(self) -> Result<EniDescription, WireError> {
        if self.network_interface_id.is_empty() {
            let field = "NetworkInterfaceId";
            return Err(WireError { object: "an ENI".into(), field, value: String::new() });
        }
        let object = format!("ENI {}", self.network_interface_id);
        let primary = self.private_ip_address_set.iter().find(|address| address.primary);
        let primary: Option<Ipv4Addr> = primary
            .map(|address| parse(&object, "PrivateIpAddress", &address.private_ip_address))
            .transpose()?;
        let assigned = AddressSet {
            ipv4: v4(&object, &self.private_ip_address_set)?,
            ipv6: v6(&object, &self.ipv6_address_set)?,
            prefixes: Vec::new(),
        };
        let first_v6 = self.ipv6_address_set.first();
        let first_v6 = first_v6.map(|first| parse(&object, "Address", &first.address)).transpose()?;
        let attached = !self.attachment.instance_id.is_empty();
        Ok(EniDescription {
            status: status(&object, &self.state, attached),
            mac: parse(&object, "MacAddress", &self.mac_address)?,
            kind: kind(self.primary, self.role),
            id: self.network_interface_id.into(),
            vswitch: self.subnet_id.into(),
            zone: self.zone.into(),
            security_groups: self.group_set.into_iter().map(SecurityGroupId::from).collect(),
            addresses: Addresses { v4: primary, v6: first_v6 },
            assigned,
            instance: attached.then(|| InstanceId::from(self.attachment.instance_id)),
            vlan_id: None,
            trunk: None,
            description: self.network_interface_description,
            tags: self.tag_set.into_iter().map(|tag| (tag.key, tag.value)).collect(),
        })
    }
}

fn kind(primary: bool, role: u32) -> EniKind {
    match (primary, role) {
        (true, _) => EniKind::Primary,
        (false, 2) => EniKind::Trunk,
        (false, _) => EniKind::Secondary,
    }
}

/// The state knows no "in use": an ENI that is available and has an attachment is. A state that the documents
/// do not list means that the ENI is not usable yet.
fn status(object: &str, text: &str, attached: bool) -> EniStatus {
    match text {
        "AVAILABLE" if attached => EniStatus::InUse,
        "AVAILABLE" => EniStatus::Available,
        "INUSE" => EniStatus::InUse,
        "ATTACHING" => EniStatus::Attaching,
        "DETACHING" => EniStatus::Detaching,
        "DELETING" => EniStatus::Deleting,
        "PENDING" | "" => EniStatus::Creating,
        unknown => {
            tracing::warn!(object, state = unknown, "the cloud tells a state that is not known here");
            EniStatus::Creating
        }
    }
}

/// What an assign call gave, of either family.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Assigned {
    private_ip_address_set: Vec<PrivateIp>,
    ipv6_address_set: Vec<Ipv6>,
}

impl Assigned {
    /// An answer that names nothing is of no use: what was given is then unknown.
    pub(super) fn set(&self, object: &str) -> Result<AddressSet, WireError> {
        let set = AddressSet {
            ipv4: v4(object, &self.private_ip_address_set)?,
            ipv6: v6(object, &self.ipv6_address_set)?,
            prefixes: Vec::new(),
        };
        if set.is_empty() {
            let object = format!("the assignment to {object}");
            return Err(WireError { object, field: "no address in", value: String::new() });
        }
        Ok(set)
    }
}

fn v4(object: &str, set: &[PrivateIp]) -> Result<Vec<Ipv4Addr>, WireError> {
    sorted(set.iter().map(|item| parse(object, "PrivateIpAddress", &item.private_ip_address)))
}

fn v6(object: &str, set: &[Ipv6]) -> Result<Vec<Ipv6Addr>, WireError> {
    sorted(set.iter().map(|item| parse(object, "Address", &item.address)))
}

fn sorted<T: Ord>(items: impl Iterator<Item = Result<T, WireError>>) -> Result<Vec<T>, WireError> {
    let mut items = items.collect::<Result<Vec<T>, _>>()?;
    items.sort_unstable();
    items.dedup();
    Ok(items)
}

fn parse<T: FromStr>(object: &str, field: &'static str, text: &str) -> Result<T, WireError> {
    text.parse().map_err(|_| WireError { object: object.to_owned(), field, value: text.to_owned() })
}

/// How far an asynchronous call is.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Task {
    pub(super) status: String,
    pub(super) output: String,
}
