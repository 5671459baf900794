//! What comes back from an API, whichever: how it is read, and how a refusal, nonsense or silence becomes a
//! failure.

use jiff::Timestamp;
use jiff::fmt::rfc2822;
use reqwest::header::{DATE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{RequestBuilder, StatusCode};
use serde_json::Value;
use terway_types::fault::chain;
use terway_types::{CloudFailure, CloudFailureKind as Kind};

use crate::cloud::CloudResult;
use crate::credentials::AccessKey;
use crate::endpoint::Endpoint;
use crate::error::{failure, without_success_words};
use crate::meaning::Meaning;
use crate::transport;

/// The longest answer that is read: a page of 500 ENIs is about 1 MiB.
const ANSWER_LIMIT: usize = 8 << 20;
/// The longest vendor message that is passed on.
const MESSAGE_LIMIT: usize = 600;

/// An action, as far as its answers go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub(crate) name: &'static str,
    /// Whether it changes something, so that a lost answer leaves a doubt.
    pub(crate) changes: bool,
    /// When it was signed.
    pub(crate) at: Timestamp,
}

/// An answer in full.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    /// The cloud's idea of the time.
    cloud_time: Option<Timestamp>,
    pub(crate) body: Vec<u8>,
}

/// Sends a signed request and reads the answer.
pub(crate) async fn receive(
    request: RequestBuilder,
    endpoint: &Endpoint,
    asked: Asked,
) -> CloudResult<Reply> {
    let response = request.send().await.map_err(|error| {
        let kind = transport::broken(&error, asked.changes);
        failure(kind, asked.name, format!("{endpoint}: {}", chain(&error.without_url())))
    })?;
    let status = response.status();
    let cloud_time = response.headers().get(DATE).and_then(http_date);
    let body = transport::read_body(response, ANSWER_LIMIT)
        .await
        .map_err(|error| failure(Meaning::broken(asked.changes), asked.name, chain(&error)))?;
    Ok(Reply { status, cloud_time, body })
}

/// Headers to send. Those named are kept out of debug output.
pub(crate) fn headers(
    action: &str,
    headers: &[(&'static str, String)],
    secret: &[&str],
) -> CloudResult<HeaderMap> {
    let mut map = HeaderMap::with_capacity(headers.len());
    for (name, text) in headers {
        let mut value = HeaderValue::try_from(text.as_str()).map_err(|_| {
            let message = format!("header {name} cannot be sent: it has control characters in it");
            failure(Kind::Invalid, action, message)
        })?;
        value.set_sensitive(secret.contains(name));
        map.insert(HeaderName::from_static(name), value);
    }
    Ok(map)
}

/// The vendor's words when it says no.
#[derive(Clone, Debug, Default)]
pub(crate) struct No {
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) request_id: Option<String>,
}

impl Reply {
    /// The vendor answered, and said no.
    pub(crate) fn refused(&self, asked: Asked, meaning: Meaning, no: No, key: &AccessKey) -> CloudFailure {
        let No { code, message, request_id } = no;
        let kind = meaning.kind(&code, &message, asked.changes);
        // A wrong signature is answered with the text that the server signed, which quotes the request.
        let told = message.split("server string to sign").next().unwrap_or_default();
        let mut message = transport::excerpt(key.redact(told).trim().as_bytes(), MESSAGE_LIMIT);
        if kind == Kind::ClockSkew {
            message.push_str(&clocks(asked.at, self.cloud_time));
        }
        CloudFailure {
            kind,
            action: asked.name.to_owned(),
            vendor_code: Some(code),
            request_id,
            message: without_success_words(&message),
        }
    }

    /// Something answered that does not speak the API: a proxy, another server, a broken gateway.
    pub(crate) fn unreadable(&self, asked: Asked, why: &str) -> CloudFailure {
        let status = self.status;
        let kind = match status.as_u16() {
            429 => Kind::Throttled,
            // Refused before anybody acted on it.
            300..=499 => Kind::Transient,
            _ => Meaning::broken(asked.changes),
        };
        let message = format!(
            "the answer with HTTP status {status} ({} bytes) is not one of the API: {why}: {:?}",
            self.body.len(),
            transport::excerpt(&self.body, 120)
        );
        failure(kind, asked.name, message)
    }
}

/// The `Date` header of an answer.
fn http_date(value: &HeaderValue) -> Option<Timestamp> {
    rfc2822::DateTimeParser::new().parse_timestamp(value.as_bytes()).ok()
}

pub(crate) fn iso_seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Both clocks, for a person to see which one is wrong.
fn clocks(ours: Timestamp, theirs: Option<Timestamp>) -> String {
    let Some(theirs) = theirs else {
        return format!("; this node's clock says {}", iso_seconds(ours));
    };
    let ahead = ours.as_second() - theirs.as_second();
    let (seconds, direction) = (ahead.abs(), if ahead < 0 { "behind" } else { "ahead of" });
    format!(
        "; this node's clock says {}, {seconds} s {direction} the cloud's {}",
        iso_seconds(ours),
        iso_seconds(theirs)
    )
}

/// Takes `null` fields and items out: vendors write what is not there as `null`, or not at all.
pub(crate) fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, field| !field.is_null());
            fields.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => {
            items.retain(|item| !item.is_null());
            items.iter_mut().for_each(drop_nulls);
        }
        _ => {}
    }
}
