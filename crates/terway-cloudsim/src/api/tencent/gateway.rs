//! The vendor's gateway: one URL, the action in a header, a JSON body, signed; answers and errors alike come
//! with HTTP 200.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::Response;
use serde_json::Value;

use super::error::{self, Refused};
use super::signature::{self, Incoming};
use super::{addresses, describe, enis, instances};
use crate::api::door::{self, Answer, Dialect, Errand};
use crate::api::error::{ApiError, json_response};
use crate::api::line::Caller;
use crate::api::{speaker, temper};
use crate::calls::Knock;
use crate::live::Live;
use crate::model::World;

/// The vendor's words (common error codes).
const DIALECT: Dialect = Dialect {
    throttled: "RequestLimitExceeded",
    denied: "UnauthorizedOperation",
    made: "/NetworkInterface/NetworkInterfaceId",
};
/// Of both products.
const VERSION: &str = "2017-03-12";

/// Answers one call.
pub(super) async fn answer(
    State(live): State<Arc<Live>>,
    ConnectInfo(caller): ConnectInfo<Caller>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let request = Incoming {
        method: method.as_str(),
        path: uri.path(),
        query: uri.query().unwrap_or_default(),
        headers: &headers,
        body: &body,
    };
    let source = live.with(|world, _| speaker::name(world, caller.ip()));
    let knock = knock(&headers, &body, source);
    let passed = door::pass(
        &live,
        &caller,
        DIALECT,
        knock,
        |records, now| {
            let service = service(header(&headers, "x-tc-action"));
            signature::verify(request, service, &records.world.config().credentials, now)
        },
        |world, errand| carry_out(world, &headers, &body, errand),
    );
    let Some(Answer { request_id, outcome, garble }) = passed.await else { return Response::default() };
    let mut response = json_response(StatusCode::OK, &error::body(outcome, &request_id));
    door::stamp(&mut response, live.now());
    temper::garble(response, garble).await
}

/// What a call says of itself.
fn knock(headers: &HeaderMap, body: &[u8], source: String) -> Knock {
    let given: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |name: &str| given[name].as_str().map(str::to_owned);
    let named = ["NetworkInterfaceId", "InstanceId", "SubnetId"];
    let many = given["NetworkInterfaceIds"].as_array().into_iter().flatten();
    let many = many.filter_map(|id| id.as_str().map(str::to_owned));
    Knock {
        action: header(headers, "x-tc-action").to_owned(),
        source,
        key: signature::key_id(headers),
        client_token: text("ClientToken"),
        objects: named.iter().filter_map(|name| text(name)).chain(many).collect(),
    }
}

/// The product of an action. Each has a host of its own, which signatures are for; here all share one.
fn service(action: &str) -> &'static str {
    if action == "DescribeInstances" { "cvm" } else { "vpc" }
}

type Action = fn(&mut World, &[u8], &Errand) -> Result<Value, Refused>;

fn carry_out(
    world: &mut World,
    headers: &HeaderMap,
    body: &[u8],
    errand: &Errand,
) -> Result<Value, ApiError> {
    let action = header(headers, "x-tc-action");
    if header(headers, "x-tc-version") != VERSION {
        return Err(ApiError::new("NoSuchVersion", format!("the version of {action} is {VERSION}")));
    }
    let act = named(action)
        .ok_or_else(|| ApiError::new("InvalidAction", format!("the action {action:?} does not exist")))?;
    let region = header(headers, "x-tc-region");
    if region != world.config().region {
        return Err(ApiError::new("UnsupportedRegion", format!("the region {region:?} is not supported")));
    }
    act(world, body, errand).map_err(|refused| refused.0)
}

fn named(action: &str) -> Option<Action> {
    Some(match action {
        "CreateNetworkInterface" => enis::create,
        "AttachNetworkInterface" => enis::attach,
        "DetachNetworkInterface" => enis::detach,
        "DeleteNetworkInterface" => enis::delete,
        "ModifyNetworkInterfaceAttribute" => enis::modify,
        "AssignPrivateIpAddresses" => addresses::assign_v4,
        "UnassignPrivateIpAddresses" => addresses::unassign_v4,
        "AssignIpv6Addresses" => addresses::assign_v6,
        "UnassignIpv6Addresses" => addresses::unassign_v6,
        "DescribeNetworkInterfaces" => {
            |world, body, errand| describe::network_interfaces(world, body, errand)
        }
        "DescribeInstances" => |world, body, _| instances::describe(world, body),
        "DescribeSubnets" => |world, body, _| describe::subnets(world, body),
        "DescribeNetworkInterfaceLimit" => |world, body, _| describe::limits(world, body),
        "DescribeVpcTaskResult" => |world, body, errand| describe::task(world, body, errand),
        _ => return None,
    })
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}
