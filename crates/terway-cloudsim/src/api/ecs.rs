//! The vendor's RPC door: one URL, the action in a header or parameter, signed. Each call is counted,
//! meets the ordered faults, is verified, carried out, and answered in the vendor's shape.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::Response;
use jiff::fmt::rfc2822::DateTimePrinter;
use serde_json::{Value, json};
use terway_types::{EniId, InstanceId, SecurityGroupId, Timestamp, VSwitchId};

use super::describe;
use super::error::{ApiError, json_response};
use super::line::Caller;
use super::parameters::Parameters;
use super::signature::{self, Incoming};
use crate::faults::FaultKind;
use crate::live::{Live, Records};
use crate::model::{CreateEni, World};

/// Answers one call.
pub(super) async fn answer(
    State(live): State<Arc<Live>>,
    ConnectInfo(caller): ConnectInfo<Caller>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let query = uri.query().unwrap_or_default();
    let call = Call::read(query, &headers, &body);
    let request =
        Incoming { method: method.as_str(), path: uri.path(), query, headers: &headers, body: &body };
    let request_id = live.with_records(|records, _| {
        *records.journal.calls.entry(call.action.clone()).or_default() += 1;
        records.world.request_id()
    });
    let (mut dropped, mut refused) = (false, None);
    match live.with_records(|records, _| records.faults.strike(&call.action)) {
        None => {}
        Some(FaultKind::Delay(time)) => tokio::time::sleep(time).await,
        Some(FaultKind::DropBefore) => {
            caller.cut();
            return Response::default();
        }
        Some(FaultKind::DropAfter) => dropped = true,
        Some(FaultKind::Error(code)) => refused = Some(ApiError::new(&code, "ordered by a test")),
    }
    let outcome = live.with_records(|records, now| {
        let outcome = refused.map_or_else(|| carry_out(records, &call, request, now), Err);
        if let Err(error) = &outcome {
            *records.journal.errors.entry(error.code.clone()).or_default() += 1;
        }
        outcome
    });
    if dropped {
        caller.cut();
    }
    let mut response = match outcome {
        Ok(mut answer) => {
            answer["RequestId"] = Value::String(request_id);
            json_response(StatusCode::OK, &answer)
        }
        Err(error) => {
            let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
            tracing::debug!(action = %call.action, code = %error.code, message = %error.message, "refused");
            error.into_response(&request_id, host)
        }
    };
    stamp(&mut response, live.now());
    response
}

/// The answer's time is the cloud's own, so that a caller can learn how far its clock is off.
fn stamp(response: &mut Response, now: Timestamp) {
    let time = i64::try_from(now.0).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    let text = time.and_then(|time| DateTimePrinter::new().timestamp_to_rfc9110_string(&time).ok());
    if let Some(value) = text.and_then(|text| HeaderValue::from_str(&text).ok()) {
        response.headers_mut().insert(header::DATE, value);
    }
}

/// A call as the caller put it.
struct Call {
    action: String,
    version: String,
    parameters: Parameters,
}

impl Call {
    fn read(query: &str, headers: &HeaderMap, body: &Bytes) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let is_form =
            text("content-type").is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"));
        let form = is_form.then(|| String::from_utf8_lossy(body));
        let parameters = Parameters::parse(query, form.as_deref());
        let common = |header: &str, parameter: &str| {
            text(header).or_else(|| parameters.get(parameter)).unwrap_or_default().to_owned()
        };
        let (action, version) = (common("x-acs-action", "Action"), common("x-acs-version", "Version"));
        Self { action, version, parameters }
    }
}

