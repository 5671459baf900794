//! What the clients of both metadata services have in common: one address inside the node, plain HTTP, no
//! proxy, and a few attempts where another one may help.

use std::fmt::Debug;
use std::str::FromStr;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::{Client, RequestBuilder, StatusCode, Url};
use terway_types::fault::chain;
use terway_types::{CloudFailure, CloudFailureKind as Kind, MacAddr};

use crate::backoff::Backoff;
use crate::cloud::CloudResult;
use crate::endpoint::{ConfigError, EndpointError};
use crate::error::{METADATA_ACTION as ACTION, failure};
use crate::random::{self, Random};
use crate::transport::{self, ClientOptions, Timeouts, Trust};

/// The folder of NICs, one folder per hardware address.
pub(crate) const MACS: &str = "network/interfaces/macs/";

const ATTEMPTS: u32 = 4;
const PAUSE: Backoff =
    Backoff { first: Duration::from_millis(500), factor: 1.2, max: Duration::from_secs(2), jitter: 0.1 };
const TIMEOUTS: Timeouts = Timeouts { connect: Duration::from_secs(2), total: Duration::from_secs(10) };
const ANSWER_LIMIT: usize = 1 << 20;

/// A metadata service.
#[derive(Debug)]
pub(crate) struct Service {
    base: Url,
    pub(crate) http: Client,
    pause: Backoff,
    random: Random,
}

impl Service {
    pub(crate) fn new(base_url: &str) -> Result<Self, ConfigError> {
        let wrong = |rule| EndpointError { endpoint: base_url.to_owned(), rule };
        let base = Url::parse(base_url).map_err(|_| wrong("is not a URL"))?;
        if base.scheme() != "http" || !base.has_host() {
            return Err(wrong("must start with http:// and name a host").into());
        }
        if base.path() != "/" || base.query().is_some() || base.fragment().is_some() {
            return Err(wrong("must be a host only, without path, query or fragment").into());
        }
        // A proxy would answer for its own instance, not for this one.
        let options = ClientOptions { timeouts: TIMEOUTS, tls: false, trust: Trust::System, proxies: false };
        let http = transport::client(&options).map_err(ConfigError::Client)?;
        Ok(Self { base, http, pause: PAUSE, random: random::fraction })
    }

    #[cfg(test)]
    pub(crate) fn hasty(mut self) -> Self {
        self.pause.first = Duration::from_millis(1);
        self
    }

    pub(crate) fn url(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(path);
        url
    }

    pub(crate) async fn send(
        &self,
        path: &str,
        request: RequestBuilder,
    ) -> CloudResult<(StatusCode, Vec<u8>)> {
        transport::ask(request, ANSWER_LIMIT).await.map_err(|trouble| {
            let message = format!("{path} at {}: {trouble}", self.base);
            failure(Kind::Transient, ACTION, message)
        })
    }

    /// Pauses before another attempt, or ends the attempts with the failure.
    pub(crate) async fn again(&self, failures: &mut u32, failure: CloudFailure) -> CloudResult<()> {
        *failures += 1;
        if *failures == ATTEMPTS || !matches!(failure.kind, Kind::Transient | Kind::Throttled) {
            return Err(failure);
        }
        tokio::time::sleep(self.pause.delay(*failures, (self.random)())).await;
        Ok(())
    }
}

/// A metadata service that is read path by path, each below `meta-data/`.
#[async_trait]
pub(crate) trait Paths: Debug + Send + Sync {
    /// The service.
    fn service(&self) -> &Service;

    /// One attempt to read a path.
    async fn read_once(&self, path: &str) -> CloudResult<String>;

    /// What is there.
    async fn read(&self, path: &str) -> CloudResult<String> {
        let mut failures = 0;
        loop {
            match self.read_once(path).await {
                Ok(text) => return Ok(text),
                Err(failure) => self.service().again(&mut failures, failure).await?,
            }
        }
    }

    /// A value that stands alone.
    async fn value(&self, path: &str) -> CloudResult<String> {
        value(path, &self.read(path).await?)
    }

    /// A value that not every node has.
    async fn where_there_is_one(&self, path: &str) -> CloudResult<Option<String>> {
        match self.value(path).await {
            Err(failure) if failure.kind == Kind::Gone => Ok(None),
            value => value.map(Some),
        }
    }

    /// A value that a node can do without: nothing as well where it cannot be understood.
    async fn understood<T: FromStr>(&self, path: &str) -> CloudResult<Option<T>>
    where
        Self: Sized,
    {
        let Some(text) = self.where_there_is_one(path).await? else { return Ok(None) };
        let understood = text.parse().ok();
        if understood.is_none() {
            tracing::warn!(path, text, "cannot make anything of this metadata");
        }
        Ok(understood)
    }

    /// The hardware addresses of the NICs it lists.
    async fn nics(&self) -> CloudResult<Vec<MacAddr>> {
        let listing = self.read(MACS).await?;
        names(&listing).map(|name| mac(MACS, name)).collect()
    }
}

/// The text of an answer, or what its status means.
pub(crate) fn text(path: &str, status: StatusCode, body: Vec<u8>) -> CloudResult<String> {
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

/// A value that stands alone in its answer.
fn value(path: &str, text: &str) -> CloudResult<String> {
    match text.lines().next().map(|line| line.trim().trim_end_matches('/')) {
        // The page of a captive portal.
        Some(page) if page.starts_with('<') => {
            Err(failure(Kind::Transient, ACTION, format!("{path}: {page:?} is no value")))
        }
        Some(value) if !value.is_empty() => Ok(value.to_owned()),
        _ => Err(failure(Kind::Transient, ACTION, format!("{path} is empty"))),
    }
}

/// The names in a listing.
pub(crate) fn names(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(|line| line.trim().trim_end_matches('/')).filter(|name| !name.is_empty())
}

pub(crate) fn mac(path: &str, text: &str) -> CloudResult<MacAddr> {
    text.parse().map_err(|error| failure(Kind::Transient, ACTION, format!("{path}: {}", chain(&error))))
}
