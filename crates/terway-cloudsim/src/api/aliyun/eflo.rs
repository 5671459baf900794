//! The EFLO actions for ENIs of Lingjun nodes: answers in an envelope with a number, of which 0 is yes; quotas per
//! node. Of the numbers for no, 1011, 1013 and 1017 are known from the field; the others are this cloud's own.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use terway_types::{AddressCounts, EniId, InstanceId, SecurityGroupId, Timestamp, VSwitchId};

use super::parameters::Parameters;
use crate::api::door::Errand;
use crate::api::error::ApiError;
use crate::model::{By, CreateEni, Eni, EniKind, Instance, Refusal, Status, World};

/// No such object.
const ABSENT: &str = "1011";
/// No more addresses, or ENIs.
const EXHAUSTED: &str = "1013";
/// Something else goes on with the object.
const BUSY: &str = "1017";
/// Everything else that the rules forbid.
const FORBIDDEN: &str = "1003";
/// ENIs per page, where nothing is said and at most.
const PAGES: (usize, usize) = (20, 100);

/// Carries out an action; `None`: there is no such action.
pub(super) fn carry_out(
    world: &mut World,
    action: &str,
    given: &Parameters,
    errand: &Errand,
) -> Option<Result<Value, ApiError>> {
    let content = match action {
        "CreateElasticNetworkInterface" => create(world, given, errand.now),
        "AttachElasticNetworkInterface" => attach(world, given, errand.now),
        "DetachElasticNetworkInterface" => detach(world, given, errand.now),
        "DeleteElasticNetworkInterface" => delete(world, given, errand.now),
        "UpdateElasticNetworkInterface" => update(world, given, errand.now),
        "ListElasticNetworkInterfaces" => list(world, given, errand.now),
        "GetNodeInfoForPod" => node_info(world, given),
        _ => return None,
    };
    Some(content.map(|content| json!({ "Code": 0, "Message": "success", "Content": content })))
}

/// Whether a code is one of this product's, which come with HTTP status 200.
pub(super) fn is_number(code: &str) -> bool {
    !code.is_empty() && code.bytes().all(|c| c.is_ascii_digit())
}

/// The envelope of a refusal.
pub(super) fn refused(error: &ApiError, request_id: &str) -> Value {
    let code: u32 = error.code.parse().unwrap_or_default();
    json!({ "Code": code, "Message": error.message, "RequestId": request_id, "Content": null })
}

fn no(refusal: &Refusal) -> ApiError {
    let code = match refusal {
        Refusal::NoEni(_) | Refusal::NoInstance(_) | Refusal::NoVSwitch(_) | Refusal::NoSecurityGroup(_) => {
            ABSENT
        }
        Refusal::SubnetExhausted { .. }
        | Refusal::AddressQuota(_)
        | Refusal::EniQuota(_)
        | Refusal::EniPerInstance { .. } => EXHAUSTED,
        Refusal::Busy(_) => BUSY,
        Refusal::EniState { status, .. } if !matches!(status, Status::Available | Status::InUse) => BUSY,
        _ => FORBIDDEN,
    };
    ApiError::new(code, refusal.to_string())
}

fn leni(world: &World, given: &Parameters) -> Result<EniId, ApiError> {
    let id = EniId::from(given.required("ElasticNetworkInterfaceId")?);
    let known = world.eni(&id).is_some_and(|eni| eni.lingjun);
    if known { Ok(id) } else { Err(no(&Refusal::NoEni(id))) }
}

fn node(world: &World, given: &Parameters) -> Result<InstanceId, ApiError> {
    let id = InstanceId::from(given.required("NodeId")?);
    let known = world.instance(&id).is_some_and(|node| node.instance_type.lingjun);
    if known { Ok(id) } else { Err(no(&Refusal::NoInstance(id))) }
}

/// With a node the ENI would attach itself, which nobody here asks for.
fn create(world: &mut World, given: &Parameters, now: Timestamp) -> Result<Value, ApiError> {
    if let Some(node) = given.get("NodeId") {
        return Err(ApiError::invalid("NodeId", node));
    }
    let vswitch = VSwitchId::from(given.required("VSwitchId")?);
    let (vpc, zone) = (given.required("VpcId")?, given.required("ZoneId")?);
    let home = world.vswitch(&vswitch).ok_or_else(|| no(&Refusal::NoVSwitch(vswitch.clone())))?;
    for (name, given, actual) in [("VpcId", vpc, &home.vpc), ("ZoneId", zone, &home.zone)] {
        if given != actual {
            return Err(ApiError::new(
                FORBIDDEN,
                format!("vSwitch {vswitch} has {name} {actual}, not {given}"),
            ));
        }
    }
    let request = CreateEni {
        vswitch,
        security_groups: vec![SecurityGroupId::from(given.required("SecurityGroupId")?)],
        kind: EniKind::Secondary,
        counts: AddressCounts { ipv4: 1, ..AddressCounts::default() },
        primary_ipv4: None,
        delete_on_release: false,
        lingjun: true,
        tags: BTreeMap::new(),
        name: String::new(),
        description: given.get("Description").unwrap_or_default().to_owned(),
        client_token: given.client_token()?,
    };
    let eni = world.create_eni(&request, now).map_err(|refusal| no(&refusal))?;
    Ok(json!({ "NodeId": "", "ElasticNetworkInterfaceId": eni.id.as_str() }))
}

