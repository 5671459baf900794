//! The specification's rules, one test per rule, named by the rows of the CNI checklist
//! (E: environment and input, V: versions, A: ADD, D: DEL, C: CHECK, S: STATUS, G: GC).
#![expect(clippy::unwrap_used, reason = "a test ends where an expectation does")]

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::OsString;
use std::io::{self, Read};

use cni_protocol::{
    AddRequest, CheckRequest, CniError, CniResult, DelRequest, GcRequest, Handler, Interface, IpConfig,
    Outcome, Request, StatusRequest, ValidAttachments, Version, code, dispatch,
};
use serde_json::{Value, json};

/// Remembers what it was asked; ADD answers one interface with one address.
#[derive(Default)]
struct Spy {
    seen: RefCell<Option<Request>>,
    failure: Option<CniError>,
}

impl Spy {
    fn note<T>(&self, request: Request, answer: T) -> Result<T, CniError> {
        self.seen.replace(Some(request));
        self.failure.clone().map_or(Ok(answer), Err)
    }
}

impl Handler for Spy {
    fn add(&self, request: &AddRequest) -> Result<CniResult, CniError> {
        let result = CniResult {
            interfaces: vec![Interface { name: "eth0".to_owned(), mtu: Some(1500), ..Interface::default() }],
            ips: vec![IpConfig {
                address: "10.0.0.5/24".parse().unwrap(),
                gateway: None,
                interface: Some(0),
            }],
            ..CniResult::default()
        };
        self.note(Request::Add(request.clone()), result)
    }
    fn del(&self, request: &DelRequest) -> Result<(), CniError> {
        self.note(Request::Del(request.clone()), ())
    }
    fn check(&self, request: &CheckRequest) -> Result<(), CniError> {
        self.note(Request::Check(request.clone()), ())
    }
    fn gc(&self, request: &GcRequest) -> Result<(), CniError> {
        self.note(Request::Gc(request.clone()), ())
    }
    fn status(&self, request: &StatusRequest) -> Result<(), CniError> {
        self.note(Request::Status(request.clone()), ())
    }
}

type Env = HashMap<&'static str, OsString>;

fn env_of(verb: &str) -> Env {
    let pairs = [
        ("CNI_COMMAND", verb),
        ("CNI_CONTAINERID", "c0ffee"),
        ("CNI_NETNS", "/run/netns/a"),
        ("CNI_IFNAME", "eth0"),
        ("CNI_PATH", "/opt/cni/bin:/usr/lib/cni"),
    ];
    pairs.into_iter().map(|(name, value)| (name, OsString::from(value))).collect()
}

fn conf(version: &str) -> Value {
    json!({ "cniVersion": version, "name": "net", "type": "spy", "prevResult": {} })
}

fn call(spy: &Spy, env: &Env, stdin: impl Read) -> Outcome {
    dispatch(spy, &|name: &str| env.get(name).cloned(), stdin)
}

fn call_json(spy: &Spy, env: &Env, stdin: &Value) -> (u8, Value) {
    let outcome = call(spy, env, stdin.to_string().as_bytes());
    let value = if outcome.stdout.is_empty() { Value::Null } else { json_of(&outcome) };
    (outcome.exit_code, value)
}

fn json_of(outcome: &Outcome) -> Value {
    serde_json::from_slice(&outcome.stdout).unwrap()
}

fn seen(env: &Env, stdin: &Value) -> Request {
    let spy = Spy::default();
    let (exit_code, answer) = call_json(&spy, env, stdin);
    assert_eq!(exit_code, 0, "{answer}");
    spy.seen.take().unwrap()
}

#[test]
fn e1_failure_is_an_error_object_and_a_non_zero_exit() {
    let failure = CniError::new(code::TRY_AGAIN_LATER, "no ENI is free").details("pool of 7");
    let spy = Spy { failure: Some(failure), ..Spy::default() };
    for verb in ["ADD", "DEL", "CHECK", "GC", "STATUS"] {
        let (exit_code, answer) = call_json(&spy, &env_of(verb), &conf("1.1.0"));
        assert_eq!(exit_code, 1, "{verb}");
        let expected =
            json!({"cniVersion": "1.1.0", "code": 11, "msg": "no ENI is free", "details": "pool of 7"});
        assert_eq!(answer, expected, "{verb}");
    }
}

