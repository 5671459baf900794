//! Every action's request as it goes onto the wire, byte by byte. The expected files in `golden/` were computed
//! by an independent program (Python's hashlib, hmac and json) from the rules of "Signature v3" in Tencent
//! Cloud's documentation, with the parameters of each action's page in the VPC API reference.

use std::collections::BTreeMap;

use terway_types::AddressCounts;

use super::super::api::{self, Action, Parameters};
use super::super::sign::{Unsigned, canonical_request, sign};
use crate::AccessKey;
use crate::cloud::{CreateEni, EniFilter, EniKind};
use crate::golden_files::complete;

/// All actions, each with parameters of every kind it takes.
fn calls() -> Vec<(Action, Parameters)> {
    let (eni, instance, token) = ("eni-7".into(), "ins-1".into(), "t-9".into());
    let create = CreateEni {
        token: "node-1-7".into(),
        vswitch: "subnet-1".into(),
        security_groups: vec!["sg-2".into(), "sg-1".into()],
        counts: AddressCounts { ipv4: 6, ..AddressCounts::default() },
        primary_ipv4: None,
        kind: EniKind::Trunk,
        tags: BTreeMap::from([
            ("terway.io/intent".into(), "node-1-7".into()),
            ("creator".into(), "terway".into()),
        ]),
    };
    let filter = EniFilter {
        instance: Some("ins-1".into()),
        tags: BTreeMap::from([("creator".into(), "terway".into())]),
        ..EniFilter::default()
    };
    let groups = ["sg-2".into(), "sg-1".into()];
    vec![
        (api::CREATE, api::create(&create, "vpc-1")),
        (api::ATTACH, api::bind(&eni, &instance)),
        (api::DETACH, api::bind(&eni, &instance)),
        (api::DELETE, api::one(&eni)),
        (api::DESCRIBE, api::from_offset(api::describe_filtered(&filter), 0)),
        (api::ASSIGN_V4, api::assign_v4(&eni, &token, 3)),
        (api::UNASSIGN_V4, api::unassign_v4(&eni, &["10.0.0.8".into(), "10.0.0.9".into()])),
        (api::ASSIGN_V6, api::assign_v6(&eni, 2)),
        (api::UNASSIGN_V6, api::unassign_v6(&eni, &["fd00::9".into()])),
        (api::MODIFY, api::security_groups(&eni, &groups)),
        (api::INSTANCES, api::instances(&["ins-1".into(), "ins-2".into()])),
        (api::SUBNETS, api::subnets(&["subnet-1"])),
        (api::LIMITS, api::limits(&instance)),
        (api::TASK, api::task("481e9b6e-81d1-4859-b8cf-a673e010b388")),
    ]
}

fn render(action: &Action, parameters: Parameters) -> String {
    let key = AccessKey::new("AKID-test", "secret".into(), Some("sts-token".into())).unwrap();
    let body = serde_json::Value::Object(parameters).to_string();
    let host = match action.name {
        "DescribeInstances" => "cvm.internal.tencentcloudapi.com",
        _ => "vpc.internal.tencentcloudapi.com",
    };
    let unsigned = Unsigned {
        host,
        service: action.product.name(),
        action: action.name,
        version: api::VERSION,
        region: "ap-guangzhou",
        body: &body,
    };
    let canonical = canonical_request(host, "application/json", &body);
    let headers = sign(&unsigned, &key, "2026-11-21T08:00:00Z".parse().unwrap());
    let headers: Vec<_> = headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
    format!("== canonical request\n{canonical}\n== request\nPOST /\n{}\n{body}\n", headers.concat())
}

#[test]
fn every_action_is_sent_as_documented() {
    let calls = calls();
    let compared = calls.iter().map(|(action, _)| action.name);
    complete(include_str!("../api.rs"), "tencent/tests/golden", compared);
    for (action, parameters) in calls {
        let path = format!("{}/src/tencent/tests/golden/{}.txt", env!("CARGO_MANIFEST_DIR"), action.name);
        let expected = std::fs::read_to_string(&path).unwrap();
        assert_eq!(render(&action, parameters), expected, "{path}");
    }
}
