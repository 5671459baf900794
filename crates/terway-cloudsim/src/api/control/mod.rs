//! The control socket: the whole world as JSON, and hands to change it from outside its rules.
//!
//! | request | does |
//! |---|---|
//! | `GET /` | the page for people; as text with `Accept: text/plain` |
//! | `GET /v1/state` | the whole world |
//! | `GET /v1/calls?since=N&action=A&limit=L` | the log of calls after number N ([`crate::calls::Call`]) |
//! | `POST /v1/faults` | replaces all orders: a list of [`crate::Fault`] |
//! | `POST /v1/release` | lets held calls go on: all, or `{"seq": N}` |
//! | `POST /v1/manners` | changes keys of [`crate::manners::Manners`]; `GET` shows them |
//! | `POST /v1/latency`, `/v1/quota` | change keys of [`crate::config::Latency`], [`crate::config::Quota`] |
//! | `POST /v1/vswitches/{id}` | `{"free": N}`: others leave N addresses; `{"free": null}`: they go |
//! | `POST /v1/credentials/{key}` | `{"state": "active"/"inactive"/"expired", "rotate": true}` |
//! | `POST /v1/console/enis/{id}/delete`, `detach` | at once, whatever the state |
//! | `POST /v1/console/enis/{id}/unplug`, `plug` | the link goes or comes; the API says the same as before |
//! | `POST /v1/console/enis/{id}/security-groups`, `tags` | `{"security_groups": []}`, `{"tags": {}}` replace them |
//! | `POST /v1/console/enis/{id}/assign`, `unassign` | `{"ipv4": [], "ipv6": [], "prefixes": []}` |
//! | `POST /v1/console/instances/{id}/running`, `stopped`, `starting`, `stopping` | what the instance does |
//! | `POST /v1/console/instances/{id}/release` | it is no more; ENIs go with it or are left behind |
//!
//! Refusals have a status of 400 (malformed), 404 (no such object) or 409 (the cloud's rules), and
//! `{"error": ...}` as body.

mod change;
mod console;
mod page;
mod state;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::json;

use super::error::json_response;
use crate::calls::Call;
use crate::live::Live;

/// The way in for tests and people.
pub(crate) fn router(live: Arc<Live>) -> Router {
    Router::new()
        .route("/", get(at_a_glance))
        .route("/v1/state", get(whole))
        .route("/v1/calls", get(calls))
        .route("/v1/release", post(change::release))
        .route("/v1/latency", post(change::latency))
        .route("/v1/quota", post(change::quota))
        .route("/v1/manners", get(change::manners_now).post(change::manners))
        .route("/v1/faults", post(change::faults))
        .route("/v1/vswitches/{id}", post(change::vswitch))
        .route("/v1/credentials/{id}", post(change::credential))
        .route("/v1/enis/{id}/delete", post(console::delete))
        .route("/v1/console/enis/{id}/{deed}", post(console::deed))
        .route("/v1/console/instances/{id}/{deed}", post(console::instance_deed))
        .with_state(live)
}

async fn at_a_glance(State(live): State<Arc<Live>>, headers: HeaderMap) -> Response {
    live.with_records(|records, now| page::render(records, &headers, now))
}

async fn whole(State(live): State<Arc<Live>>) -> Response {
    json_response(StatusCode::OK, &live.with_records(|records, now| state::view(records, now)))
}

/// Which calls are asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Wanted {
    /// Calls after this number.
    since: u64,
    /// Calls of this action only.
    action: Option<String>,
    /// At most so many; 0 for all.
    limit: usize,
}

async fn calls(State(live): State<Arc<Live>>, Query(wanted): Query<Wanted>) -> Response {
    live.with_records(|records, _| {
        let most = if wanted.limit == 0 { usize::MAX } else { wanted.limit };
        let fits = |call: &&Call| wanted.action.as_ref().is_none_or(|action| *action == call.action);
        let calls: Vec<&Call> = records.calls.after(wanted.since).filter(fits).take(most).collect();
        json_response(StatusCode::OK, &json!({ "last": records.calls.last(), "calls": calls }))
    })
}

fn done() -> Response {
    json_response(StatusCode::OK, &json!({}))
}

fn refused(status: StatusCode, message: &str) -> Response {
    json_response(status, &json!({ "error": message }))
}
