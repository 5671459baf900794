//! What the program needs, built once from the operator's file and checked. What also depends on the
//! node (its zone, its type's limits) is decided by [`crate::node_facts`].

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ipnetwork::IpNetwork;
use secrecy::SecretString;
use terway_types::{SecurityGroupId, VSwitchId, ZoneId};

use crate::config::{Config, ConfigError, IpStack, VSwitchPolicy};
use crate::json_keys::Problem;

/// The cloud's limit of security groups per ENI.
const MAX_SECURITY_GROUPS: usize = 10;
/// The cloud's limit of tags per object is 20; four are ours.
const MAX_TAGS: usize = 16;
/// Rest of a released ENI unless the file says otherwise: longer than connections to the pod before it
/// keep sending (TCP retransmits 15 s after the fifth try, and kube-proxy needs a moment).
const DEFAULT_QUARANTINE: Duration = Duration::from_secs(30);
/// Longer than this and a node would look leaked rather than careful.
const MAX_QUARANTINE: Duration = Duration::from_hours(24);
/// The checked configuration.
#[derive(Debug)]
pub struct Settings {
    /// Static credentials, if the file has them.
    pub access_key: Option<(SecretString, SecretString)>,
    /// Service CIDRs of the cluster.
    pub service_cidrs: Vec<IpNetwork>,
    /// vSwitches per zone.
    pub vswitches: BTreeMap<ZoneId, Vec<VSwitchId>>,
    /// The order in which they are used.
    pub vswitch_policy: VSwitchPolicy,
    /// Security groups of new ENIs, sorted; empty means those of the primary ENI.
    pub security_groups: Vec<SecurityGroupId>,
    /// The operator's tags for new ENIs.
    pub eni_tags: BTreeMap<String, String>,
    /// Idle ENIs to keep at least.
    pub min_idle: u32,
    /// Idle ENIs to keep at most.
    pub max_idle: u32,
    /// ENIs of ours at most, if the operator says so.
    pub max_eni: Option<u32>,
    /// Share of the instance's ENIs we may use, and what is added to it.
    pub eni_cap: (f64, i32),
    /// Whether pods get IPv6 addresses besides IPv4.
    pub ipv6: bool,
    /// Rest of a released ENI.
    pub quarantine: Duration,
    /// Cloud action to calls per minute.
    pub rate_limit: BTreeMap<String, u32>,
    /// What the operator should know though it is no error.
    pub warnings: Vec<String>,
}

impl Settings {
    /// Reads the file's text and checks what it says against itself.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let (config, mut problems) = Config::parse(text)?;
        let access_key = access_key(&config, &mut problems);
        let (min_idle, max_idle) = check_sizes(&config, &mut problems);
        check_network(&config, &mut problems);
        check_names(&config.vswitches, &config.eni_tags, &mut problems);
        let security_groups = security_groups(&config, &mut problems);
        for (action, _) in config.rate_limit.iter().filter(|(_, calls)| **calls == 0) {
            let message = "0 calls per minute would stop the action for ever";
            problems.push(Problem::new(format!("rate_limit.{action}"), message));
        }
        let quarantine = config.eni_quarantine.unwrap_or(DEFAULT_QUARANTINE);
        if quarantine > MAX_QUARANTINE {
            problems
                .push(Problem::new("eni_quarantine", format_args!("{quarantine:?} is longer than a day")));
        }
        if !problems.is_empty() {
            return Err(ConfigError { problems });
        }
        let zones = config.vswitches.into_iter();
        Ok(Self {
            warnings: warnings(&config.unheeded, &config.service_cidr, config.credential_path.as_deref()),
            access_key,
            service_cidrs: config.service_cidr,
            vswitches: zones
                .map(|(zone, ids)| (ZoneId(zone), ids.into_iter().map(VSwitchId).collect()))
                .collect(),
            vswitch_policy: config.vswitch_selection_policy.unwrap_or_default(),
            security_groups,
            eni_tags: config.eni_tags,
            min_idle,
            max_idle,
            max_eni: config.max_eni.filter(|count| *count > 0),
            eni_cap: (config.eni_cap_ratio.unwrap_or(1.0), config.eni_cap_shift.unwrap_or(0)),
            ipv6: config.ip_stack == Some(IpStack::Dual),
            quarantine,
            rate_limit: config.rate_limit,
        })
    }
}

fn warnings(
    unheeded: &[(&'static str, &'static str)],
    service_cidrs: &[IpNetwork],
    credential_path: Option<&str>,
) -> Vec<String> {
    let mut warnings: Vec<_> =
        unheeded.iter().map(|(key, why)| format!("`{key}` has no effect: it {why}")).collect();
    if service_cidrs.is_empty() {
        warnings.push("`service_cidr` is empty: pods reach no service address through this node".to_owned());
    }
    if credential_path.is_some() {
        warnings.push("`credential_path` has no effect: encrypted token files are not read".to_owned());
    }
    warnings
}

