//! Keys as existing configurations and runtimes write them, and what is said of wrong ones.

use serde_json::json;

use super::*;
use crate::fixture::conf;

fn options(keys: &Value) -> Result<Options, Fault> {
    Options::read(&conf(keys))
}

#[test]
fn without_keys_there_are_defaults() {
    let paths = Paths::read(&conf(&json!({}))).unwrap();
    assert_eq!(paths.socket, Path::new("/var/run/eni/eni.socket"));
    assert_eq!(paths.spool(), Path::new("/var/lib/cni/terway/spool"));
    let options = options(&json!({})).unwrap();
    assert_eq!((options.mtu, options.host_peer, options.ingress), (1500, true, None));
}

#[test]
fn keys_of_existing_configurations_are_accepted() {
    let existing = json!({
        "eniip_virtual_type": "Veth", "host_stack_cidrs": ["169.254.20.10/32", "fd00::/64"],
        "disable_host_peer": true, "mtu": 8500, "vlan_strip_type": "vlan", "veth_prefix": "cali",
        "bandwidth_mode": "edt", "enable_network_priority": true, "debug": true, "symmetric_routing": true,
        "symmetric_routing_config": {"mask": 1}, "auto_mtu": false, "network_policy_provider": "ebpf",
        "cilium_enable_hubble": "true", "ipam": {}, "dns": {},
    });
    let options = options(&existing).unwrap();
    assert_eq!((options.mtu, options.host_peer), (8500, false));
    assert_eq!(options.host_stack_cidrs.len(), 2);
}

#[test]
fn virtual_types_are_known_by_their_words() {
    let of = |text: &str| options(&json!({ "eniip_virtual_type": text })).map(|options| options.virtual_type);
    for word in ["", "veth", "Veth", "datapathv2"] {
        assert_eq!(of(word), Ok(VirtualType::Veth), "{word}");
    }
    assert_eq!(of("IPVlan"), Ok(VirtualType::Ipvlan(IpvlanMode::L2)));
    let mode = |text: &str| {
        let keys = json!({ "eniip_virtual_type": "IPVlan", "ipvlan_mode": text });
        options(&keys).map(|options| options.virtual_type)
    };
    assert_eq!(mode("L3S"), Ok(VirtualType::Ipvlan(IpvlanMode::L3s)));
    let said = mode("l3").unwrap_err().what;
    assert!(said.contains("ipvlan_mode \"l3\" is none of l2, l3s; leave it out for l2"), "{said}");
    let fault = of("macvlan").unwrap_err();
    assert_eq!(fault.code, FaultCode::ConfigInvalid);
    assert!(fault.what.contains("\"macvlan\" is none of Veth, IPVlan, datapathv2"), "{fault}");
}

#[test]
fn bandwidth_is_bits_and_zero_is_no_limit() {
    let of = |rate: i64, burst: i64| {
        let keys = json!({"runtimeConfig": {"bandwidth": {"ingressRate": rate, "ingressBurst": burst}}});
        options(&keys).unwrap().ingress
    };
    let bytes = |bytes_per_second, burst_bytes| Some(Bandwidth { bytes_per_second, burst_bytes });
    assert_eq!(of(8_000_000, 0), bytes(1_000_000, None));
    assert_eq!(of(8_000_000, 800_000), bytes(1_000_000, Some(100_000)));
    assert_eq!(of(8_000_000, i64::from(u32::MAX)), bytes(1_000_000, None), "containerd's no opinion");
    assert_eq!(of(8_000_000, i64::MAX), bytes(1_000_000, None));
    assert_eq!(of(8_000_001, 0), bytes(1_000_001, None), "rounded up");
    assert_eq!((of(0, 0), of(0, i64::MAX)), (None, None));
}

/// As containerd 1.6 sends it, recorded.
#[test]
fn bandwidth_keys_may_begin_with_a_capital() {
    let sent = json!({"IngressRate": 8_000_000, "IngressBurst": 0, "EgressRate": 16_000_000, "EgressBurst": 4_294_967_295_u32});
    let options = options(&json!({"runtimeConfig": {"bandwidth": sent}})).unwrap();
    let rate = |limit: Option<Bandwidth>| limit.map(|limit| limit.bytes_per_second);
    assert_eq!((rate(options.ingress), rate(options.egress)), (Some(1_000_000), Some(2_000_000)));
}

