//! The web identity of a pod (RRSA): the STS action AssumeRoleWithOIDC.

use std::path::{Path, PathBuf};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, RequestBuilder, StatusCode};
use serde::Deserialize;

use super::wire::{Refusal, TemporaryKey, read};
use crate::answer::{No, iso_seconds};
use crate::credentials::{Claim, KeyForm as _, LinkError, Said};
use crate::endpoint::Endpoint;
use crate::exchange::Stamps;

/// What the cluster tells the pod.
pub(super) struct Rrsa {
    role: String,
    provider: String,
    token_file: PathBuf,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Answer {
    credentials: TemporaryKey,
}

impl Claim for Rrsa {
    const PLACE: &'static str = "the web identity (RRSA)";
    const ACTION: &'static str = "AssumeRoleWithOIDC";

    fn read(variable: &dyn Fn(&str) -> Result<String, LinkError>) -> Result<Self, LinkError> {
        Ok(Self {
            role: variable("ALIBABA_CLOUD_ROLE_ARN")?,
            provider: variable("ALIBABA_CLOUD_OIDC_PROVIDER_ARN")?,
            token_file: variable("ALIBABA_CLOUD_OIDC_TOKEN_FILE")?.into(),
        })
    }

    fn role(&self) -> &str {
        &self.role
    }

    fn token_file(&self) -> &Path {
        &self.token_file
    }

    fn request(&self, token: &str, http: &Client, sts: &Endpoint, stamps: Stamps) -> RequestBuilder {
        let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let parameters = [
            ("Action", Self::ACTION),
            ("Format", "JSON"),
            ("OIDCProviderArn", &self.provider),
            ("RoleArn", &self.role),
            ("RoleSessionName", "terway"),
            ("SignatureNonce", &(stamps.nonce)()),
            ("Timestamp", &iso_seconds((stamps.now)())),
            ("Version", "2015-04-01"),
        ];
        let query: Vec<_> =
            parameters.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
        http.post(sts.with_query(&query.join("&")))
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(format!("OIDCToken={}", encode(token)))
    }

    fn answer(status: StatusCode, body: &[u8]) -> Said {
        if status.is_success() {
            let answer = read::<Answer>(body).map(|answer| answer.content.credentials.fetched());
            return answer.map_or(Said::Nothing, Said::Key);
        }
        match read::<Refusal>(body) {
            Ok(no) if !no.content.code.is_empty() => {
                let Refusal { code, message } = no.content;
                Said::No(No { code, message, request_id: no.request_id })
            }
            _ => Said::Nothing,
        }
    }
}
