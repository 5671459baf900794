//! The node's facts as an earlier life of the daemon learned them, so that warm ENIs are served while metadata or
//! the cloud are away. Believed only on the node they are about.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use terway_cloud::{EniSource, InstanceIdentity, InstanceLimits, Ranges, VSwitch};
use terway_types::{Gateways, MacAddr, Subnets};

use crate::node_facts::NodeFacts;
use crate::node_kind::NodeKind;

/// Before 2 neither gateways nor the source of ENIs were kept: pods served by such facts would have no way out. They are
/// learned anew at the first start that reaches the cloud.
const VERSION: u32 = 2;

/// The file.
#[derive(Clone, Debug)]
pub struct FactsCache {
    path: PathBuf,
}

#[derive(Deserialize, Serialize)]
struct Stored {
    version: u32,
    provider: String,
    instance: StoredIdentity,
    limits: StoredLimits,
    vswitches: Vec<StoredVSwitch>,
    security_groups: Vec<String>,
    lingjun: bool,
    /// Whether its ENIs come from EFLO.
    eflo: bool,
}

#[derive(Deserialize, Serialize)]
struct StoredIdentity {
    id: String,
    instance_type: String,
    region: String,
    zone: String,
    vpc: String,
    vswitch: String,
    primary_mac: String,
    /// What the metadata told of the vSwitch; nothing where an earlier build wrote this.
    #[serde(default)]
    ranges: StoredRanges,
}

#[derive(Default, Deserialize, Serialize)]
struct StoredRanges {
    ipv4: Option<String>,
    ipv6: Option<String>,
    gateway: Option<Ipv4Addr>,
    ipv6_gateway: Option<Ipv6Addr>,
}

#[derive(Deserialize, Serialize)]
struct StoredLimits {
    enis: u32,
    ipv4_per_eni: u32,
    ipv6_per_eni: u32,
    members: u32,
    trunk: bool,
    prefixes_per_eni: u32,
    assign_batch: u32,
}

#[derive(Deserialize, Serialize)]
struct StoredVSwitch {
    id: String,
    zone: String,
    vpc: String,
    #[serde(flatten)]
    ranges: StoredRanges,
    free_ipv4: u32,
}

impl FactsCache {
    /// The cache of a state directory.
    pub fn of(state_dir: &Path) -> Self {
        Self { path: state_dir.join("node-facts.json") }
    }

    /// Keeps facts that were just learned from this cloud.
    pub fn store(&self, facts: &NodeFacts, provider: &str) -> io::Result<()> {
        let draft = self.path.with_extension("json.new");
        let text = serde_json::to_vec_pretty(&Stored::of(facts, provider))?;
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(&draft, &self.path)
    }

    /// The facts and the cloud's name, if there are some that can be read and this node has the primary NIC they name: a state
    /// directory may have come here with a copied disk.
    pub fn load(&self, macs: &[MacAddr]) -> Option<(NodeFacts, String)> {
        let text = fs::read_to_string(&self.path).ok()?;
        let stored: Stored = serde_json::from_str(&text)
            .inspect_err(
                |error| tracing::warn!(%error, path = %self.path.display(), "cannot use the facts of before"),
            )
            .ok()?;
        let provider = stored.provider.clone();
        let facts = stored.facts()?;
        macs.contains(&facts.identity.primary_mac).then_some((facts, provider))
    }
}

impl Stored {
    fn of(facts: &NodeFacts, provider: &str) -> Self {
        let NodeFacts { identity, limits, vswitches, security_groups, kind, .. } = facts;
        Self {
            version: VERSION,
            provider: provider.to_owned(),
            instance: StoredIdentity {
                id: identity.id.to_string(),
                instance_type: identity.instance_type.clone(),
                region: identity.region.clone(),
                zone: identity.zone.to_string(),
                vpc: identity.vpc.clone(),
                vswitch: identity.vswitch.to_string(),
                primary_mac: identity.primary_mac.to_string(),
                ranges: identity.ranges.into(),
            },
            limits: StoredLimits {
                enis: limits.enis,
                ipv4_per_eni: limits.ipv4_per_eni,
                ipv6_per_eni: limits.ipv6_per_eni,
                members: limits.members,
                trunk: limits.trunk,
                prefixes_per_eni: limits.prefixes_per_eni,
                assign_batch: limits.assign_batch,
            },
            vswitches: vswitches
                .iter()
                .map(|vswitch| StoredVSwitch {
                    id: vswitch.id.to_string(),
                    zone: vswitch.zone.to_string(),
                    vpc: vswitch.vpc.clone(),
                    ranges: Ranges { subnets: vswitch.subnets, gateways: vswitch.gateways }.into(),
                    free_ipv4: vswitch.free_ipv4,
                })
                .collect(),
            security_groups: security_groups.iter().map(ToString::to_string).collect(),
            lingjun: kind.lingjun,
            eflo: kind.source == EniSource::Eflo,
        }
    }

