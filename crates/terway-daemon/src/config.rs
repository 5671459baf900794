//! The operator's file, `eni_conf`: every key under the name it has always had, typed, with nothing
//! decided yet. What follows from it is in `settings`.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use ipnetwork::IpNetwork;
use secrecy::SecretString;
use serde::Deserialize;
use terway_types::{Fault, FaultCode};

use crate::json_keys::{Keys, Problem};

mod unheeded;
mod words;

#[cfg(test)]
mod tests;

use self::unheeded::read_unheeded;
use self::words::{duration, networks, permille, word};

/// Everything wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    /// Each of them, in the order of the keys.
    pub problems: Vec<Problem>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.problems.len();
        write!(f, "{count} problem{} in the configuration", if count == 1 { "" } else { "s" })?;
        self.problems.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

impl ConfigError {
    /// The failure as a person meets it.
    pub fn fault(&self, remedy: impl Into<String>) -> Fault {
        Fault::new(FaultCode::ConfigInvalid, self.to_string()).remedy(remedy)
    }
}

/// Which vSwitch a new ENI gets its addresses from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VSwitchPolicy {
    /// The first of the list that has addresses left. (The Go implementation has a policy of this name that
    /// takes the one with the most free addresses.)
    Ordered,
    /// Any.
    Random,
    /// The one with the most free addresses.
    Most,
}

/// Which shared ENI gives the next address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EniPolicy {
    /// The fullest one.
    MostIps,
    /// The emptiest one.
    LeastIps,
}

/// Which address families pods get.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IpStack {
    /// IPv4 only.
    #[default]
    Ipv4,
    /// Both.
    Dual,
    /// IPv6 only; read so that it can be refused with the reason.
    Ipv6,
}

/// The file, key by key. `None` and empty mean "not said".
#[derive(Debug, Default)]
pub struct Config {
    /// `access_key`: static credentials, first half.
    pub access_key: Option<SecretString>,
    /// `access_secret`: static credentials, second half.
    pub access_secret: Option<SecretString>,
    /// `credential_path`: a file with an encrypted token.
    pub credential_path: Option<String>,
    /// `service_cidr`: the cluster's service CIDRs, separated by commas.
    pub service_cidr: Vec<IpNetwork>,
    /// `vswitches`: zone to vSwitches.
    pub vswitches: BTreeMap<String, Vec<String>>,
    /// `vswitch_selection_policy`.
    pub vswitch_selection_policy: Option<VSwitchPolicy>,
    /// `security_group`, the older form of the next.
    pub security_group: Option<String>,
    /// `security_groups`.
    pub security_groups: Vec<String>,
    /// `eni_tags`: put on every ENI we make.
    pub eni_tags: BTreeMap<String, String>,
    /// `eni_tag_filter`: ENIs without these tags are not ours.
    pub eni_tag_filter: BTreeMap<String, String>,
    /// `max_pool_size`: most idle ENIs or addresses.
    pub max_pool_size: Option<u32>,
    /// `min_pool_size`: least idle ENIs or addresses.
    pub min_pool_size: Option<u32>,
    /// `max_eni`: most ENIs of ours.
    pub max_eni: Option<u32>,
    /// `min_eni`: least idle ENIs, in place of `min_pool_size`; of shared ones: least ENIs.
    pub min_eni: Option<u32>,
    /// `eni_cap_ratio`: share of the instance's ENIs we may use.
    pub eni_cap_ratio: Option<f64>,
    /// `eni_cap_shift`: added to that share.
    pub eni_cap_shift: Option<i32>,
    /// `max_ip_per_eni` (ours): addresses per family of a shared ENI, the primary one included.
    pub max_ip_per_eni: Option<u32>,
    /// `ip_warm_up_size`: idle ENIs or addresses to reach once after the start.
    pub ip_warm_up_size: Option<u32>,
    /// `enable_ip_prefix`: addresses of shared ENIs come out of prefixes.
    pub enable_ip_prefix: bool,
    /// `ipv4_prefix_count`: prefixes of the node to have from the start.
    pub ipv4_prefix_count: Option<u32>,
    /// `ipv6_prefix_count`.
    pub ipv6_prefix_count: Option<u32>,
    /// `eni_selection_policy`.
    pub eni_selection_policy: Option<EniPolicy>,
    /// `idle_ip_reclaim_after`: how long the pool must be quiet before it shrinks.
    pub idle_ip_reclaim_after: Option<Duration>,
    /// `idle_ip_reclaim_interval`: pause between two steps of shrinking.
    pub idle_ip_reclaim_interval: Option<Duration>,
    /// `idle_ip_reclaim_batch_size`: ENIs or addresses per step.
    pub idle_ip_reclaim_batch_size: Option<u32>,
    /// `idle_ip_reclaim_jitter_factor`: by how many thousandths the pause varies.
    pub idle_ip_reclaim_jitter: Option<u16>,
    /// `ip_pool_sync_period`: pause between two looks at all ENIs.
    pub ip_pool_sync_period: Option<Duration>,
    /// `enable_erdma`: pods on shared ENIs use the RDMA devices of those that have one.
    pub enable_erdma: bool,
    /// `ip_stack`.
    pub ip_stack: Option<IpStack>,
    /// `rate_limit`: cloud action to calls per minute.
    pub rate_limit: BTreeMap<String, u32>,
    /// `eni_release_interval` (ours): pause between two releases of surplus.
    pub eni_release_interval: Option<Duration>,
    /// `eni_quick_release` (ours): all surplus at once.
    pub eni_quick_release: bool,
    /// `eni_quarantine` (ours): rest of a released ENI or address before its next pod.
    pub eni_quarantine: Option<Duration>,
    /// `eni_quarantine_max` (ours): longest rest, however long connections still mention it.
    pub eni_quarantine_max: Option<Duration>,
    /// `eni_parallel` (ours): ENIs being made and attached at once, at most.
    pub eni_parallel: Option<u32>,
    /// `exclusive_min_enis` (ours): ENIs an instance must carry, its primary one included, to give pods whole
    /// ENIs.
    pub exclusive_min_enis: Option<u32>,
    /// Keys that were given a value and that nothing here heeds, each with the reason.
    pub unheeded: Vec<(&'static str, &'static str)>,
}