fn attach(world: &mut World, given: &Parameters, now: Timestamp) -> Result<Value, ApiError> {
    let (eni, node) = (leni(world, given)?, node(world, given)?);
    world.attach_eni(&eni, &node, None, now).map_err(|refusal| no(&refusal))?;
    Ok(json!([]))
}

fn detach(world: &mut World, given: &Parameters, now: Timestamp) -> Result<Value, ApiError> {
    let (eni, node) = (leni(world, given)?, node(world, given)?);
    world.detach_eni(&eni, &node, None, now).map_err(|refusal| no(&refusal))?;
    Ok(json!([]))
}

fn delete(world: &mut World, given: &Parameters, now: Timestamp) -> Result<Value, ApiError> {
    let eni = leni(world, given)?;
    world.delete_eni(&eni, now).map_err(|refusal| no(&refusal))?;
    Ok(json!({ "ElasticNetworkInterfaceId": eni.as_str() }))
}

fn update(world: &mut World, given: &Parameters, now: Timestamp) -> Result<Value, ApiError> {
    let eni = leni(world, given)?;
    if let Some(group) = given.get("SecurityGroupId").map(SecurityGroupId::from) {
        world.set_security_groups(&eni, &[group], now).map_err(|refusal| no(&refusal))?;
    }
    world.rename(&eni, None, given.get("Description"), now);
    Ok(json!({ "ElasticNetworkInterfaceId": eni.as_str() }))
}

fn list(world: &World, given: &Parameters, now: Timestamp) -> Result<Value, ApiError> {
    let ids: Vec<EniId> = given.get("ElasticNetworkInterfaceId").map(EniId::from).into_iter().collect();
    let node = given.get("NodeId").map(InstanceId::from);
    let view = world.seen(world.lag(), now);
    let by = if ids.is_empty() { node.as_ref().map_or(By::All, By::Instance) } else { By::Ids(&ids) };
    let is = |name: &str, actual: &str| given.get(name).is_none_or(|wanted| wanted == actual);
    let matching: Vec<&Eni> = view
        .candidates(by)
        .into_iter()
        .filter(|eni| eni.lingjun && is("NodeId", eni.instance().map(InstanceId::as_str).unwrap_or_default()))
        .filter(|eni| is("Type", role(eni)) && is("Status", status(eni)))
        .filter(|eni| is("VSwitchId", eni.vswitch.as_str()) && is("VpcId", home(world, eni).0))
        .collect();
    let size = given.number("PageSize")?.unwrap_or(PAGES.0).clamp(1, PAGES.1);
    let number = given.number::<usize>("PageNumber")?.unwrap_or(1).max(1);
    let page = matching.iter().skip((number - 1).saturating_mul(size)).take(size);
    let data: Vec<Value> = page.map(|eni| show(world, eni)).collect();
    Ok(json!({ "Total": matching.len(), "Data": data }))
}

fn node_info(world: &World, given: &Parameters) -> Result<Value, ApiError> {
    let id = node(world, given)?;
    let config = world.config();
    let in_zone = |node: &Instance| -> Vec<String> {
        let homes = world.vswitches().filter(|home| home.zone == node.zone && home.vpc == config.vpc.id);
        homes.map(|home| home.id.to_string()).collect()
    };
    Ok(world.instance(&id).map_or(Value::Null, |node| {
        json!({
            "RegionId": config.region,
            "ZoneId": node.zone,
            "ClusterId": "",
            "VpcId": config.vpc.id,
            "NodeId": id.as_str(),
            "VSwitches": in_zone(node),
            "LeniQuota": node.instance_type.enis,
            "LniSipQuota": 0,
            "LeniSipQuota": node.instance_type.ipv4_per_eni.saturating_sub(1),
            "HdeniQuota": 0,
        })
    }))
}

fn show(world: &World, eni: &Eni) -> Value {
    let (vpc, zone) = home(world, eni);
    json!({
        "RegionId": world.config().region,
        "ZoneId": zone,
        "ElasticNetworkInterfaceId": eni.id.as_str(),
        "NodeId": eni.instance().map(InstanceId::as_str).unwrap_or_default(),
        "Status": status(eni),
        "Ip": eni.primary_ipv4(),
        "VpcId": vpc,
        "VSwitchId": eni.vswitch.as_str(),
        "Mac": eni.mac.to_string(),
        "Type": role(eni),
        "SecurityGroupId": eni.security_groups.first().map(SecurityGroupId::as_str).unwrap_or_default(),
        "Description": eni.description,
        "Message": "",
        "ResourceGroupId": "",
        "CreateTime": eni.created.0.to_string(),
        "GmtModified": eni.created.0.to_string(),
    })
}

/// VPC and zone of an ENI.
fn home<'w>(world: &'w World, eni: &Eni) -> (&'w str, &'w str) {
    world.vswitch(&eni.vswitch).map(|home| (home.vpc.as_str(), home.zone.as_str())).unwrap_or_default()
}

/// Those of the system are the nodes' own.
fn role(eni: &Eni) -> &'static str {
    if eni.kind == EniKind::Primary { "DEFAULT" } else { "CUSTOM" }
}

/// `Available` is the word for an ENI that a node has.
fn status(eni: &Eni) -> &'static str {
    match eni.status {
        Status::Creating => "Executing",
        Status::Available => "Unattached",
        Status::Attaching => "Attaching",
        Status::InUse => "Available",
        Status::Detaching => "Detaching",
        Status::Deleting => "Deleting",
    }
}
