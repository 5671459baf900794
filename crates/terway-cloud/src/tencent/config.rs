//! What the provider must be told, and where its servers are.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use terway_types::InstanceId;

use crate::budget::Budget;
use crate::calls::CallSink;
use crate::cloud::Metadata;
use crate::credentials::CredentialSource;
use crate::endpoint::{ConfigError, Endpoint, EndpointNetwork, is_region};
use crate::transport::{Timeouts, Trust};

/// How to reach the cloud. [`TencentConfig::new`] gives what a node needs; the rest are exceptions.
#[derive(Clone)]
pub struct TencentConfig {
    /// The region, e.g. `ap-guangzhou`.
    pub region: String,
    /// The VPC of new ENIs: that of the node.
    pub vpc: String,
    /// The node: limits are told per instance, not per type.
    pub instance: InstanceId,
    /// Which endpoints to use where none is given.
    pub network: EndpointNetwork,
    /// The VPC API's endpoint in place of the usual one: `host`, `host:port` (HTTPS), or a URL.
    pub vpc_endpoint: Option<String>,
    /// The CVM API's endpoint in place of the usual one, in the same forms.
    pub cvm_endpoint: Option<String>,
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
    /// How long to wait for the end of what the cloud accepted and does in its own time.
    pub task_patience: Duration,
}

impl fmt::Debug for TencentConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TencentConfig")
            .field("region", &self.region)
            .field("vpc", &self.vpc)
            .finish_non_exhaustive()
    }
}

/// How long a call may take, unless told otherwise.
pub(super) const TIMEOUTS: Timeouts =
    Timeouts { connect: Duration::from_secs(5), total: Duration::from_secs(20) };

impl TencentConfig {
    /// The internal endpoints, the built-in time limits, proxies as the environment says.
    pub fn new(
        region: impl Into<String>,
        vpc: impl Into<String>,
        instance: InstanceId,
        credentials: Arc<dyn CredentialSource>,
        budget: Arc<Budget>,
    ) -> Self {
        Self {
            region: region.into(),
            vpc: vpc.into(),
            instance,
            network: EndpointNetwork::Internal,
            vpc_endpoint: None,
            cvm_endpoint: None,
            credentials,
            budget,
            metadata: None,
            calls: None,
            trust: Trust::System,
            proxies: true,
            timeouts: TIMEOUTS,
            task_patience: Duration::from_secs(30),
        }
    }
}

/// The endpoint of a product: the one given, or `<product>.internal.tencentcloudapi.com` inside a VPC and
/// `<product>.tencentcloudapi.com` on the Internet. The region goes into a header.
pub(super) fn endpoint_of(
    product: &str,
    region: &str,
    network: EndpointNetwork,
    given: Option<&str>,
) -> Result<Endpoint, ConfigError> {
    if !is_region(region) {
        return Err(ConfigError::Region(region.to_owned()));
    }
    let usual = match network {
        EndpointNetwork::Internal => format!("{product}.internal.tencentcloudapi.com"),
        EndpointNetwork::Public => format!("{product}.tencentcloudapi.com"),
    };
    Ok(Endpoint::parse(given.unwrap_or(&usual))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_have_endpoints() {
        let of = |network, given| endpoint_of("vpc", "ap-guangzhou", network, given).unwrap().to_string();
        assert_eq!(of(EndpointNetwork::Internal, None), "https://vpc.internal.tencentcloudapi.com");
        assert_eq!(of(EndpointNetwork::Public, None), "https://vpc.tencentcloudapi.com");
        assert_eq!(of(EndpointNetwork::Public, Some("http://x:81")), "http://x:81");
        assert!(endpoint_of("vpc", "ap guangzhou", EndpointNetwork::Public, None).is_err());
    }
}
