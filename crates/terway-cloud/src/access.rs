//! One way in for whoever does not care which cloud it is: the node's metadata, found on whichever cloud the
//! node is, and from it the client with its keys.

use std::fmt;
use std::path::PathBuf;
use std::pin::pin;
use std::str::FromStr;
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use secrecy::SecretString;
use terway_types::{CloudFailure, CloudFailureKind as Kind, MacAddr};

use crate::aliyun::{self, Aliyun, AliyunConfig, AliyunKeys, AliyunMetadata, Lingjun, Place};
use crate::budget::Budget;
use crate::calls::CallSink;
use crate::cloud::{Carried, Cloud, CloudResult, InstanceIdentity, Metadata};
use crate::credentials::{Environment, KeyPlaces};
use crate::endpoint::{ConfigError, EndpointNetwork};
use crate::error::{METADATA_ACTION, failure};
use crate::tencent::{self, Tencent, TencentConfig, TencentKeys, TencentMetadata};
use crate::transport::Trust;

/// The clouds there are providers for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Provider {
    /// Alibaba Cloud.
    Aliyun,
    /// Tencent Cloud.
    Tencent,
}

/// A text that names no provider.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("provider {0:?} is none of: aliyun, tencent")]
pub struct ProviderError(pub String);

impl FromStr for Provider {
    type Err = ProviderError;

    fn from_str(text: &str) -> Result<Self, ProviderError> {
        match text {
            "aliyun" => Ok(Self::Aliyun),
            "tencent" => Ok(Self::Tencent),
            other => Err(ProviderError(other.to_owned())),
        }
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Aliyun => "aliyun",
            Self::Tencent => "tencent",
        })
    }
}

/// What a node may be told about its cloud. [`AccessOptions::new`] gives what is usual on both.
#[derive(Clone)]
pub struct AccessOptions {
    /// The cloud; found from the metadata services if absent.
    pub provider: Option<Provider>,
    /// The metadata service's URL in place of the cloud's own.
    pub metadata_endpoint: Option<String>,
    /// The endpoint of instances in place of the region's: that of ECS, or of CVM.
    pub ecs_endpoint: Option<String>,
    /// The VPC endpoint in place of the region's.
    pub vpc_endpoint: Option<String>,
    /// The endpoint of Lingjun nodes' ENIs in place of the region's (Alibaba Cloud).
    pub eflo_endpoint: Option<String>,
    /// The STS endpoint in place of the region's.
    pub sts_endpoint: Option<String>,
    /// Whether to use the endpoints on the Internet instead of those inside a VPC.
    pub public: bool,
    /// How calls are signed (Alibaba Cloud).
    pub signature: aliyun::Signature,
    /// Id and secret from the configuration.
    pub key: Option<(String, SecretString)>,
    /// The directory of a mounted secret in place of the cloud's usual one.
    pub secret_directory: Option<PathBuf>,
    /// The encrypted token file of managed clusters in place of the usual one (Alibaba Cloud).
    pub addon_token: Option<PathBuf>,
    /// How variables of the environment are read.
    pub environment: Environment,
    /// The calls this process may make.
    pub budget: Arc<Budget>,
    /// Whose certificates the endpoints may show.
    pub trust: Trust,
    /// Whether proxies named by the environment are used.
    pub proxies: bool,
}

impl fmt::Debug for AccessOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessOptions").field("provider", &self.provider).finish_non_exhaustive()
    }
}

impl AccessOptions {
    /// Everything as the cloud and the environment have it.
    pub fn new(budget: Arc<Budget>) -> Self {
        Self {
            provider: None,
            metadata_endpoint: None,
            ecs_endpoint: None,
            vpc_endpoint: None,
            eflo_endpoint: None,
            sts_endpoint: None,
            public: false,
            signature: aliyun::Signature::default(),
            key: None,
            secret_directory: None,
            addon_token: None,
            environment: Arc::new(|name| std::env::var(name).ok()),
            budget,
            trust: Trust::System,
            proxies: true,
        }
    }
}

/// Where the ENIs of a node come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EniSource {
    /// The cloud's elastic compute service.
    #[default]
    Compute,
    /// EFLO, the API of Lingjun nodes (Alibaba Cloud).
    Eflo,
}

/// The way to the cloud this node is in. As [`Metadata`] it is of whichever cloud answers.
#[derive(Debug)]
pub struct Access {
    options: AccessOptions,
    aliyun: Arc<AliyunMetadata>,
    tencent: Arc<TencentMetadata>,
    /// Which cloud it is, once known.
    found: OnceLock<Provider>,
}

impl Access {
    /// Prepares the way. Sends nothing.
    pub fn new(options: AccessOptions) -> Result<Self, ConfigError> {
        let at = |usual| options.metadata_endpoint.as_deref().unwrap_or(usual);
        let aliyun = Arc::new(AliyunMetadata::new(at(aliyun::METADATA_URL))?);
        let tencent = Arc::new(TencentMetadata::new(at(tencent::METADATA_URL))?);
        let found = options.provider.map_or_else(OnceLock::new, OnceLock::from);
        Ok(Self { options, aliyun, tencent, found })
    }

