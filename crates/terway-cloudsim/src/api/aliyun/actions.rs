//! The ECS and VPC actions by name and version: parameters in the vendor's words to a call of the model, and
//! its outcome back.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use terway_types::{AddressCounts, EniId, InstanceId, SecurityGroupId, VSwitchId};

use super::ecs::Call;
use super::parameters::Parameters;
use super::{addresses, describe, eflo};
use crate::api::door::Errand;
use crate::api::error::ApiError;
use crate::model::{CreateEni, EniKind, Refusal, World};

const ECS: &str = "2014-05-26";
const VPC: &str = "2016-04-28";
pub(super) const EFLO: &str = "2022-05-30";
/// The most security groups an ENI may be in.
const MAX_GROUPS: usize = 16;

/// Carries out a call whose sender is known.
pub(super) fn carry_out(world: &mut World, call: &Call, errand: &Errand) -> Result<Value, ApiError> {
    let given = &call.parameters;
    match (call.version.as_str(), call.action.as_str()) {
        (_, "") => Err(ApiError::missing("Action")),
        (VPC, "DescribeVSwitches") => describe::vswitches(world, given),
        (ECS, "DescribeInstanceTypes") => describe::instance_types(world, given),
        (ECS, action) => {
            let act = regional(action).ok_or_else(|| unknown(action))?;
            check_region(world, given)?;
            // ENIs of the other product do not exist here.
            if let Some(id) = given.get("NetworkInterfaceId").map(EniId::from)
                && world.eni(&id).is_some_and(|eni| eni.lingjun)
            {
                return Err(Refusal::NoEni(id).into());
            }
            act(world, given, errand)
        }
        (EFLO, action) => {
            eflo::carry_out(world, action, given, errand).unwrap_or_else(|| Err(unknown(action)))
        }
        (VPC, action) => Err(unknown(action)),
        (version, _) => Err(ApiError::new("InvalidVersion", format!("the version {version:?} is not valid"))),
    }
}

type Action = fn(&mut World, &Parameters, &Errand) -> Result<Value, ApiError>;

/// The ECS actions that must name the region.
fn regional(action: &str) -> Option<Action> {
    Some(match action {
        "CreateNetworkInterface" => create,
        "AttachNetworkInterface" => attach,
        "DetachNetworkInterface" => detach,
        "DeleteNetworkInterface" => delete,
        "ModifyNetworkInterfaceAttribute" => modify,
        "AssignPrivateIpAddresses" => addresses::assign_v4,
        "UnassignPrivateIpAddresses" => addresses::unassign_v4,
        "AssignIpv6Addresses" => addresses::assign_v6,
        "UnassignIpv6Addresses" => addresses::unassign_v6,
        "DescribeInstances" => |world, given, _| describe::instances(world, given),
        "DescribeNetworkInterfaces" => {
            |world, given, errand| describe::network_interfaces(world, given, errand.now)
        }
        _ => return None,
    })
}

fn unknown(action: &str) -> ApiError {
    ApiError::new("InvalidAction.NotFound", format!("the action {action} does not exist in this version"))
}

fn check_region(world: &World, given: &Parameters) -> Result<(), ApiError> {
    let region = given.required("RegionId")?;
    if region == world.config().region {
        return Ok(());
    }
    Err(ApiError::new("InvalidRegionId.NotFound", format!("the region {region} does not exist")))
}

fn attach(world: &mut World, given: &Parameters, errand: &Errand) -> Result<Value, ApiError> {
    let (eni, instance) = eni_and_instance(given)?;
    if world.instance(&instance).is_some_and(|node| node.instance_type.lingjun) {
        return Err(Refusal::NoInstance(instance).into());
    }
    let trunk = given.get("TrunkNetworkInstanceId").map(EniId::from);
    world.attach_eni(&eni, &instance, trunk.as_ref(), errand.now)?;
    Ok(json!({}))
}

