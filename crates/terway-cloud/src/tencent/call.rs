//! One call from parameters to typed answer: budget, signature, exchange, and what a failure means.

use reqwest::Client;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::api::{self, Action, Parameters, Product};
use super::config::{TencentConfig, endpoint_of};
use super::errors;
use super::sign::{self, Unsigned};
use super::wire::{self, Said};
use crate::answer::{Asked, headers, receive};
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
    vpc: Endpoint,
    cvm: Endpoint,
    exchange: Exchange,
    http: Client,
    stamps: Stamps,
}

impl Caller {
    pub(super) fn new(config: TencentConfig, stamps: Stamps) -> Result<Self, ConfigError> {
        let endpoint = |product: Product, given: &Option<String>| {
            endpoint_of(product.name(), &config.region, config.network, given.as_deref())
        };
        let vpc = endpoint(Product::Vpc, &config.vpc_endpoint)?;
        let cvm = endpoint(Product::Cvm, &config.cvm_endpoint)?;
        let http = transport::client(&ClientOptions {
            timeouts: config.timeouts,
            tls: vpc.is_https() || cvm.is_https(),
            trust: config.trust,
            proxies: config.proxies,
        })
        .map_err(ConfigError::Client)?;
        let exchange = Exchange::new("tencent", config.credentials, config.budget, config.calls);
        Ok(Self { region: config.region, vpc, cvm, exchange, http, stamps })
    }

    /// Sends one call and reads its answer. Repeats it only when the cloud refused the key and there is
    /// another; all else is for those who know what the call is part of.
    pub(super) async fn call<T: DeserializeOwned>(
        &self,
        action: &Action,
        parameters: Parameters,
    ) -> CloudResult<T> {
        self.call_with_id(action, parameters).await.map(|(content, _)| content)
    }

    /// The same, with the request id, by which the task goes that the call began.
    pub(super) async fn call_with_id<T: DeserializeOwned>(
        &self,
        action: &Action,
        parameters: Parameters,
    ) -> CloudResult<(T, Option<String>)> {
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
    ) -> CloudResult<Ended<(T, Option<String>)>> {
        let call = Call { action: action.name, changes: action.changes, object: api::objects(&parameters) };
        let ticket = self.exchange.begin(call).await?;
        let outcome = self.send(action, parameters, ticket.key()).await;
        Ok(ticket.end(outcome.map(|answered: Answered<T>| {
            let Answered { content, request_id } = answered;
            Answered { content: (content, request_id.clone()), request_id }
        })))
    }

    async fn send<T: DeserializeOwned>(
        &self,
        action: &Action,
        parameters: Parameters,
        key: &AccessKey,
    ) -> CloudResult<Answered<T>> {
        let endpoint = match action.product {
            Product::Vpc => &self.vpc,
            Product::Cvm => &self.cvm,
        };
        let (host, body) = (endpoint.host(), Value::Object(parameters).to_string());
        let unsigned = Unsigned {
            host: &host,
            service: action.product.name(),
            action: action.name,
            version: api::VERSION,
            region: &self.region,
            body: &body,
        };
        let at = (self.stamps.now)();
        let signed = sign::sign(&unsigned, key, at);
        let signed = headers(action.name, &signed, &["authorization", "x-tc-token"])?;
        let request = self.http.post(endpoint.url()).headers(signed).body(body);
        let asked = Asked { name: action.name, changes: action.changes, at };
        let reply = receive(request, endpoint, asked).await?;
        match wire::read(&reply.body) {
            Ok(Said::Yes(answered)) if reply.status.is_success() => Ok(answered),
            Ok(Said::Yes(_)) => Err(reply.unreadable(asked, "no Error in it")),
            Ok(Said::No(no)) => {
                let meaning = errors::meaning(&no.code, reply.status.as_u16());
                let refused = reply.refused(asked, meaning, no, key);
                Err(with_statement(refused, || {
                    let (product, name) = (action.product.name(), action.name);
                    format!(r#"{{"effect":"allow","action":["{product}:{name}"],"resource":["*"]}}"#)
                }))
            }
            Err(error) => Err(reply.unreadable(asked, &error.to_string())),
        }
    }
}
