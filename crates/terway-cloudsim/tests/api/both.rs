//! What the agent's client and this cloud must agree on, whichever vendor's protocol they speak.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use secrecy::SecretString;
use serde_json::{Value, json};
use terway_cloud::aliyun::{Aliyun, AliyunConfig, AliyunMetadata};
use terway_cloud::tencent::{Tencent, TencentConfig, TencentMetadata};
use terway_cloud::{
    Budget, Cloud, CreateEni, EniDescription, EniKind, EniStatus, EniWatch, Goal, InstanceStatus, Metadata,
    StaticKey, WatchPace,
};
use terway_cloudsim::Config;
use terway_cloudsim::config::Vendor;
use terway_cloudsim::live::Clock;
use terway_types::{AddressCounts, CloudFailureKind as Kind, EniId, InstanceId};

use crate::bench::{Bench, WORLD};

const PATIENCE: Duration = Duration::from_secs(30);

/// A world and the agent's way to it.
pub(crate) struct Side {
    pub(crate) bench: Bench,
    pub(crate) vendor: Vendor,
    pub(crate) cloud: Arc<dyn Cloud>,
    pub(crate) metadata: Arc<dyn Metadata>,
    pub(crate) watch: EniWatch,
}

/// The same world in both vendors' hands.
pub(crate) async fn sides() -> [Side; 2] {
    sides_of(serde_json::from_str(WORLD).unwrap()).await
}

pub(crate) async fn sides_of(world: Value) -> [Side; 2] {
    sides_within(world, || Arc::new(Budget::default())).await
}

/// The same world, whose clock is apart from the agent's.
pub(crate) async fn sides_at(clock: Clock) -> [Side; 2] {
    let world = Config::parse(WORLD).unwrap();
    let of = |cloud| Bench::at(Config { cloud, ..world.clone() }, clock);
    let budget = || Arc::new(Budget::default());
    [aliyun(of(Vendor::Aliyun).await, budget()), tencent(of(Vendor::Tencent).await, budget())]
}

/// With other budgets than the usual.
pub(crate) async fn sides_within(world: Value, budget: fn() -> Arc<Budget>) -> [Side; 2] {
    let world = Config::parse(&world.to_string()).unwrap();
    let of = |cloud| Bench::of(Config { cloud, ..world.clone() });
    [aliyun(of(Vendor::Aliyun).await, budget()), tencent(of(Vendor::Tencent).await, budget())]
}

fn key() -> Arc<StaticKey> {
    Arc::new(StaticKey::new("key", SecretString::from("secret"), None).unwrap())
}

fn side(bench: Bench, vendor: Vendor, cloud: Arc<dyn Cloud>, metadata: Arc<dyn Metadata>) -> Side {
    let ms = Duration::from_millis;
    let pace = WatchPace { shortest: ms(10), longest: ms(50), apart: ms(10), ..WatchPace::default() };
    let watch = EniWatch::with_pace(Arc::clone(&cloud), pace);
    Side { bench, vendor, cloud, metadata, watch }
}

fn aliyun(bench: Bench, budget: Arc<Budget>) -> Side {
    let metadata = Arc::new(AliyunMetadata::new(&bench.running.endpoints().metadata).unwrap());
    let cloud = Aliyun::new(AliyunConfig {
        ecs_endpoint: Some(bench.url().to_owned()),
        vpc_endpoint: Some(bench.url().to_owned()),
        metadata: Some(Arc::clone(&metadata) as Arc<dyn Metadata>),
        proxies: false,
        ..AliyunConfig::new("sim-region-1", key(), budget)
    });
    side(bench, Vendor::Aliyun, Arc::new(cloud.unwrap()), metadata)
}

fn tencent(bench: Bench, budget: Arc<Budget>) -> Side {
    let metadata = Arc::new(TencentMetadata::new(&bench.running.endpoints().metadata).unwrap());
    let cloud = Tencent::new(TencentConfig {
        vpc_endpoint: Some(bench.url().to_owned()),
        cvm_endpoint: Some(bench.url().to_owned()),
        metadata: Some(Arc::clone(&metadata) as Arc<dyn Metadata>),
        proxies: false,
        ..TencentConfig::new("sim-region-1", "vpc-1", "i-1".into(), key(), budget)
    });
    side(bench, Vendor::Tencent, Arc::new(cloud.unwrap()), metadata)
}

