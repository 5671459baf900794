//! What the program needs, built once from the operator's file and checked. What also depends on the
//! node (its zone, its type's limits) is decided by [`crate::node_facts`].

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use ipnetwork::IpNetwork;
use secrecy::SecretString;
use terway_pool::{EniPolicy, Reclaim, ReleasePace, VSwitchPolicy};
use terway_types::{NodeMode, SecurityGroupId, VSwitchId, ZoneId};

use crate::config::{self, Config, ConfigError, IpStack};
use crate::credentials;
use crate::json_keys::Problem;
use crate::sizes::{Sizes, unheeded_when_exclusive, unheeded_without_enis};

#[cfg(test)]
mod tests;

/// The cloud's limit of security groups per ENI.
const MAX_SECURITY_GROUPS: usize = 10;
/// The cloud's limit of tags per object is 20; four are ours.
const MAX_TAGS: usize = 16;
/// Rest of a released ENI unless the file says otherwise: longer than connections to the pod before it
/// keep sending (TCP retransmits 15 s after the fifth try, and kube-proxy needs a moment).
const DEFAULT_QUARANTINE: Duration = Duration::from_secs(30);
/// Longest rest of what connections still mention.
const DEFAULT_QUARANTINE_MAX: Duration = Duration::from_mins(10);
/// Longer than this and a node would look leaked rather than careful.
const LONGEST: Duration = Duration::from_hours(24);
/// Surplus leaves one by one this far apart, as users of Tencent's pools know it.
const DEFAULT_RELEASE_INTERVAL: Duration = Duration::from_mins(2);
/// Pause between two steps of shrinking, and how much goes at each.
const DEFAULT_RECLAIM: (Duration, u32, u16) = (Duration::from_mins(10), 5, 100);
/// Pause between two looks at all ENIs. The cloud's calls are counted per account, not per node.
const DEFAULT_INVENTORY: Duration = Duration::from_mins(10);
/// More often than this a thousand nodes would use up an account's calls.
const SHORTEST_INVENTORY: Duration = Duration::from_secs(10);
/// ENIs being made and attached at once, at most: the largest instance types carry some thirty.
const DEFAULT_PARALLEL: u32 = 16;
const PARALLEL: RangeInclusive<u32> = 1..=64;
/// "More than six ENIs" (the vendor's condition for whole ENIs), the primary one included.
const DEFAULT_EXCLUSIVE_MIN_ENIS: u32 = 7;

/// The checked configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Static credentials, if the file has them.
    pub access_key: Option<(SecretString, SecretString)>,
    /// The encrypted token file, if it is not where managed clusters have it.
    pub credential_path: Option<PathBuf>,
    /// Service CIDRs of the cluster.
    pub service_cidrs: Vec<IpNetwork>,
    /// vSwitches per zone, in the order of the file.
    pub vswitches: BTreeMap<ZoneId, Vec<VSwitchId>>,
    /// The order in which they are used.
    pub vswitch_policy: VSwitchPolicy,
    /// Security groups of new ENIs, sorted; empty means those of the primary ENI.
    pub security_groups: Vec<SecurityGroupId>,
    /// The operator's tags for new ENIs.
    pub eni_tags: BTreeMap<String, String>,
    /// Tags without which an ENI is not ours, whatever its marks say; all among `eni_tags`.
    pub eni_tag_filter: BTreeMap<String, String>,
    /// How large the pool may be.
    pub sizes: Sizes,
    /// Which shared ENI gives the next address.
    pub eni_policy: EniPolicy,
    /// How surplus leaves.
    pub release: ReleasePace,
    /// Shrinking when quiet, if wanted.
    pub reclaim: Option<Reclaim>,
    /// Pause between two looks at all ENIs; none: only when something happened.
    pub inventory: Option<Duration>,
    /// ENIs being made and attached at once, at most.
    pub parallel: u32,
    /// ENIs an instance must carry, its primary one included, to give pods whole ENIs.
    pub exclusive_min_enis: u32,
    /// Whether pods use the RDMA devices of shared ENIs that have one.
    pub erdma: bool,
    /// Whether pods get IPv6 addresses besides IPv4.
    pub ipv6: bool,
    /// Rest of a released ENI or address.
    pub quarantine: Duration,
    /// Longest rest, however long connections still mention it.
    pub quarantine_max: Duration,
    /// Cloud action to calls per minute.
    pub rate_limit: BTreeMap<String, u32>,
    /// What the operator should know though it is no error.
    pub warnings: Vec<String>,
}