fn detach(world: &mut World, given: &Parameters, errand: &Errand) -> Result<Value, ApiError> {
    let (eni, instance) = eni_and_instance(given)?;
    let trunk = given.get("TrunkNetworkInstanceId").map(EniId::from);
    world.detach_eni(&eni, &instance, trunk.as_ref(), errand.now)?;
    Ok(json!({}))
}

fn delete(world: &mut World, given: &Parameters, errand: &Errand) -> Result<Value, ApiError> {
    world.delete_eni(&EniId::from(given.required("NetworkInterfaceId")?), errand.now)?;
    Ok(json!({}))
}

fn eni_and_instance(given: &Parameters) -> Result<(EniId, InstanceId), ApiError> {
    Ok((given.required("NetworkInterfaceId")?.into(), given.required("InstanceId")?.into()))
}

/// Security groups, name, description and the end with the instance; each stays as it is where it is not given.
fn modify(world: &mut World, given: &Parameters, errand: &Errand) -> Result<Value, ApiError> {
    let eni = EniId::from(given.required("NetworkInterfaceId")?);
    let groups = groups(given.list("SecurityGroupId"))?;
    if groups.is_empty() {
        world.known(&eni)?;
    } else {
        world.set_security_groups(&eni, &groups, errand.now)?;
    }
    if let Some(on) = given.flag("DeleteOnRelease")? {
        world.set_delete_on_release(&eni, on, errand.now)?;
    }
    world.rename(&eni, given.get("NetworkInterfaceName"), given.get("Description"), errand.now);
    Ok(json!({}))
}

fn create(world: &mut World, given: &Parameters, errand: &Errand) -> Result<Value, ApiError> {
    let kind = match given.get("InstanceType") {
        None | Some("Secondary") => EniKind::Secondary,
        Some("Trunk") => EniKind::Trunk,
        Some(other) => return Err(ApiError::invalid("InstanceType", other)),
    };
    let mut group_ids = given.list("SecurityGroupIds");
    match (given.get("SecurityGroupId"), group_ids.is_empty()) {
        (Some(one), true) => group_ids.push(one.to_owned()),
        (Some(_), false) => return Err(ApiError::conflict("SecurityGroupId", "SecurityGroupIds.N")),
        (None, true) => return Err(ApiError::missing("SecurityGroupId")),
        (None, false) => {}
    }
    addresses::counted(given)?;
    let tags: BTreeMap<String, String> =
        given.tags()?.into_iter().map(|(key, value)| (key, value.unwrap_or_default())).collect();
    let request = CreateEni {
        vswitch: VSwitchId::from(given.required("VSwitchId")?),
        security_groups: groups(group_ids)?,
        kind,
        counts: AddressCounts {
            ipv4: 1 + given.count("SecondaryPrivateIpAddressCount", 49)?,
            ipv6: given.count("Ipv6AddressCount", 10)?,
            ipv4_prefixes: given.count("Ipv4PrefixCount", 10)?,
            ipv6_prefixes: given.count("Ipv6PrefixCount", 10)?,
        },
        primary_ipv4: given.number("PrimaryIpAddress")?,
        delete_on_release: given.flag("DeleteOnRelease")?.unwrap_or(true),
        lingjun: false,
        tags,
        name: given.get("NetworkInterfaceName").unwrap_or_default().to_owned(),
        description: given.get("Description").unwrap_or_default().to_owned(),
        client_token: given.client_token()?,
    };
    let eni = world.create_eni(&request, errand.now)?;
    Ok(describe::network_interface(world, &eni))
}

fn groups(ids: Vec<String>) -> Result<Vec<SecurityGroupId>, ApiError> {
    if ids.len() > MAX_GROUPS {
        return Err(ApiError::new("InvalidParameter", format!("more than {MAX_GROUPS} security groups")));
    }
    Ok(ids.into_iter().map(SecurityGroupId).collect())
}
