//! The reading actions: filters, pages and the vendor's shapes of ENIs, instance types and vSwitches.

use ipnetwork::IpNetwork;
use serde_json::{Value, json};
use terway_types::{EniId, InstanceId, SecurityGroupId, Timestamp, VSwitchId};

use super::parameters::Parameters;
use crate::api::error::ApiError;
use crate::config::InstanceTypeConfig;
use crate::model::{By, Eni, Instance, InstanceState, VSwitch, World};

/// `DescribeNetworkInterfaces`: unknown ids are simply not in the answer.
pub(super) fn network_interfaces(
    world: &World,
    given: &Parameters,
    now: Timestamp,
) -> Result<Value, ApiError> {
    let ids: Vec<EniId> = given.list("NetworkInterfaceId").into_iter().map(EniId).collect();
    if ids.len() > 100 {
        return Err(ApiError::new("InvalidParameter", "more than 100 values of NetworkInterfaceId.N"));
    }
    let tags = given.tags()?;
    let instance = given.get("InstanceId").map(InstanceId::from);
    let vswitch = given.get("VSwitchId").map(VSwitchId::from);
    let view = world.seen(world.lag(), now);
    let by_tag = tags.iter().filter_map(|(key, value)| Some(By::Tag(key, value.as_deref()?)));
    let by = (!ids.is_empty()).then_some(By::Ids(&ids)).into_iter();
    let by = by.chain(instance.as_ref().map(By::Instance)).chain(vswitch.as_ref().map(By::VSwitch));
    let by = by.chain(by_tag).min_by_key(|by| view.breadth(*by)).unwrap_or(By::All);
    let is = |name: &str, actual: Option<&str>| given.get(name).is_none_or(|wanted| Some(wanted) == actual);
    let matching: Vec<&Eni> = view
        .candidates(by)
        .into_iter()
        .filter(|eni| !eni.lingjun && (ids.is_empty() || ids.contains(&eni.id)))
        .filter(|eni| is("InstanceId", eni.instance().map(InstanceId::as_str)))
        .filter(|eni| is("VSwitchId", Some(eni.vswitch.as_str())))
        .filter(|eni| is("VpcId", Some(vpc_of(world, eni))))
        .filter(|eni| is("Type", Some(eni.kind.name())))
        .filter(|eni| is("Status", Some(eni.status.name())))
        .filter(|eni| is("PrivateIpAddress.1", None) || has_any(eni, &given.list("PrivateIpAddress")))
        .filter(|eni| {
            tags.iter().all(|(key, value)| match (eni.tags.get(key), value) {
                (Some(actual), Some(wanted)) => actual == wanted,
                (actual, None) => actual.is_some(),
                (None, Some(_)) => false,
            })
        })
        .collect();
    let page = Page::of(&matching, given, 500, |eni| eni.id.as_str())?;
    let set: Vec<Value> = page.items.iter().map(|eni| network_interface(world, eni)).collect();
    let mut answer = page.frame();
    answer["NetworkInterfaceSets"] = json!({ "NetworkInterfaceSet": set });
    Ok(answer)
}

fn vpc_of<'w>(world: &'w World, eni: &Eni) -> &'w str {
    world.vswitch(&eni.vswitch).map(|vswitch| vswitch.vpc.as_str()).unwrap_or_default()
}

fn has_any(eni: &Eni, addresses: &[String]) -> bool {
    addresses.iter().any(|text| eni.addresses.ipv4.iter().any(|address| address.to_string() == *text))
}

