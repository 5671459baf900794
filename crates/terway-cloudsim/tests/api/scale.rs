//! A thousand nodes at one simulated cloud, over real connections and with real signatures: how long it takes to serve
//! their API traffic on this machine. Each node makes an ENI, attaches it, looks until it is there, and later takes it
//! off and deletes it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use terway_cloud::{Budget, Cloud, EniFilter, EniStatus};
use terway_types::{EniId, InstanceId};

use crate::both::{Side, sides_within, wish};

const NODES: usize = 1000;
/// Nodes that call at the same time.
const AT_ONCE: usize = 32;
/// Several times what an idle machine with two cores needs.
const PATIENCE: Duration = Duration::from_mins(5);
/// How long one ENI may take to get into a state, on a busy machine.
const MOMENT: Duration = Duration::from_mins(1);

fn world() -> Value {
    let nodes: Vec<Value> = (0..NODES)
        .map(|n| json!({"id": format!("i-{n}"), "type": "small", "vswitch": "vsw-nodes"}))
        .collect();
    json!({
        "region": "sim-region-1",
        "vpc": {"id": "vpc-1", "ipv4_cidr": "10.0.0.0/8"},
        "vswitches": [
            {"id": "vsw-nodes", "zone": "zone-a", "ipv4": "10.1.0.0/16"},
            {"id": "vsw-a", "zone": "zone-a", "ipv4": "10.2.0.0/16"},
        ],
        "security_groups": ["sg-1"],
        "instance_types": [{"id": "small", "enis": 3, "ipv4_per_eni": 6}],
        "instances": nodes,
        "credentials": [{"access_key_id": "key", "access_key_secret": "secret"}],
        "latency_ms": {"create": 1, "attach": 5, "detach": 5, "delete": 1, "link": 2},
        "quota": {"enis": 100_000},
    })
}

/// One process stands for all nodes here, so its budget is all of theirs.
fn unbound() -> Arc<Budget> {
    let actions = ["Create", "Attach", "Detach", "Delete"].map(|verb| format!("{verb}NetworkInterface"));
    let actions = actions.into_iter().chain(["DescribeNetworkInterfaces".to_owned()]);
    let limits: BTreeMap<String, u32> = actions.map(|action| (action, 6_000_000)).collect();
    Arc::new(Budget::new(&limits).unwrap().with_parallel(AT_ONCE))
}

/// Waits for an ENI to be in a state.
async fn until(cloud: &dyn Cloud, eni: &EniId, status: EniStatus) {
    let filter = EniFilter { ids: vec![eni.clone()], ..EniFilter::default() };
    let deadline = Instant::now() + MOMENT;
    while !cloud.describe_enis(&filter).await.unwrap().iter().any(|found| found.status == status) {
        assert!(Instant::now() < deadline, "{eni} is not {status:?} after {MOMENT:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn live(cloud: Arc<dyn Cloud>, node: InstanceId) {
    let eni = cloud.create_eni(&wish(node.as_str())).await.unwrap();
    until(&*cloud, &eni.id, EniStatus::Available).await;
    cloud.attach_eni(&eni.id, &node).await.unwrap();
    until(&*cloud, &eni.id, EniStatus::InUse).await;
    let mine = EniFilter { instance: Some(node.clone()), ..EniFilter::default() };
    assert_eq!(cloud.describe_enis(&mine).await.unwrap().len(), 2);
    cloud.detach_eni(&eni.id, &node).await.unwrap();
    until(&*cloud, &eni.id, EniStatus::Available).await;
    cloud.delete_eni(&eni.id).await.unwrap();
}

async fn all(side: &Side) {
    let mut waiting = (0..NODES).map(|n| InstanceId(format!("i-{n}"))).collect::<Vec<_>>().into_iter();
    let mut living = tokio::task::JoinSet::new();
    for node in waiting.by_ref().take(AT_ONCE) {
        living.spawn(live(Arc::clone(&side.cloud), node));
    }
    while let Some(ended) = living.join_next().await {
        ended.unwrap();
        if let Some(node) = waiting.next() {
            living.spawn(live(Arc::clone(&side.cloud), node));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_cloud_serves_a_thousand_nodes() {
    for side in sides_within(world(), unbound).await {
        let start = Instant::now();
        assert!(tokio::time::timeout(PATIENCE, all(&side)).await.is_ok(), "{:?} is too slow", side.vendor);
        let took = start.elapsed();
        let state = side.bench.state().await;
        let calls: u64 = state["calls"].as_object().unwrap().values().filter_map(Value::as_u64).sum();
        assert_eq!(state["errors"], json!({}), "nothing was refused");
        println!("{:?}: {NODES} nodes, {calls} calls in {} ms", side.vendor, took.as_millis());
        assert!(calls >= 7 * NODES as u64, "{calls} calls");
    }
}