#[test]
fn annotations_limit_where_the_runtime_does_not() {
    let keys = json!({"runtimeConfig": {
        "bandwidth": {"egressRate": 8_000_000},
        "io.kubernetes.cri.pod-annotations": {
            "kubernetes.io/ingress-bandwidth": "16M", "k8s.aliyun.com/egress-bandwidth": "7M", "other": "x",
        },
    }});
    let options = options(&keys).unwrap();
    assert_eq!(options.ingress.unwrap().bytes_per_second, 2_000_000);
    assert_eq!(options.egress.unwrap().bytes_per_second, 1_000_000);
    let wrong = json!({"runtimeConfig": {
        "io.kubernetes.cri.pod-annotations": {"kubernetes.io/ingress-bandwidth": "fast"},
    }});
    let fault = self::options(&wrong).unwrap_err();
    assert_eq!(fault.code, FaultCode::ConfigInvalid);
    assert!(fault.what.contains("kubernetes.io/ingress-bandwidth \"fast\""), "{fault}");
}

#[test]
fn limits_that_cannot_be_kept_are_refused_by_key_and_value() {
    let bandwidth = |key: &str, value: Value| json!({"runtimeConfig": {"bandwidth": { key: value }}});
    let annotated = |key: &str, value: &str| json!({"runtimeConfig": {"io.kubernetes.cri.pod-annotations": { key: value }}});
    for (keys, named) in [
        (bandwidth("ingressRate", json!(1)), "runtimeConfig.bandwidth.ingressRate 1 is"),
        (bandwidth("egressRate", json!(479_992)), "runtimeConfig.bandwidth.egressRate 479992 is"),
        (
            bandwidth("egressRate", json!(i64::MAX)),
            "runtimeConfig.bandwidth.egressRate 9223372036854775807 is",
        ),
        (annotated("kubernetes.io/ingress-bandwidth", "1k"), "kubernetes.io/ingress-bandwidth \"1k\" is"),
        (annotated("k8s.aliyun.com/egress-bandwidth", "58K"), "k8s.aliyun.com/egress-bandwidth \"58K\" is"),
        (annotated("k8s.aliyun.com/egress-bandwidth", "8388608T"), "egress-bandwidth \"8388608T\" is"),
    ] {
        let fault = options(&keys).unwrap_err();
        assert_eq!(fault.code, FaultCode::ConfigInvalid, "{fault}");
        assert!(fault.what.contains(named) && fault.what.contains("; ask for 480000 to "), "{fault}");
    }
    let fault = options(&bandwidth("egressRate", json!(1_u64 << 63))).unwrap_err();
    let said = &fault.what;
    assert!(
        said.contains("at runtimeConfig.bandwidth.egressRate:") && said.contains("9223372036854775808"),
        "{said}"
    );
    let fault = options(&bandwidth("egressBurst", json!(-1))).unwrap_err();
    assert!(fault.what.contains("egressBurst -1 is negative; zero is no limit"), "{fault}");
    // Which MTU it will be is not known yet: the layout judges what this lets pass.
    let automatic = json!({"auto_mtu": true, "runtimeConfig": {"bandwidth": {"egressRate": 400_000}}});
    assert_eq!(options(&automatic).unwrap().egress.unwrap().bytes_per_second, 50_000);
}

#[test]
fn a_class_counts_where_classes_are_switched_on() {
    let asked = |on: bool, class: &str| {
        let annotations = json!({ "k8s.aliyun.com/network-priority": class });
        let keys = json!({
            "enable_network_priority": on,
            "runtimeConfig": { "io.kubernetes.cri.pod-annotations": annotations },
        });
        options(&keys).map(|options| options.queueing.class)
    };
    assert_eq!(asked(true, "guaranteed"), Ok(Some(PriorityClass::Guaranteed)));
    assert_eq!((asked(false, "first class"), asked(true, "")), (Ok(None), Ok(None)));
    let fault = asked(true, "first class").unwrap_err();
    assert_eq!(fault.code, FaultCode::ConfigInvalid);
    let said = "annotation k8s.aliyun.com/network-priority \"first class\" is none of guaranteed, burstable, \
                best-effort; name one of them, or leave it out";
    assert_eq!(fault.what, said);
}

#[test]
fn packets_bear_their_time_in_mode_edt() {
    let paced = |mode: &str| options(&json!({ "bandwidth_mode": mode })).unwrap().queueing.paced;
    assert_eq!(["edt", "EDT", "tc", ""].map(paced), [true, true, false, false]);
}

#[test]
fn everything_wrong_is_named_at_once() {
    let fault = options(&json!({
        "mtu": 100, "host_stack_cidrs": ["10.0.0.0/33", "10.0.0.1", "::/0"], "bandwidth_mode": "magic",
        "runtimeConfig": {"bandwidth": {"egressRate": -1}},
    }))
    .unwrap_err();
    assert_eq!(fault.code, FaultCode::ConfigInvalid);
    for part in [
        "mtu 100",
        "host_stack_cidrs[0]",
        "host_stack_cidrs[1]",
        "host_stack_cidrs[2] \"::/0\"",
        "bandwidth_mode \"magic\"",
        "egressRate -1",
    ] {
        assert!(fault.what.contains(part), "{part}: {fault}");
    }
}