#[test]
fn e2_the_verb_is_one_of_six() {
    for verb in ["add", "UPDATE", "ADD ", ""] {
        let (exit_code, answer) = call_json(&Spy::default(), &env_of(verb), &conf("1.0.0"));
        assert_eq!((exit_code, &answer["code"]), (1, &json!(4)), "{verb:?}");
        assert!(answer["msg"].as_str().unwrap().contains("CNI_COMMAND"), "{answer}");
    }
    let (_, answer) = call_json(&Spy::default(), &Env::new(), &conf("1.0.0"));
    assert_eq!(answer["msg"], "environment variables are missing or invalid: CNI_COMMAND is not set");
    assert_eq!(answer["cniVersion"], "1.0.0");
}

#[test]
fn e3_e4_e5_each_verb_needs_its_variables_and_no_other() {
    let all = ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH", "CNI_ARGS"];
    for (verb, needed) in [
        ("ADD", &all[..3]),
        ("CHECK", &all[..3]),
        ("DEL", &["CNI_CONTAINERID", "CNI_IFNAME"][..]),
        ("GC", &[][..]),
        ("STATUS", &[][..]),
        ("VERSION", &[][..]),
    ] {
        for name in all {
            let mut env = env_of(verb);
            env.remove(name);
            let (exit_code, answer) = call_json(&Spy::default(), &env, &conf("1.1.0"));
            assert_eq!(exit_code == 0, !needed.contains(&name), "{verb} without {name}: {answer}");
            env.insert(name, OsString::new());
            let (with_empty, answer) = call_json(&Spy::default(), &env, &conf("1.1.0"));
            assert_eq!(with_empty, exit_code, "{verb} with empty {name}: {answer}");
        }
    }
}

#[test]
fn e4_del_takes_an_empty_netns() {
    let mut env = env_of("DEL");
    env.insert("CNI_NETNS", OsString::new());
    let Request::Del(request) = seen(&env, &conf("1.0.0")) else { panic!("not a DEL") };
    assert_eq!(request.netns, None);
}

#[test]
fn e6_e8_e9_every_offender_is_named_at_once() {
    let mut env = env_of("ADD");
    env.insert("CNI_CONTAINERID", "../etc".into());
    env.insert("CNI_IFNAME", "a-name-of-16-byt".into());
    env.insert("CNI_ARGS", "nonsense".into());
    env.remove("CNI_NETNS");
    let (_, answer) = call_json(&Spy::default(), &env, &conf("1.0.0"));
    assert_eq!(answer["code"], 4);
    let msg = answer["msg"].as_str().unwrap();
    for name in ["CNI_CONTAINERID", "../etc", "CNI_IFNAME", "a-name-of-16-byt", "CNI_NETNS", "CNI_ARGS"] {
        assert!(msg.contains(name), "{name}: {msg}");
    }
}

#[test]
fn e6_e8_hostile_names_are_refused() {
    let hostile = [
        ("CNI_CONTAINERID", &["-rf", "a b", "a/b", ".", "a\nb", "$(x)", "ä"][..]),
        ("CNI_IFNAME", &[".", "..", "a/b", "a:b", "a b", "eth0\n", "sixteen-bytes-xx"][..]),
    ];
    for (name, values) in hostile {
        for value in values {
            let mut env = env_of("ADD");
            env.insert(name, value.into());
            let (_, answer) = call_json(&Spy::default(), &env, &conf("1.0.0"));
            assert_eq!(answer["code"], 4, "{name}={value:?}");
            assert!(answer["msg"].as_str().unwrap().contains(name));
        }
    }
}

#[cfg(unix)]
#[test]
fn e9_a_value_that_is_no_text_is_named() {
    use std::os::unix::ffi::OsStringExt;
    let mut env = env_of("ADD");
    env.insert("CNI_NETNS", OsString::from_vec(vec![b'/', 0xff]));
    let (_, answer) = call_json(&Spy::default(), &env, &conf("1.0.0"));
    assert_eq!(answer["msg"], "environment variables are missing or invalid: CNI_NETNS is not valid UTF-8");
}

#[test]
fn e10_unreadable_stdin_is_5_and_undecodable_is_6() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("the pipe broke"))
        }
    }
    let outcome = call(&Spy::default(), &env_of("ADD"), Broken);
    assert_eq!(json_of(&outcome)["code"], 5);
    let outcome = call(&Spy::default(), &env_of("ADD"), &b"{\"cniVersion\": "[..]);
    assert_eq!((outcome.exit_code, &json_of(&outcome)["code"]), (1, &json!(6)));
    let outcome = call(&Spy::default(), &env_of("ADD"), io::repeat(b' '));
    assert_eq!(json_of(&outcome)["code"], 5, "an endless input ends");
    let outcome = call(&Spy::default(), &env_of("VERSION"), Broken);
    assert_eq!(outcome.exit_code, 0, "VERSION does without standard input");
}

