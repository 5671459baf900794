//! What the node is and may have, as the cloud tells: its identity, limits, vSwitches and security groups;
//! and the pool's targets that follow from these and the settings.

use std::time::Duration;

use sha1::{Digest as _, Sha1};
use terway_cloud::{Cloud, EniFilter, InstanceIdentity, InstanceLimits, VSwitch};
use terway_pool::{Mode, PoolSettings, ReleasePace};
use terway_types::{Fault, FaultCode, SecurityGroupId, VSwitchId};

use crate::config::VSwitchPolicy;
use crate::settings::Settings;

/// The node as the cloud describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeFacts {
    /// Who it is.
    pub identity: InstanceIdentity,
    /// What its type can carry.
    pub limits: InstanceLimits,
    /// The vSwitches of new ENIs, in the order of use.
    pub vswitches: Vec<VSwitch>,
    /// The security groups of new ENIs.
    pub security_groups: Vec<SecurityGroupId>,
}

/// Asks the cloud. Every failure is worth another try later: somebody may mend it there.
pub async fn discover(
    cloud: &dyn Cloud,
    identity: InstanceIdentity,
    settings: &Settings,
) -> Result<NodeFacts, Fault> {
    let (limits, vswitches, security_groups) = tokio::try_join!(
        limits(cloud, &identity),
        vswitches(cloud, &identity, settings),
        security_groups(cloud, &identity, settings),
    )?;
    Ok(NodeFacts { identity, limits, vswitches, security_groups })
}

async fn limits(cloud: &dyn Cloud, identity: &InstanceIdentity) -> Result<InstanceLimits, Fault> {
    let kind = &identity.instance_type;
    let limits = cloud.instance_limits(kind).await.map_err(|failure| terway_cloud::fault(&failure))?;
    limits.ok_or_else(|| {
        Fault::new(FaultCode::CloudInvalid, format!("the cloud does not know the type {kind} of this node"))
    })
}

async fn vswitches(
    cloud: &dyn Cloud,
    identity: &InstanceIdentity,
    settings: &Settings,
) -> Result<Vec<VSwitch>, Fault> {
    let zone = &identity.zone;
    let listed = settings.vswitches.get(zone).filter(|ids| !ids.is_empty());
    let ids = match listed {
        Some(ids) => ids.clone(),
        None => vec![identity.vswitch.clone()],
    };
    let mut found = Vec::with_capacity(ids.len());
    for id in &ids {
        let vswitch = cloud.describe_vswitch(id).await.map_err(|failure| terway_cloud::fault(&failure))?;
        found.push(usable(id, vswitch, identity, settings.ipv6)?);
    }
    match settings.vswitch_policy {
        VSwitchPolicy::Ordered => found.sort_by_key(|vswitch| std::cmp::Reverse(vswitch.free_ipv4)),
        // Each node has its own order, which it keeps over restarts.
        VSwitchPolicy::Random => {
            found.sort_by_key(|vswitch| digest(&[identity.id.as_str(), vswitch.id.as_str()]));
        }
    }
    Ok(found)
}

fn usable(
    id: &VSwitchId,
    vswitch: Option<VSwitch>,
    identity: &InstanceIdentity,
    ipv6: bool,
) -> Result<VSwitch, Fault> {
    let zone = &identity.zone;
    let wrong = |what: String| {
        Fault::new(FaultCode::ConfigInvalid, what).remedy("mend `vswitches` in the configuration")
    };
    let Some(vswitch) = vswitch else {
        return Err(wrong(format!("the cloud does not know vSwitch {id}, listed for zone {zone}")));
    };
    if vswitch.zone != *zone {
        return Err(wrong(format!("vSwitch {id} is in zone {}, this node is in {zone}", vswitch.zone)));
    }
    if ipv6 && vswitch.subnets.v6.is_none() {
        let fault = wrong(format!("vSwitch {id} has no IPv6 CIDR, but `ip_stack` is \"dual\""));
        return Err(fault.remedy("give the vSwitch an IPv6 CIDR, or set `ip_stack` to \"ipv4\""));
    }
    Ok(vswitch)
}

