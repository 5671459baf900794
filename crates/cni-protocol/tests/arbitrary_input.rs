//! Whatever comes in, the answer is valid: silence, or one JSON object.
#![expect(clippy::unwrap_used, reason = "a test ends where an expectation does")]

use std::ffi::OsString;

use cni_protocol::{
    AddRequest, CheckRequest, CniError, CniResult, DelRequest, GcRequest, Handler, StatusRequest, dispatch,
};
use proptest::prelude::*;
use serde_json::Value;

struct Content;

impl Handler for Content {
    fn add(&self, _: &AddRequest) -> Result<CniResult, CniError> {
        Ok(CniResult::default())
    }
    fn del(&self, _: &DelRequest) -> Result<(), CniError> {
        Ok(())
    }
    fn check(&self, _: &CheckRequest) -> Result<(), CniError> {
        Ok(())
    }
    fn gc(&self, _: &GcRequest) -> Result<(), CniError> {
        Ok(())
    }
    fn status(&self, _: &StatusRequest) -> Result<(), CniError> {
        Ok(())
    }
}

fn check(verb: &str, values: &[String], stdin: &[u8]) {
    let env = |name: &str| {
        let at = ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS", "CNI_PATH", "TRACEPARENT"]
            .iter()
            .position(|known| *known == name);
        match at {
            Some(at) => values.get(at).map(OsString::from),
            None if name == "CNI_COMMAND" => Some(OsString::from(verb)),
            None => None,
        }
    };
    let outcome = dispatch(&Content, &env, stdin);
    if outcome.stdout.is_empty() {
        assert_eq!(outcome.exit_code, 0);
        return;
    }
    let answer: Value = serde_json::from_slice(&outcome.stdout).unwrap();
    assert!(answer["cniVersion"].is_string());
    assert_eq!(answer.get("code").is_some(), outcome.exit_code != 0, "{answer}");
}

fn verb() -> impl Strategy<Value = String> {
    prop_oneof![
        9 => prop::sample::select(vec!["ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION"]).prop_map(str::to_owned),
        1 => ".*",
    ]
}

/// JSON that looks like a configuration, with something odd under one of the known keys.
fn almost_a_configuration() -> impl Strategy<Value = Vec<u8>> {
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[ -~]{0,12}".prop_map(Value::from),
        prop::sample::select(vec!["10.0.0.5/24", "fd00::1/64", "10.0.0.1", "1.1.0", "0.3.0", "eth0"])
            .prop_map(Value::from),
    ];
    let keys = vec![
        "interfaces",
        "ips",
        "routes",
        "dns",
        "address",
        "gateway",
        "interface",
        "dst",
        "gw",
        "name",
        "mac",
        "containerID",
        "ifname",
        "cni",
        "nameservers",
    ];
    let value = scalar.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((prop::sample::select(keys.clone()), inner), 0..4)
                .prop_map(|pairs| pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
        ]
    });
    let places = vec![
        "prevResult",
        "args",
        "runtimeConfig",
        "capabilities",
        "cni.dev/valid-attachments",
        "cni.dev/attachments",
        "cniVersions",
        "cniVersion",
        "name",
    ];
    (prop::sample::select(vec!["0.3.1", "0.4.0", "1.0.0", "1.1.0"]), prop::sample::select(places), value)
        .prop_map(|(version, place, value)| {
            let mut conf = serde_json::json!({"cniVersion": version, "name": "net", "type": "t"});
            conf[place] = value;
            conf.to_string().into_bytes()
        })
}

proptest! {
    #[test]
    fn bytes_never_panic(
        verb in verb(),
        values in prop::collection::vec(".{0,40}", 0..6),
        stdin in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        check(&verb, &values, &stdin);
    }

    #[test]
    fn odd_configurations_never_panic(verb in verb(), stdin in almost_a_configuration()) {
        let values = ["c0ffee", "/run/netns/a", "eth0", "A=b"].map(str::to_owned);
        check(&verb, &values, &stdin);
    }
}
