//! The reading actions: ids or filters, pages by offset, and what became of a task.

use serde::Deserialize;
use serde_json::{Value, json};
use terway_types::{EniId, InstanceId, SecurityGroupId, VSwitchId};

use super::body::{self, Filter, Number};
use super::error::Refused;
use super::shape;
use crate::api::door::Errand;
use crate::model::{By, Eni, EniKind, Progress, VSwitch, World};

/// Ids, filters and values of a filter per call.
const MAX_IDS: usize = 100;
const MAX_FILTERS: usize = 10;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Interfaces {
    #[serde(default)]
    network_interface_ids: Vec<String>,
    #[serde(default)]
    filters: Vec<Filter>,
    #[serde(default)]
    offset: Option<Number>,
    #[serde(default)]
    limit: Option<Number>,
}

pub(super) fn network_interfaces(world: &World, body: &[u8], errand: &Errand) -> Result<Value, Refused> {
    let given: Interfaces = body::read(body)?;
    check_choice(given.network_interface_ids.len(), &given.filters)?;
    let ids: Vec<EniId> = given.network_interface_ids.into_iter().map(EniId).collect();
    let view = world.seen(world.lag(), errand.now);
    let keys: Vec<Key> = given.filters.iter().filter_map(Key::of).collect();
    let by = (!ids.is_empty()).then_some(By::Ids(&ids)).into_iter().chain(keys.iter().map(Key::by));
    let by = by.min_by_key(|by| view.breadth(*by)).unwrap_or(By::All);
    let mut matching = Vec::new();
    for eni in view.candidates(by) {
        let named = ids.is_empty() || ids.contains(&eni.id);
        if named && all(&given.filters, |filter| fits(world, eni, filter))? {
            matching.push(eni);
        }
    }
    let page = page(&matching, given.offset.as_ref(), given.limit.as_ref())?;
    let set: Vec<Value> = page.iter().map(|eni| shape::network_interface(world, eni, errand.now)).collect();
    Ok(json!({ "NetworkInterfaceSet": set, "TotalCount": matching.len() }))
}

/// What an index can find of a filter with one value.
enum Key {
    Instance(InstanceId),
    Subnet(VSwitchId),
    Tag(String, String),
}

impl Key {
    fn of(filter: &Filter) -> Option<Self> {
        let [value] = &filter.values[..] else { return None };
        match filter.name.as_str() {
            "attachment.instance-id" => Some(Self::Instance(InstanceId(value.clone()))),
            "subnet-id" => Some(Self::Subnet(VSwitchId(value.clone()))),
            name => Some(Self::Tag(name.strip_prefix("tag:")?.to_owned(), value.clone())),
        }
    }

    fn by(&self) -> By<'_> {
        match self {
            Self::Instance(id) => By::Instance(id),
            Self::Subnet(id) => By::VSwitch(id),
            Self::Tag(key, value) => By::Tag(key, value),
        }
    }
}

