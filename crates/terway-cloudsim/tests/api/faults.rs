//! Ordered faults: refused, lost before the effect, lost after it, late.

use std::time::{Duration, Instant};

use serde_json::json;
use terway_cloudsim::Config;

use crate::bench::{Bench, Call, WORLD};

fn wish() -> Call {
    let parameters = [
        ("RegionId", "sim-region-1"),
        ("VSwitchId", "vsw-a"),
        ("SecurityGroupId", "sg-1"),
        ("ClientToken", "t"),
    ];
    Call::new("CreateNetworkInterface", &parameters)
}

async fn secondaries(bench: &Bench) -> usize {
    let state = bench.state().await;
    state["enis"].as_array().unwrap().iter().filter(|eni| eni["type"] == "Secondary").count()
}

#[tokio::test]
async fn an_ordered_error_is_given_as_often_as_ordered() {
    let bench = Bench::new().await;
    bench
        .order(json!([{"action": "CreateNetworkInterface", "kind": "error:Throttling.User", "times": 2}]))
        .await;
    assert_eq!(bench.ecs("DescribeNetworkInterfaces", &[]).await.0, 200);
    for _ in 0..2 {
        assert_eq!(wish().refusal(&bench).await, (400, "Throttling.User".into()));
    }
    assert_eq!(secondaries(&bench).await, 0);
    assert_eq!(wish().send(&bench).await.unwrap().0, 200);
    let state = bench.state().await;
    assert_eq!(state["calls"]["CreateNetworkInterface"], 3);
    assert_eq!(state["errors"]["Throttling.User"], 2);
}

#[tokio::test]
async fn a_call_lost_before_its_effect_has_none() {
    let bench = Bench::new().await;
    bench.order(json!([{"action": "*", "kind": "drop-before"}])).await;
    assert!(wish().send(&bench).await.is_err());
    assert_eq!(secondaries(&bench).await, 0);
}

#[tokio::test]
async fn a_call_lost_after_its_effect_can_be_repeated_by_its_token() {
    let bench = Bench::new().await;
    bench.order(json!([{"action": "CreateNetworkInterface", "kind": "drop-after"}])).await;
    assert!(wish().send(&bench).await.is_err());
    assert_eq!(secondaries(&bench).await, 1);
    let (status, body) = wish().send(&bench).await.unwrap();
    assert_eq!(status, 200, "{body}");
    assert_eq!(secondaries(&bench).await, 1);
}

#[tokio::test]
async fn a_late_call_is_late_and_an_empty_order_ends_all() {
    let bench = Bench::new().await;
    bench.order(json!([{"action": "*", "kind": "delay-ms:60", "times": 9}])).await;
    let start = Instant::now();
    assert_eq!(wish().send(&bench).await.unwrap().0, 200);
    assert!(start.elapsed() >= Duration::from_millis(60));
    bench.order(json!([])).await;
    assert_eq!(bench.state().await["faults"], json!([]));
}

#[tokio::test]
async fn a_world_may_be_born_with_bad_manners_and_orders() {
    let mut world: serde_json::Value = serde_json::from_str(WORLD).unwrap();
    world["manners"] = json!({"denied": ["DeleteNetworkInterface"]});
    world["faults"] = json!([{"action": "CreateNetworkInterface", "kind": "error:InternalError"}]);
    let bench = Bench::of(Config::parse(&world.to_string()).unwrap()).await;
    assert_eq!(wish().refusal(&bench).await, (500, "InternalError".into()));
    assert_eq!(wish().send(&bench).await.unwrap().0, 200);
    let (_, body) = bench.ecs("DeleteNetworkInterface", &[("NetworkInterfaceId", "eni-x")]).await;
    assert_eq!(body["Code"], "Forbidden.RAM");
    world["manners"] = json!({"denid": []});
    assert!(Config::parse(&world.to_string()).is_err());
}
