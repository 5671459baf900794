//! The world's description in JSON: what exists before the first call. Checked once, here, so that the
//! model may trust it.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use ipnetwork::{IpNetwork, Ipv4Network, Ipv6Network};
use serde::{Deserialize, Serialize};

use crate::faults::Fault;
use crate::manners::Manners;
use crate::spread::Spread;

/// A world description that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("failed to read world description {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The text is not a world description.
    #[error("failed to parse world description")]
    Parse(#[source] serde_json::Error),
    /// Two parts of the description contradict each other.
    #[error("world description is inconsistent: {0}")]
    Inconsistent(String),
}

/// The whole description.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Whose protocols it speaks.
    #[serde(default)]
    pub cloud: Vendor,
    /// The region's id.
    pub region: String,
    /// The one VPC.
    pub vpc: VpcConfig,
    /// Its vSwitches.
    pub vswitches: Vec<VSwitchConfig>,
    /// The ids of its security groups.
    pub security_groups: Vec<String>,
    /// What the account has in other VPCs, where nothing of this world may be attached.
    #[serde(default)]
    pub other_vpcs: Vec<OtherVpcConfig>,
    /// What instances may be.
    pub instance_types: Vec<InstanceTypeConfig>,
    /// The nodes.
    pub instances: Vec<InstanceConfig>,
    /// Keys the API accepts.
    pub credentials: Vec<CredentialConfig>,
    /// How long things take.
    #[serde(default)]
    pub latency_ms: Latency,
    /// The account's limits.
    #[serde(default)]
    pub quota: Quota,
    /// How badly the cloud behaves all the time.
    #[serde(default)]
    pub manners: Manners,
    /// What goes wrong with the first calls.
    #[serde(default)]
    pub faults: Vec<Fault>,
    /// Where chance begins.
    #[serde(default)]
    pub seed: u64,
}

/// The VPC and the namespace that plays it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VpcConfig {
    /// Its id.
    pub id: String,
    /// Its IPv4 range.
    pub ipv4_cidr: Ipv4Network,
    /// Its IPv6 range.
    #[serde(default)]
    pub ipv6_cidr: Option<Ipv6Network>,
    /// Where the namespace is bound.
    #[serde(default = "default_vpc_netns")]
    pub netns: PathBuf,
    /// Its route table, besides the vSwitches.
    #[serde(default)]
    pub routes: Vec<RouteConfig>,
    /// Whether ports drop what does not bear their ENI's addresses, as every VPC does. Only for kernels without
    /// nf_tables of family netdev: what is shown without it is shown of a VPC that forgives everything.
    #[serde(default = "default_port_security")]
    pub port_security: bool,
}

/// An entry of the VPC's route table: what is for the destination goes to the instance's primary ENI, which may also send
/// from there.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteConfig {
    /// A range outside all vSwitches.
    pub destination: IpNetwork,
    /// The instance's id.
    pub instance: String,
}

/// Another VPC of the account.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OtherVpcConfig {
    /// Its id.
    pub id: String,
    /// Its vSwitches.
    #[serde(default)]
    pub vswitches: Vec<VSwitchConfig>,
    /// The ids of its security groups.
    #[serde(default)]
    pub security_groups: Vec<String>,
}

fn default_port_security() -> bool {
    true
}

fn default_vpc_netns() -> PathBuf {
    PathBuf::from("/run/netns/vpc")
}

/// A vSwitch.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VSwitchConfig {
    /// Its id.
    pub id: String,
    /// Its zone.
    pub zone: String,
    /// Its IPv4 range, /16 to /29 as the vendor allows.
    pub ipv4: Ipv4Network,
    /// Its IPv6 range, if it has one.
    #[serde(default)]
    pub ipv6: Option<Ipv6Network>,
    /// Its IPv4 gateway in place of the one that the vendor's rule says.
    #[serde(default)]
    pub gateway: Option<Ipv4Addr>,
}

/// What instances of a type can carry.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstanceTypeConfig {
    /// E.g. `ecs.g7.large`.
    pub id: String,
    /// ENIs including the primary one.
    pub enis: u32,
    /// IPv4 addresses per ENI.
    pub ipv4_per_eni: u32,
    /// IPv6 addresses per ENI.
    #[serde(default)]
    pub ipv6_per_eni: u32,
    /// Members of trunk ENIs.
    #[serde(default)]
    pub members: u32,
    /// Whether its instances are Lingjun nodes, whose ENIs come from a product of their own (Alibaba Cloud).
    #[serde(default)]
    pub lingjun: bool,
}

/// A node.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstanceConfig {
    /// Its id.
    pub id: String,
    /// Its type's id.
    #[serde(rename = "type")]
    pub instance_type: String,
    /// The vSwitch of its primary ENI.
    pub vswitch: String,
    /// The network namespace that plays it; made when missing. Not needed without a fabric.
    #[serde(default)]
    pub netns: PathBuf,
}

/// An access key.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CredentialConfig {
    /// The public half.
    pub access_key_id: String,
    /// The secret half.
    pub access_key_secret: String,
    /// The token that must come along, for temporary keys.
    #[serde(default)]
    pub security_token: Option<String>,
    /// The instance role by which the metadata service hands this key out.
    #[serde(default)]
    pub role: Option<String>,
    /// How long a token lives, in milliseconds; only for keys with token and role. The metadata service
    /// hands out a new one after half of the time. Without it the one token lives for ever.
    #[serde(default)]
    pub life_ms: Option<u64>,
    /// Whether the key may be used.
    #[serde(default)]
    pub state: KeyState,
    /// How many times all tokens were ended early.
    #[serde(default)]
    pub rotations: u32,
}

/// Whether an access key may be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyState {
    /// It may.
    #[default]
    Active,
    /// Somebody has switched it off.
    Inactive,
    /// Its token is over.
    Expired,
}

/// Whose protocols the cloud speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Vendor {
    /// Alibaba Cloud.
    #[default]
    Aliyun,
    /// Tencent Cloud.
    Tencent,
}

/// How long the cloud takes, in milliseconds; also the body of `POST /v1/latency`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Latency {
    /// From Create to Available.
    pub create: Spread,
    /// From Attach to InUse.
    pub attach: Spread,
    /// From Detach to Available.
    pub detach: Spread,
    /// From Delete to gone.
    pub delete: Spread,
    /// From Assign or Unassign to the end of its task. The addresses are there at once; until the end the
    /// ENI refuses further calls.
    pub assign: Spread,
    /// From Attach to the link in the node, or with `link_after_in_use` from InUse to the link. With
    /// `"never"` the API says InUse all the same.
    pub link: Spread,
    /// Whether the API says InUse before the link exists.
    pub link_after_in_use: bool,
}

impl Default for Latency {
    fn default() -> Self {
        Self {
            create: 20.into(),
            attach: 100.into(),
            detach: 100.into(),
            delete: 20.into(),
            assign: 0.into(),
            link: 50.into(),
            link_after_in_use: false,
        }
    }
}

/// The account's limits; also the body of `POST /v1/quota`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Quota {
    /// ENIs in the region that are nobody's primary one.
    pub enis: u32,
    /// Private IPv4 addresses in the VPC.
    pub private_ipv4: u32,
}

impl Default for Quota {
    fn default() -> Self {
        Self { enis: 1000, private_ipv4: 300_000 }
    }
}

impl Config {
    /// Reads a description from a file.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        Self::parse(&text)
    }

    /// Reads a description from a text.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        serde_json::from_str(text).map_err(ConfigError::Parse)
    }
}
