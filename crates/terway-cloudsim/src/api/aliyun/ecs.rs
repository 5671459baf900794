//! The vendor's RPC door: one URL, the action in a header or parameter, signed. Each call is counted,
//! meets the ordered faults, is verified, carried out, and answered in the vendor's shape.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::Response;
use jiff::fmt::rfc2822::DateTimePrinter;
use serde_json::Value;
use terway_types::Timestamp;

use super::actions;
use super::parameters::Parameters;
use super::signature::{self, Incoming};
use crate::api::error::{ApiError, json_response};
use crate::api::line::Caller;
use crate::faults::FaultKind;
use crate::live::{Live, Records};

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
    if outcome.is_ok() && call.action.contains("ssign") {
        // Who is told of an address may send from it.
        live.caught_up().await;
    }
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
pub(super) struct Call {
    pub(super) action: String,
    pub(super) version: String,
    pub(super) parameters: Parameters,
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
    actions::carry_out(&mut records.world, call, now)
}
