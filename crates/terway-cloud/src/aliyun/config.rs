//! What the provider must be told, and where its servers are.

use std::sync::Arc;
use std::time::Duration;

use crate::budget::Budget;
use crate::calls::CallSink;
use crate::cloud::Metadata;
use crate::credentials::CredentialSource;
use crate::endpoint::{ConfigError, Endpoint, EndpointNetwork, is_region};
use crate::transport::{Timeouts, Trust};

/// How long a call may take, unless told otherwise.
pub(super) const TIMEOUTS: Timeouts =
    Timeouts { connect: Duration::from_secs(5), total: Duration::from_secs(20) };

/// How calls are signed. Public regions take both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Signature {
    /// `ACS3-HMAC-SHA256`, in headers.
    #[default]
    Acs3,
    /// The RPC signature 1.0 with HMAC-SHA1, in the query.
    RpcV1,
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
    /// The EFLO endpoint in place of the region's, in the same forms.
    pub eflo_endpoint: Option<String>,
    /// How calls are signed.
    pub signature: Signature,
    /// The keys.
    pub credentials: Arc<dyn CredentialSource>,
    /// The calls this process may make.
    pub budget: Arc<Budget>,
    /// What shows how much the instance carries, for when the cloud may not be asked what it can.
    pub metadata: Option<Arc<dyn Metadata>>,
    /// Who wants to know of every exchange.
    pub calls: Option<Arc<dyn CallSink>>,
    /// Whose certificates the endpoints may show.
    pub trust: Trust,
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
            network: EndpointNetwork::Internal,
            ecs_endpoint: None,
            vpc_endpoint: None,
            eflo_endpoint: None,
            signature: Signature::default(),
            credentials,
            budget,
            metadata: None,
            calls: None,
            trust: Trust::System,
            proxies: true,
            timeouts: TIMEOUTS,
        }
    }
}

/// A product of the cloud: an API of its own under a host of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Product {
    Ecs,
    Vpc,
    Eflo,
}

impl Product {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ecs => "ecs",
            Self::Vpc => "vpc",
            Self::Eflo => "eflo",
        }
    }

    /// The version of the API, by its date.
    pub(super) fn version(self) -> &'static str {
        match self {
            Self::Ecs => "2014-05-26",
            Self::Vpc => "2016-04-28",
            Self::Eflo => "2022-05-30",
        }
    }

    /// Whether an action's parameters go in the form of the body instead of the query.
    pub(super) fn uses_forms(self) -> bool {
        self == Self::Eflo
    }
}

/// The region's endpoint of a product, by its name: `ecs-vpc.<region>.aliyuncs.com` inside a VPC,
/// `ecs.<region>.aliyuncs.com` on the Internet.
pub(super) fn endpoint_of(
    product: &str,
    region: &str,
    network: EndpointNetwork,
) -> Result<Endpoint, ConfigError> {
    if !is_region(region) {
        return Err(ConfigError::Region(region.to_owned()));
    }
    let suffix = match network {
        EndpointNetwork::Internal => "-vpc",
        EndpointNetwork::Public => "",
    };
    Ok(Endpoint::parse(&format!("https://{product}{suffix}.{region}.aliyuncs.com"))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_have_endpoints() {
        let of = |product: Product, network| {
            endpoint_of(product.name(), "cn-hangzhou", network).unwrap().to_string()
        };
        assert_eq!(of(Product::Ecs, EndpointNetwork::Internal), "https://ecs-vpc.cn-hangzhou.aliyuncs.com");
        assert_eq!(of(Product::Vpc, EndpointNetwork::Internal), "https://vpc-vpc.cn-hangzhou.aliyuncs.com");
        assert_eq!(of(Product::Ecs, EndpointNetwork::Public), "https://ecs.cn-hangzhou.aliyuncs.com");
        for region in ["", "evil.example/", "a b", "-x", "cn-hangzhou\n"] {
            assert!(endpoint_of("ecs", region, EndpointNetwork::Internal).is_err(), "{region:?}");
        }
    }
}
