//! A temporary key in exchange for the token of the pod's service account: the STS action
//! AssumeRoleWithWebIdentity, which needs no signature.

use std::fmt;
use std::path::PathBuf;

use async_trait::async_trait;
use reqwest::Client;
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::json;

use super::role::fetched;
use super::wire::{Said, TemporaryKey, read as read_answer};
use crate::credentials::{Environment, Fetched, Link, LinkError, token, variable};
use crate::endpoint::Endpoint;
use crate::exchange::Stamps;
use crate::transport::{ask, excerpt};

const REGION: &str = "TKE_REGION";
const PROVIDER: &str = "TKE_PROVIDER_ID";
const TOKEN_FILE: &str = "TKE_WEB_IDENTITY_TOKEN_FILE";
const ROLE: &str = "TKE_ROLE_ARN";
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
    expired_time: i64,
    credentials: TemporaryKey,
}

#[async_trait]
impl Link for WebIdentity {
    fn name(&self) -> String {
        "the web identity of the pod".to_owned()
    }

    async fn fetch(&self) -> Result<Fetched, LinkError> {
        let variable = |name: &str| variable(&self.environment, name);
        let (region, provider, role) = (variable(REGION)?, variable(PROVIDER)?, variable(ROLE)?);
        let path = PathBuf::from(variable(TOKEN_FILE)?);
        let token = token(&path)?;
        let body = json!({
            "ProviderId": provider,
            "RoleArn": role,
            "RoleSessionName": "terway",
            "WebIdentityToken": token.expose_secret(),
        });
        let request = self
            .http
            .post(self.endpoint.url())
            .header("authorization", "SKIP")
            .header("content-type", "application/json")
            .header("x-tc-action", "AssumeRoleWithWebIdentity")
            .header("x-tc-region", region)
            .header("x-tc-timestamp", (self.stamps.now)().as_second())
            .header("x-tc-version", "2018-08-13")
            .body(body.to_string());
        let place = |what: String| LinkError::Failed(format!("{}: {what}", self.endpoint));
        let (status, body) = ask(request, ANSWER_LIMIT).await.map_err(place)?;
        match read_answer::<Answer>(&body) {
            Ok(Said::Yes(answer)) => fetched(answer.content.credentials, answer.content.expired_time),
            Ok(Said::No(no)) => {
                let request = no.request_id.map(|id| format!(" [request {id}]")).unwrap_or_default();
                let told = no.message.replace(token.expose_secret(), "[redacted]");
                let (code, message) = (no.code, excerpt(told.as_bytes(), 300));
                Err(place(format!("AssumeRoleWithWebIdentity of {role} refused: {code}: {message}{request}")))
            }
            Err(_) => Err(place(format!("HTTP status {status} without an answer of the API"))),
        }
    }
}