pub(crate) fn wish(token: &str) -> CreateEni {
    CreateEni {
        token: token.into(),
        vswitch: "vsw-a".into(),
        security_groups: vec!["sg-1".into()],
        counts: AddressCounts { ipv4: 1, ..AddressCounts::default() },
        primary_ipv4: None,
        kind: EniKind::Secondary,
        tags: BTreeMap::from([("terway.io/intent".into(), token.into())]),
    }
}

impl Side {
    /// A new ENI that takes further calls.
    pub(crate) async fn made(&self, request: &CreateEni) -> EniDescription {
        let eni = self.cloud.create_eni(request).await.unwrap();
        self.watch.until(&eni.id, Goal::Settled, PATIENCE).await.unwrap().unwrap()
    }

    pub(crate) async fn attached(&self, token: &str) -> EniId {
        let eni = self.made(&wish(token)).await;
        let node = InstanceId::from("i-1");
        self.cloud.attach_eni(&eni.id, &node).await.unwrap();
        self.watch.until(&eni.id, Goal::InUse(node), PATIENCE).await.unwrap();
        eni.id
    }

    /// A call of the control socket that must succeed.
    pub(crate) async fn control(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self.bench.control(Method::POST, path, body).await;
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }
}

#[tokio::test]
async fn a_primary_address_can_be_chosen_while_it_is_free() {
    for side in sides().await {
        let free = async || side.bench.state().await["vswitches"][0]["free_ipv4"].as_u64().unwrap();
        let before = free().await;
        let chosen = CreateEni { primary_ipv4: Some([10, 0, 1, 77].into()), ..wish("chosen") };
        let counts = AddressCounts { ipv4: 3, ..AddressCounts::default() };
        let eni = side.cloud.create_eni(&CreateEni { counts, ..chosen.clone() }).await.unwrap();
        assert_eq!((eni.addresses.v4, eni.assigned.ipv4.len()), (Some([10, 0, 1, 77].into()), 3));
        let again = CreateEni { token: "again".into(), ..chosen };
        let refused = side.cloud.create_eni(&again).await.unwrap_err();
        assert!(matches!(refused.kind, Kind::Invalid | Kind::InvalidState), "{refused}");
        let elsewhere = CreateEni { primary_ipv4: Some([10, 9, 9, 9].into()), ..wish("elsewhere") };
        assert!(side.cloud.create_eni(&elsewhere).await.is_err());
        assert_eq!(free().await, before - 3, "a refusal takes nothing");
    }
}

#[tokio::test]
async fn instances_are_described_and_unknown_ones_left_out() {
    for side in sides().await {
        let ids = ["i-2".into(), "i-x".into(), "i-1".into()];
        let mut found = side.cloud.describe_instances(&ids).await.unwrap();
        found.sort_by(|a, b| a.id.cmp(&b.id));
        assert_eq!(found.iter().map(|instance| instance.id.as_str()).collect::<Vec<_>>(), ["i-1", "i-2"]);
        let first = &found[0];
        assert_eq!((first.instance_type.as_str(), first.zone.as_str()), ("small", "zone-a"));
        assert_eq!((first.vpc.as_str(), first.vswitch.as_str()), ("vpc-1", "vsw-a"));
        assert_eq!(first.status, InstanceStatus::Running);
        for (deed, status) in [("stopping", InstanceStatus::Changing), ("stopped", InstanceStatus::Stopped)] {
            side.control(&format!("/v1/console/instances/i-1/{deed}"), json!({})).await;
            let found = side.cloud.describe_instances(&["i-1".into()]).await.unwrap();
            assert_eq!(found[0].status, status);
        }
    }
}

#[tokio::test]
async fn an_instance_on_its_way_takes_no_eni() {
    for side in sides().await {
        let eni = side.made(&wish("t")).await;
        side.control("/v1/console/instances/i-1/starting", json!({})).await;
        let refused = side.cloud.attach_eni(&eni.id, &"i-1".into()).await.unwrap_err();
        assert_eq!(refused.kind, Kind::InvalidState, "{refused}");
        side.control("/v1/console/instances/i-1/running", json!({})).await;
        side.cloud.attach_eni(&eni.id, &"i-1".into()).await.unwrap();
    }
}

