//! Changes of how the cloud behaves: latencies, quotas, manners, faults, held calls, keys, free addresses.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use terway_types::VSwitchId;

use super::{done, refused};
use crate::api::error::json_response;
use crate::config::KeyState;
use crate::faults::Fault;
use crate::live::Live;

/// Keys not given stay as they are.
pub(super) async fn latency(State(live): State<Arc<Live>>, body: Bytes) -> Response {
    live.with(|world, _| match overlay(&world.config().latency_ms, &body) {
        Ok(latency) => {
            world.set_latency(latency);
            json_response(StatusCode::OK, &json!(latency))
        }
        Err(error) => malformed(&error),
    })
}

/// Keys not given stay as they are.
pub(super) async fn quota(State(live): State<Arc<Live>>, body: Bytes) -> Response {
    live.with(|world, _| match overlay(&world.config().quota, &body) {
        Ok(quota) => {
            world.set_quota(quota);
            json_response(StatusCode::OK, &json!(quota))
        }
        Err(error) => malformed(&error),
    })
}

pub(super) async fn manners_now(State(live): State<Arc<Live>>) -> Response {
    live.with(|world, _| json_response(StatusCode::OK, &json!(world.config().manners)))
}

/// Keys not given stay as they are.
pub(super) async fn manners(State(live): State<Arc<Live>>, body: Bytes) -> Response {
    live.with(|world, _| match overlay(&world.config().manners, &body) {
        Ok(manners) => {
            let answer = json!(manners);
            world.set_manners(manners);
            json_response(StatusCode::OK, &answer)
        }
        Err(error) => malformed(&error),
    })
}

/// The list given replaces all orders; the empty list ends them.
pub(super) async fn faults(State(live): State<Arc<Live>>, body: Bytes) -> Response {
    match serde_json::from_slice::<Vec<Fault>>(&body) {
        Ok(faults) => live.with_records(|records, _| {
            records.faults.set(faults);
            json_response(StatusCode::OK, &json!(records.faults.remaining()))
        }),
        Err(error) => malformed(&error),
    }
}

/// Which held call goes on.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Release {
    /// Its number; all if none is given.
    seq: Option<u64>,
}

pub(super) async fn release(State(live): State<Arc<Live>>, body: Bytes) -> Response {
    match parse::<Release>(&body) {
        Ok(Release { seq }) => {
            let released = live.with_records(|records, _| records.calls.release(seq));
            json_response(StatusCode::OK, &json!({ "released": released }))
        }
        Err(error) => malformed(&error),
    }
}

/// How full a vSwitch is.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Filling {
    /// Free IPv4 addresses that are left; `null`: as many as nobody of this world has.
    free: Option<u32>,
}

pub(super) async fn vswitch(State(live): State<Arc<Live>>, Path(id): Path<String>, body: Bytes) -> Response {
    match serde_json::from_slice::<Filling>(&body) {
        Ok(Filling { free }) => match live.with(|world, _| world.leave_free(&VSwitchId(id), free)) {
            Ok(()) => done(),
            Err(refusal) => refused(StatusCode::NOT_FOUND, &refusal.to_string()),
        },
        Err(error) => malformed(&error),
    }
}

/// What becomes of a key.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct KeyChange {
    state: Option<KeyState>,
    /// Whether all tokens handed out so far end now.
    rotate: bool,
}

pub(super) async fn credential(
    State(live): State<Arc<Live>>,
    Path(id): Path<String>,
    body: Bytes,
) -> Response {
    match parse::<KeyChange>(&body) {
        Ok(KeyChange { state, rotate }) => {
            if live.with(|world, _| world.change_key(&id, state, rotate)) {
                done()
            } else {
                refused(StatusCode::NOT_FOUND, &format!("there is no access key {id}"))
            }
        }
        Err(error) => malformed(&error),
    }
}

/// No body is as good as an empty object.
pub(super) fn parse<T: DeserializeOwned + Default>(body: &[u8]) -> serde_json::Result<T> {
    if body.is_empty() || body == b"null" { Ok(T::default()) } else { serde_json::from_slice(body) }
}

pub(super) fn malformed(error: &serde_json::Error) -> Response {
    refused(StatusCode::BAD_REQUEST, &error.to_string())
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