fn carry_out(
    records: &mut Records,
    call: &Call,
    request: Incoming<'_>,
    now: Timestamp,
) -> Result<Value, ApiError> {
    let credentials = &records.world.config().credentials;
    signature::verify(request, credentials, &mut records.nonces, now)?;
    let (world, given) = (&mut records.world, &call.parameters);
    match (call.version.as_str(), call.action.as_str()) {
        (_, "") => Err(ApiError::missing("Action")),
        ("2014-05-26", "CreateNetworkInterface") => create(world, given, now),
        ("2014-05-26", "AttachNetworkInterface") => {
            check_region(world, given)?;
            let (eni, instance) = eni_and_instance(given)?;
            world.attach_eni(&eni, &instance, now)?;
            Ok(json!({}))
        }
        ("2014-05-26", "DetachNetworkInterface") => {
            check_region(world, given)?;
            let (eni, instance) = eni_and_instance(given)?;
            world.detach_eni(&eni, &instance, now)?;
            Ok(json!({}))
        }
        ("2014-05-26", "DeleteNetworkInterface") => {
            check_region(world, given)?;
            world.delete_eni(&EniId::from(given.required("NetworkInterfaceId")?), now)?;
            Ok(json!({}))
        }
        ("2014-05-26", "DescribeNetworkInterfaces") => {
            check_region(world, given)?;
            describe::network_interfaces(world, given)
        }
        ("2014-05-26", "DescribeInstanceTypes") => describe::instance_types(world, given),
        ("2016-04-28", "DescribeVSwitches") => describe::vswitches(world, given),
        ("2014-05-26" | "2016-04-28", action) => {
            let message = format!("the action {action} does not exist in this version");
            Err(ApiError::new("InvalidAction.NotFound", message))
        }
        (version, _) => Err(ApiError::new("InvalidVersion", format!("the version {version:?} is not valid"))),
    }
}

/// ECS actions must name the region.
fn check_region(world: &World, given: &Parameters) -> Result<(), ApiError> {
    let region = given.required("RegionId")?;
    if region == world.config().region {
        return Ok(());
    }
    Err(ApiError::new("InvalidRegionId.NotFound", format!("the region {region} does not exist")))
}

fn eni_and_instance(given: &Parameters) -> Result<(EniId, InstanceId), ApiError> {
    Ok((given.required("NetworkInterfaceId")?.into(), given.required("InstanceId")?.into()))
}

fn create(world: &mut World, given: &Parameters, now: Timestamp) -> Result<Value, ApiError> {
    check_region(world, given)?;
    if let Some(kind) = given.get("InstanceType").filter(|kind| *kind != "Secondary") {
        return Err(ApiError::new("UnsupportedParameter", format!("InstanceType {kind:?} is not simulated")));
    }
    let mut security_groups = given.list("SecurityGroupIds");
    match (given.get("SecurityGroupId"), security_groups.is_empty()) {
        (Some(one), true) => security_groups.push(one.to_owned()),
        (Some(_), false) => {
            let message = "SecurityGroupId and SecurityGroupIds.N exclude each other";
            return Err(ApiError::new("InvalidParameter.Conflict", message));
        }
        (None, true) => return Err(ApiError::missing("SecurityGroupId")),
        (None, false) => {}
    }
    let client_token = given.get("ClientToken");
    if let Some(token) = client_token.filter(|token| token.len() > 64 || !token.is_ascii()) {
        return Err(ApiError::invalid("ClientToken", token));
    }
    let count = |name: &str, most: usize| match given.number::<usize>(name)? {
        Some(count) if count == 0 || count > most => Err(ApiError::invalid(name, &count.to_string())),
        count => Ok(count.unwrap_or_default()),
    };
    let tags: BTreeMap<String, String> =
        given.tags()?.into_iter().map(|(key, value)| (key, value.unwrap_or_default())).collect();
    let request = CreateEni {
        vswitch: VSwitchId::from(given.required("VSwitchId")?),
        security_groups: security_groups.into_iter().map(SecurityGroupId).collect(),
        secondary_ipv4: count("SecondaryPrivateIpAddressCount", 49)?,
        ipv6: count("Ipv6AddressCount", 10)?,
        tags,
        description: given.get("Description").unwrap_or_default().to_owned(),
        client_token: client_token.map(str::to_owned),
    };
    let eni = world.create_eni(&request, now)?;
    Ok(describe::network_interface(world, &eni))
}