    /// Which cloud it is, once [`Metadata::identity`] has found it.
    pub fn provider(&self) -> Option<Provider> {
        self.found.get().copied()
    }

    /// Takes the node for one of this cloud, as an earlier life found it, unless it has been found already: for a
    /// start while the metadata service is away.
    pub fn assume(&self, provider: Provider) {
        let _ = self.found.set(provider);
    }

    /// Makes the client for a node that was found this way. Sends nothing.
    pub fn connect(
        &self,
        identity: &InstanceIdentity,
        source: EniSource,
        calls: Option<Arc<dyn CallSink>>,
    ) -> Result<Arc<dyn Cloud>, ConfigError> {
        match (self.provider().unwrap_or(Provider::Aliyun), source) {
            (Provider::Aliyun, EniSource::Compute) => {
                Ok(Arc::new(Aliyun::new(self.aliyun_config(identity, calls)?)?))
            }
            (Provider::Aliyun, EniSource::Eflo) => {
                let place = Place {
                    node: identity.id.clone(),
                    vpc: identity.vpc.clone(),
                    zone: identity.zone.clone(),
                };
                Ok(Arc::new(Lingjun::new(self.aliyun_config(identity, calls)?, place)?))
            }
            (Provider::Tencent, _) => self.connect_tencent(identity, calls),
        }
    }

    fn network(&self) -> EndpointNetwork {
        if self.options.public { EndpointNetwork::Public } else { EndpointNetwork::Internal }
    }

    /// Where keys are looked for, whichever cloud it is.
    fn places(&self) -> KeyPlaces {
        let options = self.options.clone();
        KeyPlaces {
            secret_directory: options.secret_directory,
            configured: options.key,
            environment: options.environment,
            network: self.network(),
            sts_endpoint: options.sts_endpoint,
            trust: options.trust,
            proxies: options.proxies,
            ..KeyPlaces::default()
        }
    }

    fn aliyun_config(
        &self,
        identity: &InstanceIdentity,
        calls: Option<Arc<dyn CallSink>>,
    ) -> Result<AliyunConfig, ConfigError> {
        let (options, network, places) = (self.options.clone(), self.network(), self.places());
        let usual = AliyunKeys::new(&identity.region, Arc::clone(&self.aliyun));
        let addon_token = options.addon_token.unwrap_or_else(|| usual.addon_token.clone());
        let keys = AliyunKeys { places, addon_token, ..usual };
        Ok(AliyunConfig {
            network,
            ecs_endpoint: options.ecs_endpoint,
            vpc_endpoint: options.vpc_endpoint,
            eflo_endpoint: options.eflo_endpoint,
            metadata: Some(Arc::clone(&self.aliyun) as Arc<dyn Metadata>),
            signature: options.signature,
            calls,
            trust: options.trust,
            proxies: options.proxies,
            ..AliyunConfig::new(&identity.region, Arc::new(keys.chain()?), options.budget)
        })
    }

    fn connect_tencent(
        &self,
        identity: &InstanceIdentity,
        calls: Option<Arc<dyn CallSink>>,
    ) -> Result<Arc<dyn Cloud>, ConfigError> {
        let (options, network, places) = (self.options.clone(), self.network(), self.places());
        let keys = TencentKeys { places, ..TencentKeys::new(&identity.region, Arc::clone(&self.tencent)) };
        let (vpc, instance) = (identity.vpc.clone(), identity.id.clone());
        let credentials = Arc::new(keys.chain()?);
        let cloud = Tencent::new(TencentConfig {
            network,
            vpc_endpoint: options.vpc_endpoint,
            cvm_endpoint: options.ecs_endpoint,
            metadata: Some(Arc::clone(&self.tencent) as Arc<dyn Metadata>),
            calls,
            trust: options.trust,
            proxies: options.proxies,
            ..TencentConfig::new(&identity.region, vpc, instance, credentials, options.budget)
        })?;
        Ok(Arc::new(cloud))
    }

    /// The service of whichever cloud it is.
    async fn service(&self) -> CloudResult<&dyn Metadata> {
        if self.provider().is_none() {
            self.find().await?;
        }
        Ok(match self.provider() {
            Some(Provider::Tencent) => &*self.tencent,
            _ => &*self.aliyun,
        })
    }

    /// Asks both services; the first that knows this node is the node's.
    async fn find(&self) -> CloudResult<InstanceIdentity> {
        let (mut aliyun, mut tencent) = (pin!(self.aliyun.identity()), pin!(self.tencent.identity()));
        let (provider, identity) = tokio::select! {
            answer = &mut aliyun => match answer {
                Ok(identity) => (Provider::Aliyun, identity),
                Err(aliyun) => {
                    (Provider::Tencent, tencent.await.map_err(|tencent| neither(&aliyun, &tencent))?)
                }
            },
            answer = &mut tencent => match answer {
                Ok(identity) => (Provider::Tencent, identity),
                Err(tencent) => {
                    (Provider::Aliyun, aliyun.await.map_err(|aliyun| neither(&aliyun, &tencent))?)
                }
            },
        };
        tracing::info!(%provider, instance = identity.id.as_str(), "the metadata service of this node is found");
        // Two who ask at the same time find the same.
        let _ = self.found.set(provider);
        Ok(identity)
    }
}

