//! The chain of places where keys for Alibaba Cloud are looked for.

use std::path::PathBuf;
use std::sync::Arc;

use super::config::{TIMEOUTS, endpoint_of};
use super::metadata::AliyunMetadata;
use super::web_identity::Rrsa;
use super::wire::TemporaryKey;
use crate::credentials::{ADDON_TOKEN_FILE, AddonToken, Chain, InstanceRole, KeyPlaces, Names};
use crate::endpoint::{ConfigError, Endpoint};

/// Where clusters mount a secret with the files `access-key-id` and `access-key-secret`.
pub const SECRET_DIRECTORY: &str = "/var/alibaba-addon-secret";

const NAMES: Names = Names {
    directory: SECRET_DIRECTORY,
    files: ["access-key-id", "access-key-secret"],
    variables: [
        "ALIBABA_CLOUD_ACCESS_KEY_ID",
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET",
        "ALIBABA_CLOUD_SECURITY_TOKEN",
    ],
};

/// Where keys may come from. [`AliyunKeys::new`] gives what nodes have; the rest are exceptions.
#[derive(Clone, Debug)]
pub struct AliyunKeys {
    /// The places that both clouds have.
    pub places: KeyPlaces,
    /// The encrypted token file of managed clusters' add-ons.
    pub addon_token: PathBuf,
    /// The metadata service, for the role of the instance.
    pub metadata: Arc<AliyunMetadata>,
    /// The region, whose STS is asked.
    pub region: String,
}

impl AliyunKeys {
    /// The usual places.
    pub fn new(region: impl Into<String>, metadata: Arc<AliyunMetadata>) -> Self {
        let (places, region) = (KeyPlaces::default(), region.into());
        Self { places, addon_token: ADDON_TOKEN_FILE.into(), metadata, region }
    }

    /// The chain: the mounted secret, the configured key, the environment, the web identity, the add-on token
    /// file, the role of the instance.
    pub fn chain(self) -> Result<Chain, ConfigError> {
        let sts = match &self.places.sts_endpoint {
            Some(given) => Endpoint::parse(given)?,
            None => endpoint_of("sts", &self.region, self.places.network)?,
        };
        let mut links = self.places.links::<Rrsa>(&NAMES, sts, TIMEOUTS)?;
        links.push(Box::new(AddonToken { path: self.addon_token }));
        let (name, path) = ("the RAM role of the instance", "ram/security-credentials/");
        links.push(Box::new(InstanceRole::<TemporaryKey>::new(name, path, self.metadata)));
        Ok(Chain::new(links))
    }
}
