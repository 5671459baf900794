//! What both clouds' chains of keys begin with: the places where people put a key, and the server that gives one in
//! exchange.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use secrecy::SecretString;

use super::chain::Link;
use super::files::{ConfiguredKey, Environment, EnvironmentKey, KeyFiles};
use super::web_identity::{Claim, WebIdentity};
use crate::endpoint::{ConfigError, Endpoint, EndpointNetwork};
use crate::transport::{self, ClientOptions, Timeouts, Trust};

/// Where keys may come from. The default is what nodes have; the rest are exceptions.
#[derive(Clone)]
pub struct KeyPlaces {
    /// The directory of the mounted secret in place of the cloud's usual one.
    pub secret_directory: Option<PathBuf>,
    /// What people call the place of the configured key.
    pub configured_place: String,
    /// Id and secret from the configuration.
    pub configured: Option<(String, SecretString)>,
    /// How variables of the environment are read.
    pub environment: Environment,
    /// Which of the STS endpoints to use.
    pub network: EndpointNetwork,
    /// The STS endpoint in place of those.
    pub sts_endpoint: Option<String>,
    /// Whose certificates STS may show.
    pub trust: Trust,
    /// Whether proxies named by the environment are used.
    pub proxies: bool,
}

impl Default for KeyPlaces {
    fn default() -> Self {
        Self {
            secret_directory: None,
            configured_place: "access_key in the configuration".to_owned(),
            configured: None,
            environment: Arc::new(|name| std::env::var(name).ok()),
            network: EndpointNetwork::Internal,
            sts_endpoint: None,
            trust: Trust::System,
            proxies: true,
        }
    }
}

impl fmt::Debug for KeyPlaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPlaces").field("sts_endpoint", &self.sts_endpoint).finish_non_exhaustive()
    }
}

/// How a cloud calls the parts of a key.
pub(crate) struct Names {
    /// Where a secret is usually mounted, and the names of the files in it.
    pub(crate) directory: &'static str,
    pub(crate) files: [&'static str; 2],
    /// The variables of id, secret and security token.
    pub(crate) variables: [&'static str; 3],
}

impl KeyPlaces {
    /// The first links of a cloud's chain: where people put keys, and its STS, which gives one in exchange.
    pub(crate) fn links<C: Claim + 'static>(
        self,
        names: &Names,
        sts: Endpoint,
        timeouts: Timeouts,
    ) -> Result<Vec<Box<dyn Link>>, ConfigError> {
        let [id, secret] = names.files;
        let directory = self.secret_directory.unwrap_or_else(|| names.directory.into());
        let environment = Arc::clone(&self.environment);
        let [id_variable, secret_variable, token] = names.variables;
        let (tls, trust, proxies) = (sts.is_https(), self.trust, self.proxies);
        let http = transport::client(&ClientOptions { timeouts, tls, trust, proxies });
        let http = http.map_err(ConfigError::Client)?;
        Ok(vec![
            Box::new(KeyFiles { directory, id, secret }),
            Box::new(ConfiguredKey { place: self.configured_place, key: self.configured }),
            Box::new(EnvironmentKey { environment, id: id_variable, secret: secret_variable, token }),
            Box::new(WebIdentity::<C>::new(self.environment, sts, http)),
        ])
    }
}
