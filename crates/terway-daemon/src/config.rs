//! The operator's file, `eni_conf`: every key under the name it has always had, typed, with nothing
//! decided yet. What follows from it is in `settings`.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use ipnetwork::IpNetwork;
use jiff::SignedDuration;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::Value;

use crate::json_keys::{Keys, Problem};

/// Everything wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    /// Each of them, in the order of the keys.
    pub problems: Vec<Problem>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} problem(s) in the configuration", self.problems.len())?;
        self.problems.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

/// Which vSwitch a new ENI gets its addresses from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VSwitchPolicy {
    /// Spread over all of them.
    #[default]
    Random,
    /// The one with the most free addresses first.
    Ordered,
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
    /// `max_pool_size`: most idle ENIs.
    pub max_pool_size: Option<u32>,
    /// `min_pool_size`: least idle ENIs.
    pub min_pool_size: Option<u32>,
    /// `max_eni`: most ENIs of ours.
    pub max_eni: Option<u32>,
    /// `min_eni`: replaces `min_pool_size` when above zero.
    pub min_eni: Option<u32>,
    /// `eni_cap_ratio`: share of the instance's ENIs we may use.
    pub eni_cap_ratio: Option<f64>,
    /// `eni_cap_shift`: added to that share.
    pub eni_cap_shift: Option<i32>,
    /// `ip_stack`.
    pub ip_stack: Option<IpStack>,
    /// `rate_limit`: cloud action to calls per minute.
    pub rate_limit: BTreeMap<String, u32>,
    /// `eni_quarantine` (ours): rest of a released ENI before its next pod.
    pub eni_quarantine: Option<Duration>,
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
            max_pool_size: keys.take("max_pool_size"),
            min_pool_size: keys.take("min_pool_size"),
            max_eni: keys.take("max_eni"),
            min_eni: keys.take("min_eni"),
            eni_cap_ratio: keys.take("eni_cap_ratio"),
            eni_cap_shift: keys.take("eni_cap_shift"),
            ip_stack: keys.parsed("ip_stack", word),
            rate_limit: keys.take("rate_limit").unwrap_or_default(),
            eni_quarantine: keys.parsed("eni_quarantine", duration),
            unheeded: read_unheeded(keys),
        }
    }
}

/// The pause of one retried operation in `backoff_override`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct Backoff {
    #[serde(rename = "InitialDelay")]
    _initial_delay: Option<i64>,
    #[serde(rename = "Duration")]
    _duration: Option<i64>,
    #[serde(rename = "Factor")]
    _factor: Option<f64>,
    #[serde(rename = "Jitter")]
    _jitter: Option<f64>,
    #[serde(rename = "Steps")]
    _steps: Option<i64>,
    #[serde(rename = "Cap")]
    _cap: Option<i64>,
}

/// An entry of `extra_routes`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExtraRoute {
    #[serde(rename = "dst")]
    _dst: String,
}

/// An entry of `eni_tag_block_list`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tag {
    #[serde(rename = "key")]
    _key: String,
    #[serde(rename = "value")]
    _value: String,
}

