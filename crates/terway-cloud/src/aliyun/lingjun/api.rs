//! The EFLO actions used and their parameters. All parameters go in the form of the body.

use std::collections::BTreeMap;

use terway_types::{EniId, InstanceId, SecurityGroupId};

use super::super::api::{Action, Parameters};
use super::super::config::Product;
use super::Place;
use crate::cloud::CreateEni;

pub(super) const CREATE: Action = Action::new("CreateElasticNetworkInterface", Product::Eflo, true);
pub(super) const ATTACH: Action = Action::new("AttachElasticNetworkInterface", Product::Eflo, true);
pub(super) const DETACH: Action = Action::new("DetachElasticNetworkInterface", Product::Eflo, true);
pub(super) const DELETE: Action = Action::new("DeleteElasticNetworkInterface", Product::Eflo, true);
pub(super) const UPDATE: Action = Action::new("UpdateElasticNetworkInterface", Product::Eflo, true);
pub(super) const LIST: Action = Action::new("ListElasticNetworkInterfaces", Product::Eflo, false);
pub(super) const NODE: Action = Action::new("GetNodeInfoForPod", Product::Eflo, false);

/// ENIs per page of a listing. A cloud that gives fewer counts its pages by what it gives.
pub(super) const PAGE: usize = 100;

/// Without a node, so that it is not attached by the same call: an attach is an intent of its own. The ENI gets one
/// security group, the first.
pub(super) fn create(request: &CreateEni, place: &Place) -> Parameters {
    Parameters::default()
        .with("ClientToken", request.token.as_str())
        .with("Description", marks(&request.tags))
        .with_given("SecurityGroupId", request.security_groups.first().map(SecurityGroupId::as_str))
        .with("VSwitchId", request.vswitch.as_str())
        .with("VpcId", place.vpc.as_str())
        .with("ZoneId", place.zone.as_str())
}

pub(super) fn one(eni: &EniId) -> Parameters {
    Parameters::default().with("ElasticNetworkInterfaceId", eni.as_str())
}

/// The parameters of attach and detach.
pub(super) fn bind(eni: &EniId, node: &InstanceId) -> Parameters {
    one(eni).with("NodeId", node.as_str())
}

pub(super) fn security_group(eni: &EniId, group: &SecurityGroupId) -> Parameters {
    one(eni).with("SecurityGroupId", group.as_str())
}

pub(super) fn node(id: &InstanceId) -> Parameters {
    Parameters::default().with("NodeId", id.as_str())
}

/// A listing of what a caller wants, page by page.
pub(super) fn list(by: Parameters, page: usize) -> Parameters {
    by.with("PageNumber", page.to_string()).with("PageSize", PAGE.to_string())
}

pub(super) fn in_vpc(vpc: &str) -> Parameters {
    Parameters::default().with("VpcId", vpc)
}

/// Tags as a description: these ENIs have no other place for ownership marks that every region's API knows.
pub(super) fn marks(tags: &BTreeMap<String, String>) -> String {
    tags.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(";")
}

/// The tags of a description. Whatever a person wrote there is none.
pub(super) fn read_marks(description: &str) -> BTreeMap<String, String> {
    let pair = |pair: &str| pair.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
    description.split(';').map(pair).collect::<Option<_>>().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ownership_marks_survive_the_description() {
        let tags = BTreeMap::from([("creator".into(), "terway".into()), ("node".into(), "n=1".into())]);
        assert_eq!(marks(&tags), "creator=terway;node=n=1");
        assert_eq!(read_marks(&marks(&tags)), tags);
        assert_eq!(read_marks("made by hand; a=b"), BTreeMap::new());
        assert_eq!(read_marks(""), BTreeMap::new());
    }
}
