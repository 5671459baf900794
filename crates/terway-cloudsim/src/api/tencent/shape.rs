//! ENIs as the vendor shows them.

use std::net::{Ipv4Addr, Ipv6Addr};

use serde_json::{Value, json};
use terway_types::{EniId, SecurityGroupId, Timestamp};

use crate::model::{Eni, EniKind, Status, World};

/// The vendor's clock runs eight hours before UTC.
const CHINA: u64 = 8 * 3_600_000;

/// An ENI as both Create and Describe show it.
pub(super) fn network_interface(world: &World, eni: &Eni, now: Timestamp) -> Value {
    let zone = world.vswitch(&eni.vswitch).map(|vswitch| vswitch.zone.as_str()).unwrap_or_default();
    let address_state = state_of(eni, now);
    let v4 = eni.addresses.ipv4.iter().enumerate();
    let v4: Vec<Value> =
        v4.map(|(index, address)| private_address(*address, index == 0, address_state)).collect();
    let v6: Vec<Value> =
        eni.addresses.ipv6.iter().map(|address| ipv6_address(*address, address_state)).collect();
    let tags: Vec<Value> =
        eni.tags.iter().map(|(key, value)| json!({ "Key": key, "Value": value })).collect();
    let attachment = eni.attachment.as_ref().map(|attachment| {
        json!({
            "InstanceId": attachment.instance.as_str(),
            "DeviceIndex": attachment.device_index,
            "InstanceAccountId": "100000000001",
            "AttachTime": china_time(eni.created),
        })
    });
    json!({
        "NetworkInterfaceId": eni.id.as_str(),
        "NetworkInterfaceName": eni.name,
        "NetworkInterfaceDescription": eni.description,
        "SubnetId": eni.vswitch.as_str(),
        "VpcId": world.vswitch(&eni.vswitch).map(|home| home.vpc.as_str()).unwrap_or_default(),
        "GroupSet": eni.security_groups.iter().map(SecurityGroupId::as_str).collect::<Vec<_>>(),
        "Primary": eni.kind == EniKind::Primary,
        "MacAddress": mac(eni),
        "State": state(eni, "AVAILABLE"),
        "NetworkInterfaceState": state(eni, "INUSE"),
        "PrivateIpAddressSet": v4,
        "Ipv6AddressSet": v6,
        "Attachment": attachment,
        "Zone": zone,
        "CreatedTime": china_time(eni.created),
        "TagSet": tags,
        "EniType": eni_type(eni),
        "AttachType": 0,
        "QosLevel": "DEFAULT",
        "Business": "cvm",
    })
}

/// The vendor's state. `State` has no word for an attached ENI, `NetworkInterfaceState` has.
fn state(eni: &Eni, attached: &'static str) -> &'static str {
    match eni.status {
        Status::Creating => "PENDING",
        Status::Available => "AVAILABLE",
        Status::Attaching => "ATTACHING",
        Status::InUse => attached,
        Status::Detaching => "DETACHING",
        Status::Deleting => "DELETING",
    }
}

/// 0 for secondary, 1 for primary, 2 for trunk.
pub(super) fn eni_type(eni: &Eni) -> u8 {
    match eni.kind {
        EniKind::Secondary | EniKind::Member => 0,
        EniKind::Primary => 1,
        EniKind::Trunk => 2,
    }
}

/// The vendor writes hardware addresses in capitals.
pub(super) fn mac(eni: &Eni) -> String {
    eni.mac.to_string().to_uppercase()
}

/// The state of the addresses that were changed last.
pub(super) fn address_state(world: &World, eni: &EniId, now: Timestamp) -> &'static str {
    world.eni(eni).map_or("AVAILABLE", |eni| state_of(eni, now))
}

fn state_of(eni: &Eni, now: Timestamp) -> &'static str {
    if eni.status == Status::Creating || eni.is_busy(now) { "PENDING" } else { "AVAILABLE" }
}

pub(super) fn private_address(address: Ipv4Addr, primary: bool, state: &str) -> Value {
    json!({
        "PrivateIpAddress": address,
        "Primary": primary,
        "PublicIpAddress": "",
        "AddressId": "",
        "Description": "",
        "IsWanIpBlocked": false,
        "State": state,
        "QosLevel": "DEFAULT",
    })
}

pub(super) fn ipv6_address(address: Ipv6Addr, state: &str) -> Value {
    json!({
        "Address": address,
        "Primary": false,
        "AddressId": "",
        "Description": "",
        "IsWanIpBlocked": true,
        "State": state,
    })
}

fn china_time(time: Timestamp) -> String {
    let ms = i64::try_from(time.0.saturating_add(CHINA)).unwrap_or_default();
    let time = jiff::Timestamp::from_millisecond(ms).unwrap_or_default();
    time.strftime("%Y-%m-%d %H:%M:%S").to_string()
}
