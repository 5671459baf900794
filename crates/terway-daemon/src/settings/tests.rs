//! What is refused, what is decided where nothing is said, and what is warned of.

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
        (r#"{"vswitches": {"h": []}}"#, "vswitches.h: lists no vSwitch for the zone"),
        (r#"{"vswitches": {"h": ["a", "a"]}}"#, "vswitches.h[1]: \"a\" is listed for zone h already"),
        (r#"{"vswitches": {"h": ["a"], "i": ["a"]}}"#, "vswitches.i[0]: \"a\" is listed for zone h already"),
        (r#"{"max_ip_per_eni": 0}"#, "max_ip_per_eni: 0 leaves no room for an ENI's primary address"),
        (
            r#"{"max_ip_per_eni": 1, "enable_ip_prefix": true}"#,
            "max_ip_per_eni: 1 leaves no room for a prefix beside the primary address",
        ),
        (r#"{"ipv6_prefix_count": 2}"#, "ipv6_prefix_count: 2 is more than 1, which holds 65536 addresses"),
        (
            r#"{"eni_tag_filter": {"team": "b"}, "eni_tags": {"team": "a"}}"#,
            "eni_tag_filter.team: \"b\" is not among `eni_tags`, so no ENI of this node would pass",
        ),
        (
            r#"{"eni_quarantine": "10m", "eni_quarantine_max": "1m"}"#,
            "eni_quarantine_max: 60s is less than eni_quarantine, 600s",
        ),
        (r#"{"eni_release_interval": "0s"}"#, "eni_release_interval: 0ns is not between 1ms and a day"),
        (
            r#"{"idle_ip_reclaim_after": "5m", "idle_ip_reclaim_interval": "10ms"}"#,
            "idle_ip_reclaim_interval: 10ms is not between 1s and a day",
        ),
        (r#"{"ip_pool_sync_period": "1s"}"#, "ip_pool_sync_period: 1s is not between 10s and a day"),
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
        (r#"{"eni_parallel": 0}"#, "eni_parallel: 0 is not between 1 and 64"),
        (r#"{"eni_quarantine": "25h"}"#, "eni_quarantine: 90000s is longer than a day"),
        (r#"{"access_key": "a"}"#, "access_secret: is missing though `access_key` is given"),
        (r#"{"access_secret": "a"}"#, "access_key: is missing though `access_secret` is given"),
    ];
    for (text, wanted) in table {
        let problems: Vec<_> = Settings::parse(text, NodeMode::Exclusive)
            .expect_err(text)
            .problems
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(problems, [wanted], "{text}");
    }
}

#[test]
fn all_problems_come_at_once() {
    let error = Settings::parse(
        r#"{"min_pool_size": 1, "ip_stack": "ipv6", "access_key": "k", "x": 1}"#,
        NodeMode::Exclusive,
    )
    .unwrap_err();
    assert_eq!(error.problems.len(), 4);
    assert!(error.to_string().starts_with("4 problems in the configuration\n  x: "), "{error}");
}

#[test]
fn both_spellings_of_security_groups_are_united() {
    let settings = Settings::parse(
        r#"{"security_group": "sg-2", "security_groups": ["sg-3", "sg-1", "sg-2"]}"#,
        NodeMode::Exclusive,
    )
    .unwrap();
    let groups: Vec<_> = settings.security_groups.iter().map(SecurityGroupId::as_str).collect();
    assert_eq!(groups, ["sg-1", "sg-2", "sg-3"]);
}

#[test]
fn what_has_no_effect_is_said() {
    let said = |key: &str, mode| {
        let text = format!(r#"{{"{key}": true, "service_cidr": "172.21.0.0/20"}}"#);
        let settings = Settings::parse(&text, mode).unwrap();
        (settings.warnings, settings.erdma)
    };
    let trunks =
        "`enable_eni_trunking` has no effect: it concerns ENIs of kinds that this build does not make";
    assert_eq!(said("enable_eni_trunking", NodeMode::Shared), (vec![trunks.to_owned()], false));
    for mode in [NodeMode::Exclusive, NodeMode::VpcRoute] {
        let nobody = "`enable_erdma` has no effect: it concerns ENIs shared by several pods";
        assert_eq!(said("enable_erdma", mode), (vec![nobody.to_owned()], false));
    }
    let (warnings, erdma) = said("enable_erdma", NodeMode::Shared);
    assert!(erdma && warnings[0].contains("makes no ENIs for eRDMA"), "{warnings:?}");
}

#[test]
fn a_least_number_of_enis_means_idle_ones_only_where_pods_own_them() {
    let text = r#"{"min_eni": 2, "min_pool_size": 1, "max_pool_size": 1}"#;
    let refused = Settings::parse(text, NodeMode::Exclusive).unwrap_err();
    assert_eq!(refused.problems[0].to_string(), "min_eni: 2 is more than max_pool_size, 1");
    let sizes = Settings::parse(text, NodeMode::Shared).unwrap().sizes;
    assert_eq!((sizes.min_enis, sizes.min_idle, sizes.max_idle), (2, 1, 1));
    let refused = Settings::parse(r#"{"min_eni": 2, "max_eni": 1}"#, NodeMode::Shared).unwrap_err();
    assert_eq!(refused.problems[0].to_string(), "max_eni: 1 is less than min_eni, 2");
}

#[test]
fn policies_and_paces_have_their_defaults() {
    let none = Settings::parse("{}", NodeMode::Shared).unwrap();
    assert_eq!((none.vswitch_policy, none.eni_policy), (VSwitchPolicy::MostFree, EniPolicy::MostIps));
    assert_eq!((none.reclaim, none.release.quick), (None, false));
    assert_eq!(none.inventory, Some(Duration::from_mins(10)));
    let said = Settings::parse(
        r#"{"vswitch_selection_policy": "ordered", "eni_selection_policy": "least_ips", "idle_ip_reclaim_after": "5m",
            "idle_ip_reclaim_batch_size": 2, "idle_ip_reclaim_jitter_factor": "0.25", "eni_quick_release": true,
            "ip_pool_sync_period": "0s", "service_cidr": "172.21.0.0/20"}"#,
        NodeMode::Shared,
    )
    .unwrap();
    assert_eq!((said.vswitch_policy, said.eni_policy), (VSwitchPolicy::Ordered, EniPolicy::LeastIps));
    let reclaim = said.reclaim.unwrap();
    assert_eq!((reclaim.batch, reclaim.jitter_permille), (2, 250));
    assert_eq!(reclaim.interval, Duration::from_mins(10));
    assert!(said.release.quick && said.inventory.is_none());
    assert_eq!(said.warnings.len(), 1, "{:?}", said.warnings);
    assert!(said.warnings[0].contains("\"most\""), "the word means something else elsewhere");
}

#[test]
fn what_concerns_shared_enis_has_no_effect_on_whole_ones() {
    let text = r#"{"enable_ip_prefix": true, "max_ip_per_eni": 5, "service_cidr": "172.21.0.0/20"}"#;
    let warnings = Settings::parse(text, NodeMode::Exclusive).unwrap().warnings;
    assert_eq!(
        warnings,
        [
            "`max_ip_per_eni` has no effect: it concerns ENIs shared by several pods",
            "`enable_ip_prefix` has no effect: it concerns ENIs shared by several pods",
        ]
    );
    assert!(Settings::parse(text, NodeMode::Shared).unwrap().warnings.is_empty());
}
