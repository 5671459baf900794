//! One call from parameters to typed answer: budget, signature, exchange, and what a failure means.

use jiff::Timestamp;
use jiff::fmt::rfc2822;
use reqwest::header::{CONTENT_LENGTH, DATE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, StatusCode};
use serde::de::DeserializeOwned;
use terway_types::fault::chain;
use terway_types::{CloudFailure, CloudFailureKind as Kind};

use super::api::{Action, Parameters};
use super::config::{AliyunConfig, ConfigError, Product, Signature, endpoint_of};
use super::errors;
use super::sign::{Unsigned, acs3, rpc};
use super::wire::{self, Refusal};
use crate::cloud::CloudResult;
use crate::credentials::AccessKey;
use crate::endpoint::Endpoint;
use crate::error::{failure, with_statement, without_success_words};
use crate::exchange::{Answered, Call, Ended, Exchange};
use crate::meaning::Meaning;
use crate::random;
use crate::transport::{self, ClientOptions};

/// The longest answer that is read: a page of 500 ENIs is about 1 MiB.
const ANSWER_LIMIT: usize = 8 << 20;
/// The longest vendor message that is passed on.
const MESSAGE_LIMIT: usize = 600;

/// What makes two equal calls differ: when they are signed, and their nonce.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stamps {
    pub(super) now: fn() -> Timestamp,
    pub(super) nonce: fn() -> String,
}

impl Default for Stamps {
    fn default() -> Self {
        Self { now: Timestamp::now, nonce: random::nonce }
    }
}

/// Sends signed calls.
#[derive(Debug)]
pub(super) struct Caller {
    region: String,
    ecs: Endpoint,
    vpc: Endpoint,
    signature: Signature,
    exchange: Exchange,
    http: Client,
    stamps: Stamps,
}

impl Caller {
    pub(super) fn new(config: AliyunConfig, stamps: Stamps) -> Result<Self, ConfigError> {
        let endpoint = |product, given: &Option<String>| match given {
            Some(text) => Endpoint::parse(text).map_err(ConfigError::from),
            None => endpoint_of(product, &config.region, config.network),
        };
        let ecs = endpoint(Product::Ecs, &config.ecs_endpoint)?;
        let vpc = endpoint(Product::Vpc, &config.vpc_endpoint)?;
        let http = transport::client(&ClientOptions {
            timeouts: config.timeouts,
            tls: ecs.is_https() || vpc.is_https(),
            trust: config.trust,
            proxies: config.proxies,
        })
        .map_err(ConfigError::Client)?;
        let exchange = Exchange::new("aliyun", config.credentials, config.budget, config.calls);
        Ok(Self { region: config.region, ecs, vpc, signature: config.signature, exchange, http, stamps })
    }

    /// Sends one call and reads its answer. Repeats it only when the cloud refused the key and there is
    /// another; all else is for those who know what the call is part of.
    pub(super) async fn call<T: DeserializeOwned>(
        &self,
        action: &Action,
        parameters: Parameters,
    ) -> CloudResult<T> {
        match self.attempt(action, parameters.clone()).await? {
            Ended::Finally(outcome) => outcome,
            Ended::WithStaleKey(_) => match self.attempt(action, parameters).await? {
                Ended::Finally(outcome) => outcome,
                Ended::WithStaleKey(refusal) => Err(refusal),
            },
        }
    }

    async fn attempt<T: DeserializeOwned>(
        &self,
        action: &Action,
        parameters: Parameters,
    ) -> CloudResult<Ended<T>> {
        let call = Call { action: action.name, changes: action.changes, object: parameters.objects() };
        let ticket = self.exchange.begin(call).await?;
        let outcome = self.send(action, parameters, ticket.key()).await;
        Ok(ticket.end(outcome))
    }

