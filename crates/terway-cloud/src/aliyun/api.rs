//! The actions used and their parameters. Equal requests give equal parameters in equal order, so a
//! repeated create meets the vendor's idempotency check unchanged.

use std::collections::BTreeMap;
use std::fmt::Display;

use ipnetwork::IpNetwork;
use terway_types::{AddressCounts, AddressSet, EniId, InstanceId, IntentToken, SecurityGroupId, VSwitchId};

use super::config::Product;
use crate::cloud::{Assign, CreateEni, EniFilter, EniKind};

/// One action of the API.
#[derive(Debug)]
pub(super) struct Action {
    pub(super) name: &'static str,
    pub(super) product: Product,
    /// Whether it changes something, so that a lost answer leaves a doubt.
    pub(super) changes: bool,
}

impl Action {
    pub(super) const fn new(name: &'static str, product: Product, changes: bool) -> Self {
        Self { name, product, changes }
    }
}

pub(super) const CREATE: Action = Action::new("CreateNetworkInterface", Product::Ecs, true);
pub(super) const ATTACH: Action = Action::new("AttachNetworkInterface", Product::Ecs, true);
pub(super) const DETACH: Action = Action::new("DetachNetworkInterface", Product::Ecs, true);
pub(super) const DELETE: Action = Action::new("DeleteNetworkInterface", Product::Ecs, true);
pub(super) const ASSIGN_V4: Action = Action::new("AssignPrivateIpAddresses", Product::Ecs, true);
pub(super) const UNASSIGN_V4: Action = Action::new("UnassignPrivateIpAddresses", Product::Ecs, true);
pub(super) const ASSIGN_V6: Action = Action::new("AssignIpv6Addresses", Product::Ecs, true);
pub(super) const UNASSIGN_V6: Action = Action::new("UnassignIpv6Addresses", Product::Ecs, true);
pub(super) const MODIFY: Action = Action::new("ModifyNetworkInterfaceAttribute", Product::Ecs, true);
pub(super) const DESCRIBE: Action = Action::new("DescribeNetworkInterfaces", Product::Ecs, false);
pub(super) const INSTANCES: Action = Action::new("DescribeInstances", Product::Ecs, false);
pub(super) const INSTANCE_TYPES: Action = Action::new("DescribeInstanceTypes", Product::Ecs, false);
pub(super) const VSWITCHES: Action = Action::new("DescribeVSwitches", Product::Vpc, false);

/// ENI or instance ids that one describe call takes.
pub(super) const IDS_PER_CALL: usize = 100;
/// Addresses or prefixes that one assign or unassign call takes.
pub(super) const ADDRESSES_PER_CALL: u32 = 10;
/// ENIs per page of an answer, the API's maximum.
const PAGE: &str = "500";

/// Parameters of a call, as names and values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Parameters(pub(super) Vec<(String, String)>);

impl Parameters {
    #[must_use]
    pub(super) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.0.push((name.to_owned(), value.into()));
        self
    }

    /// The ids and addresses among the values, for the journal.
    pub(super) fn objects(&self) -> String {
        const NAMES: [&str; 12] = [
            "NetworkInterfaceId",
            "ElasticNetworkInterfaceId",
            "NodeId",
            "InstanceId",
            "InstanceIds",
            "TrunkNetworkInstanceId",
            "VSwitchId",
            "SecurityGroupId",
            "PrivateIpAddress",
            "Ipv4Prefix",
            "Ipv6Address",
            "Ipv6Prefix",
        ];
        let is_object = |name: &str| NAMES.contains(&name.split_once('.').map_or(name, |(list, _)| list));
        let values = self.0.iter().filter(|(name, _)| is_object(name)).map(|(_, value)| value.as_str());
        values.collect::<Vec<_>>().join(",")
    }

    /// A list, flattened as `Name.1`, `Name.2`, ...
    pub(super) fn with_list<'a>(self, name: &str, values: impl IntoIterator<Item = &'a str>) -> Self {
        let numbered = values.into_iter().enumerate();
        numbered.fold(self, |all, (index, value)| all.with(&format!("{name}.{}", index + 1), value))
    }

    /// A text that is left out where there is none.
    #[must_use]
    pub(super) fn with_given(self, name: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// A number that is left out where it is 0.
    fn with_count(self, name: &str, count: u32) -> Self {
        if count == 0 { self } else { self.with(name, count.to_string()) }
    }

    fn with_tags(self, tags: &BTreeMap<String, String>) -> Self {
        tags.iter().enumerate().fold(self, |all, (index, (key, value))| {
            let number = index + 1;
            all.with(&format!("Tag.{number}.Key"), key).with(&format!("Tag.{number}.Value"), value)
        })
    }
}

