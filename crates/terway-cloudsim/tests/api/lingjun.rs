//! Lingjun nodes: the agent's client against EFLO's actions, under both signatures, and what they refuse.

use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use serde_json::{Value, json};
use terway_cloud::aliyun::{AliyunConfig, Lingjun, Place, Signature};
use terway_cloud::{Budget, Cloud, CreateEni, EniFilter, EniKind, EniWatch, Goal, StaticKey};
use terway_cloudsim::Config;
use terway_types::{CloudFailureKind as Kind, InstanceId};

use crate::bench::{Bench, Call, WORLD};
use crate::both::wish;

const NODE: &str = "e01-cn-sim1";

async fn bench() -> Bench {
    let mut world: Value = serde_json::from_str(WORLD).unwrap();
    let types = world["instance_types"].as_array_mut().unwrap();
    types.push(json!({"id": "efg2.large", "enis": 3, "ipv4_per_eni": 10, "lingjun": true}));
    let nodes = world["instances"].as_array_mut().unwrap();
    nodes.push(json!({"id": NODE, "type": "efg2.large", "vswitch": "vsw-a"}));
    Bench::of(Config::parse(&world.to_string()).unwrap()).await
}

fn client(bench: &Bench, signature: Signature) -> Arc<dyn Cloud> {
    let key = StaticKey::new("key", SecretString::from("secret"), None).unwrap();
    let url = Some(bench.url().to_owned());
    let config = AliyunConfig {
        ecs_endpoint: url.clone(),
        vpc_endpoint: url.clone(),
        eflo_endpoint: url,
        signature,
        proxies: false,
        ..AliyunConfig::new("sim-region-1", Arc::new(key), Arc::new(Budget::default()))
    };
    let place = Place { node: NODE.into(), vpc: "vpc-1".to_owned(), zone: "zone-a".into() };
    Arc::new(Lingjun::new(config, place).unwrap())
}

#[tokio::test]
async fn an_eni_of_a_lingjun_node_goes_through_its_life() {
    for signature in [Signature::Acs3, Signature::RpcV1] {
        let bench = bench().await;
        let cloud = client(&bench, signature);
        let watch = EniWatch::new(Arc::clone(&cloud));
        let (node, patience) = (InstanceId::from(NODE), Duration::from_secs(30));
        let limits = cloud.instance_limits("efg2.large").await.unwrap().unwrap();
        assert_eq!((limits.enis, limits.ipv4_per_eni, limits.trunk), (3, 10, false));
        let eni = cloud.create_eni(&wish("t")).await.unwrap();
        assert_eq!(cloud.create_eni(&wish("t")).await.unwrap().id, eni.id, "the token makes it repeatable");
        assert!(eni.id.as_str().starts_with("leni-"), "{}", eni.id);
        watch.until(&eni.id, Goal::Settled, patience).await.unwrap();
        cloud.attach_eni(&eni.id, &node).await.unwrap();
        cloud.attach_eni(&eni.id, &node).await.unwrap();
        let attached = watch.until(&eni.id, Goal::InUse(node.clone()), patience).await.unwrap().unwrap();
        let filter = EniFilter { tags: wish("t").tags, ..EniFilter::default() };
        assert_eq!(cloud.describe_enis(&filter).await.unwrap(), [attached], "owned by its marks");
        let on_node = EniFilter { instance: Some(node.clone()), ..EniFilter::default() };
        let on_node = cloud.describe_enis(&on_node).await.unwrap();
        assert_eq!(on_node.iter().filter(|eni| eni.kind == EniKind::Primary).count(), 1);
        cloud.set_security_groups(&eni.id, &["sg-2".into()]).await.unwrap();
        let seen = cloud.describe_enis(&filter).await.unwrap().remove(0);
        assert_eq!(seen.security_groups, ["sg-2".into()]);
        let held = cloud.delete_eni(&eni.id).await.unwrap_err();
        assert_eq!(held.vendor_code.as_deref(), Some("1003"), "{held}");
        cloud.detach_eni(&eni.id, &node).await.unwrap();
        watch.until(&eni.id, Goal::Available, patience).await.unwrap();
        cloud.detach_eni(&eni.id, &node).await.unwrap();
        cloud.delete_eni(&eni.id).await.unwrap();
        watch.until(&eni.id, Goal::Gone, patience).await.unwrap();
        cloud.delete_eni(&eni.id).await.unwrap();
    }
}