/// Reads the keys that existing files carry and exclusive ENIs have no use for. Their types are checked
/// all the same; those that say something are named, so that nobody waits for an effect.
fn read_unheeded(keys: &mut Keys) -> Vec<(&'static str, &'static str)> {
    const SHARED: &str = "concerns ENIs shared by several pods";
    const NOWHERE: &str = "has no use anywhere";
    const CLUSTER: &str = "concerns the Kubernetes API, which this daemon does not call";
    const OURS: &str = "is not needed: only ENIs made by this daemon are managed";
    let mut found = Vec::new();
    let mut heard = |key, reason, given| {
        if given {
            found.push((key, reason));
        }
    };
    macro_rules! unheeded {
        ($($key:literal: $type:ty, $reason:expr;)*) => {
            $(heard($key, $reason, keys.take::<$type>($key).is_some());)*
        };
    }
    for key in ["version", "region_id"] {
        keys.take::<Value>(key);
    }
    for (key, reason) in
        [("prefix", NOWHERE), ("ipam_type", "is decided: ENIs are managed by the node itself")]
    {
        heard(key, reason, keys.text(key).is_some());
    }
    unheeded! {
        "extra_routes": Vec<ExtraRoute>, NOWHERE;
        "eni_tag_filter": BTreeMap<String, String>, OURS;
        "eni_tag_block_list": Vec<Tag>, OURS;
    }
    heard(
        "resource_group_id",
        "is not passed on yet: ENIs go to the default resource group",
        keys.text("resource_group_id").is_some(),
    );
    heard("eni_selection_policy", SHARED, keys.text("eni_selection_policy").is_some());
    for key in ["enable_eni_trunking", "enable_erdma", "enable_ip_prefix"] {
        heard(key, SHARED, keys.take::<bool>(key) == Some(true));
    }
    unheeded! {
        "custom_stateful_workload_kinds": Vec<String>, CLUSTER;
        "backoff_override": BTreeMap<String, Backoff>, "concerns retries, whose pauses are fixed";
        "disable_device_plugin": bool, "concerns the device plugin, which this mode has not";
        "kube_client_qps": f64, CLUSTER;
        "kube_client_burst": u32, CLUSTER;
        "enable_patch_pod_ips": bool, CLUSTER;
        "idle_ip_reclaim_batch_size": u32, SHARED;
        "ip_warm_up_size": u32, SHARED;
        "ipv4_prefix_count": u32, SHARED;
        "ipv6_prefix_count": u32, SHARED;
    }
    for key in ["ip_pool_sync_period", "idle_ip_reclaim_after", "idle_ip_reclaim_interval"] {
        heard(key, SHARED, keys.parsed(key, duration).is_some());
    }
    let jitter = keys.parsed("idle_ip_reclaim_jitter_factor", str::parse::<f64>);
    heard("idle_ip_reclaim_jitter_factor", SHARED, jitter.is_some());
    found
}

/// One of an enum's words.
fn word<T: for<'de> Deserialize<'de>>(text: &str) -> Result<T, serde_json::Error> {
    serde_json::from_value(Value::from(text))
}

/// A duration as Go writes it: `90s`, `1h30m`, `500ms`.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a duration such as \"90s\" or \"1h30m\"");
    let signed: SignedDuration = text.parse().map_err(|_| wrong())?;
    Duration::try_from(signed).map_err(|_| wrong())
}

