//! The actions that make, move, change and end ENIs. All but the change start a task.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde::Deserialize;
use serde_json::{Value, json};
use terway_types::{AddressCounts, EniId, InstanceId, SecurityGroupId, VSwitchId};

use super::body::{self, Tag};
use super::error::{Refused, of_attach, of_delete};
use super::shape;
use crate::api::door::Errand;
use crate::config::OtherVpcConfig;
use crate::model::{CreateEni, EniKind, Goal, Refusal, Status, World};

/// The most security groups an ENI may be in.
const MAX_GROUPS: usize = 5;
/// The longest name and description, in bytes.
const MAX_TEXT: usize = 60;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Create {
    vpc_id: String,
    subnet_id: String,
    network_interface_name: String,
    #[serde(default)]
    network_interface_description: String,
    #[serde(default)]
    secondary_private_ip_address_count: u32,
    #[serde(default)]
    private_ip_addresses: Vec<Chosen>,
    #[serde(default)]
    security_group_ids: Vec<String>,
    #[serde(default)]
    tags: Vec<Tag>,
    #[serde(default)]
    trunking_flag: Option<String>,
    #[serde(default, rename = "QosLevel")]
    _qos_level: Option<String>,
    #[serde(default)]
    client_token: Option<String>,
}

/// An address that the caller chose. Of secondary ones only the number may be given here.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Chosen {
    private_ip_address: Ipv4Addr,
    #[serde(default)]
    primary: bool,
}

fn primary(chosen: &[Chosen]) -> Result<Option<Ipv4Addr>, Refused> {
    match chosen {
        [] => Ok(None),
        [one] if one.primary => Ok(Some(one.private_ip_address)),
        _ => Err(Refused::invalid("PrivateIpAddresses may hold one primary address here")),
    }
}

