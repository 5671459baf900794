//! Standing bad manners: slow, throttled, forbidden, forgetful, half-hearted; and the hands of people.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use crate::bench::{Bench, Call};

async fn behave(bench: &Bench, manners: Value) {
    let (status, body) = bench.control(Method::POST, "/v1/manners", manners).await;
    assert_eq!(status, 200, "{body}");
}

async fn by_hand(bench: &Bench, eni: &str, deed: &str, details: Value) {
    let path = format!("/v1/console/enis/{eni}/{deed}");
    let (status, body) = bench.control(Method::POST, &path, details).await;
    assert_eq!(status, 200, "{deed}: {body}");
}

async fn listed(bench: &Bench, eni: &str) -> Option<Value> {
    let page = bench.ok("DescribeNetworkInterfaces", &[("NetworkInterfaceId.1", eni)]).await;
    page["NetworkInterfaceSets"]["NetworkInterfaceSet"].get(0).cloned()
}

/// The ENI as it really is.
async fn real(bench: &Bench, eni: &str) -> Value {
    let state = bench.state().await;
    state["enis"].as_array().unwrap().iter().find(|seen| seen["id"] == *eni).cloned().unwrap_or_default()
}

async fn until_real(bench: &Bench, eni: &str, what: &str, like: impl Fn(&Value) -> bool) {
    let look = async {
        while !like(&real(bench, eni).await) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(10), look).await.is_ok(), "{what}");
}

async fn attach(bench: &Bench, token: &str) -> String {
    let eni = bench.create(token).await;
    bench.until(&eni, "Available").await;
    bench.ok("AttachNetworkInterface", &[("NetworkInterfaceId", &eni), ("InstanceId", "i-1")]).await;
    eni
}

#[tokio::test]
async fn calls_are_slowed_down_throttled_and_forbidden_by_action() {
    let bench = Bench::new().await;
    behave(&bench, json!({"answer_ms": {"DescribeNetworkInterfaces": {"uniform": [30, 40]}}})).await;
    let start = Instant::now();
    bench.ok("DescribeNetworkInterfaces", &[]).await;
    assert!(start.elapsed() >= Duration::from_millis(30));
    behave(&bench, json!({"answer_ms": {}, "throttle": {"*": {"per_minute": 1, "burst": 2}}})).await;
    let codes = async |action: &str| {
        let body = bench.ecs(action, &[("NetworkInterfaceId", "eni-x"), ("InstanceId", "i-1")]).await.1;
        body["Code"].as_str().unwrap_or("ok").to_owned()
    };
    assert_eq!(codes("DescribeNetworkInterfaces").await, "ok");
    assert_eq!(codes("DescribeNetworkInterfaces").await, "ok");
    assert_eq!(codes("DescribeNetworkInterfaces").await, "Throttling.User");
    assert_eq!(codes("AttachNetworkInterface").await, "InvalidEniId.NotFound");
    behave(&bench, json!({"throttle": {}, "denied": ["AttachNetworkInterface"]})).await;
    assert_eq!(codes("AttachNetworkInterface").await, "Forbidden.RAM");
    assert_eq!(codes("DetachNetworkInterface").await, "InvalidEniId.NotFound");
    let (status, _) = bench.control(Method::POST, "/v1/manners", json!({"denied": "all"})).await;
    assert_eq!(status, 400);
}

#[tokio::test]
async fn reads_lag_behind_and_deeds_do_not() {
    let bench = Bench::new().await;
    behave(&bench, json!({"stale_ms": 3_600_000})).await;
    let eni = bench.create("t").await;
    assert_eq!(listed(&bench, &eni).await, None);
    until_real(&bench, &eni, "available", |eni| eni["status"] == "Available").await;
    bench.ok("AttachNetworkInterface", &[("NetworkInterfaceId", &eni), ("InstanceId", "i-1")]).await;
    behave(&bench, json!({"stale_ms": 0, "linger_ms": 3_600_000})).await;
    until_real(&bench, &eni, "in use", |eni| eni["status"] == "InUse").await;
    by_hand(&bench, &eni, "delete", json!({})).await;
    until_real(&bench, &eni, "gone", Value::is_null).await;
    assert_eq!(listed(&bench, &eni).await.unwrap()["Status"], "Deleting");
    let (status, gone) = bench.ecs("DeleteNetworkInterface", &[("NetworkInterfaceId", &eni)]).await;
    assert_eq!((status, &gone["Code"]), (404, &json!("InvalidEniId.NotFound")));
    behave(&bench, json!({"linger_ms": 0, "missing_ms": 3_600_000})).await;
    assert_eq!(listed(&bench, &eni).await, None);
    let new = bench.create("t2").await;
    assert_eq!(listed(&bench, &new).await, None);
    behave(&bench, json!({"missing_ms": 0})).await;
    assert!(listed(&bench, &new).await.is_some());
}