pub(super) fn create(request: &CreateEni) -> Parameters {
    let AddressCounts { ipv4, ipv6, ipv4_prefixes, ipv6_prefixes } = request.counts;
    let primary = request.primary_ipv4.map(|address| address.to_string());
    Parameters::default()
        .with("ClientToken", request.token.as_str())
        .with("VSwitchId", request.vswitch.as_str())
        .with_given("PrimaryIpAddress", primary.as_deref())
        .with_list("SecurityGroupIds", request.security_groups.iter().map(SecurityGroupId::as_str))
        .with_tags(&request.tags)
        .with("Description", "interface of a pod, made by terway")
        // The instance's end is the ENI's end, even if nobody is left to delete it.
        .with("DeleteOnRelease", "true")
        // Packets of services come in and leave with addresses that are not the ENI's.
        .with("SourceDestCheck", "false")
        .with("InstanceType", if request.kind == EniKind::Trunk { "Trunk" } else { "Secondary" })
        .with_count("SecondaryPrivateIpAddressCount", ipv4.saturating_sub(1))
        .with_count("Ipv6AddressCount", ipv6)
        .with_count("Ipv4PrefixCount", ipv4_prefixes)
        .with_count("Ipv6PrefixCount", ipv6_prefixes)
}

/// The action that gives what is asked for, and its parameters.
pub(super) fn assign(eni: &EniId, token: &IntentToken, what: Assign) -> (&'static Action, Parameters) {
    let (action, name) = match what {
        Assign::Ipv4(_) => (&ASSIGN_V4, "SecondaryPrivateIpAddressCount"),
        Assign::Ipv4Prefixes(_) => (&ASSIGN_V4, "Ipv4PrefixCount"),
        Assign::Ipv6(_) => (&ASSIGN_V6, "Ipv6AddressCount"),
        Assign::Ipv6Prefixes(_) => (&ASSIGN_V6, "Ipv6PrefixCount"),
    };
    (action, one(eni).with("ClientToken", token.as_str()).with_count(name, what.amount()))
}

/// What an unassign call takes off: one of the four kinds.
pub(super) struct Taken {
    pub(super) action: &'static Action,
    name: &'static str,
    pub(super) texts: Vec<String>,
}

impl Taken {
    /// The parameters for some of the texts.
    pub(super) fn parameters(&self, eni: &EniId, texts: &[String]) -> Parameters {
        one(eni).with_list(self.name, texts.iter().map(String::as_str))
    }
}

/// A set sorted into the kinds that calls take, without empty ones.
pub(super) fn taken(what: &AddressSet) -> Vec<Taken> {
    fn texts<T: Display>(items: impl IntoIterator<Item = T>) -> Vec<String> {
        items.into_iter().map(|item| item.to_string()).collect()
    }
    let (v4, v6): (Vec<IpNetwork>, Vec<IpNetwork>) =
        what.prefixes.iter().partition(|prefix| prefix.is_ipv4());
    let kinds = [
        Taken { action: &UNASSIGN_V4, name: "PrivateIpAddress", texts: texts(&what.ipv4) },
        Taken { action: &UNASSIGN_V4, name: "Ipv4Prefix", texts: texts(v4) },
        Taken { action: &UNASSIGN_V6, name: "Ipv6Address", texts: texts(&what.ipv6) },
        Taken { action: &UNASSIGN_V6, name: "Ipv6Prefix", texts: texts(v6) },
    ];
    kinds.into_iter().filter(|kind| !kind.texts.is_empty()).collect()
}

pub(super) fn security_groups(eni: &EniId, groups: &[SecurityGroupId]) -> Parameters {
    one(eni).with_list("SecurityGroupId", groups.iter().map(SecurityGroupId::as_str))
}

/// The parameters of attach and detach.
pub(super) fn bind(eni: &EniId, instance: &InstanceId) -> Parameters {
    one(eni).with("InstanceId", instance.as_str())
}

/// The parameters of attach and detach, for a member of a trunk.
pub(super) fn bind_member(member: &EniId, trunk: &EniId, instance: &InstanceId) -> Parameters {
    bind(member, instance).with("TrunkNetworkInstanceId", trunk.as_str())
}

pub(super) fn delete_on_release(eni: &EniId, on: bool) -> Parameters {
    one(eni).with("DeleteOnRelease", on.to_string())
}

/// The parameters of delete.
pub(super) fn one(eni: &EniId) -> Parameters {
    Parameters::default().with("NetworkInterfaceId", eni.as_str())
}

/// The parameters of describe, for at most [`IDS_PER_CALL`] ids taken from the filter.
pub(super) fn describe(filter: &EniFilter, ids: &[EniId]) -> Parameters {
    Parameters::default()
        .with("MaxResults", PAGE)
        .with_list("NetworkInterfaceId", ids.iter().map(EniId::as_str))
        .with_tags(&filter.tags)
        .with_given("InstanceId", filter.instance.as_ref().map(InstanceId::as_str))
}

/// At most [`IDS_PER_CALL`] instances. Their ids go as one text, a JSON array.
pub(super) fn instances(ids: &[InstanceId]) -> Parameters {
    let ids: Vec<_> = ids.iter().map(InstanceId::as_str).collect();
    Parameters::default().with("InstanceIds", serde_json::json!(ids).to_string()).with("MaxResults", "100")
}

pub(super) fn instance_type(name: &str) -> Parameters {
    Parameters::default().with_list("InstanceTypes", [name])
}

pub(super) fn vswitch(id: &VSwitchId) -> Parameters {
    Parameters::default().with("VSwitchId", id.as_str())
}