    /// `None` where another version wrote it, or somebody by hand.
    fn facts(self) -> Option<NodeFacts> {
        let Self { version, instance, limits, vswitches, security_groups, lingjun, eflo, .. } = self;
        if version != VERSION {
            return None;
        }
        let vswitches = vswitches.into_iter().map(|vswitch| {
            let Ranges { subnets, gateways } = vswitch.ranges.ranges()?;
            Some(VSwitch {
                id: vswitch.id.into(),
                zone: vswitch.zone.into(),
                vpc: vswitch.vpc,
                subnets,
                gateways,
                free_ipv4: vswitch.free_ipv4,
            })
        });
        Some(NodeFacts {
            identity: InstanceIdentity {
                id: instance.id.into(),
                instance_type: instance.instance_type,
                region: instance.region,
                zone: instance.zone.into(),
                vpc: instance.vpc,
                vswitch: instance.vswitch.into(),
                primary_mac: instance.primary_mac.parse().ok()?,
                ranges: instance.ranges.ranges()?,
            },
            limits: InstanceLimits {
                enis: limits.enis,
                ipv4_per_eni: limits.ipv4_per_eni,
                ipv6_per_eni: limits.ipv6_per_eni,
                members: limits.members,
                trunk: limits.trunk,
                prefixes_per_eni: limits.prefixes_per_eni,
                assign_batch: limits.assign_batch,
            },
            vswitches: vswitches.collect::<Option<_>>()?,
            security_groups: security_groups.into_iter().map(Into::into).collect(),
            kind: NodeKind { lingjun, source: if eflo { EniSource::Eflo } else { EniSource::Compute } },
            // They were told when they were found.
            remarks: Vec::new(),
            pod_ranges: Subnets::default(),
        })
    }
}

impl From<Ranges> for StoredRanges {
    fn from(Ranges { subnets, gateways }: Ranges) -> Self {
        Self {
            ipv4: subnets.v4.map(|net| net.to_string()),
            ipv6: subnets.v6.map(|net| net.to_string()),
            gateway: gateways.v4,
            ipv6_gateway: gateways.v6,
        }
    }
}

impl StoredRanges {
    /// `None` where somebody wrote what is no CIDR.
    fn ranges(self) -> Option<Ranges> {
        let v4 = self.ipv4.map(|net| net.parse()).transpose().ok()?;
        let v6 = self.ipv6.map(|net| net.parse()).transpose().ok()?;
        let gateways = Gateways::new(self.gateway, self.ipv6_gateway);
        Some(Ranges { subnets: Subnets { v4, v6 }, gateways })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node_facts::tests::facts;

    #[test]
    fn facts_come_back_on_their_own_node_only() {
        let directory = tempfile::tempdir().unwrap();
        let cache = FactsCache::of(directory.path());
        let mut facts = facts(8, 6, 6);
        facts.vswitches = vec![VSwitch {
            id: "vsw-1".into(),
            zone: "h".into(),
            vpc: "vpc-1".to_owned(),
            subnets: Subnets::new("10.0.0.0/24".parse().ok(), "fd00::/64".parse().ok()),
            gateways: Gateways::new("10.0.0.1".parse().ok(), "fe80::9".parse().ok()),
            free_ipv4: 7,
        }];
        let gateways = Gateways::new("10.0.9.1".parse().ok(), None);
        facts.identity.ranges = Ranges { subnets: Subnets::new("10.0.9.0/24".parse().ok(), None), gateways };
        facts.security_groups = vec!["sg-1".into()];
        facts.kind = NodeKind { lingjun: true, source: EniSource::Eflo };
        let here = [facts.identity.primary_mac];
        assert_eq!(cache.load(&here), None, "nothing was stored");
        cache.store(&facts, "aliyun").unwrap();
        assert_eq!(cache.load(&here), Some((facts.clone(), "aliyun".to_owned())));
        // As it was written before the metadata's word was kept: all but that.
        let path = directory.path().join("node-facts.json");
        let mut old: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        old["instance"].as_object_mut().unwrap().remove("ranges").unwrap();
        fs::write(&path, old.to_string()).unwrap();
        facts.identity.ranges = Ranges::default();
        assert_eq!(cache.load(&here), Some((facts, "aliyun".to_owned())));
        assert_eq!(cache.load(&[MacAddr([2, 0, 0, 0, 0, 9])]), None, "another node's");
        fs::write(&path, "{").unwrap();
        assert_eq!(cache.load(&here), None);
    }
}