impl Settings {
    /// Reads the file's text and checks what it says against itself, for a node of this mode.
    pub fn parse(text: &str, mode: NodeMode) -> Result<Self, ConfigError> {
        let (config, mut problems) = Config::parse(text)?;
        let access_key = access_key(&config, &mut problems);
        let sizes = Sizes::check(&config, mode, &mut problems);
        check_network(&config, &mut problems);
        check_vswitches(&config.vswitches, &mut problems);
        check_tags(&config, &mut problems);
        let security_groups = security_groups(&config, &mut problems);
        check_rate_limit(&config, &mut problems);
        let (quarantine, quarantine_max) = quarantine(&config, &mut problems);
        let release = release_pace(&config, &mut problems);
        let reclaim = reclaim(&config, &mut problems);
        let inventory = inventory_period(&config, &mut problems);
        let parallel = parallel(&config, &mut problems);
        if !problems.is_empty() {
            return Err(ConfigError { problems });
        }
        let zones = config.vswitches.iter();
        Ok(Self {
            warnings: warnings(&config, mode),
            access_key,
            credential_path: config.credential_path.map(PathBuf::from),
            vswitches: zones
                .map(|(zone, ids)| (ZoneId(zone.clone()), ids.iter().cloned().map(VSwitchId).collect()))
                .collect(),
            vswitch_policy: match config.vswitch_selection_policy {
                Some(config::VSwitchPolicy::Ordered) => VSwitchPolicy::Ordered,
                Some(config::VSwitchPolicy::Random) => VSwitchPolicy::Random,
                Some(config::VSwitchPolicy::Most) | None => VSwitchPolicy::MostFree,
            },
            security_groups,
            sizes,
            eni_policy: match config.eni_selection_policy {
                Some(config::EniPolicy::LeastIps) => EniPolicy::LeastIps,
                Some(config::EniPolicy::MostIps) | None => EniPolicy::MostIps,
            },
            release,
            reclaim,
            inventory,
            parallel,
            exclusive_min_enis: config.exclusive_min_enis.unwrap_or(DEFAULT_EXCLUSIVE_MIN_ENIS),
            erdma: config.enable_erdma && mode == NodeMode::Shared,
            ipv6: config.ip_stack == Some(IpStack::Dual),
            quarantine,
            quarantine_max,
            service_cidrs: config.service_cidr,
            eni_tags: config.eni_tags,
            eni_tag_filter: config.eni_tag_filter,
            rate_limit: config.rate_limit,
        })
    }
}

fn warnings(config: &Config, mode: NodeMode) -> Vec<String> {
    let unheeded = config.unheeded.iter();
    let mut warnings: Vec<_> =
        unheeded.map(|(key, why)| format!("`{key}` has no effect: it {why}")).collect();
    if mode == NodeMode::Exclusive {
        let shared = unheeded_when_exclusive(config).into_iter();
        warnings.extend(
            shared.map(|key| format!("`{key}` has no effect: it concerns ENIs shared by several pods")),
        );
    }
    if mode == NodeMode::VpcRoute {
        let of_enis = unheeded_without_enis(config).into_iter();
        warnings
            .extend(of_enis.map(|key| format!("`{key}` has no effect: a node in VPC mode makes no ENIs")));
    }
    if config.enable_erdma {
        warnings.push(
            match mode {
                NodeMode::Shared => {
                    "`enable_erdma` makes no ENIs for eRDMA: pods use the RDMA devices of ENIs that have one"
                }
                _ => "`enable_erdma` has no effect: it concerns ENIs shared by several pods",
            }
            .to_owned(),
        );
    }
    if config.service_cidr.is_empty() {
        warnings.push("`service_cidr` is empty: pods reach no service address through this node".to_owned());
    }
    if config.vswitch_selection_policy == Some(config::VSwitchPolicy::Ordered) {
        let text = "`vswitch_selection_policy` \"ordered\" takes the vSwitches in the order of the list; the Go \
                    implementation took the one with the most free addresses, which is called \"most\" here";
        warnings.push(text.to_owned());
    }
    warnings
}