#[tokio::test]
async fn an_assignment_may_succeed_in_part() {
    let bench = Bench::new().await;
    let eni = attach(&bench, "t").await;
    bench.until(&eni, "InUse").await;
    behave(&bench, json!({"partial_assign": 1})).await;
    let three = [("NetworkInterfaceId", eni.as_str()), ("SecondaryPrivateIpAddressCount", "3")];
    let given = async || {
        let body = bench.ok("AssignPrivateIpAddresses", &three).await;
        let set = &body["AssignedPrivateIpAddressesSet"]["PrivateIpSet"]["PrivateIpAddress"];
        set.as_array().unwrap().len()
    };
    assert_eq!(given().await, 1);
    bench.order(json!([{"action": "AssignPrivateIpAddresses", "kind": "partial:2"}])).await;
    assert_eq!(given().await, 2);
    assert_eq!(real(&bench, &eni).await["ipv4"].as_array().unwrap().len(), 4);
}

#[tokio::test]
async fn attaching_may_never_end_and_detaching_be_refused() {
    let bench = Bench::new().await;
    bench.control(Method::POST, "/v1/latency", json!({"attach": "never"})).await;
    let stuck = attach(&bench, "t").await;
    assert_eq!(real(&bench, &stuck).await["status"], "Attaching");
    bench.control(Method::POST, "/v1/latency", json!({"attach": 1})).await;
    assert_eq!(real(&bench, &stuck).await["status"], "Attaching");
    by_hand(&bench, &stuck, "detach", json!({})).await;
    bench.until(&stuck, "Available").await;
    let both = [("NetworkInterfaceId", stuck.as_str()), ("InstanceId", "i-1")];
    bench.ok("AttachNetworkInterface", &both).await;
    bench.until(&stuck, "InUse").await;
    behave(&bench, json!({"detach_refused": true})).await;
    let (_, body) = bench.ecs("DetachNetworkInterface", &both).await;
    assert_eq!(body["Code"], "InvalidOperation.InvalidEniState");
    behave(&bench, json!({"detach_refused": false})).await;
    bench.ok("DetachNetworkInterface", &both).await;
}

#[tokio::test]
async fn a_link_may_be_late_missing_or_vanish() {
    let bench = Bench::new().await;
    bench.control(Method::POST, "/v1/latency", json!({"link": "never"})).await;
    let eni = attach(&bench, "t").await;
    bench.until(&eni, "InUse").await;
    assert_eq!(real(&bench, &eni).await["link"], "absent");
    by_hand(&bench, &eni, "plug", json!({})).await;
    until_real(&bench, &eni, "a link", |eni| eni["link"] == "present").await;
    by_hand(&bench, &eni, "unplug", json!({})).await;
    until_real(&bench, &eni, "no link", |eni| eni["link"] == "absent").await;
    assert_eq!(real(&bench, &eni).await["status"], "InUse");
    by_hand(&bench, &eni, "plug", json!({})).await;
    until_real(&bench, &eni, "a link again", |eni| eni["link"] == "present").await;
}

#[tokio::test]
async fn a_person_changes_what_they_like() {
    let bench = Bench::new().await;
    let eni = attach(&bench, "t").await;
    bench.until(&eni, "InUse").await;
    by_hand(&bench, &eni, "security-groups", json!({"security_groups": ["sg-2"]})).await;
    by_hand(&bench, &eni, "tags", json!({"tags": {"mine": "yes"}})).await;
    let id = ("NetworkInterfaceId", eni.as_str());
    bench.ok("AssignPrivateIpAddresses", &[id, ("PrivateIpAddress.1", "10.0.1.99")]).await;
    by_hand(&bench, &eni, "unassign", json!({"ipv4": ["10.0.1.99"]})).await;
    let seen = real(&bench, &eni).await;
    assert_eq!((&seen["security_groups"], &seen["tags"]), (&json!(["sg-2"]), &json!({"mine": "yes"})));
    assert_eq!(seen["ipv4"].as_array().unwrap().len(), 1);
    let page = bench.ok("DescribeNetworkInterfaces", &[("Tag.1.Key", "mine"), ("Tag.1.Value", "yes")]).await;
    assert_eq!(page["TotalCount"], 1);
    by_hand(&bench, &eni, "detach", json!({})).await;
    bench.until(&eni, "Available").await;
    let path = format!("/v1/console/enis/{eni}/paint");
    assert_eq!(bench.control(Method::POST, &path, json!({})).await.0, 404);
    assert_eq!(bench.control(Method::POST, "/v1/console/enis/eni-x/detach", json!({})).await.0, 409);
}

