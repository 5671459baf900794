//! The agent's own client against this cloud in Tencent's hands. Both were written from the vendor's
//! documents, apart from each other: where they understand each other, both are likely right.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use secrecy::SecretString;
use serde_json::json;
use terway_cloud::tencent::{Tencent, TencentConfig, TencentMetadata};
use terway_cloud::{
    Assign, Budget, Cloud, CreateEni, EniFilter, EniKind, EniWatch, Goal, Metadata, StaticKey,
};
use terway_types::{AddressCounts, AddressSet, CloudFailureKind, InstanceId};

use crate::bench::Bench;

fn client(bench: &Bench, secret: &str) -> Arc<dyn Cloud> {
    let key = StaticKey::new("key", SecretString::from(secret), None).unwrap();
    let budget = Arc::new(Budget::default());
    let mut config = TencentConfig::new("sim-region-1", "vpc-1", "i-1".into(), Arc::new(key), budget);
    config.vpc_endpoint = Some(bench.url().to_owned());
    config.proxies = false;
    Arc::new(Tencent::new(config).unwrap())
}

fn wish(token: &str) -> CreateEni {
    CreateEni {
        token: token.into(),
        vswitch: "vsw-a".into(),
        security_groups: vec!["sg-1".into()],
        counts: AddressCounts { ipv4: 1, ipv6: 1, ..AddressCounts::default() },
        primary_ipv4: None,
        kind: EniKind::Secondary,
        tags: BTreeMap::from([("terway.io/intent".into(), token.into())]),
    }
}

fn tagged(token: &str) -> EniFilter {
    let tags = BTreeMap::from([("terway.io/intent".into(), token.into())]);
    EniFilter { tags, ..EniFilter::default() }
}

#[tokio::test]
async fn the_agents_client_takes_an_eni_through_its_life() {
    let bench = Bench::tencent().await;
    bench.control(Method::POST, "/v1/latency", json!({"assign": 10})).await;
    let cloud = client(&bench, "secret");
    let watch = EniWatch::new(Arc::clone(&cloud));
    let (node, patience) = (InstanceId::from("i-1"), Duration::from_secs(30));
    let eni = cloud.create_eni(&wish("t")).await.unwrap();
    watch.until(&eni.id, Goal::Settled, patience).await.unwrap();
    cloud.attach_eni(&eni.id, &node).await.unwrap();
    let attached = watch.until(&eni.id, Goal::InUse(node.clone()), patience).await.unwrap().unwrap();
    assert_eq!((attached.instance.as_ref(), attached.mac), (Some(&node), eni.mac));
    let found = cloud.describe_enis(&tagged("t")).await.unwrap();
    assert_eq!(found.iter().map(|eni| &eni.id).collect::<Vec<_>>(), [&eni.id]);
    let on_node = EniFilter { instance: Some(node.clone()), ..EniFilter::default() };
    assert_eq!(cloud.describe_enis(&on_node).await.unwrap().iter().filter(|eni| eni.primary()).count(), 1);
    cloud.detach_eni(&eni.id, &node).await.unwrap();
    watch.until(&eni.id, Goal::Available, patience).await.unwrap();
    cloud.delete_eni(&eni.id).await.unwrap();
    watch.until(&eni.id, Goal::Gone, patience).await.unwrap();
    cloud.delete_eni(&eni.id).await.unwrap();
    cloud.detach_eni(&eni.id, &node).await.unwrap();
}

#[tokio::test]
async fn the_agents_client_gives_an_eni_more_and_takes_it_back() {
    let bench = Bench::tencent().await;
    bench.control(Method::POST, "/v1/latency", json!({"assign": 10})).await;
    let cloud = client(&bench, "secret");
    let watch = EniWatch::new(Arc::clone(&cloud));
    let counts = AddressCounts { ipv4: 2, ..AddressCounts::default() };
    let eni = cloud.create_eni(&CreateEni { counts, ..wish("t") }).await.unwrap();
    watch.until(&eni.id, Goal::Settled, Duration::from_secs(30)).await.unwrap();
    let v4 = cloud.assign(&eni.id, &"a".into(), Assign::Ipv4(2)).await.unwrap();
    let v6 = cloud.assign(&eni.id, &"b".into(), Assign::Ipv6(1)).await.unwrap();
    assert_eq!((v4.ipv4.len(), v6.ipv6.len()), (2, 1));
    let mine = EniFilter { ids: vec![eni.id.clone()], ..EniFilter::default() };
    let seen = cloud.describe_enis(&mine).await.unwrap()[0].clone();
    assert_eq!((seen.assigned.ipv4.len(), seen.assigned.ipv6.len()), (4, 1));
    let all = AddressSet { ipv6: v6.ipv6, ..v4 };
    cloud.unassign(&eni.id, &all).await.unwrap();
    cloud.unassign(&eni.id, &all).await.unwrap();
    let seen = cloud.describe_enis(&mine).await.unwrap()[0].clone();
    assert_eq!((seen.assigned.ipv4.len(), seen.assigned.ipv6.len()), (2, 0));
    cloud.set_security_groups(&eni.id, &["sg-2".into()]).await.unwrap();
    assert_eq!(cloud.describe_enis(&mine).await.unwrap()[0].security_groups, ["sg-2".into()]);
}

#[tokio::test]
async fn the_agents_client_reads_limits_subnets_and_itself() {
    let bench = Bench::tencent().await;
    let cloud = client(&bench, "secret");
    let limits = cloud.instance_limits("small").await.unwrap().unwrap();
    assert_eq!((limits.enis, limits.ipv4_per_eni), (3, 6));
    let seen = cloud.describe_vswitches(&["vsw-a".into(), "vsw-tiny".into()]).await.unwrap();
    assert_eq!(seen.iter().map(|vswitch| vswitch.free_ipv4).sum::<u32>(), 256);
    let metadata = TencentMetadata::new(&bench.running.endpoints().metadata).unwrap();
    let identity = metadata.identity().await.unwrap();
    assert_eq!((identity.id.as_str(), identity.vswitch.as_str()), ("i-1", "vsw-a"));
    assert_eq!(metadata.macs().await.unwrap(), [identity.primary_mac]);
}

#[tokio::test]
async fn the_agents_client_understands_how_calls_fail() {
    let bench = Bench::tencent().await;
    let cloud = client(&bench, "secret");
    let kind = async |token: &str| cloud.create_eni(&wish(token)).await.map_err(|failure| failure.kind);
    let wrong = client(&bench, "wrong").create_eni(&wish("t")).await.unwrap_err();
    assert_eq!(wrong.kind, CloudFailureKind::Denied, "{wrong}");
    bench.order(json!([{"action": "CreateNetworkInterface", "kind": "error:RequestLimitExceeded"}])).await;
    assert_eq!(kind("a").await, Err(CloudFailureKind::Throttled));
    bench.order(json!([{"action": "CreateNetworkInterface", "kind": "drop-after"}])).await;
    assert_eq!(kind("lost").await, Err(CloudFailureKind::Ambiguous));
    let found = cloud.describe_enis(&tagged("lost")).await.unwrap();
    assert_eq!(found.len(), 1);
    bench.control(Method::POST, "/v1/vswitches/vsw-a", json!({"free": 0})).await;
    assert_eq!(kind("dry").await, Err(CloudFailureKind::SubnetExhausted));
    bench.control(Method::POST, "/v1/vswitches/vsw-a", json!({"free": null})).await;
    bench.control(Method::POST, "/v1/quota", json!({"enis": 0})).await;
    assert!(matches!(kind("full").await, Err(CloudFailureKind::Quota { .. })));
}