/// Both halves of the key or none.
fn access_key(config: &Config, problems: &mut Vec<Problem>) -> Option<(SecretString, SecretString)> {
    match (&config.access_key, &config.access_secret) {
        (Some(key), Some(secret)) => {
            problems.extend(credentials::check(key, secret).err());
            return Some((key.clone(), secret.clone()));
        }
        (None, None) => {}
        (Some(_), None) => {
            problems.push(Problem::new("access_secret", "is missing though `access_key` is given"));
        }
        (None, Some(_)) => {
            problems.push(Problem::new("access_key", "is missing though `access_secret` is given"));
        }
    }
    None
}

fn check_network(config: &Config, problems: &mut Vec<Problem>) {
    if config.ip_stack == Some(IpStack::Ipv6) {
        let message =
            "ipv6 alone is not supported: nodes and cloud services are reached by IPv4; use \"dual\"";
        problems.push(Problem::new("ip_stack", message));
    }
    if let Some(network) = config.service_cidr.iter().find(|network| network.prefix() == 0) {
        let message = format!("{network} would take every packet of a pod through the host");
        problems.push(Problem::new("service_cidr", message));
    }
}

/// Both spellings united, sorted.
fn security_groups(config: &Config, problems: &mut Vec<Problem>) -> Vec<SecurityGroupId> {
    let named = config.security_group.iter().chain(&config.security_groups);
    let groups: BTreeSet<_> = named.cloned().map(SecurityGroupId).collect();
    if groups.iter().any(|group| group.as_str().is_empty()) {
        problems.push(Problem::new("security_groups", "holds an empty name"));
    }
    if groups.len() > MAX_SECURITY_GROUPS {
        let count = groups.len();
        let message = format!("{count} groups (with `security_group`), an ENI takes {MAX_SECURITY_GROUPS}");
        problems.push(Problem::new("security_groups", message));
    }
    groups.into_iter().collect()
}

/// Empty lists and names, and vSwitches listed twice.
fn check_vswitches(vswitches: &BTreeMap<String, Vec<String>>, problems: &mut Vec<Problem>) {
    let mut wrong = |path: String, message: String| problems.push(Problem::new(path, message));
    let mut known: BTreeMap<&str, &str> = BTreeMap::new();
    for (zone, ids) in vswitches {
        if ids.is_empty() {
            wrong(format!("vswitches.{zone}"), "lists no vSwitch for the zone".to_owned());
        }
        for (index, id) in ids.iter().enumerate() {
            let path = format!("vswitches.{zone}[{index}]");
            if id.is_empty() {
                wrong(path, format!("{id:?} is no vSwitch"));
            } else if let Some(first) = known.insert(id, zone) {
                wrong(path, format!("{id:?} is listed for zone {first} already"));
            }
        }
    }
}