#[tokio::test]
async fn a_released_instance_leaves_behind_what_does_not_go_with_it() {
    for side in sides().await {
        let (goes, stays) = (side.attached("goes").await, side.attached("stays").await);
        let kept = side.cloud.set_delete_on_release(&stays, false).await;
        assert_eq!(kept.is_ok(), side.vendor == Vendor::Aliyun, "the other vendor has no such thing");
        side.control("/v1/console/instances/i-1/release", json!({})).await;
        side.watch.until(&stays, Goal::Available, PATIENCE).await.unwrap();
        match side.vendor {
            Vendor::Aliyun => drop(side.watch.until(&goes, Goal::Gone, PATIENCE).await.unwrap()),
            Vendor::Tencent => {
                let left = side.watch.until(&goes, Goal::Available, PATIENCE).await.unwrap().unwrap();
                assert_eq!((left.status, left.instance), (EniStatus::Available, None));
            }
        }
        assert_eq!(side.cloud.describe_instances(&["i-1".into()]).await.unwrap(), []);
        let refused = side.cloud.attach_eni(&stays, &"i-1".into()).await.unwrap_err();
        assert_eq!(refused.kind, Kind::Invalid, "{refused}");
        side.cloud.detach_eni(&stays, &"i-1".into()).await.unwrap();
    }
}

#[tokio::test]
async fn what_is_in_another_vpc_is_refused() {
    let mut world: Value = serde_json::from_str(WORLD).unwrap();
    world["other_vpcs"] = json!([{
        "id": "vpc-2",
        "vswitches": [{"id": "vsw-there", "zone": "zone-a", "ipv4": "10.0.1.0/24"}],
        "security_groups": ["sg-there"],
    }]);
    for side in sides_of(world).await {
        let there = side.cloud.describe_vswitch(&"vsw-there".into()).await.unwrap().unwrap();
        let free = if side.vendor == Vendor::Aliyun { 252 } else { 253 };
        assert_eq!((there.vpc.as_str(), there.free_ipv4), ("vpc-2", free));
        let groups = vec!["sg-there".into()];
        let mixed = side.cloud.create_eni(&CreateEni { security_groups: groups.clone(), ..wish("m") }).await;
        let eni = side.made(&wish("t")).await;
        let regrouped = side.cloud.set_security_groups(&eni.id, &groups).await;
        let abroad = CreateEni { vswitch: "vsw-there".into(), security_groups: groups, ..wish("there") };
        match side.vendor {
            Vendor::Aliyun => {
                for refused in [mixed.unwrap_err(), regrouped.unwrap_err()] {
                    assert_eq!(refused.kind, Kind::Invalid, "{refused}");
                    assert!(refused.message.contains("sg-there is in VPC vpc-2"), "{refused}");
                }
                let eni = side.made(&abroad).await;
                let refused = side.cloud.attach_eni(&eni.id, &"i-1".into()).await.unwrap_err();
                assert_eq!(refused.kind, Kind::Invalid, "{refused}");
            }
            // Here security groups are of the region; a subnet of another VPC does not fit the call's VPC.
            Vendor::Tencent => {
                mixed.unwrap();
                regrouped.unwrap();
                let refused = side.cloud.create_eni(&abroad).await.unwrap_err();
                assert_eq!(refused.kind, Kind::Invalid, "{refused}");
            }
        }
    }
}

#[tokio::test]
async fn what_an_instance_carries_stands_in_for_limits_that_may_not_be_asked_for() {
    for side in sides().await {
        let denied = ["DescribeInstanceTypes", "DescribeNetworkInterfaceLimit"];
        side.control("/v1/manners", json!({ "denied": denied })).await;
        let refused = side.cloud.instance_limits("small").await.unwrap_err();
        assert_eq!(refused.kind, Kind::Denied);
        let action = denied[usize::from(side.vendor == Vendor::Tencent)];
        assert!(
            refused.message.contains("statement to add") && refused.message.contains(action),
            "{refused}"
        );
        let eni = side.attached("t").await;
        side.cloud.assign(&eni, &"a".into(), terway_cloud::Assign::Ipv4(3)).await.unwrap();
        let carried = side.metadata.carried().await.unwrap();
        assert_eq!((carried.enis, carried.ipv4_per_eni), (2, 4));
        let limits = side.cloud.instance_limits("small").await.unwrap().unwrap();
        assert_eq!((limits.enis, limits.ipv4_per_eni, limits.trunk), (2, 4, false));
        side.control("/v1/manners", json!({ "denied": [] })).await;
        assert_eq!(side.cloud.instance_limits("small").await.unwrap().unwrap().enis, 3);
        side.control("/v1/manners", json!({ "denied": denied })).await;
        assert_eq!(side.cloud.instance_limits("small").await.unwrap().unwrap().enis, 3, "kept");
    }
}
