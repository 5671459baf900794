//! The control socket: the whole world as JSON, and hands to change it from outside its rules.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use terway_types::{EniId, InstanceId, SecurityGroupId, Timestamp};

use super::error::json_response;
use crate::faults::Fault;
use crate::live::{Live, Records};
use crate::model::{Eni, Instance, VSwitch, World};

/// The way in for tests and people.
pub(crate) fn router(live: Arc<Live>) -> Router {
    Router::new()
        .route("/v1/state", get(state))
        .route("/v1/latency", post(latency))
        .route("/v1/quota", post(quota))
        .route("/v1/faults", post(faults))
        .route("/v1/enis/{id}/delete", post(delete))
        .with_state(live)
}

async fn state(State(live): State<Arc<Live>>) -> Response {
    json_response(StatusCode::OK, &live.with_records(|records, now| view(records, now)))
}

/// Keys not given stay as they are.
async fn latency(State(live): State<Arc<Live>>, body: Bytes) -> Response {
    live.with(|world, _| match overlay(&world.config().latency_ms, &body) {
        Ok(latency) => {
            world.set_latency(latency);
            json_response(StatusCode::OK, &json!(latency))
        }
        Err(error) => refused(StatusCode::BAD_REQUEST, &error.to_string()),
    })
}

/// Keys not given stay as they are.
async fn quota(State(live): State<Arc<Live>>, body: Bytes) -> Response {
    live.with(|world, _| match overlay(&world.config().quota, &body) {
        Ok(quota) => {
            world.set_quota(quota);
            json_response(StatusCode::OK, &json!(quota))
        }
        Err(error) => refused(StatusCode::BAD_REQUEST, &error.to_string()),
    })
}

/// The list given replaces all orders; the empty list ends them.
async fn faults(State(live): State<Arc<Live>>, body: Bytes) -> Response {
    match serde_json::from_slice::<Vec<Fault>>(&body) {
        Ok(faults) => live.with_records(|records, _| {
            records.faults.set(faults);
            json_response(StatusCode::OK, &json!(records.faults.remaining()))
        }),
        Err(error) => refused(StatusCode::BAD_REQUEST, &error.to_string()),
    }
}

async fn delete(State(live): State<Arc<Live>>, Path(id): Path<String>) -> Response {
    match live.with(|world, now| world.delete_by_hand(&EniId(id), now)) {
        Ok(()) => json_response(StatusCode::OK, &json!({})),
        Err(refusal) => refused(StatusCode::CONFLICT, &refusal.to_string()),
    }
}

fn refused(status: StatusCode, message: &str) -> Response {
    json_response(status, &json!({ "error": message }))
}

/// The value with the keys of a JSON object changed.
fn overlay<T: Serialize + DeserializeOwned>(value: &T, change: &[u8]) -> serde_json::Result<T> {
    let mut whole = serde_json::to_value(value)?;
    let change: serde_json::Map<String, Value> = serde_json::from_slice(change)?;
    if let Some(fields) = whole.as_object_mut() {
        fields.extend(change);
    }
    serde_json::from_value(whole)
}

fn view(records: &Records, now: Timestamp) -> Value {
    let world = &records.world;
    let config = world.config();
    json!({
        "now_ms": now.0,
        "region": config.region,
        "vpc": { "id": config.vpc.id, "ipv4": config.vpc.ipv4_cidr, "ipv6": config.vpc.ipv6_cidr },
        "vswitches": world.vswitches().map(vswitch).collect::<Vec<_>>(),
        "security_groups": config.security_groups,
        "instances": world.instances().map(|instance| node(world, instance)).collect::<Vec<_>>(),
        "enis": world.enis().map(eni).collect::<Vec<_>>(),
        "calls": records.journal.calls,
        "errors": records.journal.errors,
        "faults": records.faults.remaining(),
        "latency_ms": config.latency_ms,
        "quota": config.quota,
    })
}

fn vswitch(vswitch: &VSwitch) -> Value {
    let gateways = vswitch.subnets.gateways();
    json!({
        "id": vswitch.id.as_str(),
        "zone": vswitch.zone,
        "ipv4": vswitch.subnets.v4,
        "ipv6": vswitch.subnets.v6,
        "gateway": gateways.v4,
        "ipv6_gateway": gateways.v6,
        "free_ipv4": u64::try_from(vswitch.free_ipv4()).unwrap_or(u64::MAX),
    })
}

fn node(world: &World, instance: &Instance) -> Value {
    let enis: Vec<&str> = world.enis_of(&instance.id).into_iter().map(|eni| eni.id.as_str()).collect();
    let described = world.config().instances.iter().find(|node| node.id == instance.id.as_str());
    json!({
        "id": instance.id.as_str(),
        "type": instance.instance_type.id,
        "vswitch": instance.vswitch.as_str(),
        "zone": instance.zone,
        "netns": described.map(|node| &node.netns),
        "primary_eni": instance.primary.as_str(),
        "enis": enis,
    })
}

fn eni(eni: &Eni) -> Value {
    json!({
        "id": eni.id.as_str(),
        "type": eni.kind,
        "status": eni.status,
        "link": eni.link,
        "instance": eni.instance().map(InstanceId::as_str),
        "device_index": eni.attachment.as_ref().map(|attachment| attachment.device_index),
        "vswitch": eni.vswitch.as_str(),
        "mac": eni.mac.to_string(),
        "trunk": eni.trunk().map(EniId::as_str),
        "ipv4": eni.addresses.ipv4,
        "ipv6": eni.addresses.ipv6,
        "prefixes": eni.addresses.prefixes,
        "name": eni.name,
        "description": eni.description,
        "security_groups": eni.security_groups.iter().map(SecurityGroupId::as_str).collect::<Vec<_>>(),
        "tags": eni.tags,
        "client_token": eni.client_token,
        "created_ms": eni.created.0,
    })
}
