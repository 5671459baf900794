//! The instance metadata service: who this node is, and which NICs it should have. It answers only inside the
//! node, without keys or tokens.

use std::net::Ipv4Addr;

use async_trait::async_trait;
use ipnetwork::Ipv4Network;
use terway_types::{CloudFailureKind as Kind, Gateways, MacAddr, Subnets};

use crate::cloud::{Carried, CloudResult, InstanceIdentity, Metadata, Ranges};
use crate::endpoint::ConfigError;
use crate::error::{METADATA_ACTION as ACTION, failure};
use crate::instance_data::{MACS, Paths, Service, mac, names, text};

/// Where the service listens on every instance: what the cloud's DNS servers answer for `metadata.tencentyun.com`. By
/// the address it is reached on nodes with other DNS servers too.
pub const METADATA_URL: &str = "http://169.254.0.23";

/// The metadata service of the instance this runs on.
#[derive(Debug)]
pub struct TencentMetadata {
    service: Service,
}

impl TencentMetadata {
    /// The service at this URL; [`METADATA_URL`] on real instances.
    pub fn new(base_url: &str) -> Result<Self, ConfigError> {
        Ok(Self { service: Service::new(base_url)? })
    }

    #[cfg(test)]
    pub(super) fn hasty(self) -> Self {
        Self { service: self.service.hasty() }
    }

    /// The primary MAC as the listing spells it: paths are case-sensitive, and `mac` may spell it otherwise.
    async fn primary(&self) -> CloudResult<(String, MacAddr)> {
        let primary = mac("mac", &self.value("mac").await?)?;
        let listing = self.read(MACS).await?;
        let listed = names(&listing).find(|name| name.parse() == Ok(primary));
        match listed {
            Some(name) => Ok((name.to_owned(), primary)),
            None => Err(failure(Kind::Transient, ACTION, format!("{MACS} does not list {primary}"))),
        }
    }

    /// "Querying Instance Metadata" (product 213): `gateway` and `subnet-mask` of each address of a NIC. Nothing of IPv6.
    async fn ranges(&self, nic: &str) -> CloudResult<Ranges> {
        let nic = format!("{MACS}{nic}");
        let own: Option<Ipv4Addr> = self.understood(&format!("{nic}/primary-local-ipv4")).await?;
        let Some(own) = own else { return Ok(Ranges::default()) };
        let mask = self.understood(&format!("{nic}/local-ipv4s/{own}/subnet-mask")).await?;
        let gateway = self.understood(&format!("{nic}/local-ipv4s/{own}/gateway")).await?;
        let net = mask.and_then(|mask| Ipv4Network::with_netmask(own & mask, mask).ok());
        Ok(Ranges { subnets: Subnets::new(net, None), gateways: Gateways::new(gateway, None) })
    }
}

#[async_trait]
impl Paths for TencentMetadata {
    fn service(&self) -> &Service {
        &self.service
    }

    async fn read_once(&self, path: &str) -> CloudResult<String> {
        let full = format!("/latest/meta-data/{path}");
        let request = self.service.http.get(self.service.url(&full));
        let (status, body) = self.service.send(&full, request).await?;
        text(&full, status, body)
    }
}

#[async_trait]
impl Metadata for TencentMetadata {
    async fn identity(&self) -> CloudResult<InstanceIdentity> {
        let (name, primary_mac) = self.primary().await?;
        Ok(InstanceIdentity {
            id: self.value("instance-id").await?.into(),
            instance_type: self.value("instance/instance-type").await?,
            region: self.value("placement/region").await?,
            zone: self.value("placement/zone").await?.into(),
            vpc: self.value(&format!("{MACS}{name}/vpc-id")).await?,
            vswitch: self.value(&format!("{MACS}{name}/subnet-id")).await?.into(),
            primary_mac,
            ranges: self.ranges(&name).await?,
        })
    }

    async fn macs(&self) -> CloudResult<Vec<MacAddr>> {
        self.nics().await
    }

    /// The service does not list IPv6 addresses.
    async fn carried(&self) -> CloudResult<Carried> {
        let listing = self.read(MACS).await?;
        let mut carried = Carried { enis: 0, ipv4_per_eni: 0, ipv6_per_eni: 0 };
        for name in names(&listing) {
            carried.enis += 1;
            let addresses = self.read(&format!("{MACS}{name}/local-ipv4s/")).await?;
            let ipv4 = u32::try_from(names(&addresses).count()).unwrap_or(u32::MAX);
            carried.ipv4_per_eni = carried.ipv4_per_eni.max(ipv4);
        }
        Ok(carried)
    }
}