async fn security_groups(
    cloud: &dyn Cloud,
    identity: &InstanceIdentity,
    settings: &Settings,
) -> Result<Vec<SecurityGroupId>, Fault> {
    if !settings.security_groups.is_empty() {
        return Ok(settings.security_groups.clone());
    }
    let filter = EniFilter { instance: Some(identity.id.clone()), ..EniFilter::default() };
    let enis = cloud.describe_enis(&filter).await.map_err(|failure| terway_cloud::fault(&failure))?;
    let primary = enis.into_iter().find(|eni| eni.primary() || eni.mac == identity.primary_mac);
    let groups = primary.map(|eni| eni.security_groups).unwrap_or_default();
    if groups.is_empty() {
        let what = format!("the cloud names no security group of the primary ENI of {}", identity.id);
        return Err(Fault::new(FaultCode::CloudUnavailable, what)
            .remedy("list `security_groups` in the configuration"));
    }
    Ok(groups)
}

/// How long an attached ENI may take to show its netdev.
const LINK_TIMEOUT: Duration = Duration::from_mins(1);
/// How long a released ENI's netdev may take to come home.
const HOME_TIMEOUT: Duration = Duration::from_mins(1);
const RETRY_FIRST: Duration = Duration::from_secs(1);
/// Whoever mends a permission or a quota should not have to wait long to see it.
const RETRY_MAX: Duration = Duration::from_secs(30);
/// Surplus leaves one by one this far apart, as users of Tencent's pools know it.
const RELEASE_INTERVAL: Duration = Duration::from_mins(2);
/// Longest rest of an ENI that connections still mention.
const QUARANTINE_MAX: Duration = Duration::from_mins(10);
/// Reads of the cloud may be older than this only when something is badly wrong.
const CONSISTENCY: Duration = Duration::from_secs(30);
/// Longer than the sum of what one operation may wait for.
const OPERATION_TIMEOUT: Duration = Duration::from_mins(10);
/// Creations and attachments under way at once; the cloud attaches to one instance little faster in parallel.
const PARALLEL: u32 = 4;

impl NodeFacts {
    /// The pool's targets, and what of the operator's wishes the node cannot fulfil.
    pub fn pool(
        &self,
        settings: &Settings,
        cluster: &str,
        node: &str,
    ) -> Result<(PoolSettings, Vec<String>), Fault> {
        let mut warnings = Vec::new();
        let kind = &self.identity.instance_type;
        let beside_primary = self.limits.enis.saturating_sub(1);
        if beside_primary == 0 {
            let what = format!(
                "instance type {kind} carries {} ENI: none besides the primary one",
                self.limits.enis
            );
            return Err(Fault::new(FaultCode::QuotaReached, what).remedy("use a larger instance type"));
        }
        if settings.ipv6 && self.limits.ipv6_per_eni == 0 {
            let what = format!("instance type {kind} has no IPv6, but `ip_stack` is \"dual\"");
            return Err(Fault::new(FaultCode::ConfigInvalid, what)
                .remedy("use another instance type, or set `ip_stack` to \"ipv4\""));
        }
        let mut clamp = |key: &str, wished: u32, most: u32, why: &str| {
            if wished > most {
                warnings.push(format!("`{key}` {wished} is more than {why}: using {most}"));
            }
            wished.min(most)
        };
        let capped = cap(self.limits.enis, settings.eni_cap).min(beside_primary);
        let max_enis = match settings.max_eni {
            Some(wished) => clamp(
                "max_eni",
                wished,
                capped,
                &format!("the {capped} ENIs a {kind} may carry besides its primary one"),
            ),
            None => capped,
        };
        let allowed = format!("the {max_enis} ENIs this node may have");
        let max_idle = clamp("max_pool_size", settings.max_idle, max_enis, &allowed);
        let min_idle = clamp("min_pool_size", settings.min_idle, max_enis, &allowed);
        let pool = PoolSettings {
            mode: Mode::Exclusive,
            min_idle,
            max_idle,
            warm_up: 0,
            max_enis,
            release: ReleasePace { interval: RELEASE_INTERVAL, quick: false },
            reclaim: None,
            vswitches: self.vswitches.iter().map(|vswitch| vswitch.id.clone()).collect(),
            vswitch_policy: terway_pool::VSwitchPolicy::Ordered,
            security_groups: self.security_groups.clone(),
            ipv6: settings.ipv6,
            quarantine: settings.quarantine,
            quarantine_max: QUARANTINE_MAX.max(settings.quarantine),
            consistency: CONSISTENCY,
            link_timeout: LINK_TIMEOUT,
            home_timeout: HOME_TIMEOUT,
            operation_timeout: OPERATION_TIMEOUT,
            retry_first: RETRY_FIRST,
            retry_max: RETRY_MAX,
            parallel: PARALLEL,
            token_prefix: format!("terway-{}", digest(&[cluster, node, self.identity.id.as_str()])),
            generation: 0,
            seed: 0,
        };
        Ok((pool, warnings))
    }
}