/// Neither service knows this node. It may come up later, so this may pass.
fn neither(aliyun: &CloudFailure, tencent: &CloudFailure) -> CloudFailure {
    let message = format!("no metadata service: aliyun: {}; tencent: {}", aliyun.message, tencent.message);
    failure(Kind::Transient, METADATA_ACTION, message)
}

#[async_trait]
impl Metadata for Access {
    async fn identity(&self) -> CloudResult<InstanceIdentity> {
        match self.provider() {
            Some(Provider::Aliyun) => self.aliyun.identity().await,
            Some(Provider::Tencent) => self.tencent.identity().await,
            None => self.find().await,
        }
    }

    async fn macs(&self) -> CloudResult<Vec<MacAddr>> {
        self.service().await?.macs().await
    }

    async fn carried(&self) -> CloudResult<Carried> {
        self.service().await?.carried().await
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Method;

    use super::*;
    use crate::loopback::{Answer, Seen, Server};

    /// Alibaba Cloud's service, which wants a token.
    fn aliyun(seen: &Seen) -> Answer {
        match (seen.path.trim_start_matches("/latest/"), seen.header("x-aliyun-ecs-metadata-token")) {
            ("api/token", _) if seen.method == Method::PUT => Answer::ok("t"),
            (_, "") => Answer::new(401, ""),
            ("meta-data/instance-id", _) => Answer::ok("i-1"),
            ("meta-data/mac", _) => Answer::ok("00:16:3e:00:00:01"),
            ("meta-data/network/interfaces/macs/", _) => Answer::ok("00:16:3e:00:00:01/"),
            ("meta-data/region-id", _) => Answer::ok("cn-hangzhou"),
            _ => Answer::ok("x"),
        }
    }

    /// Tencent Cloud's, which knows no tokens.
    fn tencent(seen: &Seen) -> Answer {
        match seen.path.trim_start_matches("/latest/meta-data/") {
            _ if seen.method != Method::GET => Answer::new(405, ""),
            "instance-id" => Answer::ok("ins-1"),
            "mac" => Answer::ok("20:90:6F:00:00:01"),
            "network/interfaces/macs/" => Answer::ok("20:90:6F:00:00:01/"),
            "placement/region" => Answer::ok("ap-guangzhou"),
            _ => Answer::ok("x"),
        }
    }

    fn access(server: &Server, provider: Option<Provider>) -> Access {
        let endpoint = Some(format!("http://{}", server.host));
        Access::new(AccessOptions {
            provider,
            metadata_endpoint: endpoint,
            environment: Arc::new(|_| None),
            ..AccessOptions::new(Arc::new(Budget::default()))
        })
        .unwrap()
    }

    #[tokio::test]
    async fn the_cloud_is_found_from_its_metadata() {
        let (here, there) = (Server::start(aliyun).await, Server::start(tencent).await);
        for (server, provider, id) in [(&here, Provider::Aliyun, "i-1"), (&there, Provider::Tencent, "ins-1")]
        {
            let access = access(server, None);
            assert_eq!(access.macs().await.unwrap().len(), 1);
            let identity = access.identity().await.unwrap();
            assert_eq!((identity.id.as_str(), access.provider()), (id, Some(provider)));
            for source in [EniSource::Compute, EniSource::Eflo] {
                let cloud = access.connect(&identity, source, None).unwrap();
                assert_eq!(cloud.provider(), provider.to_string());
            }
        }
    }

    #[tokio::test]
    async fn a_cloud_that_is_told_is_not_looked_for() {
        let server = Server::start(tencent).await;
        let access = access(&server, Some(Provider::Aliyun));
        assert!(access.identity().await.is_err());
        assert!(server.seen().iter().all(|seen| seen.method == Method::PUT), "only tokens were asked for");
    }

    #[tokio::test]
    async fn no_cloud_at_all_names_both() {
        let server = Server::start(|_| Answer::new(404, "")).await;
        let failure = access(&server, None).identity().await.unwrap_err();
        assert_eq!(failure.kind, Kind::Transient);
        assert!(failure.message.contains("aliyun: /latest/api/token"), "{failure}");
        assert!(failure.message.contains("tencent: /latest/meta-data/mac"), "{failure}");
    }

    #[test]
    fn providers_have_names() {
        for provider in [Provider::Aliyun, Provider::Tencent] {
            assert_eq!(provider.to_string().parse(), Ok(provider));
        }
        let error = "aws".parse::<Provider>().unwrap_err().to_string();
        assert_eq!(error, "provider \"aws\" is none of: aliyun, tencent");
    }
}