#[test]
fn e12_e14_runtime_config_and_args_reach_the_handler() {
    let mut env = env_of("ADD");
    env.insert("CNI_ARGS", "K8S_POD_UID=u;IgnoreUnknown=1;K8S_POD_NAME=variable".into());
    let mut conf = conf("1.0.0");
    conf["runtimeConfig"] = json!({"bandwidth": {"ingressRate": 8000}});
    conf["args"] = json!({"cni": {"K8S_POD_NAME": "object"}, "org.example": 1});
    let Request::Add(request) = seen(&env, &conf) else { panic!("not an ADD") };
    let context = request.context;
    assert_eq!(context.args.get("K8S_POD_NAME").as_deref(), Some("object"));
    assert_eq!(context.args.get("K8S_POD_UID").as_deref(), Some("u"));
    let bandwidth: Option<HashMap<String, u64>> = context.config.capability("bandwidth").unwrap();
    assert_eq!(bandwidth.unwrap()["ingressRate"], 8000);
    assert_eq!(context.path.len(), 2);

    conf["args"] = json!({"cni": 7});
    let (_, answer) = call_json(&Spy::default(), &env, &conf);
    assert_eq!(answer["code"], 6);
    assert!(answer["msg"].as_str().unwrap().contains("at args.cni:"), "{answer}");
}