/// An ENI as both Create and Describe show it.
pub(super) fn network_interface(world: &World, eni: &Eni) -> Value {
    let zone = world.vswitch(&eni.vswitch).map(|vswitch| vswitch.zone.as_str()).unwrap_or_default();
    let private_ips: Vec<Value> = (eni.addresses.ipv4.iter().enumerate())
        .map(|(index, address)| json!({ "PrivateIpAddress": address, "Primary": index == 0 }))
        .collect();
    let ipv6s: Vec<Value> =
        eni.addresses.ipv6.iter().map(|address| json!({ "Ipv6Address": address })).collect();
    let (v4, v6): (Vec<&IpNetwork>, Vec<_>) =
        eni.addresses.prefixes.iter().partition(|prefix| prefix.is_ipv4());
    let prefixes = |key: &str, of: Vec<&IpNetwork>| -> Vec<Value> {
        of.into_iter().map(|prefix| json!({ key: prefix })).collect()
    };
    let tags: Vec<Value> =
        eni.tags.iter().map(|(key, value)| json!({ "TagKey": key, "TagValue": value })).collect();
    let groups: Vec<&str> = eni.security_groups.iter().map(SecurityGroupId::as_str).collect();
    let mut shape = json!({
        "NetworkInterfaceId": eni.id.as_str(),
        "Status": eni.status.name(),
        "Type": eni.kind.name(),
        "VpcId": vpc_of(world, eni),
        "VSwitchId": eni.vswitch.as_str(),
        "ZoneId": zone,
        "MacAddress": eni.mac.to_string(),
        "PrivateIpAddress": eni.primary_ipv4(),
        "PrivateIpSets": { "PrivateIpSet": private_ips },
        "Ipv6Sets": { "Ipv6Set": ipv6s },
        "Ipv4PrefixSets": { "Ipv4PrefixSet": prefixes("Ipv4Prefix", v4) },
        "Ipv6PrefixSets": { "Ipv6PrefixSet": prefixes("Ipv6Prefix", v6) },
        "SecurityGroupIds": { "SecurityGroupId": groups },
        "Tags": { "Tag": tags },
        "NetworkInterfaceName": eni.name,
        "Description": eni.description,
        "CreationTime": iso_time(eni.created),
        "NetworkInterfaceTrafficMode": "Standard",
        "ResourceGroupId": "",
        "InstanceId": "",
        "ServiceManaged": false,
        "DeleteOnRelease": eni.delete_on_release,
    });
    if let Some(attachment) = &eni.attachment {
        shape["InstanceId"] = json!(attachment.instance.as_str());
        shape["Attachment"] = json!({
            "InstanceId": attachment.instance.as_str(),
            "DeviceIndex": attachment.device_index,
            "NetworkCardIndex": 0,
            "TrunkNetworkInterfaceId": eni.trunk().map(EniId::as_str).unwrap_or_default(),
        });
    }
    shape
}

/// `DescribeInstanceTypes`.
pub(super) fn instance_types(world: &World, given: &Parameters) -> Result<Value, ApiError> {
    let ids = given.list("InstanceTypes");
    let matching: Vec<&InstanceTypeConfig> = world
        .config()
        .instance_types
        .iter()
        .filter(|kind| ids.is_empty() || ids.contains(&kind.id))
        .collect();
    let page = Page::of(&matching, given, 100, |kind| kind.id.as_str())?;
    let set: Vec<Value> = page
        .items
        .iter()
        .map(|kind| {
            json!({
                "InstanceTypeId": kind.id,
                "EniQuantity": kind.enis,
                "EniTotalQuantity": kind.enis + kind.members,
                "EniPrivateIpAddressQuantity": kind.ipv4_per_eni,
                "EniIpv6AddressQuantity": kind.ipv6_per_eni,
                "EniTrunkSupported": kind.members > 0,
                "EriQuantity": 0,
                "InstanceBandwidthRx": 10_240_000,
                "InstanceBandwidthTx": 10_240_000,
                "NetworkCards": { "NetworkCardInfo": [] },
            })
        })
        .collect();
    let mut answer = page.frame();
    answer["InstanceTypes"] = json!({ "InstanceType": set });
    Ok(answer)
}

/// `DescribeInstances`: unknown ids are simply not in the answer.
pub(super) fn instances(world: &World, given: &Parameters) -> Result<Value, ApiError> {
    let ids: Option<Vec<String>> = match given.get("InstanceIds") {
        Some(text) => Some(serde_json::from_str(text).map_err(|_| ApiError::invalid("InstanceIds", text))?),
        None => None,
    };
    if ids.as_ref().is_some_and(|ids| ids.len() > 100) {
        return Err(ApiError::new("InvalidParameter", "more than 100 values of InstanceIds"));
    }
    let matching: Vec<&Instance> = world
        .instances()
        .filter(|instance| !instance.instance_type.lingjun)
        .filter(|instance| ids.as_ref().is_none_or(|ids| ids.iter().any(|id| id == instance.id.as_str())))
        .collect();
    let page = Page::of(&matching, given, 100, |instance| instance.id.as_str())?;
    let set: Vec<Value> = page.items.iter().map(|instance| show_instance(world, instance)).collect();
    let mut answer = page.frame();
    answer["Instances"] = json!({ "Instance": set });
    Ok(answer)
}

