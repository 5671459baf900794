//! The control socket.

use reqwest::Method;
use serde_json::json;

use crate::bench::Bench;

#[tokio::test]
async fn the_whole_world_can_be_seen() {
    let bench = Bench::new().await;
    let eni = bench.create("t").await;
    bench.until(&eni, "Available").await;
    let state = bench.state().await;
    assert_eq!(state["vswitches"].as_array().unwrap().len(), 2);
    assert_eq!(state["instances"][0]["id"], "i-1");
    let seen = state["enis"].as_array().unwrap().iter().find(|seen| seen["id"] == *eni).unwrap();
    assert_eq!((&seen["status"], &seen["client_token"]), (&json!("Available"), &json!("t")));
    assert_eq!((&seen["instance"], &seen["link"]), (&json!(null), &json!("absent")));
    assert_eq!(state["calls"]["CreateNetworkInterface"], 1);
}

#[tokio::test]
async fn latency_and_quota_change_key_by_key() {
    let bench = Bench::new().await;
    let (_, latency) = bench.control(Method::POST, "/v1/latency", json!({"attach": 7})).await;
    assert_eq!((&latency["attach"], &latency["detach"]), (&json!(7), &json!(20)));
    assert_eq!(bench.control(Method::POST, "/v1/latency", json!({"atach": 7})).await.0, 400);
    assert_eq!(bench.control(Method::POST, "/v1/latency", json!([])).await.0, 400);
    assert_eq!(bench.control(Method::POST, "/v1/faults", json!([{"action": "A", "kind": "x"}])).await.0, 400);
    assert_eq!(bench.control(Method::POST, "/v1/quota", json!({"enis": 0})).await.0, 200);
    let wish = [("VSwitchId", "vsw-a"), ("SecurityGroupId", "sg-1")];
    let (status, body) = bench.ecs("CreateNetworkInterface", &wish).await;
    assert_eq!((status, &body["Code"]), (403, &json!("MaxEniCountExceeded")));
}

#[tokio::test]
async fn an_eni_in_use_can_be_deleted_by_hand_a_primary_one_cannot() {
    let bench = Bench::new().await;
    let eni = bench.create("t").await;
    bench.until(&eni, "Available").await;
    bench.ok("AttachNetworkInterface", &[("NetworkInterfaceId", &eni), ("InstanceId", "i-1")]).await;
    bench.until(&eni, "InUse").await;
    assert_eq!(bench.control(Method::POST, &format!("/v1/enis/{eni}/delete"), json!(null)).await.0, 200);
    bench.until(&eni, "gone").await;
    let primary = bench.state().await["instances"][0]["primary_eni"].as_str().unwrap().to_owned();
    assert_eq!(bench.control(Method::POST, &format!("/v1/enis/{primary}/delete"), json!(null)).await.0, 409);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_see_it_all_at_a_glance() {
    let bench = Bench::new().await;
    let wish =
        [("VSwitchId", "vsw-a"), ("SecurityGroupId", "sg-1"), ("Tag.1.Key", "a"), ("Tag.1.Value", "<i>")];
    let eni = bench.ok("CreateNetworkInterface", &wish).await["NetworkInterfaceId"].clone();
    bench.order(json!([{"action": "*", "kind": "hold"}])).await;
    bench.control(Method::POST, "/v1/manners", json!({"linger_ms": 5})).await;
    let text = terway_cloudsim::status::page(&bench.socket()).unwrap();
    for part in
        ["vsw-tiny", "i-2", eni.as_str().unwrap(), "a=<i>", "ok 1", "hold-before, 1 times", "linger_ms"]
    {
        assert!(text.contains(part), "{part}\n{text}");
    }
    let client = reqwest::Client::builder().unix_socket(bench.socket()).build().unwrap();
    let page = client.get("http://control/").send().await.unwrap();
    assert_eq!(page.headers()["content-type"], "text/html; charset=utf-8");
    let page = page.text().await.unwrap();
    assert!(page.contains("<td>a=&lt;i&gt;</td>") && !page.contains("a=<i>"), "{page}");
    assert!(terway_cloudsim::status::page(&bench.socket().with_extension("no")).is_err());
}

#[tokio::test]
async fn stopping_takes_the_socket_away() {
    let bench = Bench::new().await;
    let socket = bench.socket();
    assert!(socket.exists());
    bench.running.stop().await;
    assert!(!socket.exists());
}
