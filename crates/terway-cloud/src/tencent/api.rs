//! The actions used and their parameters. Keys are given in alphabetical order, which is also the order they
//! are sent in, so equal requests give equal bodies.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use terway_types::{EniId, InstanceId, IntentToken, SecurityGroupId};

use crate::cloud::{CreateEni, EniFilter, EniKind};

/// A product of the cloud: an API of its own under a host of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Product {
    Vpc,
    Cvm,
}

impl Product {
    /// Its name in hosts, signatures and policies.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Vpc => "vpc",
            Self::Cvm => "cvm",
        }
    }
}

/// The version of both products' APIs, by its date.
pub(super) const VERSION: &str = "2017-03-12";

/// One action of the API.
#[derive(Debug)]
pub(super) struct Action {
    pub(super) name: &'static str,
    pub(super) product: Product,
    /// Whether it changes something, so that a lost answer leaves a doubt.
    pub(super) changes: bool,
}

impl Action {
    const fn new(name: &'static str, changes: bool) -> Self {
        Self { name, product: Product::Vpc, changes }
    }
}

pub(super) const CREATE: Action = Action::new("CreateNetworkInterface", true);
pub(super) const ATTACH: Action = Action::new("AttachNetworkInterface", true);
pub(super) const DETACH: Action = Action::new("DetachNetworkInterface", true);
pub(super) const DELETE: Action = Action::new("DeleteNetworkInterface", true);
pub(super) const ASSIGN_V4: Action = Action::new("AssignPrivateIpAddresses", true);
pub(super) const UNASSIGN_V4: Action = Action::new("UnassignPrivateIpAddresses", true);
pub(super) const ASSIGN_V6: Action = Action::new("AssignIpv6Addresses", true);
pub(super) const UNASSIGN_V6: Action = Action::new("UnassignIpv6Addresses", true);
pub(super) const MODIFY: Action = Action::new("ModifyNetworkInterfaceAttribute", true);
pub(super) const DESCRIBE: Action = Action::new("DescribeNetworkInterfaces", false);
pub(super) const SUBNETS: Action = Action::new("DescribeSubnets", false);
pub(super) const LIMITS: Action = Action::new("DescribeNetworkInterfaceLimit", false);
pub(super) const INSTANCES: Action =
    Action { product: Product::Cvm, ..Action::new("DescribeInstances", false) };
pub(super) const TASK: Action = Action::new("DescribeVpcTaskResult", false);

/// Ids that one describe call takes, and items per page of its answer: the API's maximum.
pub(super) const PAGE: usize = 100;
/// Addresses that one assign or unassign call takes.
pub(super) const ADDRESSES_PER_CALL: u32 = 10;
/// The longest name or description, in bytes.
const LONGEST_NAME: usize = 60;

/// The parameters of a call.
pub(super) type Parameters = Map<String, Value>;

fn parameters(value: Value) -> Parameters {
    match value {
        Value::Object(parameters) => parameters,
        _ => Parameters::new(),
    }
}

/// The ids and addresses among the values, for the journal.
pub(super) fn objects(parameters: &Parameters) -> String {
    const NAMES: [&str; 8] = [
        "NetworkInterfaceId",
        "NetworkInterfaceIds",
        "InstanceId",
        "InstanceIds",
        "SubnetId",
        "SubnetIds",
        "PrivateIpAddresses",
        "Ipv6Addresses",
    ];
    let text = |value: &Value| match value {
        Value::Object(fields) => fields.values().next().and_then(Value::as_str).map(str::to_owned),
        value => value.as_str().map(str::to_owned),
    };
    let named = NAMES.iter().filter_map(|name| parameters.get(*name));
    let texts = named.flat_map(|value| match value {
        Value::Array(items) => items.iter().filter_map(text).collect(),
        value => text(value).into_iter().collect::<Vec<_>>(),
    });
    texts.collect::<Vec<_>>().join(",")
}

/// The secondary addresses to ask for at birth. IPv6 addresses can only be added later.
pub(super) fn create(request: &CreateEni, vpc: &str) -> Parameters {
    let name = &request.token.as_str()[..request.token.as_str().len().min(LONGEST_NAME)];
    let tags: Vec<_> = request.tags.iter().map(|(key, value)| json!({"Key": key, "Value": value})).collect();
    let mut made = parameters(json!({
        "ClientToken": request.token.as_str(),
        "NetworkInterfaceDescription": "interface of a pod, made by terway",
        "NetworkInterfaceName": name,
        "SecurityGroupIds": texts(&request.security_groups, SecurityGroupId::as_str),
        "SubnetId": request.vswitch.as_str(),
        "Tags": tags,
        "VpcId": vpc,
    }));
    let secondary = request.counts.ipv4.saturating_sub(1);
    if secondary > 0 {
        made.insert("SecondaryPrivateIpAddressCount".to_owned(), secondary.into());
    }
    if let Some(primary) = request.primary_ipv4 {
        let primary = json!([{"Primary": true, "PrivateIpAddress": primary.to_string()}]);
        made.insert("PrivateIpAddresses".to_owned(), primary);
    }
    if request.kind == EniKind::Trunk {
        made.insert("TrunkingFlag".to_owned(), "Enable".into());
    }
    made.sort_keys();
    made
}

