//! The instance metadata service: who this node is, and which NICs it should have. It answers only
//! inside the node, without keys, for a token that a PUT gives.

use std::time::Duration;

use async_trait::async_trait;
use reqwest::header::HeaderValue;
use reqwest::{Client, StatusCode, Url};
use terway_types::fault::chain;
use terway_types::{CloudFailure, CloudFailureKind as Kind, MacAddr};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::config::ConfigError;
use crate::backoff::Backoff;
use crate::cloud::{CloudResult, InstanceIdentity, Metadata};
use crate::endpoint::EndpointError;
use crate::error::{METADATA_ACTION as ACTION, failure};
use crate::random::{self, Random};
use crate::transport::{self, ClientOptions, Timeouts, Trust};

/// Where the service listens on every instance.
pub const METADATA_URL: &str = "http://100.100.100.200";

const TOKEN_PATH: &str = "/latest/api/token";
const TOKEN_HEADER: &str = "x-aliyun-ecs-metadata-token";
const TTL_HEADER: &str = "x-aliyun-ecs-metadata-token-ttl-seconds";
/// The life a token is asked for. It is used for half of it.
const TTL_SECONDS: u64 = 21_600;
const ATTEMPTS: u32 = 4;
const PAUSE: Backoff =
    Backoff { first: Duration::from_millis(500), factor: 1.2, max: Duration::from_secs(2), jitter: 0.1 };
const TIMEOUTS: Timeouts = Timeouts { connect: Duration::from_secs(2), total: Duration::from_secs(10) };
const ANSWER_LIMIT: usize = 1 << 20;

/// The metadata service of the instance this runs on.
#[derive(Debug)]
pub struct AliyunMetadata {
    base: Url,
    http: Client,
    token: Mutex<Option<Token>>,
    pause: Backoff,
    random: Random,
}

#[derive(Clone)]
struct Token {
    header: HeaderValue,
    renew_at: Instant,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token").finish_non_exhaustive()
    }
}

impl AliyunMetadata {
    /// The service at this URL; [`METADATA_URL`] on real instances.
    pub fn new(base_url: &str) -> Result<Self, ConfigError> {
        let wrong = |rule| EndpointError { endpoint: base_url.to_owned(), rule };
        let base = Url::parse(base_url).map_err(|_| wrong("is not a URL"))?;
        if base.scheme() != "http" || !base.has_host() {
            return Err(wrong("must start with http:// and name a host").into());
        }
        if base.path() != "/" || base.query().is_some() || base.fragment().is_some() {
            return Err(wrong("must be a host only, without path, query or fragment").into());
        }
        // A proxy would answer for its own instance, not for this one.
        let http = transport::client(&ClientOptions {
            timeouts: TIMEOUTS,
            tls: false,
            trust: Trust::System,
            proxies: false,
        })
        .map_err(ConfigError::Client)?;
        Ok(Self { base, http, token: Mutex::new(None), pause: PAUSE, random: random::fraction })
    }

    #[cfg(test)]
    pub(super) fn hasty(mut self) -> Self {
        self.pause.first = Duration::from_millis(1);
        self
    }

    /// Reads one path below `meta-data/`, with a few attempts where another one may help.
    pub(super) async fn read(&self, path: &str) -> CloudResult<String> {
        let mut failures = 0;
        loop {
            match self.read_once(path).await {
                Err(failure) if matches!(failure.kind, Kind::Transient | Kind::Throttled) => {
                    failures += 1;
                    if failures == ATTEMPTS {
                        return Err(failure);
                    }
                    tokio::time::sleep(self.pause.delay(failures, (self.random)())).await;
                }
                outcome => return outcome,
            }
        }
    }

    /// One attempt. A token that the service no longer takes is renewed once.
    async fn read_once(&self, path: &str) -> CloudResult<String> {
        let full = format!("/latest/meta-data/{path}");
        let token = self.token(None).await?;
        let (status, body) = self.get(&full, &token).await?;
        if status != StatusCode::UNAUTHORIZED {
            return answer(&full, status, body);
        }
        let token = self.token(Some(&token)).await?;
        let (status, body) = self.get(&full, &token).await?;
        answer(&full, status, body)
    }