#[test]
fn v1_version_repeats_the_input_and_lists_what_is_spoken() {
    let spoken = json!(["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"]);
    for (stdin, version) in [
        (r#"{"cniVersion":"0.4.0"}"#, "0.4.0"),
        (r#"{"cniVersion":"0.1.0"}"#, "0.1.0"),
        (r#"{"cniVersion":7}"#, "1.1.0"),
        (r#"{"cniVersion":"<script>"}"#, "1.1.0"),
        ("", "1.1.0"),
        ("garbage", "1.1.0"),
    ] {
        let outcome = call(&Spy::default(), &env_of("VERSION"), stdin.as_bytes());
        assert_eq!(outcome.exit_code, 0);
        assert_eq!(json_of(&outcome), json!({"cniVersion": version, "supportedVersions": spoken}), "{stdin}");
    }
}

#[test]
fn v1_podmans_probe_is_answered() {
    let pairs = [
        ("CNI_COMMAND", "VERSION"),
        ("CNI_ARGS", ""),
        ("CNI_IFNAME", "dummy"),
        ("CNI_NETNS", "dummy"),
        ("CNI_PATH", "dummy"),
    ];
    let env: Env = pairs.into_iter().map(|(name, value)| (name, OsString::from(value))).collect();
    let (exit_code, answer) = call_json(&Spy::default(), &env, &json!({"cniVersion": "1.0.0"}));
    assert_eq!((exit_code, &answer["cniVersion"]), (0, &json!("1.0.0")));
}

#[test]
fn v2_v8_the_result_has_the_inputs_version_and_shape() {
    for version in Version::ALL {
        let (exit_code, answer) = call_json(&Spy::default(), &env_of("ADD"), &conf(version.as_str()));
        assert_eq!((exit_code, &answer["cniVersion"]), (0, &json!(version.as_str())));
        assert_eq!(answer["ips"][0].get("version").is_some(), version < Version::V1_0_0);
        assert_eq!(answer["interfaces"][0].get("mtu").is_some(), version >= Version::V1_1_0);
    }
}

#[test]
fn v5_v6_an_unknown_version_is_code_1_with_the_list() {
    for version in ["0.1.0", "0.2.0", "2.0.0", "1.1"] {
        let (_, answer) = call_json(&Spy::default(), &env_of("ADD"), &conf(version));
        assert_eq!((&answer["code"], &answer["cniVersion"]), (&json!(1), &json!(version)));
        assert!(answer["details"].as_str().unwrap().contains("0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0"));
    }
    let (_, answer) = call_json(&Spy::default(), &env_of("ADD"), &json!({"name": "net"}));
    assert_eq!(answer["code"], 1);
}

#[test]
fn v7_verbs_are_gated_by_version() {
    for version in Version::ALL {
        for (verb, since) in [
            ("ADD", Version::V0_3_0),
            ("DEL", Version::V0_3_0),
            ("CHECK", Version::V0_4_0),
            ("GC", Version::V1_1_0),
            ("STATUS", Version::V1_1_0),
        ] {
            let (exit_code, answer) = call_json(&Spy::default(), &env_of(verb), &conf(version.as_str()));
            if version >= since {
                assert_eq!(exit_code, 0, "{verb} {version}: {answer}");
            } else {
                assert_eq!(answer["code"], 1, "{verb} {version}");
                let details = answer["details"].as_str().unwrap();
                assert!(details.contains(since.as_str()) && !details.contains("0.3.0"), "{details}");
            }
        }
    }
}

#[test]
fn v9_every_verb_reaches_its_handler() {
    for verb in ["ADD", "DEL", "CHECK", "GC", "STATUS"] {
        let name = match seen(&env_of(verb), &conf("1.1.0")) {
            Request::Add(_) => "ADD",
            Request::Del(_) => "DEL",
            Request::Check(_) => "CHECK",
            Request::Gc(_) => "GC",
            Request::Status(_) => "STATUS",
            Request::Version => "VERSION",
        };
        assert_eq!(name, verb);
    }
}

#[test]
fn a2_a4_the_result_follows_that_of_the_plugins_before() {
    let mut conf = conf("1.0.0");
    conf["prevResult"] = json!({
        "cniVersion": "1.0.0",
        "interfaces": [{"name": "other0", "shape": "round"}],
        "routes": [{"dst": "10.9.0.0/16"}],
    });
    let (_, answer) = call_json(&Spy::default(), &env_of("ADD"), &conf);
    let expected = json!({
        "cniVersion": "1.0.0",
        "interfaces": [{"name": "other0", "shape": "round"}, {"name": "eth0"}],
        "ips": [{"address": "10.0.0.5/24", "interface": 1}],
        "routes": [{"dst": "10.9.0.0/16"}],
    });
    assert_eq!(answer, expected);
}

#[test]
fn d3_del_goes_on_with_any_prev_result() {
    for prev in [json!(null), json!({}), json!([]), json!({"ips": [{"address": "nonsense"}]}), json!("x")] {
        let mut conf = conf("1.0.0");
        conf["prevResult"] = prev.clone();
        let Request::Del(_) = seen(&env_of("DEL"), &conf) else { panic!("not a DEL: {prev}") };
    }
}

#[test]
fn c1_check_hands_over_the_previous_result() {
    let mut conf = conf("1.0.0");
    for (value, is_there) in [(Value::Null, false), (json!({"ips": []}), true)] {
        conf["prevResult"] = value;
        let Request::Check(request) = seen(&env_of("CHECK"), &conf) else { panic!("not a CHECK") };
        assert_eq!(request.prev_result.is_some(), is_there);
    }
    conf["prevResult"] = json!({"ips": [{"address": "nonsense"}]});
    let (_, answer) = call_json(&Spy::default(), &env_of("CHECK"), &conf);
    assert_eq!(answer["code"], 6);
}

#[test]
fn d2_c_s_g5_success_of_the_other_verbs_is_silent() {
    for verb in ["DEL", "CHECK", "GC", "STATUS"] {
        let outcome = call(&Spy::default(), &env_of(verb), conf("1.1.0").to_string().as_bytes());
        assert_eq!(outcome, Outcome { stdout: Vec::new(), exit_code: 0 }, "{verb}");
    }
}

#[test]
fn g1_gc_hands_over_the_list() {
    let mut conf = conf("1.1.0");
    let Request::Gc(request) = seen(&env_of("GC"), &conf) else { panic!("not a GC") };
    assert_eq!(request.valid, ValidAttachments::Absent);
    conf["cni.dev/valid-attachments"] = json!([{"containerID": "a", "ifname": "eth0"}]);
    let Request::Gc(request) = seen(&env_of("GC"), &conf) else { panic!("not a GC") };
    let ValidAttachments::Listed(list) = request.valid else { panic!("no list") };
    assert_eq!((list[0].container_id.as_str(), list[0].ifname.as_str()), ("a", "eth0"));
}

#[test]
fn trap_14_the_trace_goes_on() {
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let mut env = env_of("ADD");
    env.insert("TRACEPARENT", parent.into());
    let Request::Add(request) = seen(&env, &conf("1.0.0")) else { panic!("not an ADD") };
    assert_eq!(request.context.trace.traceparent.as_deref(), Some(parent));
}
