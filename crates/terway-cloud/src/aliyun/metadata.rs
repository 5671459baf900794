//! The instance metadata service: who this node is, and which NICs it should have. It answers only
//! inside the node, without keys, for a token that a PUT gives.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::StatusCode;
use reqwest::header::HeaderValue;
use terway_types::{CloudFailureKind as Kind, Gateways, MacAddr, Subnets};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::cloud::{Carried, CloudResult, InstanceIdentity, Metadata, Ranges};
use crate::endpoint::ConfigError;
use crate::error::{METADATA_ACTION as ACTION, failure};
use crate::instance_data::{MACS, Paths, Service, mac, names, text};

/// Where the service listens on every instance.
pub const METADATA_URL: &str = "http://100.100.100.200";

const TOKEN_PATH: &str = "/latest/api/token";
const TOKEN_HEADER: &str = "x-aliyun-ecs-metadata-token";
const TTL_HEADER: &str = "x-aliyun-ecs-metadata-token-ttl-seconds";
/// The life a token is asked for. It is used for half of it.
const TTL_SECONDS: u64 = 21_600;

/// The metadata service of the instance this runs on.
#[derive(Debug)]
pub struct AliyunMetadata {
    service: Service,
    token: Mutex<Option<Token>>,
}

#[derive(Clone)]
struct Token {
    header: HeaderValue,
    renew_at: Instant,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").finish_non_exhaustive()
    }
}

impl AliyunMetadata {
    /// The service at this URL; [`METADATA_URL`] on real instances.
    pub fn new(base_url: &str) -> Result<Self, ConfigError> {
        Ok(Self { service: Service::new(base_url)?, token: Mutex::new(None) })
    }

    #[cfg(test)]
    pub(super) fn hasty(self) -> Self {
        Self { service: self.service.hasty(), ..self }
    }

    async fn get(&self, path: &str, token: &Token) -> CloudResult<(StatusCode, Vec<u8>)> {
        let request = self.service.http.get(self.service.url(path));
        self.service.send(path, request.header(TOKEN_HEADER, token.header.clone())).await
    }

    /// The token to use; any but `refused`. Those who need a new one at the same time share it.
    async fn token(&self, refused: Option<&Token>) -> CloudResult<Token> {
        let mut kept = self.token.lock().await;
        if let Some(token) = kept.as_ref()
            && Instant::now() < token.renew_at
            && refused.is_none_or(|refused| refused.header != token.header)
        {
            return Ok(token.clone());
        }
        let request = self.service.http.put(self.service.url(TOKEN_PATH));
        let request = request.header(TTL_HEADER, TTL_SECONDS.to_string());
        let (status, body) = self.service.send(TOKEN_PATH, request).await?;
        let token = text(TOKEN_PATH, status, body)?;
        let mut header = HeaderValue::try_from(token.trim()).map_err(|_| {
            failure(Kind::Transient, ACTION, format!("{TOKEN_PATH}: the token is not a text"))
        })?;
        header.set_sensitive(true);
        let token = Token { header, renew_at: Instant::now() + Duration::from_secs(TTL_SECONDS / 2) };
        *kept = Some(token.clone());
        Ok(token)
    }

    /// How long a list like `["10.0.0.1","10.0.0.2"]` or `[fd00::1]` is. What is not there is empty.
    async fn count(&self, path: &str) -> CloudResult<u32> {
        match self.read(path).await {
            Err(failure) if failure.kind == Kind::Gone => Ok(0),
            text => {
                let text = text?;
                let items = text.trim().trim_start_matches('[').trim_end_matches(']').split(',');
                Ok(u32::try_from(items.filter(|item| !item.trim().is_empty()).count()).unwrap_or(u32::MAX))
            }
        }
    }

    /// "Instance metadata" (ECS documents): `vswitch-cidr-block`, `gateway` and their IPv6 fellows of each NIC.
    async fn ranges(&self, mac: MacAddr) -> CloudResult<Ranges> {
        let leaf = |leaf: &str| format!("{MACS}{mac}/{leaf}");
        Ok(Ranges {
            subnets: Subnets::new(
                self.understood(&leaf("vswitch-cidr-block")).await?,
                self.understood(&leaf("vswitch-ipv6-cidr-block")).await?,
            ),
            gateways: Gateways::new(
                self.understood(&leaf("gateway")).await?,
                self.understood(&leaf("ipv6-gateway")).await?,
            ),
        })
    }
}

#[async_trait]
impl Paths for AliyunMetadata {
    fn service(&self) -> &Service {
        &self.service
    }

    /// A token that the service no longer takes is renewed once.
    async fn read_once(&self, path: &str) -> CloudResult<String> {
        let full = format!("/latest/meta-data/{path}");
        let token = self.token(None).await?;
        let (status, body) = self.get(&full, &token).await?;
        if status != StatusCode::UNAUTHORIZED {
            return text(&full, status, body);
        }
        let token = self.token(Some(&token)).await?;
        let (status, body) = self.get(&full, &token).await?;
        text(&full, status, body)
    }
}

#[async_trait]
impl Metadata for AliyunMetadata {
    async fn identity(&self) -> CloudResult<InstanceIdentity> {
        let primary_mac = mac("mac", &self.value("mac").await?)?;
        Ok(InstanceIdentity {
            id: self.value("instance-id").await?.into(),
            instance_type: self.value("instance/instance-type").await?,
            region: self.value("region-id").await?,
            zone: self.value("zone-id").await?.into(),
            vpc: self.value("vpc-id").await?,
            vswitch: self.where_there_is_one("vswitch-id").await?.unwrap_or_default().into(),
            primary_mac,
            ranges: self.ranges(primary_mac).await?,
        })
    }

    async fn macs(&self) -> CloudResult<Vec<MacAddr>> {
        self.nics().await
    }

    async fn carried(&self) -> CloudResult<Carried> {
        let listing = self.read(MACS).await?;
        let mut carried = Carried { enis: 0, ipv4_per_eni: 0, ipv6_per_eni: 0 };
        for name in names(&listing) {
            carried.enis += 1;
            let ipv4 = self.count(&format!("{MACS}{name}/private-ipv4s")).await?;
            let ipv6 = self.count(&format!("{MACS}{name}/ipv6s")).await?;
            carried.ipv4_per_eni = carried.ipv4_per_eni.max(ipv4);
            carried.ipv6_per_eni = carried.ipv6_per_eni.max(ipv6);
        }
        Ok(carried)
    }
}
