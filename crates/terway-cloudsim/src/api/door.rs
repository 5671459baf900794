//! What every call of the API passes, whatever the vendor: it is entered into the log, meets what was
//! ordered to go wrong with it, is admitted or not, is carried out, and ends.

use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderValue;
use axum::http::header::DATE;
use axum::response::Response;
use jiff::fmt::rfc2822::DateTimePrinter;
use serde_json::Value;
use terway_types::Timestamp;

use super::error::ApiError;
use super::line::Caller;
use crate::calls::Knock;
use crate::faults::{FaultKind, Garble, When};
use crate::live::{Live, Records};
use crate::manners::Manners;
use crate::model::World;

/// How a vendor says what every vendor says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dialect {
    /// The code for too many calls.
    pub(super) throttled: &'static str,
    /// The code for a missing permission.
    pub(super) denied: &'static str,
    /// Where an answer to a creation names the ENI that was made.
    pub(super) made: &'static str,
}

/// What a call that is carried out has to go by.
#[derive(Clone, Debug)]
pub(super) struct Errand {
    /// The id its answer will bear.
    pub(super) request_id: String,
    /// The time.
    pub(super) now: Timestamp,
    /// At most so many addresses are given.
    pub(super) partial: Option<u32>,
}

/// How a call ends.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) request_id: String,
    pub(super) outcome: Result<Value, ApiError>,
    /// What the caller gets in its place.
    pub(super) garble: Option<Garble>,
}

/// Takes a call through. `None`: the connection was cut, there is nothing to answer.
pub(super) async fn pass(
    live: &Arc<Live>,
    caller: &Caller,
    dialect: Dialect,
    knock: Knock,
    admit: impl FnOnce(&mut Records, Timestamp) -> Result<(), ApiError>,
    act: impl FnOnce(&mut World, &Errand) -> Result<Value, ApiError>,
) -> Option<Answer> {
    let entry = Entry::open(live, &knock);
    match entry.answer_time(&knock.action) {
        Some(Duration::ZERO) => {}
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
    let fault = entry.strike(&knock);
    match &fault {
        Some(FaultKind::Delay(time)) => tokio::time::sleep(*time).await,
        Some(FaultKind::Hold(When::Before)) => entry.hold(When::Before).await,
        Some(FaultKind::Drop(When::Before)) => return entry.cut(caller),
        _ => {}
    }
    let partial = if let Some(FaultKind::Partial(most)) = &fault { Some(*most) } else { None };
    let mut outcome = live.with_records(|records, now| {
        if let Some(FaultKind::Error(When::Before, code)) = &fault {
            return Err(ApiError::new(code, "ordered by a test"));
        }
        admit(records, now)?;
        permit(records, dialect, &knock.action, now)?;
        let errand = Errand { request_id: entry.request_id.clone(), now, partial };
        let answer = act(&mut records.world, &errand)?;
        let made = answer.pointer(dialect.made).and_then(Value::as_str).map(str::to_owned);
        records.calls.note(entry.seq, |call| {
            call.carried_out = true;
            call.made = made.filter(|_| knock.action.starts_with("Create"));
        });
        Ok(answer)
    });
    if outcome.is_ok() && knock.action.contains("ssign") {
        // Who is told of an address may send from it.
        live.caught_up().await;
    }
    let mut garble = None;
    match fault {
        Some(FaultKind::Garble(how)) => garble = Some(how),
        Some(FaultKind::Drop(When::After)) => return entry.cut(caller),
        Some(FaultKind::Hold(When::After)) => entry.hold(When::After).await,
        Some(FaultKind::Error(When::After, code)) => outcome = Err(ApiError::new(&code, "ordered by a test")),
        _ => {}
    }
    entry.close(outcome.as_ref().map_or_else(|error| error.code.as_str(), |_| "ok"));
    if let Err(error) = &outcome {
        tracing::debug!(action = %knock.action, code = %error.code, message = %error.message, "refused");
    }
    Some(Answer { request_id: entry.request_id.clone(), outcome, garble })
}

/// Permissions and rates hold for callers whose signature is good.
fn permit(records: &mut Records, dialect: Dialect, action: &str, now: Timestamp) -> Result<(), ApiError> {
    let manners = &records.world.config().manners;
    if manners.denies(action) {
        let message = format!("User not authorized to operate on the specified resource: {action}");
        return Err(ApiError::new(dialect.denied, message));
    }
    match Manners::of(&manners.throttle, action) {
        Some(rate) if !records.throttle.admits(action, *rate, now) => {
            Err(ApiError::new(dialect.throttled, "Request was denied due to request throttling."))
        }
        _ => Ok(()),
    }
}

/// The answer's time is the cloud's own, so that a caller can learn how far its clock is off.
pub(super) fn stamp(response: &mut Response, now: Timestamp) {
    let time = i64::try_from(now.0).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    let text = time.and_then(|time| DateTimePrinter::new().timestamp_to_rfc9110_string(&time).ok());
    if let Some(value) = text.and_then(|text| HeaderValue::from_str(&text).ok()) {
        response.headers_mut().insert(DATE, value);
    }
}

/// A call's entry in the log. A call whose handling ends without an answer was abandoned by its caller.
struct Entry {
    live: Arc<Live>,
    seq: u64,
    request_id: String,
}

impl Entry {
    fn open(live: &Arc<Live>, knock: &Knock) -> Self {
        let (seq, request_id) = live.with_records(|records, now| {
            let request_id = records.world.request_id();
            (records.calls.open(knock, request_id.clone(), now), request_id)
        });
        Self { live: Arc::clone(live), seq, request_id }
    }

    /// How long the answer takes; `None`: there is none.
    fn answer_time(&self, action: &str) -> Option<Duration> {
        self.live.with(|world, _| world.answer_time(action))
    }

    fn strike(&self, knock: &Knock) -> Option<FaultKind> {
        self.live.with_records(|records, _| {
            let named = knock.objects.iter().chain(&knock.client_token).map(String::as_str);
            let named = named.chain([knock.source.as_str()]);
            let fault = records.faults.strike(&knock.action, &named);
            let fault = fault.or_else(|| records.world.mishap(&knock.action));
            records.calls.note(self.seq, |call| call.fault.clone_from(&fault));
            fault
        })
    }

    async fn hold(&self, when: When) {
        let released = self.live.with_records(|records, _| records.calls.hold(self.seq, when));
        // The other end goes only when the call is closed.
        let _ = released.await;
    }

    fn cut(&self, caller: &Caller) -> Option<Answer> {
        self.close("reset");
        caller.cut();
        None
    }

    fn close(&self, outcome: &str) {
        self.live.with_records(|records, now| records.calls.close(self.seq, outcome, now));
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.close("abandoned");
    }
}
