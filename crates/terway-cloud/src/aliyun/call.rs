//! One call from parameters to typed answer: budget, signature, exchange, and what a failure means.

use reqwest::Client;
use reqwest::header::CONTENT_LENGTH;
use serde::de::DeserializeOwned;
use terway_types::CloudFailure;

use super::api::{Action, Parameters};
use super::config::{AliyunConfig, Product, Signature, endpoint_of};
use super::errors;
use super::sign::{Unsigned, acs3, rpc};
use super::wire::{self, Refusal};
use crate::answer::{Asked, No, Reply, headers, iso_seconds, receive};
use crate::cloud::CloudResult;
use crate::credentials::AccessKey;
use crate::endpoint::{ConfigError, Endpoint};
use crate::error::with_statement;
use crate::exchange::{Answered, Call, Ended, Exchange, Stamps};
use crate::transport::{self, ClientOptions};

/// Sends signed calls.
#[derive(Debug)]
pub(super) struct Caller {
    region: String,
    ecs: Endpoint,
    vpc: Endpoint,
    eflo: Endpoint,
    signature: Signature,
    exchange: Exchange,
    http: Client,
    stamps: Stamps,
}

impl Caller {
    pub(super) fn new(config: AliyunConfig, stamps: Stamps) -> Result<Self, ConfigError> {
        let endpoint = |product: Product, given: &Option<String>| match given {
            Some(text) => Endpoint::parse(text).map_err(ConfigError::from),
            None => endpoint_of(product.name(), &config.region, config.network),
        };
        let ecs = endpoint(Product::Ecs, &config.ecs_endpoint)?;
        let vpc = endpoint(Product::Vpc, &config.vpc_endpoint)?;
        let eflo = endpoint(Product::Eflo, &config.eflo_endpoint)?;
        let http = transport::client(&ClientOptions {
            timeouts: config.timeouts,
            tls: [&ecs, &vpc, &eflo].iter().any(|endpoint| endpoint.is_https()),
            trust: config.trust,
            proxies: config.proxies,
        })
        .map_err(ConfigError::Client)?;
        let exchange = Exchange::new("aliyun", config.credentials, config.budget, config.calls);
        Ok(Self {
            region: config.region,
            ecs,
            vpc,
            eflo,
            signature: config.signature,
            exchange,
            http,
            stamps,
        })
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
            Product::Eflo => &self.eflo,
        };
        let parameters = parameters.with("RegionId", self.region.as_str());
        let host = endpoint.host();
        let unsigned = Unsigned {
            host: &host,
            action: action.name,
            version: action.product.version(),
            parameters: &parameters.0,
            in_form: action.product.uses_forms(),
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
            .headers(headers(action.name, &signed.headers, &["authorization", "x-acs-security-token"])?)
            // Some gateways answer 411 to a POST without it (RFC 9110, 8.6).
            .header(CONTENT_LENGTH, signed.body.len())
            .body(signed.body);
        let asked = Asked { name: action.name, changes: action.changes, at: signed_at };
        let reply = receive(request, endpoint, asked).await?;
        let no = if !reply.status.is_success() {
            Some(
                wire::read::<Refusal>(&reply.body)
                    .map_err(|error| reply.unreadable(asked, &error.to_string()))?,
            )
        } else if action.product == Product::Eflo {
            wire::hidden_refusal(&reply.body)
        } else {
            None
        };
        match no {
            None => wire::read(&reply.body).map_err(|error| reply.unreadable(asked, &error.to_string())),
            Some(no) if no.content.code.is_empty() => Err(reply.unreadable(asked, "no Code in it")),
            Some(no) => Err(refused(action, asked, &reply, no, key)),
        }
    }
}

/// The vendor said no.
fn refused(
    action: &Action,
    asked: Asked,
    reply: &Reply,
    no: Answered<Refusal>,
    key: &AccessKey,
) -> CloudFailure {
    let Answered { content: Refusal { code, message }, request_id } = no;
    let meaning = errors::meaning(&code, reply.status.as_u16());
    let refused = reply.refused(asked, meaning, No { code, message, request_id }, key);
    with_statement(refused, || {
        let (product, name) = (action.product.name(), action.name);
        format!(r#"{{"Effect":"Allow","Action":"{product}:{name}","Resource":"*"}}"#)
    })
}
