//! Every key with a good and a bad value.

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
        (r#"{"credential_path": true}"#, "credential_path: invalid type: boolean `true`, expected a string"),
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
        (r#"{"vswitches": {"h": ["a", 2]}}"#, "vswitches.h[1]: invalid type: integer `2`, expected a string"),
        (
            r#"{"vswitch_selection_policy": "best"}"#,
            "vswitch_selection_policy: unknown variant `best`, expected one of `ordered`, `random`, `most`",
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
            "idle_ip_reclaim_jitter_factor: \"x\" is not a number such as \"0.1\"",
        ),
        (
            r#"{"idle_ip_reclaim_jitter_factor": "1.1"}"#,
            "idle_ip_reclaim_jitter_factor: 1.1 is not between 0 and 1",
        ),
        (
            r#"{"eni_selection_policy": "some_ips"}"#,
            "eni_selection_policy: unknown variant `some_ips`, expected `most_ips` or `least_ips`",
        ),
        (r#"{"max_ip_per_eni": -1}"#, "max_ip_per_eni: invalid value: integer `-1`, expected u32"),
        (r#"{"ip_warm_up_size": "5"}"#, "ip_warm_up_size: invalid type: string \"5\", expected u32"),
        (
            r#"{"enable_ip_prefix": "true"}"#,
            "enable_ip_prefix: invalid type: string \"true\", expected a boolean",
        ),
        (r#"{"ipv4_prefix_count": -2}"#, "ipv4_prefix_count: invalid value: integer `-2`, expected u32"),
        (
            r#"{"max_pool_size": 5000000000}"#,
            "max_pool_size: invalid value: integer `5000000000`, expected u32",
        ),
        (
            r#"{"ip_pool_sync_period": "soon"}"#,
            "ip_pool_sync_period: \"soon\" is not a duration such as \"90s\" or \"1h30m\"",
        ),
        (r#"{"eni_quick_release": 1}"#, "eni_quick_release: invalid type: integer `1`, expected a boolean"),
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
    assert_eq!(config.idle_ip_reclaim_jitter, Some(100));
    assert_eq!(config.ip_pool_sync_period, Some(Duration::from_mins(2)));
    let unheeded: Vec<_> = config.unheeded.iter().map(|(key, _)| *key).collect();
    assert_eq!(unheeded, ["ipam_type", "backoff_override"]);
}

#[test]
fn secrets_do_not_print() {
    let (config, _) = Config::parse(r#"{"access_key": "LTAI", "access_secret": "hush"}"#).unwrap();
    let printed = format!("{config:?}");
    assert!(!printed.contains("LTAI") && !printed.contains("hush"), "{printed}");
}
