//! A temporary key in exchange for the token of the pod's service account (RRSA): the STS action
//! AssumeRoleWithOIDC, which needs no signature.

use std::fmt;
use std::path::PathBuf;

use async_trait::async_trait;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Client;
use reqwest::header::CONTENT_TYPE;
use secrecy::ExposeSecret;
use serde::Deserialize;

use super::wire::{Refusal, TemporaryKey, read as read_answer};
use crate::answer::iso_seconds;
use crate::credentials::{Environment, Fetched, Link, LinkError, token, variable};
use crate::endpoint::Endpoint;
use crate::exchange::Stamps;
use crate::transport::{ask, excerpt};

const ROLE: &str = "ALIBABA_CLOUD_ROLE_ARN";
const PROVIDER: &str = "ALIBABA_CLOUD_OIDC_PROVIDER_ARN";
const TOKEN_FILE: &str = "ALIBABA_CLOUD_OIDC_TOKEN_FILE";
const ANSWER_LIMIT: usize = 1 << 20;

/// The web identity that the environment names.
pub(super) struct WebIdentity {
    pub(super) environment: Environment,
    pub(super) endpoint: Endpoint,
    pub(super) http: Client,
    pub(super) stamps: Stamps,
}

impl fmt::Debug for WebIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebIdentity").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Answer {
    credentials: TemporaryKey,
}

#[async_trait]
impl Link for WebIdentity {
    fn name(&self) -> String {
        "the web identity (RRSA)".to_owned()
    }

    async fn fetch(&self) -> Result<Fetched, LinkError> {
        let variable = |name: &str| variable(&self.environment, name);
        let (role, provider) = (variable(ROLE)?, variable(PROVIDER)?);
        let path = PathBuf::from(variable(TOKEN_FILE)?);
        let token = token(&path)?;
        let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let parameters = [
            ("Action", "AssumeRoleWithOIDC"),
            ("Format", "JSON"),
            ("OIDCProviderArn", &provider),
            ("RoleArn", &role),
            ("RoleSessionName", "terway"),
            ("SignatureNonce", &(self.stamps.nonce)()),
            ("Timestamp", &iso_seconds((self.stamps.now)())),
            ("Version", "2015-04-01"),
        ];
        let query: Vec<_> =
            parameters.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
        let request = self
            .http
            .post(self.endpoint.with_query(&query.join("&")))
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(format!("OIDCToken={}", encode(token.expose_secret())));
        let place = |what: String| LinkError::Failed(format!("{}: {what}", self.endpoint));
        let (status, body) = ask(request, ANSWER_LIMIT).await.map_err(place)?;
        if status.is_success() {
            let answer =
                read_answer::<Answer>(&body).map_err(|_| place("the answer is no JSON".to_owned()))?;
            return answer.content.credentials.fetched();
        }
        match read_answer::<Refusal>(&body) {
            Ok(refusal) if !refusal.content.code.is_empty() => {
                let Refusal { code, message } = refusal.content;
                let request = refusal.request_id.map(|id| format!(" [request {id}]")).unwrap_or_default();
                let message = excerpt(message.replace(token.expose_secret(), "[redacted]").as_bytes(), 300);
                Err(place(format!("AssumeRoleWithOIDC of {role} refused: {code}: {message}{request}")))
            }
            _ => Err(place(format!("HTTP status {status} without a reason"))),
        }
    }
}