#[tokio::test]
async fn a_vswitch_runs_dry_and_is_filled_again() {
    let bench = Bench::new().await;
    let wish = [("VSwitchId", "vsw-a"), ("SecurityGroupId", "sg-1")];
    assert_eq!(bench.control(Method::POST, "/v1/vswitches/vsw-a", json!({"free": 1})).await.0, 200);
    bench.ok("CreateNetworkInterface", &wish).await;
    let (_, body) = bench.ecs("CreateNetworkInterface", &wish).await;
    assert_eq!(body["Code"], "InvalidVSwitchId.IpNotEnough");
    assert_eq!(bench.state().await["vswitches"][0]["free_ipv4"], 0);
    bench.control(Method::POST, "/v1/vswitches/vsw-a", json!({"free": null})).await;
    bench.ok("CreateNetworkInterface", &wish).await;
    assert_eq!(bench.control(Method::POST, "/v1/vswitches/vsw-x", json!({"free": 1})).await.0, 404);
}

#[tokio::test]
async fn keys_are_switched_off_and_end() {
    let bench = Bench::new().await;
    let sts = |token: &str| Call {
        key: "sts".to_owned(),
        secret: "other".to_owned(),
        security_token: Some(token.to_owned()),
        ..Call::new("DescribeNetworkInterfaces", &[("RegionId", "sim-region-1")])
    };
    let key = async |id: &str, change: Value| {
        bench.control(Method::POST, &format!("/v1/credentials/{id}"), change).await.0
    };
    assert_eq!(key("key", json!({"state": "inactive"})).await, 200);
    let (_, body) = bench.ecs("DescribeNetworkInterfaces", &[]).await;
    assert_eq!(body["Code"], "InvalidAccessKeyId.Inactive");
    assert_eq!(sts("t0k3n").send(&bench).await.unwrap().0, 200);
    assert_eq!(key("sts", json!({"rotate": true})).await, 200);
    assert_eq!(sts("t0k3n").refusal(&bench).await.1, "InvalidSecurityToken.Expired");
    assert_eq!(sts("t0k3n.1").send(&bench).await.unwrap().0, 200);
    assert_eq!(key("sts", json!({"state": "expired"})).await, 200);
    assert_eq!(sts("t0k3n.1").refusal(&bench).await.1, "InvalidSecurityToken.Expired");
    assert_eq!(key("nobody", json!({})).await, 404);
}

#[tokio::test]
async fn the_metadata_service_goes_away_fails_and_lags() {
    let bench = Bench::new().await;
    let token = async || {
        let url = format!("{}/latest/api/token", bench.running.endpoints().metadata);
        let answer =
            bench.http.put(url).header("X-aliyun-ecs-metadata-token-ttl-seconds", "60").send().await?;
        Ok::<_, reqwest::Error>((answer.status().as_u16(), answer.text().await?))
    };
    behave(&bench, json!({"metadata": "failing"})).await;
    assert_eq!(token().await.unwrap().0, 503);
    behave(&bench, json!({"metadata": "down"})).await;
    assert!(token().await.is_err());
    behave(&bench, json!({"metadata": "up", "metadata_stale_ms": 3_600_000})).await;
    let (_, token) = token().await.unwrap();
    let macs = async || {
        let url = format!("{}/latest/meta-data/network/interfaces/macs/", bench.running.endpoints().metadata);
        let answer = bench.http.get(url).header("X-aliyun-ecs-metadata-token", &token).send().await.unwrap();
        answer.text().await.unwrap().lines().count()
    };
    let eni = attach(&bench, "t").await;
    bench.until(&eni, "InUse").await;
    assert_eq!(macs().await, 1);
    behave(&bench, json!({"metadata_stale_ms": 0})).await;
    assert_eq!(macs().await, 2);
}