fn fits(world: &World, eni: &Eni, filter: &Filter) -> Result<bool, Refused> {
    let is = |actual: &str| filter.values.iter().any(|value| value == actual);
    Ok(match filter.name.as_str() {
        "vpc-id" => world.vswitch(&eni.vswitch).is_some_and(|home| is(&home.vpc)),
        "subnet-id" => is(eni.vswitch.as_str()),
        "network-interface-id" => is(eni.id.as_str()),
        "network-interface-name" => is(&eni.name),
        "network-interface-description" => is(&eni.description),
        "attachment.instance-id" => eni.instance().is_some_and(|instance| is(instance.as_str())),
        "groups.security-group-id" => eni.security_groups.iter().map(SecurityGroupId::as_str).any(is),
        "address-ip" => eni.addresses.singles().any(|address| is(&address.to_string())),
        "ip-exact-match" => true,
        "is-primary" => is(if eni.kind == EniKind::Primary { "true" } else { "false" }),
        "eni-type" => is(&shape::eni_type(eni).to_string()),
        "mac-address" => is(&shape::mac(eni)),
        "tag-key" => eni.tags.keys().any(|key| is(key)),
        name => {
            let key = name.strip_prefix("tag:").ok_or_else(|| unknown(name))?;
            eni.tags.get(key).is_some_and(|value| is(value))
        }
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Subnets {
    #[serde(default)]
    subnet_ids: Vec<String>,
    #[serde(default)]
    filters: Vec<Filter>,
    #[serde(default)]
    offset: Option<Number>,
    #[serde(default)]
    limit: Option<Number>,
}

pub(super) fn subnets(world: &World, body: &[u8]) -> Result<Value, Refused> {
    let given: Subnets = body::read(body)?;
    check_choice(given.subnet_ids.len(), &given.filters)?;
    if let Some(unknown) =
        given.subnet_ids.iter().find(|id| world.vswitch(&VSwitchId((*id).clone())).is_none())
    {
        return Err(Refused::new("ResourceNotFound", format!("the subnet {unknown} does not exist")));
    }
    let mut matching: Vec<&VSwitch> = Vec::new();
    for subnet in world.vswitches() {
        let named = given.subnet_ids.is_empty() || given.subnet_ids.iter().any(|id| id == subnet.id.as_str());
        if named && all(&given.filters, |filter| subnet_fits(subnet, filter))? {
            matching.push(subnet);
        }
    }
    let page = page(&matching, given.offset.as_ref(), given.limit.as_ref())?;
    let set: Vec<Value> = page.iter().map(|subnet| show_subnet(subnet)).collect();
    Ok(json!({ "SubnetSet": set, "TotalCount": matching.len() }))
}

fn subnet_fits(subnet: &VSwitch, filter: &Filter) -> Result<bool, Refused> {
    let is = |actual: &str| filter.values.iter().any(|value| value == actual);
    match filter.name.as_str() {
        "subnet-id" => Ok(is(subnet.id.as_str())),
        "vpc-id" => Ok(is(&subnet.vpc)),
        "zone" => Ok(is(&subnet.zone)),
        name => Err(unknown(name)),
    }
}

fn show_subnet(subnet: &VSwitch) -> Value {
    let free = u64::try_from(subnet.free_ipv4()).unwrap_or(u64::MAX);
    let total = subnet.subnets.v4.map_or(0, |cidr| u64::from(cidr.size()).saturating_sub(3));
    json!({
        "SubnetId": subnet.id.as_str(),
        "SubnetName": subnet.id.as_str(),
        "VpcId": subnet.vpc,
        "CidrBlock": subnet.subnets.v4,
        "Ipv6CidrBlock": subnet.subnets.v6.map(|cidr| cidr.to_string()).unwrap_or_default(),
        "IsDefault": false,
        "EnableBroadcast": false,
        "Zone": subnet.zone,
        "RouteTableId": "rtb-00000001",
        "AvailableIpAddressCount": free,
        "TotalIpAddressCount": total,
        "TagSet": [],
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Limit {
    instance_id: String,
}

/// What the instance can carry.
pub(super) fn limits(world: &World, body: &[u8]) -> Result<Value, Refused> {
    let given: Limit = body::read(body)?;
    let id = InstanceId(given.instance_id);
    let missing = || Refused::new("ResourceNotFound", format!("the instance {id} does not exist"));
    let kind = &world.instance(&id).ok_or_else(missing)?.instance_type;
    let members = (kind.members > 0).then_some(kind.members);
    Ok(json!({
        "EniQuantity": kind.enis,
        "EniPrivateIpAddressQuantity": kind.ipv4_per_eni,
        "ExtendEniQuantity": null,
        "ExtendEniPrivateIpAddressQuantity": null,
        "SubEniQuantity": members,
        "SubEniPrivateIpAddressQuantity": members.map(|_| 1),
    }))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Task {
    task_id: String,
}

pub(super) fn task(world: &World, body: &[u8], errand: &Errand) -> Result<Value, Refused> {
    let given: Task = body::read(body)?;
    let missing = || Refused::new("ResourceNotFound", format!("the task {} does not exist", given.task_id));
    let status = match world.task(&given.task_id, errand.now).ok_or_else(missing)? {
        Progress::Running => "RUNNING",
        Progress::Success => "SUCCESS",
        Progress::Failed => "FAILED",
    };
    Ok(json!({ "Status": status, "Output": "", "Result": [] }))
}

/// Ids and filters exclude each other.
pub(super) fn check_choice(ids: usize, filters: &[Filter]) -> Result<(), Refused> {
    if ids > 0 && !filters.is_empty() {
        return Err(Refused::new("InvalidParameter.Coexist", "ids and Filters exclude each other"));
    }
    let most = filters.iter().map(|filter| filter.values.len()).max().unwrap_or_default();
    if ids > MAX_IDS || most > MAX_IDS || filters.len() > MAX_FILTERS {
        return Err(Refused::new("InvalidParameterValue.LimitExceeded", "too many ids, filters or values"));
    }
    Ok(())
}

fn all(filters: &[Filter], fits: impl Fn(&Filter) -> Result<bool, Refused>) -> Result<bool, Refused> {
    for filter in filters {
        if !fits(filter)? {
            return Ok(false);
        }
    }
    Ok(true)
}

pub(super) fn page<'a, T>(
    all: &'a [T],
    offset: Option<&Number>,
    limit: Option<&Number>,
) -> Result<&'a [T], Refused> {
    let offset = offset.map_or(Ok(0), Number::get)?;
    let limit = limit.map_or(Ok(20), Number::get)?;
    if limit == 0 || limit > MAX_IDS {
        return Err(Refused::new(
            "InvalidParameterValue.Range",
            format!("Limit {limit} is not between 1 and {MAX_IDS}"),
        ));
    }
    let start = offset.min(all.len());
    Ok(&all[start..all.len().min(start + limit)])
}

fn unknown(name: &str) -> Refused {
    Refused::new("InvalidParameter.FilterInvalidKey", format!("the filter {name:?} does not exist"))
}
