//! The web identity of a pod: the STS action AssumeRoleWithWebIdentity.

use std::path::{Path, PathBuf};

use reqwest::{Client, RequestBuilder, StatusCode};
use serde_json::json;

use super::wire::{Said as Answer, SessionKey, read};
use crate::credentials::{Claim, KeyForm as _, LinkError, Said};
use crate::endpoint::Endpoint;
use crate::exchange::Stamps;

/// What the cluster tells the pod.
pub(super) struct PodIdentity {
    region: String,
    provider: String,
    role: String,
    token_file: PathBuf,
}

impl Claim for PodIdentity {
    const PLACE: &'static str = "the web identity of the pod";
    const ACTION: &'static str = "AssumeRoleWithWebIdentity";

    fn read(variable: &dyn Fn(&str) -> Result<String, LinkError>) -> Result<Self, LinkError> {
        Ok(Self {
            region: variable("TKE_REGION")?,
            provider: variable("TKE_PROVIDER_ID")?,
            role: variable("TKE_ROLE_ARN")?,
            token_file: variable("TKE_WEB_IDENTITY_TOKEN_FILE")?.into(),
        })
    }

    fn role(&self) -> &str {
        &self.role
    }

    fn token_file(&self) -> &Path {
        &self.token_file
    }

    fn request(&self, token: &str, http: &Client, sts: &Endpoint, stamps: Stamps) -> RequestBuilder {
        let body = json!({
            "ProviderId": self.provider,
            "RoleArn": self.role,
            "RoleSessionName": "terway",
            "WebIdentityToken": token,
        });
        http.post(sts.url())
            .header("authorization", "SKIP")
            .header("content-type", "application/json")
            .header("x-tc-action", Self::ACTION)
            .header("x-tc-region", &self.region)
            .header("x-tc-timestamp", (stamps.now)().as_second())
            .header("x-tc-version", "2018-08-13")
            .body(body.to_string())
    }

    /// Refusals come with HTTP status 200 too.
    fn answer(_: StatusCode, body: &[u8]) -> Said {
        match read::<SessionKey>(body) {
            Ok(Answer::Yes(answer)) => Said::Key(answer.content.fetched()),
            Ok(Answer::No(no)) => Said::No(no),
            Err(_) => Said::Nothing,
        }
    }
}