#[tokio::test]
async fn a_nodes_quota_and_other_refusals_are_told_by_number() {
    let bench = bench().await;
    let cloud = client(&bench, Signature::Acs3);
    let watch = EniWatch::new(Arc::clone(&cloud));
    let (node, patience) = (InstanceId::from(NODE), Duration::from_secs(30));
    for token in ["a", "b", "c"] {
        let eni = cloud.create_eni(&wish(token)).await.unwrap();
        watch.until(&eni.id, Goal::Settled, patience).await.unwrap();
        let outcome = cloud.attach_eni(&eni.id, &node).await;
        match token {
            "c" => {
                assert!(matches!(outcome.unwrap_err().kind, Kind::Quota { .. }), "the node has room for two");
            }
            _ => outcome.unwrap(),
        }
    }
    let nowhere = cloud.create_eni(&CreateEni { vswitch: "vsw-x".into(), ..wish("x") }).await.unwrap_err();
    assert_eq!(nowhere.vendor_code.as_deref(), Some("1011"));
    bench.order(json!([{"action": "CreateElasticNetworkInterface", "kind": "error:1017"}])).await;
    assert_eq!(cloud.create_eni(&wish("busy")).await.unwrap_err().kind, Kind::Conflict);
    bench
        .control(reqwest::Method::POST, "/v1/manners", json!({"denied": ["ListElasticNetworkInterfaces"]}))
        .await;
    let denied = cloud.describe_enis(&EniFilter::default()).await.unwrap_err();
    assert!(denied.message.contains("eflo:ListElasticNetworkInterfaces"), "{denied}");
}

#[tokio::test]
async fn the_two_products_do_not_know_each_others_enis() {
    let bench = bench().await;
    let leni = client(&bench, Signature::Acs3).create_eni(&wish("t")).await.unwrap();
    let page = bench.ok("DescribeNetworkInterfaces", &[("NetworkInterfaceId.1", leni.id.as_str())]).await;
    assert_eq!(page["TotalCount"], 0);
    let (_, body) = bench.ecs("DeleteNetworkInterface", &[("NetworkInterfaceId", leni.id.as_str())]).await;
    assert_eq!(body["Code"], "InvalidEniId.NotFound");
    let ordinary = bench.create("ordinary").await;
    bench.until(&ordinary, "Available").await;
    let (_, body) =
        bench.ecs("AttachNetworkInterface", &[("NetworkInterfaceId", &ordinary), ("InstanceId", NODE)]).await;
    assert_eq!(body["Code"], "InvalidEcsId.NotFound");
    let eflo = async |action: &str, parameters: &[(&str, &str)]| {
        let call = Call { version: "2022-05-30".to_owned(), ..Call::new(action, parameters) };
        call.send(&bench).await.unwrap()
    };
    let (status, body) =
        eflo("DeleteElasticNetworkInterface", &[("ElasticNetworkInterfaceId", &ordinary)]).await;
    assert_eq!((status, &body["Code"]), (200, &json!(1011)));
    let (status, body) = eflo("DeleteElasticNetworkInterface", &[]).await;
    assert_eq!((status, &body["Code"]), (400, &json!("MissingParameter")));
    let wish =
        [("VSwitchId", "vsw-a"), ("SecurityGroupId", "sg-1"), ("VpcId", "vpc-1"), ("ZoneId", "zone-b")];
    let (status, body) = eflo("CreateElasticNetworkInterface", &wish).await;
    assert_eq!((status, &body["Code"]), (200, &json!(1003)), "{body}");
    assert_eq!(eflo("DescribeNetworkInterfaces", &[]).await.1["Code"], "InvalidAction.NotFound");
}