    async fn send<T: DeserializeOwned>(
        &self,
        action: &Action,
        parameters: Parameters,
        key: &AccessKey,
    ) -> CloudResult<Answered<T>> {
        let endpoint = match action.product {
            Product::Ecs => &self.ecs,
            Product::Vpc => &self.vpc,
        };
        let parameters = parameters.with("RegionId", self.region.as_str());
        let host = endpoint.host();
        let unsigned = Unsigned {
            host: &host,
            action: action.name,
            version: action.product.version(),
            parameters: &parameters.0,
        };
        let signed_at = (self.stamps.now)();
        let (date, nonce) = (iso_seconds(signed_at), (self.stamps.nonce)());
        let signed = match self.signature {
            Signature::Acs3 => acs3::sign(&unsigned, key, &date, &nonce),
            Signature::RpcV1 => rpc::sign(&unsigned, key, &date, &nonce),
        };
        let request = self
            .http
            .post(endpoint.with_query(&signed.query))
            .headers(header_map(action, &signed.headers)?)
            // Some gateways answer 411 to a POST without it (RFC 9110, 8.6).
            .header(CONTENT_LENGTH, 0);
        let response = request.send().await.map_err(|error| {
            let kind = transport::broken(&error, action.changes);
            failure(kind, action.name, format!("{endpoint}: {}", chain(&error.without_url())))
        })?;
        let status = response.status();
        let cloud_time = response.headers().get(DATE).and_then(http_date);
        let body = transport::read_body(response, ANSWER_LIMIT)
            .await
            .map_err(|error| failure(Meaning::broken(action.changes), action.name, chain(&error)))?;
        if status.is_success() {
            return wire::read(&body).map_err(|error| unreadable(action, status, &body, &error.to_string()));
        }
        match wire::read::<Refusal>(&body) {
            Ok(refusal) if !refusal.content.code.is_empty() => {
                Err(refused(action, status, refusal, key, signed_at, cloud_time))
            }
            Ok(_) => Err(unreadable(action, status, &body, "no Code in it")),
            Err(error) => Err(unreadable(action, status, &body, &error.to_string())),
        }
    }
}

pub(super) fn iso_seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The `Date` header of an answer: the cloud's idea of the time.
fn http_date(value: &HeaderValue) -> Option<Timestamp> {
    rfc2822::DateTimeParser::new().parse_timestamp(value.as_bytes()).ok()
}

fn header_map(action: &Action, headers: &[(&'static str, String)]) -> CloudResult<HeaderMap> {
    let mut map = HeaderMap::with_capacity(headers.len());
    for (name, text) in headers {
        let mut value = HeaderValue::try_from(text.as_str()).map_err(|_| {
            let message = format!("header {name} cannot be sent: it has control characters in it");
            failure(Kind::Invalid, action.name, message)
        })?;
        value.set_sensitive(matches!(*name, "authorization" | "x-acs-security-token"));
        map.insert(HeaderName::from_static(name), value);
    }
    Ok(map)
}

/// The vendor answered, and said no.
fn refused(
    action: &Action,
    status: StatusCode,
    refusal: Answered<Refusal>,
    key: &AccessKey,
    signed_at: Timestamp,
    cloud_time: Option<Timestamp>,
) -> CloudFailure {
    let Answered { content: Refusal { code, message }, request_id } = refusal;
    let kind = errors::meaning(&code, status.as_u16()).kind(&code, &message, action.changes);
    // A wrong signature is answered with the text that the server signed, which quotes the request.
    let told = message.split("server string to sign").next().unwrap_or_default();
    let mut message = transport::excerpt(key.redact(told).trim().as_bytes(), MESSAGE_LIMIT);
    if kind == Kind::ClockSkew {
        message.push_str(&clocks(signed_at, cloud_time));
    }
    let failure = CloudFailure {
        kind,
        action: action.name.to_owned(),
        vendor_code: Some(code),
        request_id,
        message: without_success_words(&message),
    };
    with_statement(failure, || {
        let product = action.product.name();
        format!(r#"{{"Effect":"Allow","Action":"{product}:{}","Resource":"*"}}"#, action.name)
    })
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

/// Something answered that does not speak the API: a proxy, another server, a broken gateway.
fn unreadable(action: &Action, status: StatusCode, body: &[u8], why: &str) -> CloudFailure {
    let kind = match status.as_u16() {
        429 => Kind::Throttled,
        // Refused before anybody acted on it.
        300..=499 => Kind::Transient,
        _ => Meaning::broken(action.changes),
    };
    let message = format!(
        "the answer with HTTP status {status} ({} bytes) is not one of the API: {why}: {:?}",
        body.len(),
        transport::excerpt(body, 120)
    );
    failure(kind, action.name, message)
}