    async fn get(&self, path: &str, token: &Token) -> CloudResult<(StatusCode, Vec<u8>)> {
        self.send(path, self.http.get(self.url(path)).header(TOKEN_HEADER, token.header.clone())).await
    }

    /// The token to use; any but `refused`. Those who need a new one at the same time share it.
    async fn token(&self, refused: Option<&Token>) -> CloudResult<Token> {
        let mut kept = self.token.lock().await;
        if let Some(token) = kept.as_ref()
            && Instant::now() < token.renew_at
            && refused.is_none_or(|refused| refused.header != token.header)
        {
            return Ok(token.clone());
        }
        let request = self.http.put(self.url(TOKEN_PATH)).header(TTL_HEADER, TTL_SECONDS.to_string());
        let (status, body) = self.send(TOKEN_PATH, request).await?;
        let text = answer(TOKEN_PATH, status, body)?;
        let mut header = HeaderValue::try_from(text.trim()).map_err(|_| {
            failure(Kind::Transient, ACTION, format!("{TOKEN_PATH}: the token is not a text"))
        })?;
        header.set_sensitive(true);
        let token = Token { header, renew_at: Instant::now() + Duration::from_secs(TTL_SECONDS / 2) };
        *kept = Some(token.clone());
        Ok(token)
    }

    fn url(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(path);
        url
    }

    async fn send(&self, path: &str, request: reqwest::RequestBuilder) -> CloudResult<(StatusCode, Vec<u8>)> {
        let broken = |error: &dyn std::error::Error| {
            let message = format!("{path} at {}: {}", self.base, chain(error));
            failure(Kind::Transient, ACTION, message)
        };
        let response = request.send().await.map_err(|error| broken(&error.without_url()))?;
        let status = response.status();
        let body = transport::read_body(response, ANSWER_LIMIT).await.map_err(|error| broken(&error))?;
        Ok((status, body))
    }

    /// A value that stands alone in its answer.
    async fn value(&self, path: &str) -> CloudResult<String> {
        let text = self.read(path).await?;
        match text.lines().next().map(|line| line.trim().trim_end_matches('/')) {
            Some(value) if !value.is_empty() => Ok(value.to_owned()),
            _ => Err(failure(Kind::Transient, ACTION, format!("{path} is empty"))),
        }
    }
}

fn answer(path: &str, status: StatusCode, body: Vec<u8>) -> CloudResult<String> {
    let refused = |kind| failure(kind, ACTION, format!("{path}: HTTP status {}", status.as_u16()));
    match status.as_u16() {
        200 => String::from_utf8(body).map_err(|_| refused(Kind::Transient)),
        429 => Err(refused(Kind::Throttled)),
        401 | 403 => Err(refused(Kind::Denied)),
        404 => Err(refused(Kind::Gone)),
        400..=499 => Err(refused(Kind::Invalid)),
        _ => Err(refused(Kind::Transient)),
    }
}

fn mac(path: &str, text: &str) -> Result<MacAddr, CloudFailure> {
    text.parse().map_err(|error| failure(Kind::Transient, ACTION, format!("{path}: {error}")))
}

#[async_trait]
impl Metadata for AliyunMetadata {
    async fn identity(&self) -> CloudResult<InstanceIdentity> {
        Ok(InstanceIdentity {
            id: self.value("instance-id").await?.into(),
            instance_type: self.value("instance/instance-type").await?,
            region: self.value("region-id").await?,
            zone: self.value("zone-id").await?.into(),
            vpc: self.value("vpc-id").await?,
            vswitch: self.value("vswitch-id").await?.into(),
            primary_mac: mac("mac", &self.value("mac").await?)?,
        })
    }

    async fn macs(&self) -> CloudResult<Vec<MacAddr>> {
        const PATH: &str = "network/interfaces/macs/";
        let text = self.read(PATH).await?;
        let names = text.lines().map(|line| line.trim().trim_end_matches('/'));
        names.filter(|name| !name.is_empty()).map(|name| mac(PATH, name)).collect()
    }
}
