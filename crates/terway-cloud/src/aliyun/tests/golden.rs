//! Every action's request as it goes onto the wire, byte by byte, under both signatures. The expected files
//! in `golden/` were computed by an independent program (Python's hashlib, hmac and urllib) from the rules of
//! "Request syntax and signature method V3" and "Sign RPC APIs" in Alibaba Cloud's documentation, with the
//! parameters of each action's page in the ECS and VPC API reference.

use std::collections::BTreeMap;

use terway_types::{AddressCounts, AddressSet};

use super::super::api::{self, Action, Parameters};
use super::super::sign::{Signed, Unsigned, acs3, rpc};
use crate::AccessKey;
use crate::cloud::{Assign, CreateEni, EniFilter, EniKind};
use crate::golden_files::complete;

const DATE: &str = "2026-11-21T08:00:00Z";
const NONCE: &str = "0123456789abcdef0123456789abcdef";

fn create() -> Parameters {
    api::create(&CreateEni {
        token: "node-1-7".into(),
        vswitch: "vsw-1".into(),
        security_groups: vec!["sg-2".into(), "sg-1".into()],
        counts: AddressCounts { ipv4: 6, ipv6: 2, ipv4_prefixes: 3, ipv6_prefixes: 1 },
        primary_ipv4: None,
        kind: EniKind::Secondary,
        tags: BTreeMap::from([
            ("terway.io/intent".into(), "node-1-7".into()),
            ("creator".into(), "terway".into()),
        ]),
    })
}

/// All actions, each with parameters of every kind it takes.
fn calls() -> Vec<(&'static Action, Parameters)> {
    let (eni, instance, token) = ("eni-7".into(), "i-1".into(), "t-9".into());
    let filter = EniFilter {
        instance: Some("i-1".into()),
        tags: BTreeMap::from([("creator".into(), "terway".into())]),
        ..EniFilter::default()
    };
    let what = AddressSet {
        ipv4: vec![[10, 0, 0, 8].into(), [10, 0, 0, 9].into()],
        ipv6: vec!["fd00::9".parse().unwrap()],
        prefixes: Vec::new(),
    };
    let mut calls = vec![
        (&api::CREATE, create()),
        (&api::INSTANCES, api::instances(&["i-1".into(), "i-2".into()])),
        (&api::ATTACH, api::bind(&eni, &instance)),
        (&api::DETACH, api::bind(&eni, &instance)),
        (&api::DELETE, api::one(&eni)),
        (&api::DESCRIBE, api::describe(&filter, &["eni-7".into(), "eni-8".into()])),
        api::assign(&eni, &token, Assign::Ipv4(3)),
        api::assign(&eni, &token, Assign::Ipv6Prefixes(1)),
        (&api::MODIFY, api::security_groups(&eni, &["sg-2".into(), "sg-1".into()])),
        (&api::INSTANCE_TYPES, api::instance_type("ecs.g7.large")),
        (&api::VSWITCHES, api::vswitch(&"vsw-1".into())),
    ];
    calls.extend(api::taken(&what).iter().map(|taken| (taken.action, taken.parameters(&eni, &taken.texts))));
    calls
}

fn request(signed: &Signed) -> String {
    let headers: Vec<_> = signed.headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
    let headers = headers.concat();
    let query = if signed.query.is_empty() { String::new() } else { format!("?{}", signed.query) };
    let body = if signed.body.is_empty() { String::new() } else { format!("{}\n", signed.body) };
    format!("== request\nPOST /{query}\n{headers}\n{body}")
}

fn render(action: &Action, parameters: Parameters) -> String {
    let key = AccessKey::new("LTAI-test", "secret".into(), Some("sts-token".into())).unwrap();
    let parameters = parameters.with("RegionId", "cn-hangzhou");
    let host = format!("{}-vpc.cn-hangzhou.aliyuncs.com", action.product.name());
    let unsigned = Unsigned {
        host: &host,
        action: action.name,
        version: action.product.version(),
        parameters: &parameters.0,
        in_form: action.product.uses_forms(),
    };
    let canonical = acs3::canonical(&unsigned, &key, DATE, NONCE).text;
    let v3 = request(&acs3::sign(&unsigned, &key, DATE, NONCE));
    let v1 = rpc::sign(&unsigned, &key, DATE, NONCE);
    let (unsigned_query, _) = v1.query.rsplit_once("&Signature=").unwrap();
    let mut pairs: Vec<_> = unsigned_query.split('&').chain(v1.body.split('&')).collect();
    pairs.retain(|pair| !pair.is_empty());
    pairs.sort_unstable();
    let to_sign = rpc::string_to_sign("POST", &pairs.join("&"));
    format!(
        "== ACS3-HMAC-SHA256: canonical request\n{canonical}\n{v3}== RPC 1.0: string to sign\n{to_sign}\n{}",
        request(&v1)
    )
}

#[test]
fn every_action_is_sent_as_documented() {
    let calls = calls();
    let compared = calls.iter().map(|(action, _)| action.name);
    complete(include_str!("../api.rs"), "aliyun/tests/golden", compared);
    for (action, parameters) in calls {
        compare(action.name, action, parameters);
    }
}

pub(in crate::aliyun) fn compare(file: &str, action: &Action, parameters: Parameters) {
    let path = format!("{}/src/aliyun/tests/golden/{file}.txt", env!("CARGO_MANIFEST_DIR"));
    let expected = std::fs::read_to_string(&path).unwrap();
    assert_eq!(render(action, parameters), expected, "{path}");
}

#[test]
fn actions_on_trunks_are_sent_as_documented() {
    let create = api::create(&CreateEni {
        token: "node-1-7".into(),
        vswitch: "vsw-1".into(),
        security_groups: vec!["sg-1".into()],
        counts: AddressCounts { ipv4: 1, ..AddressCounts::default() },
        primary_ipv4: Some([10, 0, 0, 7].into()),
        kind: EniKind::Trunk,
        tags: BTreeMap::new(),
    });
    let member = || api::bind_member(&"eni-7".into(), &"eni-1".into(), &"i-1".into());
    compare("trunk/CreateNetworkInterface", &api::CREATE, create);
    compare("trunk/AttachNetworkInterface", &api::ATTACH, member());
    compare("trunk/DetachNetworkInterface", &api::DETACH, member());
    let keep = api::delete_on_release(&"eni-7".into(), false);
    compare("trunk/ModifyNetworkInterfaceAttribute", &api::MODIFY, keep);
}