pub(super) fn create(world: &mut World, body: &[u8], errand: &Errand) -> Result<Value, Refused> {
    let given: Create = body::read(body)?;
    let home = VSwitchId(given.subnet_id.clone());
    let home = world.vswitch(&home).ok_or(Refusal::NoVSwitch(home))?;
    let other = |vpc: &OtherVpcConfig| vpc.id == given.vpc_id;
    if given.vpc_id != world.config().vpc.id && !world.config().other_vpcs.iter().any(other) {
        return Err(Refused::new("ResourceNotFound", format!("the VPC {} does not exist", given.vpc_id)));
    }
    if home.vpc != given.vpc_id {
        let message = format!("the subnet {} is not of VPC {}", home.id, given.vpc_id);
        return Err(Refused::new("UnsupportedOperation.VpcMismatch", message));
    }
    if given.network_interface_name.is_empty() {
        return Err(Refused::new("MissingParameter", "NetworkInterfaceName is missing"));
    }
    for text in [&given.network_interface_name, &given.network_interface_description] {
        check_length(text)?;
    }
    let kind = match given.trunking_flag.as_deref() {
        None | Some("Disable") => EniKind::Secondary,
        Some("Enable") => EniKind::Trunk,
        Some(other) => return Err(Refused::invalid(format!("TrunkingFlag {other:?}"))),
    };
    let mut tags = BTreeMap::new();
    for Tag { key, value } in given.tags {
        if tags.insert(key.clone(), value).is_some() {
            return Err(Refused::new(
                "InvalidParameterValue.TagDuplicateKey",
                format!("the tag {key} is double"),
            ));
        }
    }
    let request = CreateEni {
        vswitch: VSwitchId(given.subnet_id),
        security_groups: groups(given.security_group_ids)?,
        kind,
        counts: AddressCounts {
            ipv4: 1 + given.secondary_private_ip_address_count,
            ..AddressCounts::default()
        },
        primary_ipv4: primary(&given.private_ip_addresses)?,
        delete_on_release: false,
        lingjun: false,
        tags,
        name: given.network_interface_name,
        description: given.network_interface_description,
        client_token: body::client_token(given.client_token)?,
    };
    let eni = world.create_eni(&request, errand.now)?;
    if eni.status == Status::Creating && eni.created != errand.now {
        let message = "a request with this ClientToken is still being processed";
        return Err(Refused::new("UnsupportedOperation.IdempotentProcessing", message));
    }
    world.start_task(&errand.request_id, &eni.id, Goal::Created, errand.now);
    Ok(json!({ "NetworkInterface": shape::network_interface(world, &eni, errand.now) }))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Move {
    network_interface_id: String,
    instance_id: String,
    #[serde(default, rename = "AttachType")]
    _attach_type: Option<u32>,
    #[serde(default)]
    client_token: Option<String>,
}

impl Move {
    fn read(body: &[u8]) -> Result<(EniId, InstanceId), Refused> {
        let given: Self = body::read(body)?;
        body::client_token(given.client_token)?;
        Ok((EniId(given.network_interface_id), InstanceId(given.instance_id)))
    }
}

pub(super) fn attach(world: &mut World, body: &[u8], errand: &Errand) -> Result<Value, Refused> {
    let (eni, instance) = Move::read(body)?;
    world.attach_eni(&eni, &instance, None, errand.now).map_err(of_attach)?;
    world.start_task(&errand.request_id, &eni, Goal::Attached(instance), errand.now);
    Ok(json!({}))
}

pub(super) fn detach(world: &mut World, body: &[u8], errand: &Errand) -> Result<Value, Refused> {
    let (eni, instance) = Move::read(body)?;
    let status = world.known(&eni)?.status;
    if status == Status::Detaching {
        return Err(Refusal::EniState { eni, status }.into());
    }
    world.detach_eni(&eni, &instance, None, errand.now)?;
    world.start_task(&errand.request_id, &eni, Goal::Detached, errand.now);
    Ok(json!({}))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Delete {
    network_interface_id: String,
}

pub(super) fn delete(world: &mut World, body: &[u8], errand: &Errand) -> Result<Value, Refused> {
    let given: Delete = body::read(body)?;
    let eni = EniId(given.network_interface_id);
    world.delete_eni(&eni, errand.now).map_err(of_delete)?;
    world.start_task(&errand.request_id, &eni, Goal::Deleted, errand.now);
    Ok(json!({}))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Modify {
    network_interface_id: String,
    #[serde(default)]
    network_interface_name: Option<String>,
    #[serde(default)]
    network_interface_description: Option<String>,
    #[serde(default)]
    security_group_ids: Option<Vec<String>>,
    #[serde(default, rename = "TrunkingFlag")]
    _trunking_flag: Option<String>,
}

/// What is not given stays as it is. The change is there with the answer.
pub(super) fn modify(world: &mut World, body: &[u8], errand: &Errand) -> Result<Value, Refused> {
    let given: Modify = body::read(body)?;
    let eni = EniId(given.network_interface_id);
    let (name, description) = (given.network_interface_name, given.network_interface_description);
    name.iter().chain(&description).try_for_each(|text| check_length(text))?;
    world.known(&eni)?;
    if let Some(ids) = given.security_group_ids {
        world.set_security_groups(&eni, &groups(ids)?, errand.now)?;
    }
    world.rename(&eni, name.as_deref(), description.as_deref(), errand.now);
    Ok(json!({}))
}

fn check_length(text: &str) -> Result<(), Refused> {
    if text.len() > MAX_TEXT {
        return Err(Refused::new(
            "InvalidParameterValue.TooLong",
            format!("{text:?} has more than {MAX_TEXT} bytes"),
        ));
    }
    Ok(())
}

fn groups(ids: Vec<String>) -> Result<Vec<SecurityGroupId>, Refused> {
    if ids.len() > MAX_GROUPS {
        let message = format!("{} security groups, {MAX_GROUPS} allowed", ids.len());
        return Err(Refused::new("InvalidParameterValue.LimitExceeded", message));
    }
    Ok(ids.into_iter().map(SecurityGroupId).collect())
}