/// `int(adapters x ratio) + shift - 1`, as the existing implementation counts; the one is the primary.
fn cap(adapters: u32, (ratio, shift): (f64, i32)) -> u32 {
    #[expect(clippy::cast_possible_truncation, reason = "a small number times at most 1")]
    let share = (f64::from(adapters) * ratio) as i64;
    u32::try_from(share + i64::from(shift) - 1).unwrap_or(0)
}

/// Sixteen hex digits that stand for these texts.
fn digest(texts: &[&str]) -> String {
    let mut hash = Sha1::new();
    for text in texts {
        hash.update(text);
        hash.update([0]);
    }
    let bytes = hash.finalize();
    let half = bytes.iter().take(8).fold(0, |number: u64, byte| number << 8 | u64::from(*byte));
    format!("{half:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(enis: u32) -> NodeFacts {
        NodeFacts {
            identity: InstanceIdentity {
                id: "i-1".into(),
                instance_type: "ecs.g7.large".to_owned(),
                region: "cn-hangzhou".to_owned(),
                zone: "h".into(),
                vpc: "vpc-1".to_owned(),
                vswitch: "vsw-1".into(),
                primary_mac: "02:00:00:00:00:01".parse().unwrap(),
            },
            limits: InstanceLimits {
                enis,
                ipv4_per_eni: 6,
                ipv6_per_eni: 0,
                members: 0,
                trunk: false,
                prefixes_per_eni: 5,
                assign_batch: 10,
            },
            vswitches: Vec::new(),
            security_groups: Vec::new(),
        }
    }

    fn pool(enis: u32, config: &str) -> Result<(PoolSettings, Vec<String>), Fault> {
        let settings = Settings::parse(config).unwrap();
        facts(enis).pool(&settings, "c", "n")
    }

    #[test]
    fn wishes_beyond_the_instance_are_clamped_and_said() {
        let (pool, warnings) = pool(3, r#"{"max_eni": 20, "min_pool_size": 4, "max_pool_size": 5}"#).unwrap();
        assert_eq!((pool.max_enis, pool.min_idle, pool.max_idle), (2, 2, 2));
        assert_eq!(
            warnings,
            [
                "`max_eni` 20 is more than the 2 ENIs a ecs.g7.large may carry besides its primary one: using 2",
                "`max_pool_size` 5 is more than the 2 ENIs this node may have: using 2",
                "`min_pool_size` 4 is more than the 2 ENIs this node may have: using 2",
            ]
        );
        assert!(pool.token_prefix.len() < 32);
    }

    #[test]
    fn ratio_and_shift_count_as_they_always_did() {
        assert_eq!(pool(8, "{}").unwrap().0.max_enis, 7);
        assert_eq!(pool(8, r#"{"eni_cap_ratio": 0.5}"#).unwrap().0.max_enis, 3);
        assert_eq!(pool(8, r#"{"eni_cap_shift": -2}"#).unwrap().0.max_enis, 5);
        assert_eq!(pool(8, r#"{"eni_cap_shift": 9}"#).unwrap().0.max_enis, 7);
        assert_eq!(pool(8, r#"{"max_eni": 4}"#).unwrap().0.max_enis, 4);
    }

    #[test]
    fn a_node_that_cannot_serve_says_why() {
        let fault = pool(1, "{}").unwrap_err();
        assert_eq!(fault.what, "instance type ecs.g7.large carries 1 ENI: none besides the primary one");
        let fault = pool(4, r#"{"ip_stack": "dual"}"#).unwrap_err();
        assert_eq!(fault.code, FaultCode::ConfigInvalid);
    }
}
