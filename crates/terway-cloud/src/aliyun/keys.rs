//! The chain of places where keys for Alibaba Cloud are looked for.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use secrecy::SecretString;

use super::config::{EndpointNetwork, TIMEOUTS};
use super::metadata::AliyunMetadata;
use super::role::InstanceRole;
use super::web_identity::WebIdentity;
use crate::credentials::{
    ADDON_TOKEN_FILE, AddonToken, Chain, ConfiguredKey, Environment, EnvironmentKey, KeyFiles,
};
use crate::endpoint::{ConfigError, Endpoint, is_region};
use crate::exchange::Stamps;
use crate::transport::{self, ClientOptions, Trust};

/// Where clusters mount a secret with the files `access-key-id` and `access-key-secret`.
pub const SECRET_DIRECTORY: &str = "/var/alibaba-addon-secret";

/// Where keys may come from. [`AliyunKeys::new`] gives what nodes have; the rest are exceptions.
#[derive(Clone)]
pub struct AliyunKeys {
    /// The directory of the mounted secret.
    pub secret_directory: PathBuf,
    /// What people call the place of the configured key.
    pub configured_place: String,
    /// Id and secret from the configuration.
    pub configured: Option<(String, SecretString)>,
    /// How variables of the environment are read.
    pub environment: Environment,
    /// The encrypted token file of managed clusters' add-ons.
    pub addon_token: PathBuf,
    /// The metadata service, for the role of the instance.
    pub metadata: Arc<AliyunMetadata>,
    /// The region, whose STS is asked.
    pub region: String,
    /// Which of the region's endpoints to use.
    pub network: EndpointNetwork,
    /// The STS endpoint in place of the region's.
    pub sts_endpoint: Option<String>,
    /// Whose certificates STS may show.
    pub trust: Trust,
    /// Whether proxies named by the environment are used.
    pub proxies: bool,
}

impl fmt::Debug for AliyunKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AliyunKeys").field("region", &self.region).finish_non_exhaustive()
    }
}

impl AliyunKeys {
    /// The usual places.
    pub fn new(region: impl Into<String>, metadata: Arc<AliyunMetadata>) -> Self {
        Self {
            secret_directory: SECRET_DIRECTORY.into(),
            configured_place: "access_key in the configuration".to_owned(),
            configured: None,
            environment: Arc::new(|name| std::env::var(name).ok()),
            addon_token: ADDON_TOKEN_FILE.into(),
            metadata,
            region: region.into(),
            network: EndpointNetwork::Vpc,
            sts_endpoint: None,
            trust: Trust::System,
            proxies: true,
        }
    }

    /// The chain: the mounted secret, the configured key, the environment, the web identity, the add-on token
    /// file, the role of the instance.
    pub fn chain(self) -> Result<Chain, ConfigError> {
        let endpoint = self.sts()?;
        let options = ClientOptions {
            timeouts: TIMEOUTS,
            tls: endpoint.is_https(),
            trust: self.trust,
            proxies: self.proxies,
        };
        let http = transport::client(&options).map_err(ConfigError::Client)?;
        let environment = self.environment;
        Ok(Chain::new(vec![
            Box::new(KeyFiles {
                directory: self.secret_directory,
                id: "access-key-id",
                secret: "access-key-secret",
            }),
            Box::new(ConfiguredKey { place: self.configured_place, key: self.configured }),
            Box::new(EnvironmentKey {
                environment: Arc::clone(&environment),
                id: "ALIBABA_CLOUD_ACCESS_KEY_ID",
                secret: "ALIBABA_CLOUD_ACCESS_KEY_SECRET",
                token: "ALIBABA_CLOUD_SECURITY_TOKEN",
            }),
            Box::new(WebIdentity { environment, endpoint, http, stamps: Stamps::default() }),
            Box::new(AddonToken { path: self.addon_token }),
            Box::new(InstanceRole { metadata: self.metadata }),
        ]))
    }

    fn sts(&self) -> Result<Endpoint, ConfigError> {
        if let Some(given) = &self.sts_endpoint {
            return Ok(Endpoint::parse(given)?);
        }
        if !is_region(&self.region) {
            return Err(ConfigError::Region(self.region.clone()));
        }
        let suffix = match self.network {
            EndpointNetwork::Vpc => "-vpc",
            EndpointNetwork::Public => "",
        };
        Ok(Endpoint::parse(&format!("https://sts{suffix}.{}.aliyuncs.com", self.region))?)
    }
}