/// Both halves of the key or none.
fn access_key(config: &Config, problems: &mut Vec<Problem>) -> Option<(SecretString, SecretString)> {
    match (&config.access_key, &config.access_secret) {
        (Some(key), Some(secret)) => return Some((key.clone(), secret.clone())),
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

/// The water marks, if they fit together.
fn check_sizes(config: &Config, problems: &mut Vec<Problem>) -> (u32, u32) {
    let mut wrong = |path: &str, message: String| problems.push(Problem::new(path, message));
    let (floor_key, min_idle) = match config.min_eni {
        Some(count @ 1..) => ("min_eni", count),
        _ => ("min_pool_size", config.min_pool_size.unwrap_or(0)),
    };
    let max_idle = config.max_pool_size.unwrap_or(0);
    if min_idle > max_idle {
        wrong(floor_key, format!("{min_idle} is more than max_pool_size, {max_idle}"));
    }
    if let Some(max_eni) = config.max_eni.filter(|count| *count > 0 && *count < min_idle) {
        wrong("max_eni", format!("{max_eni} is less than {floor_key}, {min_idle}"));
    }
    if let Some(ratio) = config.eni_cap_ratio.filter(|ratio| !(*ratio > 0.0 && *ratio <= 1.0)) {
        wrong("eni_cap_ratio", format!("{ratio} is not above 0 and at most 1"));
    }
    (min_idle, max_idle)
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

/// Empty vSwitch names, and tags the cloud or we would not stand.
fn check_names(
    vswitches: &BTreeMap<String, Vec<String>>,
    tags: &BTreeMap<String, String>,
    problems: &mut Vec<Problem>,
) {
    for (zone, ids) in vswitches {
        for (index, id) in ids.iter().enumerate().filter(|(_, id)| id.is_empty()) {
            problems.push(Problem::new(
                format!("vswitches.{zone}[{index}]"),
                format_args!("{id:?} is no vSwitch"),
            ));
        }
    }
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_impossible_value_is_refused() {
        let many: Vec<_> = (0..11).map(|n| format!("\"sg-{n}\"")).collect();
        let many = format!(r#"{{"security_groups": [{}]}}"#, many.join(","));
        let tags: Vec<_> = (0..17).map(|n| format!("\"t{n}\": \"\"")).collect();
        let tags = format!(r#"{{"eni_tags": {{{}}}}}"#, tags.join(","));
        let table = [
            (r#"{"min_pool_size": 3, "max_pool_size": 2}"#, "min_pool_size: 3 is more than max_pool_size, 2"),
            (r#"{"min_pool_size": 3}"#, "min_pool_size: 3 is more than max_pool_size, 0"),
            (r#"{"min_eni": 3, "max_pool_size": 2}"#, "min_eni: 3 is more than max_pool_size, 2"),
            (
                r#"{"min_pool_size": 2, "max_pool_size": 2, "max_eni": 1}"#,
                "max_eni: 1 is less than min_pool_size, 2",
            ),
            (
                r#"{"ip_stack": "ipv6"}"#,
                "ip_stack: ipv6 alone is not supported: nodes and cloud services are reached by IPv4; use \"dual\"",
            ),
            (&many, "security_groups: 11 groups (with `security_group`), an ENI takes 10"),
            (r#"{"security_groups": [""]}"#, "security_groups: holds an empty name"),
            (&tags, "eni_tags: 17 tags, at most 16 fit beside our own"),
            (
                r#"{"eni_tags": {"creator": "me"}}"#,
                "eni_tags.creator: is reserved for the marks by which our ENIs are recognised",
            ),
            (
                r#"{"eni_tags": {"terway.io/node": "me"}}"#,
                "eni_tags.terway.io/node: is reserved for the marks by which our ENIs are recognised",
            ),
            (r#"{"vswitches": {"h": ["a", ""]}}"#, "vswitches.h[1]: \"\" is no vSwitch"),
            (r#"{"eni_cap_ratio": 0}"#, "eni_cap_ratio: 0 is not above 0 and at most 1"),
            (r#"{"eni_cap_ratio": 1.5}"#, "eni_cap_ratio: 1.5 is not above 0 and at most 1"),
            (
                r#"{"rate_limit": {"AttachNetworkInterface": 0}}"#,
                "rate_limit.AttachNetworkInterface: 0 calls per minute would stop the action for ever",
            ),
            (
                r#"{"service_cidr": "0.0.0.0/0"}"#,
                "service_cidr: 0.0.0.0/0 would take every packet of a pod through the host",
            ),
            (r#"{"eni_quarantine": "25h"}"#, "eni_quarantine: 90000s is longer than a day"),
            (r#"{"access_key": "a"}"#, "access_secret: is missing though `access_key` is given"),
            (r#"{"access_secret": "a"}"#, "access_key: is missing though `access_secret` is given"),
        ];
        for (text, wanted) in table {
            let problems: Vec<_> =
                Settings::parse(text).expect_err(text).problems.iter().map(ToString::to_string).collect();
            assert_eq!(problems, [wanted], "{text}");
        }
    }

    #[test]
    fn all_problems_come_at_once() {
        let error = Settings::parse(r#"{"min_pool_size": 1, "ip_stack": "ipv6", "access_key": "k", "x": 1}"#)
            .unwrap_err();
        assert_eq!(error.problems.len(), 4);
        assert!(error.to_string().starts_with("4 problem(s) in the configuration\n  x: "), "{error}");
    }

    #[test]
    fn both_spellings_of_security_groups_are_united() {
        let settings =
            Settings::parse(r#"{"security_group": "sg-2", "security_groups": ["sg-3", "sg-1", "sg-2"]}"#)
                .unwrap();
        let groups: Vec<_> = settings.security_groups.iter().map(SecurityGroupId::as_str).collect();
        assert_eq!(groups, ["sg-1", "sg-2", "sg-3"]);
    }

    #[test]
    fn what_has_no_effect_is_said() {
        let settings = Settings::parse(r#"{"enable_erdma": true, "service_cidr": "172.21.0.0/20"}"#).unwrap();
        assert_eq!(
            settings.warnings,
            ["`enable_erdma` has no effect: it concerns ENIs shared by several pods"]
        );
    }
}