fn networks(text: &str) -> Result<Vec<IpNetwork>, String> {
    text.split(',')
        .map(str::trim)
        .map(|part| {
            let network: IpNetwork =
                part.parse().map_err(|_| format!("{part:?} is not a CIDR such as \"172.21.0.0/20\""))?;
            let host_bits = network.network() != network.ip();
            if host_bits || !part.contains('/') {
                let meant = format!("{}/{}", network.network(), network.prefix());
                return Err(format!("{part:?} is not the start of a network; did you mean \"{meant}\"?"));
            }
            Ok(network)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first problem of a file with one bad value.
    fn complaint(text: &str) -> String {
        let (_, problems) = Config::parse(text).unwrap();
        assert_eq!(problems.len(), 1, "{text}: {problems:?}");
        problems[0].to_string()
    }

    #[test]
    fn every_bad_value_is_named_with_its_place() {
        let table = [
            (r#"{"access_key": 1}"#, "access_key: invalid type: integer `1`, expected a string"),
            (r#"{"access_secret": []}"#, "access_secret: invalid type: sequence, expected a string"),
            (
                r#"{"credential_path": true}"#,
                "credential_path: invalid type: boolean `true`, expected a string",
            ),
            (
                r#"{"service_cidr": "10.0.0.0/33"}"#,
                "service_cidr: \"10.0.0.0/33\" is not a CIDR such as \"172.21.0.0/20\"",
            ),
            (
                r#"{"service_cidr": "172.21.0.1/20"}"#,
                "service_cidr: \"172.21.0.1/20\" is not the start of a network; did you mean \"172.21.0.0/20\"?",
            ),
            (
                r#"{"vswitches": {"h": "vsw-1"}}"#,
                "vswitches.h: invalid type: string \"vsw-1\", expected a sequence",
            ),
            (
                r#"{"vswitches": {"h": ["a", 2]}}"#,
                "vswitches.h[1]: invalid type: integer `2`, expected a string",
            ),
            (
                r#"{"vswitch_selection_policy": "best"}"#,
                "vswitch_selection_policy: unknown variant `best`, expected `random` or `ordered`",
            ),
            (r#"{"security_group": {}}"#, "security_group: invalid type: map, expected a string"),
            (
                r#"{"security_groups": "sg-1"}"#,
                "security_groups: invalid type: string \"sg-1\", expected a sequence",
            ),
            (r#"{"eni_tags": {"a": 1}}"#, "eni_tags.a: invalid type: integer `1`, expected a string"),
            (r#"{"max_pool_size": -1}"#, "max_pool_size: invalid value: integer `-1`, expected u32"),
            (r#"{"min_pool_size": "1"}"#, "min_pool_size: invalid type: string \"1\", expected u32"),
            (r#"{"max_eni": 1.5}"#, "max_eni: invalid type: floating point `1.5`, expected u32"),
            (r#"{"min_eni": []}"#, "min_eni: invalid type: sequence, expected u32"),
            (r#"{"eni_cap_ratio": "1"}"#, "eni_cap_ratio: invalid type: string \"1\", expected f64"),
            (r#"{"eni_cap_shift": "1"}"#, "eni_cap_shift: invalid type: string \"1\", expected i32"),
            (
                r#"{"ip_stack": "both"}"#,
                "ip_stack: unknown variant `both`, expected one of `ipv4`, `dual`, `ipv6`",
            ),
            (r#"{"rate_limit": {"X": -1}}"#, "rate_limit.X: invalid value: integer `-1`, expected u32"),
            (
                r#"{"eni_quarantine": "5"}"#,
                "eni_quarantine: \"5\" is not a duration such as \"90s\" or \"1h30m\"",
            ),
            (
                r#"{"eni_quarantine": "-5s"}"#,
                "eni_quarantine: \"-5s\" is not a duration such as \"90s\" or \"1h30m\"",
            ),
            (
                r#"{"idle_ip_reclaim_after": "x"}"#,
                "idle_ip_reclaim_after: \"x\" is not a duration such as \"90s\" or \"1h30m\"",
            ),
            (
                r#"{"idle_ip_reclaim_jitter_factor": "x"}"#,
                "idle_ip_reclaim_jitter_factor: invalid float literal",
            ),
            (r#"{"enable_erdma": "yes"}"#, "enable_erdma: invalid type: string \"yes\", expected a boolean"),
            (
                r#"{"extra_routes": [{"dest": "1"}]}"#,
                "extra_routes[0].dest: unknown field `dest`, expected `dst`",
            ),
            (r#"{"max_pool_sise": 1}"#, "max_pool_sise: unknown key; did you mean `max_pool_size`?"),
            (r#"{"vswitch": {}}"#, "vswitch: unknown key; did you mean `vswitches`?"),
            (r#"{"enable_eip_pool": true}"#, "enable_eip_pool: unknown key"),
        ];
        for (text, wanted) in table {
            assert_eq!(complaint(text), wanted, "{text}");
        }
    }

    #[test]
    fn a_file_in_the_field_is_read() {
        let text = r#"{
            "version": "1", "region_id": "", "access_key": "", "credential_path": "/var/addon/token-config",
            "service_cidr": "172.21.0.0/20,fd00:21::/108",
            "vswitches": {"cn-hangzhou-h": ["vsw-1", "vsw-2"]}, "vswitch_selection_policy": "ordered",
            "security_group": "sg-1", "security_groups": ["sg-2"], "eni_tags": {"team": "a"}, "eni_tag_filter": null,
            "max_pool_size": 5, "min_pool_size": 1, "ip_stack": "dual", "ipam_type": "crd", "enable_eni_trunking": false,
            "backoff_override": {"eni_create": {"Duration": 1000, "Factor": 1.5, "Jitter": 0.1, "Steps": 3}},
            "ip_pool_sync_period": "120s", "idle_ip_reclaim_jitter_factor": "0.1", "eni_quarantine": "1m30s"
        }"#;
        let (config, problems) = Config::parse(text).unwrap();
        assert_eq!(problems, []);
        assert_eq!(config.vswitches["cn-hangzhou-h"], ["vsw-1", "vsw-2"]);
        assert_eq!(config.vswitch_selection_policy, Some(VSwitchPolicy::Ordered));
        assert_eq!(config.service_cidr.len(), 2);
        assert_eq!(config.ip_stack, Some(IpStack::Dual));
        assert_eq!(config.eni_quarantine, Some(Duration::from_secs(90)));
        assert!(config.access_key.is_none());
        let unheeded: Vec<_> = config.unheeded.iter().map(|(key, _)| *key).collect();
        assert_eq!(
            unheeded,
            ["ipam_type", "backoff_override", "ip_pool_sync_period", "idle_ip_reclaim_jitter_factor"]
        );
    }

    #[test]
    fn secrets_do_not_print() {
        let (config, _) = Config::parse(r#"{"access_key": "LTAI", "access_secret": "hush"}"#).unwrap();
        let printed = format!("{config:?}");
        assert!(!printed.contains("LTAI") && !printed.contains("hush"), "{printed}");
    }
}
