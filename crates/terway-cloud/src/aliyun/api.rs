//! The actions used and their parameters. Equal requests give equal parameters in equal order, so a
//! repeated create meets the vendor's idempotency check unchanged.

use std::collections::BTreeMap;

use terway_types::{EniId, InstanceId, SecurityGroupId, VSwitchId};

use super::config::Product;
use crate::cloud::{CreateEni, EniFilter};

/// One action of the API.
#[derive(Debug)]
pub(super) struct Action {
    pub(super) name: &'static str,
    pub(super) product: Product,
    /// Whether it changes something, so that a lost answer leaves a doubt.
    pub(super) changes: bool,
}

impl Action {
    const fn new(name: &'static str, product: Product, changes: bool) -> Self {
        Self { name, product, changes }
    }
}

pub(super) const CREATE: Action = Action::new("CreateNetworkInterface", Product::Ecs, true);
pub(super) const ATTACH: Action = Action::new("AttachNetworkInterface", Product::Ecs, true);
pub(super) const DETACH: Action = Action::new("DetachNetworkInterface", Product::Ecs, true);
pub(super) const DELETE: Action = Action::new("DeleteNetworkInterface", Product::Ecs, true);
pub(super) const DESCRIBE: Action = Action::new("DescribeNetworkInterfaces", Product::Ecs, false);
pub(super) const INSTANCE_TYPES: Action = Action::new("DescribeInstanceTypes", Product::Ecs, false);
pub(super) const VSWITCHES: Action = Action::new("DescribeVSwitches", Product::Vpc, false);

/// ENI ids that one describe call takes.
pub(super) const IDS_PER_CALL: usize = 100;
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

    /// A list, flattened as `Name.1`, `Name.2`, ...
    fn with_list<'a>(self, name: &str, values: impl IntoIterator<Item = &'a str>) -> Self {
        let numbered = values.into_iter().enumerate();
        numbered.fold(self, |all, (index, value)| all.with(&format!("{name}.{}", index + 1), value))
    }

    fn with_tags(self, tags: &BTreeMap<String, String>) -> Self {
        tags.iter().enumerate().fold(self, |all, (index, (key, value))| {
            let number = index + 1;
            all.with(&format!("Tag.{number}.Key"), key).with(&format!("Tag.{number}.Value"), value)
        })
    }
}

pub(super) fn create(request: &CreateEni) -> Parameters {
    let parameters = Parameters::default()
        .with("ClientToken", request.token.as_str())
        .with("VSwitchId", request.vswitch.as_str())
        .with_list("SecurityGroupIds", request.security_groups.iter().map(SecurityGroupId::as_str))
        .with_tags(&request.tags)
        .with("Description", "interface of a pod, made by terway")
        // The instance's end is the ENI's end, even if nobody is left to delete it.
        .with("DeleteOnRelease", "true")
        // Packets of services come in and leave with addresses that are not the ENI's.
        .with("SourceDestCheck", "false");
    if request.ipv6 { parameters.with("Ipv6AddressCount", "1") } else { parameters }
}

/// The parameters of attach and detach.
pub(super) fn bind(eni: &EniId, instance: &InstanceId) -> Parameters {
    one(eni).with("InstanceId", instance.as_str())
}

/// The parameters of delete.
pub(super) fn one(eni: &EniId) -> Parameters {
    Parameters::default().with("NetworkInterfaceId", eni.as_str())
}

/// The parameters of describe, for at most [`IDS_PER_CALL`] ids taken from the filter.
pub(super) fn describe(filter: &EniFilter, ids: &[EniId]) -> Parameters {
    let parameters = Parameters::default()
        .with("MaxResults", PAGE)
        .with_list("NetworkInterfaceId", ids.iter().map(EniId::as_str))
        .with_tags(&filter.tags);
    match &filter.instance {
        Some(instance) => parameters.with("InstanceId", instance.as_str()),
        None => parameters,
    }
}

pub(super) fn instance_type(name: &str) -> Parameters {
    Parameters::default().with_list("InstanceTypes", [name])
}

pub(super) fn vswitch(id: &VSwitchId) -> Parameters {
    Parameters::default().with("VSwitchId", id.as_str())
}
