//! What the provider must be told, and where its servers are.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;

use crate::budget::Budget;
use crate::calls::CallSink;
use crate::credentials::CredentialSource;
pub use crate::transport::Timeouts;

/// Which of the cloud's endpoints to use where none is given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EndpointNetwork {
    /// Those reached from inside a VPC; nodes need no way out to the Internet.
    #[default]
    Vpc,
    /// Those on the Internet.
    Public,
}

/// How to reach the cloud. [`AliyunConfig::new`] gives what a node needs; the rest are exceptions.
#[derive(Clone, Debug)]
pub struct AliyunConfig {
    /// The region, e.g. `cn-hangzhou`.
    pub region: String,
    /// Which endpoints to use where none is given.
    pub network: EndpointNetwork,
    /// The ECS endpoint in place of the region's: `host`, `host:port` (HTTPS), or a URL.
    pub ecs_endpoint: Option<String>,
    /// The VPC endpoint in place of the region's, in the same forms.
    pub vpc_endpoint: Option<String>,
    /// The keys.
    pub credentials: Arc<dyn CredentialSource>,
    /// The calls this process may make.
    pub budget: Arc<Budget>,
    /// Who wants to know of every exchange.
    pub calls: Option<Arc<dyn CallSink>>,
    /// Whether proxies named by the environment (`HTTPS_PROXY`, `NO_PROXY`, ...) are used.
    pub proxies: bool,
    /// How long a call may take.
    pub timeouts: Timeouts,
}

impl AliyunConfig {
    /// The region's VPC endpoints, the built-in time limits, proxies as the environment says.
    pub fn new(
        region: impl Into<String>,
        credentials: Arc<dyn CredentialSource>,
        budget: Arc<Budget>,
    ) -> Self {
        Self {
            region: region.into(),
            network: EndpointNetwork::Vpc,
            ecs_endpoint: None,
            vpc_endpoint: None,
            credentials,
            budget,
            calls: None,
            proxies: true,
            timeouts: Timeouts { connect: Duration::from_secs(5), total: Duration::from_secs(20) },
        }
    }
}

/// A configuration that cannot work.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The region's name is none.
    #[error("region {0:?} is not a name like cn-hangzhou")]
    Region(String),
    /// An endpoint is not usable.
    #[error("endpoint {endpoint:?} {rule}")]
    Endpoint {
        /// As given.
        endpoint: String,
        /// The rule it breaks, as the end of a sentence.
        rule: &'static str,
    },
    /// No HTTP client can be made, for want of CA certificates for example.
    #[error("failed to set up the HTTP client")]
    Client(#[source] reqwest::Error),
}

/// A product of the cloud: an API of its own under a host of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Product {
    Ecs,
    Vpc,
}

impl Product {
    fn name(self) -> &'static str {
        match self {
            Self::Ecs => "ecs",
            Self::Vpc => "vpc",
        }
    }

    /// The version of the API, by its date.
    pub(super) fn version(self) -> &'static str {
        match self {
            Self::Ecs => "2014-05-26",
            Self::Vpc => "2016-04-28",
        }
    }
}

/// One server of the cloud, without path or query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoint(Url);

impl Endpoint {
    /// The region's endpoint of a product: `ecs-vpc.<region>.aliyuncs.com` inside a VPC,
    /// `ecs.<region>.aliyuncs.com` on the Internet.
    pub(super) fn of_region(
        product: Product,
        region: &str,
        network: EndpointNetwork,
    ) -> Result<Self, ConfigError> {
        let fits = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
        if region.is_empty() || !region.bytes().all(fits) || region.starts_with('-') || region.ends_with('-')
        {
            return Err(ConfigError::Region(region.to_owned()));
        }
        let suffix = match network {
            EndpointNetwork::Vpc => "-vpc",
            EndpointNetwork::Public => "",
        };
        Self::parse(&format!("https://{}{suffix}.{region}.aliyuncs.com", product.name()))
    }

    /// An endpoint as people write it. Without a scheme it is HTTPS.
    pub(super) fn parse(text: &str) -> Result<Self, ConfigError> {
        let wrong = |rule| ConfigError::Endpoint { endpoint: text.to_owned(), rule };
        let full = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
        let url = Url::parse(&full).map_err(|_| wrong("is not a host, host:port or URL"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(wrong("must start with https:// or http://, or have no scheme"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(wrong("must not carry a user name or password"));
        }
        // The signature is over the path "/".
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return Err(wrong("must be a host only, without path, query or fragment"));
        }
        Ok(Self(url))
    }

    pub(super) fn is_https(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// The `Host` header: the port only where it is not the scheme's own.
    pub(super) fn host(&self) -> String {
        let host = self.0.host_str().unwrap_or_default();
        self.0.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }

    /// The URL with this query, which must be percent-encoded already.
    pub(super) fn with_query(&self, query: &str) -> Url {
        let mut url = self.0.clone();
        url.set_query(Some(query));
        url
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.0.scheme(), self.host())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_have_endpoints() {
        let of = |product, network| Endpoint::of_region(product, "cn-hangzhou", network).unwrap().to_string();
        assert_eq!(of(Product::Ecs, EndpointNetwork::Vpc), "https://ecs-vpc.cn-hangzhou.aliyuncs.com");
        assert_eq!(of(Product::Vpc, EndpointNetwork::Vpc), "https://vpc-vpc.cn-hangzhou.aliyuncs.com");
        assert_eq!(of(Product::Ecs, EndpointNetwork::Public), "https://ecs.cn-hangzhou.aliyuncs.com");
        for region in ["", "evil.example/", "a b", "-x", "cn-hangzhou\n"] {
            assert!(Endpoint::of_region(Product::Ecs, region, EndpointNetwork::Vpc).is_err(), "{region:?}");
        }
    }

    #[test]
    fn http_only_when_said() {
        let shown = |text| Endpoint::parse(text).unwrap().to_string();
        assert_eq!(shown("10.0.0.1:8080"), "https://10.0.0.1:8080");
        assert_eq!(shown("ecs.example"), "https://ecs.example");
        assert_eq!(shown("http://100.100.100.201:80"), "http://100.100.100.201");
        assert_eq!(shown("http://[fd00::1]:81/"), "http://[fd00::1]:81");
        assert_eq!(shown("https://x:443"), "https://x");
    }

    #[test]
    fn what_is_no_endpoint_is_refused() {
        let texts = ["", "ftp://x", "http://user@x", "http://x/path", "http://x/?a=b", "http://x/#f", "a b"];
        for text in texts {
            assert!(matches!(Endpoint::parse(text), Err(ConfigError::Endpoint { .. })), "{text:?}");
        }
        let error = Endpoint::parse("http://x/path").unwrap_err().to_string();
        assert_eq!(error, "endpoint \"http://x/path\" must be a host only, without path, query or fragment");
    }
}