/// Tags the cloud or we would not stand, and a filter that none of our ENIs would pass.
fn check_tags(config: &Config, problems: &mut Vec<Problem>) {
    let tags = &config.eni_tags;
    for key in tags.keys().filter(|key| key.is_empty() || *key == "creator" || key.starts_with("terway.io/"))
    {
        let message = "is reserved for the marks by which our ENIs are recognised";
        problems.push(Problem::new(format!("eni_tags.{key}"), message));
    }
    if tags.len() > MAX_TAGS {
        let count = tags.len();
        problems.push(Problem::new(
            "eni_tags",
            format_args!("{count} tags, at most {MAX_TAGS} fit beside our own"),
        ));
    }
    for (key, value) in config.eni_tag_filter.iter().filter(|(key, value)| tags.get(*key) != Some(value)) {
        let message = format!("{value:?} is not among `eni_tags`, so no ENI of this node would pass");
        problems.push(Problem::new(format!("eni_tag_filter.{key}"), message));
    }
}

fn check_rate_limit(config: &Config, problems: &mut Vec<Problem>) {
    for (action, _) in config.rate_limit.iter().filter(|(_, calls)| **calls == 0) {
        let message = "0 calls per minute would stop the action for ever";
        problems.push(Problem::new(format!("rate_limit.{action}"), message));
    }
}

fn quarantine(config: &Config, problems: &mut Vec<Problem>) -> (Duration, Duration) {
    let least = config.eni_quarantine.unwrap_or(DEFAULT_QUARANTINE);
    let most = config.eni_quarantine_max.unwrap_or(DEFAULT_QUARANTINE_MAX.max(least));
    let said = [("eni_quarantine", Some(least)), ("eni_quarantine_max", config.eni_quarantine_max)];
    for (key, rest) in said {
        if let Some(rest) = rest.filter(|rest| *rest > LONGEST) {
            problems.push(Problem::new(key, format_args!("{rest:?} is longer than a day")));
        }
    }
    if config.eni_quarantine_max.is_some_and(|most| most < least) {
        let message = format!("{most:?} is less than eni_quarantine, {least:?}");
        problems.push(Problem::new("eni_quarantine_max", message));
    }
    (least, most)
}

fn release_pace(config: &Config, problems: &mut Vec<Problem>) -> ReleasePace {
    let interval = config.eni_release_interval.unwrap_or(DEFAULT_RELEASE_INTERVAL);
    check_pause("eni_release_interval", interval, Duration::from_millis(1), problems);
    ReleasePace { interval, quick: config.eni_quick_release }
}

fn reclaim(config: &Config, problems: &mut Vec<Problem>) -> Option<Reclaim> {
    let (interval, batch, jitter_permille) = DEFAULT_RECLAIM;
    let reclaim = Reclaim {
        after: config.idle_ip_reclaim_after?,
        interval: config.idle_ip_reclaim_interval.unwrap_or(interval),
        batch: config.idle_ip_reclaim_batch_size.unwrap_or(batch),
        jitter_permille: config.idle_ip_reclaim_jitter.unwrap_or(jitter_permille),
    };
    // Zero has always meant "off" for these two.
    if reclaim.after.is_zero() || reclaim.batch == 0 {
        return None;
    }
    check_pause("idle_ip_reclaim_interval", reclaim.interval, Duration::from_secs(1), problems);
    Some(reclaim)
}

fn inventory_period(config: &Config, problems: &mut Vec<Problem>) -> Option<Duration> {
    let period = config.ip_pool_sync_period.unwrap_or(DEFAULT_INVENTORY);
    if period.is_zero() {
        return None;
    }
    check_pause("ip_pool_sync_period", period, SHORTEST_INVENTORY, problems);
    Some(period)
}

fn parallel(config: &Config, problems: &mut Vec<Problem>) -> u32 {
    let parallel = config.eni_parallel.unwrap_or(DEFAULT_PARALLEL);
    if !PARALLEL.contains(&parallel) {
        let (least, most) = (PARALLEL.start(), PARALLEL.end());
        problems
            .push(Problem::new("eni_parallel", format_args!("{parallel} is not between {least} and {most}")));
    }
    parallel
}

fn check_pause(key: &str, pause: Duration, least: Duration, problems: &mut Vec<Problem>) {
    if !(least..=LONGEST).contains(&pause) {
        problems.push(Problem::new(key, format_args!("{pause:?} is not between {least:?} and a day")));
    }
}