#[test]
fn mtu_has_a_range() {
    for mtu in [-1, 1, 575, 9601, i64::MAX, i64::MIN] {
        assert_eq!(options(&json!({"mtu": mtu})).unwrap_err().code, FaultCode::ConfigInvalid, "{mtu}");
    }
    for (mtu, expected) in [(0, 1500), (576, 576), (9600, 9600)] {
        assert_eq!(options(&json!({"mtu": mtu})).unwrap().mtu, expected);
    }
}

#[test]
fn an_mtu_that_is_given_goes_over_the_automatic_one() {
    let auto = |keys: Value| options(&keys).unwrap().auto_mtu;
    assert!(auto(json!({"auto_mtu": true})) && auto(json!({"auto_mtu": true, "mtu": 0})));
    assert!(!auto(json!({"auto_mtu": true, "mtu": 8500})) && !auto(json!({})));
}

#[test]
fn the_names_of_the_nodes_links_begin_as_asked() {
    let prefix = |text: &str| options(&json!({ "veth_prefix": text })).map(|options| options.veth_prefix);
    assert_eq!(prefix("").as_deref(), Ok("cali"));
    assert_eq!(prefix("veth").as_deref(), Ok("veth"));
    for text in ["vethx", "a.b", "lé"] {
        let fault = prefix(text).unwrap_err();
        assert!(fault.what.contains(text) && fault.what.contains("1 to 4"), "{fault}");
    }
}

#[test]
fn wrong_types_are_failures_of_decoding() {
    for (keys, path) in [
        (json!({"mtu": "1500"}), "mtu"),
        (json!({"mtu": 1500.5}), "mtu"),
        (json!({"disable_host_peer": 1}), "disable_host_peer"),
        (json!({"enable_network_priority": "yes"}), "enable_network_priority"),
        (
            json!({"runtimeConfig": {"io.kubernetes.cri.pod-annotations": ["x"]}}),
            "runtimeConfig.io.kubernetes.cri.pod-annotations",
        ),
        (json!({"host_stack_cidrs": "10.0.0.0/8"}), "host_stack_cidrs"),
        (json!({"host_stack_cidrs": [1]}), "host_stack_cidrs[0]"),
        (json!({"runtimeConfig": {"bandwidth": {"egressRate": "1M"}}}), "runtimeConfig.bandwidth.egressRate"),
    ] {
        let fault = options(&keys).unwrap_err();
        assert_eq!(fault.code, FaultCode::CniDecode, "{keys}");
        assert_eq!(fault.what.matches(&format!("at {path}:")).count(), 1, "said once: {fault}");
    }
}

#[test]
fn an_add_waits_between_a_second_and_what_runtimes_allow() {
    assert_eq!(options(&json!({})).unwrap().allocate_timeout, Duration::from_secs(110));
    assert_eq!(options(&json!({"allocate_timeout": 3})).unwrap().allocate_timeout, Duration::from_secs(3));
    for seconds in [0, -1, 111] {
        let fault = options(&json!({ "allocate_timeout": seconds })).unwrap_err();
        assert_eq!(fault.code, FaultCode::ConfigInvalid, "{seconds}");
        assert!(fault.what.contains("allocate_timeout") && fault.what.contains("1 to 110"), "{fault}");
    }
}

#[test]
fn paths_are_absolute_and_fit_a_socket() {
    for keys in [
        json!({"socket_path": "eni.socket"}),
        json!({"run_dir": "../run"}),
        json!({"socket_path": format!("/{}", "x".repeat(107))}),
    ] {
        assert_eq!(Paths::read(&conf(&keys)).unwrap_err().code, FaultCode::ConfigInvalid, "{keys}");
    }
}

#[test]
fn e15_a_capability_that_cannot_be_honoured_is_refused_with_key_and_value() {
    let fault = options(&json!({"runtimeConfig": {"portMappings": [{"hostPort": 80}]}})).unwrap_err();
    assert_eq!(fault.code.cni_code(), 2);
    assert!(fault.what.contains("portMappings") && fault.what.contains("80"), "{fault}");
    for nothing in [json!([]), json!(null), json!({})] {
        assert!(options(&json!({"runtimeConfig": {"portMappings": nothing}})).is_ok());
    }
    assert!(options(&json!({"runtimeConfig": {"dns": {"Servers": []}}})).is_ok());
}
