//! The chain of places where keys for Tencent Cloud are looked for.

use std::sync::Arc;

use super::config::{TIMEOUTS, endpoint_of};
use super::metadata::TencentMetadata;
use super::web_identity::PodIdentity;
use super::wire::RoleKey;
use crate::credentials::{Chain, InstanceRole, KeyPlaces, Names};
use crate::endpoint::ConfigError;

/// Where a secret with the files `secret-id` and `secret-key` may be mounted.
pub const SECRET_DIRECTORY: &str = "/var/tencent-addon-secret";

const NAMES: Names = Names {
    directory: SECRET_DIRECTORY,
    files: ["secret-id", "secret-key"],
    variables: ["TENCENTCLOUD_SECRET_ID", "TENCENTCLOUD_SECRET_KEY", "TENCENTCLOUD_TOKEN"],
};

/// Where keys may come from. [`TencentKeys::new`] gives what nodes have; the rest are exceptions.
#[derive(Clone, Debug)]
pub struct TencentKeys {
    /// The places that both clouds have.
    pub places: KeyPlaces,
    /// The metadata service, for the role of the instance.
    pub metadata: Arc<TencentMetadata>,
    /// The region.
    pub region: String,
}

impl TencentKeys {
    /// The usual places.
    pub fn new(region: impl Into<String>, metadata: Arc<TencentMetadata>) -> Self {
        Self { places: KeyPlaces::default(), metadata, region: region.into() }
    }

    /// The chain: the mounted secret, the configured key, the environment, the web identity, the role of the
    /// instance.
    pub fn chain(self) -> Result<Chain, ConfigError> {
        let given = self.places.sts_endpoint.as_deref();
        let sts = endpoint_of("sts", &self.region, self.places.network, given)?;
        let mut links = self.places.links::<PodIdentity>(&NAMES, sts, TIMEOUTS)?;
        let (name, path) = ("the CAM role of the instance", "cam/security-credentials/");
        links.push(Box::new(InstanceRole::<RoleKey>::new(name, path, self.metadata)));
        Ok(Chain::new(links))
    }
}
