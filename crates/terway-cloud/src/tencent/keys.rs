//! The chain of places where keys for Tencent Cloud are looked for.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use secrecy::SecretString;

use super::config::{EndpointNetwork, TIMEOUTS, endpoint_of};
use super::metadata::TencentMetadata;
use super::role::InstanceRole;
use super::web_identity::WebIdentity;
use crate::credentials::{Chain, ConfiguredKey, Environment, EnvironmentKey, KeyFiles};
use crate::endpoint::ConfigError;
use crate::exchange::Stamps;
use crate::transport::{self, ClientOptions, Trust};

/// Where a secret with the files `secret-id` and `secret-key` may be mounted.
pub const SECRET_DIRECTORY: &str = "/var/tencent-addon-secret";

/// Where keys may come from. [`TencentKeys::new`] gives what nodes have; the rest are exceptions.
#[derive(Clone)]
pub struct TencentKeys {
    /// The directory of the mounted secret.
    pub secret_directory: PathBuf,
    /// What people call the place of the configured key.
    pub configured_place: String,
    /// Id and secret from the configuration.
    pub configured: Option<(String, SecretString)>,
    /// How variables of the environment are read.
    pub environment: Environment,
    /// The metadata service, for the role of the instance.
    pub metadata: Arc<TencentMetadata>,
    /// The region.
    pub region: String,
    /// Which endpoints to use.
    pub network: EndpointNetwork,
    /// The STS endpoint in place of the usual one.
    pub sts_endpoint: Option<String>,
    /// Whose certificates STS may show.
    pub trust: Trust,
    /// Whether proxies named by the environment are used.
    pub proxies: bool,
}

impl fmt::Debug for TencentKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TencentKeys").field("region", &self.region).finish_non_exhaustive()
    }
}

impl TencentKeys {
    /// The usual places.
    pub fn new(region: impl Into<String>, metadata: Arc<TencentMetadata>) -> Self {
        Self {
            secret_directory: SECRET_DIRECTORY.into(),
            configured_place: "access_key in the configuration".to_owned(),
            configured: None,
            environment: Arc::new(|name| std::env::var(name).ok()),
            metadata,
            region: region.into(),
            network: EndpointNetwork::Internal,
            sts_endpoint: None,
            trust: Trust::System,
            proxies: true,
        }
    }

    /// The chain: the mounted secret, the configured key, the environment, the web identity, the role of the
    /// instance.
    pub fn chain(self) -> Result<Chain, ConfigError> {
        let endpoint = endpoint_of("sts", &self.region, self.network, self.sts_endpoint.as_deref())?;
        let options = ClientOptions {
            timeouts: TIMEOUTS,
            tls: endpoint.is_https(),
            trust: self.trust,
            proxies: self.proxies,
        };
        let http = transport::client(&options).map_err(ConfigError::Client)?;
        let environment = self.environment;
        Ok(Chain::new(vec![
            Box::new(KeyFiles { directory: self.secret_directory, id: "secret-id", secret: "secret-key" }),
            Box::new(ConfiguredKey { place: self.configured_place, key: self.configured }),
            Box::new(EnvironmentKey {
                environment: Arc::clone(&environment),
                id: "TENCENTCLOUD_SECRET_ID",
                secret: "TENCENTCLOUD_SECRET_KEY",
                token: "TENCENTCLOUD_TOKEN",
            }),
            Box::new(WebIdentity { environment, endpoint, http, stamps: Stamps::default() }),
            Box::new(InstanceRole { metadata: self.metadata }),
        ]))
    }
}