impl Config {
    /// Reads the file's text as far as it can be read, with everything that is wrong with it.
    pub fn parse(text: &str) -> Result<(Self, Vec<Problem>), ConfigError> {
        let mut keys = Keys::parse(text).map_err(|problem| ConfigError { problems: vec![problem] })?;
        let config = Self::read(&mut keys);
        Ok((config, keys.finish()))
    }

    fn read(keys: &mut Keys) -> Self {
        Self {
            access_key: keys.text("access_key").map(SecretString::from),
            access_secret: keys.text("access_secret").map(SecretString::from),
            credential_path: keys.text("credential_path"),
            service_cidr: keys.parsed("service_cidr", networks).unwrap_or_default(),
            vswitches: keys.take("vswitches").unwrap_or_default(),
            vswitch_selection_policy: keys.parsed("vswitch_selection_policy", word),
            security_group: keys.text("security_group"),
            security_groups: keys.take("security_groups").unwrap_or_default(),
            eni_tags: keys.take("eni_tags").unwrap_or_default(),
            eni_tag_filter: keys.take("eni_tag_filter").unwrap_or_default(),
            max_pool_size: keys.take("max_pool_size"),
            min_pool_size: keys.take("min_pool_size"),
            max_eni: keys.take("max_eni"),
            min_eni: keys.take("min_eni"),
            eni_cap_ratio: keys.take("eni_cap_ratio"),
            eni_cap_shift: keys.take("eni_cap_shift"),
            max_ip_per_eni: keys.take("max_ip_per_eni"),
            ip_warm_up_size: keys.take("ip_warm_up_size"),
            enable_ip_prefix: keys.take("enable_ip_prefix").unwrap_or_default(),
            ipv4_prefix_count: keys.take("ipv4_prefix_count"),
            ipv6_prefix_count: keys.take("ipv6_prefix_count"),
            eni_selection_policy: keys.parsed("eni_selection_policy", word),
            idle_ip_reclaim_after: keys.parsed("idle_ip_reclaim_after", duration),
            idle_ip_reclaim_interval: keys.parsed("idle_ip_reclaim_interval", duration),
            idle_ip_reclaim_batch_size: keys.take("idle_ip_reclaim_batch_size"),
            idle_ip_reclaim_jitter: keys.parsed("idle_ip_reclaim_jitter_factor", permille),
            ip_pool_sync_period: keys.parsed("ip_pool_sync_period", duration),
            enable_erdma: keys.take("enable_erdma").unwrap_or_default(),
            ip_stack: keys.parsed("ip_stack", word),
            rate_limit: keys.take("rate_limit").unwrap_or_default(),
            eni_release_interval: keys.parsed("eni_release_interval", duration),
            eni_quick_release: keys.take("eni_quick_release").unwrap_or_default(),
            eni_quarantine: keys.parsed("eni_quarantine", duration),
            eni_quarantine_max: keys.parsed("eni_quarantine_max", duration),
            eni_parallel: keys.take("eni_parallel"),
            exclusive_min_enis: keys.take("exclusive_min_enis"),
            unheeded: read_unheeded(keys),
        }
    }
}
