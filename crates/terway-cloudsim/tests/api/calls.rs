//! The audit log and calls that are held: what tests use to know what a daemon asked for, and to stop the
//! world at one call.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::bench::{Bench, Call};

fn create() -> Call {
    let parameters = [
        ("RegionId", "sim-region-1"),
        ("VSwitchId", "vsw-a"),
        ("SecurityGroupId", "sg-1"),
        ("ClientToken", "t"),
    ];
    Call::new("CreateNetworkInterface", &parameters)
}

async fn calls(bench: &Bench, query: &str) -> Vec<Value> {
    let (status, body) = bench.control(Method::GET, &format!("/v1/calls?{query}"), json!(null)).await;
    assert_eq!(status, 200, "{body}");
    body["calls"].as_array().unwrap().clone()
}

/// Waits until the log's last call looks like that.
async fn until(bench: &Bench, what: &str, like: impl Fn(&Value) -> bool) -> Value {
    let look = async {
        loop {
            if let Some(call) = calls(bench, "").await.pop().filter(&like) {
                return call;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let timely = tokio::time::timeout(Duration::from_secs(10), look).await;
    assert!(timely.is_ok(), "{what}: {:?}", calls(bench, "").await);
    timely.unwrap()
}

async fn secondaries(bench: &Bench) -> usize {
    let state = bench.state().await;
    state["enis"].as_array().unwrap().iter().filter(|eni| eni["type"] == "Secondary").count()
}

#[tokio::test]
async fn every_call_is_entered_with_what_it_was_about() {
    let bench = Bench::new().await;
    let eni = bench.create("t").await;
    bench.until(&eni, "Available").await;
    let since = bench.state().await["last_call"].as_u64().unwrap();
    bench.ok("AttachNetworkInterface", &[("NetworkInterfaceId", &eni), ("InstanceId", "i-2")]).await;
    bench.ecs("DeleteNetworkInterface", &[("NetworkInterfaceId", "eni-x")]).await;
    let log = calls(&bench, &format!("since={since}")).await;
    let brief: Vec<Value> = log
        .iter()
        .map(|call| json!([call["seq"], call["action"], call["objects"], call["outcome"]]))
        .collect();
    assert_eq!(
        brief,
        [
            json!([since + 1, "AttachNetworkInterface", [eni, "i-2"], "ok"]),
            json!([since + 2, "DeleteNetworkInterface", ["eni-x"], "InvalidEniId.NotFound"]),
        ]
    );
    let made = calls(&bench, "action=CreateNetworkInterface").await.remove(0);
    assert_eq!((&made["client_token"], &made["made"]), (&json!("t"), &json!(eni)));
    assert_eq!((&made["source"], &made["key"]), (&json!("i-1"), &json!("key")));
    assert!(made["at_ms"].as_u64().unwrap() <= made["ended_ms"].as_u64().unwrap());
    assert_eq!(calls(&bench, "limit=1").await.len(), 1);
    let state = bench.state().await;
    assert_eq!(state["outcomes"]["DeleteNetworkInterface"], json!({"InvalidEniId.NotFound": 1}));
    assert_eq!(state["outcomes"]["AttachNetworkInterface"], json!({"ok": 1}));
}

#[tokio::test]
async fn a_held_call_goes_on_when_it_is_released() {
    let bench = Bench::new().await;
    for (kind, effect_while_held) in [("hold", 0), ("hold-after", 2)] {
        bench.order(json!([{"action": "CreateNetworkInterface", "kind": kind}])).await;
        let mut call = create();
        call.query[3].1 = kind.to_owned();
        let (answer, held) = tokio::join!(call.send(&bench), async {
            let held = until(&bench, "a held call", |call| call["held"] != json!(null)).await;
            assert_eq!(secondaries(&bench).await, effect_while_held, "{kind}");
            assert_eq!(bench.state().await["held"][0]["seq"], held["seq"]);
            let seq = json!({"seq": held["seq"]});
            let (_, body) = bench.control(Method::POST, "/v1/release", seq).await;
            assert_eq!(body, json!({"released": 1}));
            held
        });
        assert_eq!(answer.unwrap().0, 200);
        let log = calls(&bench, &format!("since={}", held["seq"].as_u64().unwrap() - 1)).await;
        assert_eq!((&log[0]["outcome"], &log[0]["held"]), (&json!("ok"), &json!(null)));
    }
    assert_eq!(secondaries(&bench).await, 2);
}

#[tokio::test]
async fn a_held_call_ends_with_its_connection() {
    let bench = Bench::new().await;
    for (kind, effect) in [("hold-before", false), ("hold-after", true)] {
        bench.order(json!([{"action": "CreateNetworkInterface", "kind": kind}])).await;
        let request = create().request(&bench);
        let caller = tokio::spawn(async move { request.send().await.is_ok() });
        until(&bench, "a held call", |call| call["held"] != json!(null)).await;
        caller.abort();
        let call = until(&bench, "an abandoned call", |call| call["outcome"] == "abandoned").await;
        assert_eq!(call["carried_out"], effect, "{kind}");
        assert_eq!(secondaries(&bench).await, usize::from(effect), "{kind}");
        assert_eq!(bench.state().await["held"], json!([]));
    }
}

#[tokio::test]
async fn lost_answers_show_what_they_did() {
    let bench = Bench::new().await;
    bench
        .order(json!([
            {"action": "CreateNetworkInterface", "kind": "drop-before"},
            {"action": "CreateNetworkInterface", "kind": "drop-after"},
            {"action": "CreateNetworkInterface", "kind": "error-after:InternalError"},
        ]))
        .await;
    let mut effects = Vec::new();
    for outcome in ["reset", "reset", "InternalError"] {
        let _ = create().send(&bench).await;
        let call = calls(&bench, "").await.pop().unwrap();
        assert_eq!(call["outcome"], outcome);
        effects.push(call["carried_out"].as_bool().unwrap());
    }
    assert_eq!(effects, [false, true, true]);
    assert_eq!(secondaries(&bench).await, 1);
}