fn show_instance(world: &World, instance: &Instance) -> Value {
    json!({
        "InstanceId": instance.id.as_str(),
        "InstanceType": instance.instance_type.id,
        "RegionId": world.config().region,
        "ZoneId": instance.zone,
        "Status": match instance.state {
            InstanceState::Running => "Running",
            InstanceState::Stopped => "Stopped",
            InstanceState::Starting => "Starting",
            InstanceState::Stopping => "Stopping",
        },
        "InstanceNetworkType": "vpc",
        "VpcAttributes": { "VpcId": world.config().vpc.id, "VSwitchId": instance.vswitch.as_str() },
    })
}

/// `DescribeVSwitches` of the VPC product.
pub(super) fn vswitches(world: &World, given: &Parameters) -> Result<Value, ApiError> {
    if given.get("RegionId").is_none() && given.get("VpcId").is_none() {
        return Err(ApiError::missing("RegionId"));
    }
    let is = |name: &str, actual: &str| given.get(name).is_none_or(|wanted| wanted == actual);
    let matching: Vec<&VSwitch> = world
        .vswitches()
        .filter(|vswitch| is("VSwitchId", vswitch.id.as_str()) && is("ZoneId", &vswitch.zone))
        .filter(|vswitch| is("VpcId", &vswitch.vpc) && is("RegionId", &world.config().region))
        .collect();
    let page = Page::of(&matching, given, 50, |vswitch| vswitch.id.as_str())?;
    let set: Vec<Value> = page
        .items
        .iter()
        .map(|vswitch| {
            json!({
                "VSwitchId": vswitch.id.as_str(),
                "VpcId": vswitch.vpc,
                "ZoneId": vswitch.zone,
                "Status": "Available",
                "CidrBlock": vswitch.subnets.v4,
                "Ipv6CidrBlock": vswitch.subnets.v6.map(|cidr| cidr.to_string()).unwrap_or_default(),
                "AvailableIpAddressCount": u64::try_from(vswitch.free_ipv4()).unwrap_or(u64::MAX),
            })
        })
        .collect();
    let mut answer = page.frame();
    answer["VSwitches"] = json!({ "VSwitch": set });
    Ok(answer)
}

/// One page of an answer. Callers who give `PageNumber` or `PageSize` page the old way, all others by
/// token.
struct Page<'a, T> {
    items: &'a [T],
    total: usize,
    number: usize,
    size: usize,
    next: Option<String>,
}

impl<'a, T> Page<'a, T> {
    fn of(all: &'a [T], given: &Parameters, most: usize, id: impl Fn(&T) -> &str) -> Result<Self, ApiError> {
        let number = given.number::<usize>("PageNumber")?;
        let page_size = given.number::<usize>("PageSize")?;
        let numbered = number.is_some() || page_size.is_some();
        // The vendor moves values out of range to the nearest bound instead of refusing them.
        let wanted = if numbered { page_size } else { given.number("MaxResults")? };
        let size = wanted.unwrap_or(10).clamp(if numbered { 1 } else { 10 }, most);
        let number = number.unwrap_or(1).max(1);
        let start = match given.get("NextToken") {
            _ if numbered => (number - 1).saturating_mul(size).min(all.len()),
            None => 0,
            Some(token) => {
                let last =
                    token.strip_prefix(TOKEN_MARK).ok_or_else(|| ApiError::invalid("NextToken", token))?;
                all.iter().position(|item| id(item) > last).unwrap_or(all.len())
            }
        };
        let items = &all[start..all.len().min(start + size)];
        let more = !numbered && start + size < all.len();
        let next = items.last().filter(|_| more).map(|last| format!("{TOKEN_MARK}{}", id(last)));
        Ok(Self { items, total: all.len(), number, size, next })
    }

    fn frame(&self) -> Value {
        json!({
            "TotalCount": self.total,
            "PageNumber": self.number,
            "PageSize": self.size,
            "NextToken": self.next.as_deref().unwrap_or_default(),
        })
    }
}

/// Tokens name the last item of the page before: items that come or go in between disturb nobody.
const TOKEN_MARK: &str = "after:";

pub(super) fn iso_time(time: Timestamp) -> String {
    let ms = i64::try_from(time.0).unwrap_or_default();
    let time = jiff::Timestamp::from_millisecond(ms).unwrap_or_default();
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