fn texts<T>(items: &[T], text: impl Fn(&T) -> &str) -> Vec<&str> {
    items.iter().map(text).collect()
}

pub(super) fn one(eni: &EniId) -> Parameters {
    parameters(json!({"NetworkInterfaceId": eni.as_str()}))
}

/// The parameters of attach and detach.
pub(super) fn bind(eni: &EniId, instance: &InstanceId) -> Parameters {
    parameters(json!({"InstanceId": instance.as_str(), "NetworkInterfaceId": eni.as_str()}))
}

pub(super) fn assign_v4(eni: &EniId, token: &IntentToken, amount: u32) -> Parameters {
    parameters(json!({
        "ClientToken": token.as_str(),
        "NetworkInterfaceId": eni.as_str(),
        "SecondaryPrivateIpAddressCount": amount,
    }))
}

/// This action takes no token.
pub(super) fn assign_v6(eni: &EniId, amount: u32) -> Parameters {
    parameters(json!({"Ipv6AddressCount": amount, "NetworkInterfaceId": eni.as_str()}))
}

pub(super) fn unassign_v4(eni: &EniId, addresses: &[String]) -> Parameters {
    let addresses: Vec<_> = addresses.iter().map(|text| json!({"PrivateIpAddress": text})).collect();
    parameters(json!({"NetworkInterfaceId": eni.as_str(), "PrivateIpAddresses": addresses}))
}

pub(super) fn unassign_v6(eni: &EniId, addresses: &[String]) -> Parameters {
    let addresses: Vec<_> = addresses.iter().map(|text| json!({"Address": text})).collect();
    parameters(json!({"Ipv6Addresses": addresses, "NetworkInterfaceId": eni.as_str()}))
}

pub(super) fn security_groups(eni: &EniId, groups: &[SecurityGroupId]) -> Parameters {
    let groups = texts(groups, SecurityGroupId::as_str);
    parameters(json!({"NetworkInterfaceId": eni.as_str(), "SecurityGroupIds": groups}))
}

/// Describe by ids. Ids and filters exclude each other.
pub(super) fn describe_ids(ids: &[EniId]) -> Parameters {
    parameters(json!({"NetworkInterfaceIds": texts(ids, EniId::as_str)}))
}

/// Describe by the rest of the filter.
pub(super) fn describe_filtered(filter: &EniFilter) -> Parameters {
    let by = |name: &str, value: &str| json!({"Name": name, "Values": [value]});
    let instance = filter.instance.iter().map(|id| by("attachment.instance-id", id.as_str()));
    let tags = filter.tags.iter().map(|(key, value)| by(&format!("tag:{key}"), value));
    let filters: Vec<_> = instance.chain(tags).collect();
    if filters.is_empty() { Parameters::new() } else { parameters(json!({"Filters": filters})) }
}

/// The same listing from some item on.
pub(super) fn from_offset(mut listing: Parameters, offset: usize) -> Parameters {
    listing.insert("Limit".to_owned(), PAGE.into());
    listing.insert("Offset".to_owned(), offset.into());
    listing.sort_keys();
    listing
}

/// Instances by ids.
pub(super) fn instances(ids: &[InstanceId]) -> Parameters {
    parameters(json!({"InstanceIds": texts(ids, InstanceId::as_str), "Limit": PAGE}))
}

/// Subnets by ids. This action has its page in texts.
pub(super) fn subnets(ids: &[&str]) -> Parameters {
    parameters(json!({"Limit": PAGE.to_string(), "Offset": "0", "SubnetIds": ids}))
}

pub(super) fn limits(instance: &InstanceId) -> Parameters {
    parameters(json!({"InstanceId": instance.as_str()}))
}

/// The outcome of an asynchronous call, which goes by its request id.
pub(super) fn task(request_id: &str) -> Parameters {
    parameters(json!({"TaskId": request_id}))
}

/// Whether an ENI carries all of these tags.
pub(super) fn carries(found: &BTreeMap<String, String>, wanted: &BTreeMap<String, String>) -> bool {
    wanted.iter().all(|(key, value)| found.get(key) == Some(value))
}
