//! The agent's own client against this cloud. Both were written from the vendor's documents, apart from
//! each other: where they understand each other, both are likely right.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use serde_json::json;
use terway_cloud::aliyun::{Aliyun, AliyunConfig, AliyunMetadata, Signature};
use terway_cloud::{
    Assign, Budget, Cloud, CreateEni, EniFilter, EniKind, EniWatch, Goal, Metadata, StaticKey,
};
use terway_types::{AddressCounts, AddressSet, CloudFailureKind, InstanceId};

use crate::bench::Bench;

fn client(bench: &Bench, secret: &str) -> Arc<dyn Cloud> {
    Arc::new(Aliyun::new(config(bench, secret)).unwrap())
}

fn config(bench: &Bench, secret: &str) -> AliyunConfig {
    let key = StaticKey::new("key", SecretString::from(secret), None).unwrap();
    let mut config = AliyunConfig::new("sim-region-1", Arc::new(key), Arc::new(Budget::default()));
    config.ecs_endpoint = Some(bench.url().to_owned());
    config.vpc_endpoint = Some(bench.url().to_owned());
    config.proxies = false;
    config
}

fn wish(token: &str) -> CreateEni {
    CreateEni {
        token: token.into(),
        vswitch: "vsw-a".into(),
        security_groups: vec!["sg-1".into()],
        counts: AddressCounts { ipv4: 1, ipv6: 1, ..AddressCounts::default() },
        primary_ipv4: None,
        kind: EniKind::Secondary,
        tags: BTreeMap::from([
            ("creator".into(), "terway".into()),
            ("terway.io/intent".into(), token.into()),
        ]),
    }
}

#[tokio::test]
async fn the_agents_client_takes_an_eni_through_its_life() {
    let bench = Bench::new().await;
    let cloud = client(&bench, "secret");
    let watch = EniWatch::new(Arc::clone(&cloud));
    let (node, patience) = (InstanceId::from("i-1"), Duration::from_secs(30));
    let eni = cloud.create_eni(&wish("t")).await.unwrap();
    assert!(eni.addresses.v4.is_some() && eni.addresses.v6.is_some() && !eni.primary());
    assert_eq!(eni.tags["terway.io/intent"], "t");
    watch.until(&eni.id, Goal::Settled, patience).await.unwrap();
    cloud.attach_eni(&eni.id, &node).await.unwrap();
    cloud.attach_eni(&eni.id, &node).await.unwrap();
    let attached = watch.until(&eni.id, Goal::InUse(node.clone()), patience).await.unwrap().unwrap();
    assert_eq!((attached.instance.as_ref(), attached.mac), (Some(&node), eni.mac));
    let by_tag =
        EniFilter { tags: BTreeMap::from([("creator".into(), "terway".into())]), ..EniFilter::default() };
    assert_eq!(cloud.describe_enis(&by_tag).await.unwrap(), [attached]);
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
async fn the_older_signature_is_understood() {
    let bench = Bench::new().await;
    for (secret, expected) in [("secret", None), ("wrong", Some(CloudFailureKind::Denied))] {
        let config = AliyunConfig { signature: Signature::RpcV1, ..config(&bench, secret) };
        let outcome = Aliyun::new(config).unwrap().create_eni(&wish("t")).await;
        assert_eq!(outcome.err().map(|failure| failure.kind), expected);
    }
    let state = bench.state().await;
    assert_eq!(state["outcomes"]["CreateNetworkInterface"], json!({"ok": 1, "SignatureDoesNotMatch": 1}));
}

#[tokio::test]
async fn the_agents_client_reads_limits_vswitches_and_itself() {
    let bench = Bench::new().await;
    let cloud = client(&bench, "secret");
    let limits = cloud.instance_limits("small").await.unwrap().unwrap();
    assert_eq!((limits.enis, limits.ipv4_per_eni, limits.members), (3, 6, 10));
    assert_eq!(cloud.instance_limits("huge").await.unwrap(), None);
    let vswitch = cloud.describe_vswitch(&"vsw-a".into()).await.unwrap().unwrap();
    assert_eq!((vswitch.zone.as_str(), vswitch.free_ipv4), ("zone-a", 250));
    assert_eq!(cloud.describe_vswitch(&"vsw-x".into()).await.unwrap(), None);
    let metadata = AliyunMetadata::new(&bench.running.endpoints().metadata).unwrap();
    let identity = metadata.identity().await.unwrap();
    assert_eq!((identity.id.as_str(), identity.vswitch.as_str()), ("i-1", "vsw-a"));
    assert_eq!(metadata.macs().await.unwrap(), [identity.primary_mac]);
}

#[tokio::test]
async fn the_agents_client_understands_how_calls_fail() {
    let bench = Bench::new().await;
    let cloud = client(&bench, "secret");
    let error = client(&bench, "wrong").create_eni(&wish("t")).await.unwrap_err();
    assert_eq!(error.kind, CloudFailureKind::Denied, "{error}");
    bench.order(json!([{"action": "CreateNetworkInterface", "kind": "error:Throttling"}])).await;
    assert_eq!(cloud.create_eni(&wish("t")).await.unwrap_err().kind, CloudFailureKind::Throttled);
    let counts = AddressCounts { ipv4: 1, ..AddressCounts::default() };
    let tiny = |n: u32| CreateEni { vswitch: "vsw-tiny".into(), counts, ..wish(&format!("tiny{n}")) };
    for n in 0..4 {
        cloud.create_eni(&tiny(n)).await.unwrap();
    }
    assert_eq!(cloud.create_eni(&tiny(4)).await.unwrap_err().kind, CloudFailureKind::SubnetExhausted);
    bench.order(json!([{"action": "CreateNetworkInterface", "kind": "drop-after"}])).await;
    assert_eq!(cloud.create_eni(&wish("lost")).await.unwrap_err().kind, CloudFailureKind::Ambiguous);
    let again = cloud.create_eni(&wish("lost")).await.unwrap();
    let by_token = BTreeMap::from([("terway.io/intent".into(), "lost".into())]);
    let found = cloud.describe_enis(&EniFilter { tags: by_token, ..EniFilter::default() }).await.unwrap();
    assert_eq!(found.iter().map(|eni| &eni.id).collect::<Vec<_>>(), [&again.id]);
}

#[tokio::test]
async fn the_agents_client_gives_an_eni_more_and_takes_it_back() {
    let bench = Bench::new().await;
    let cloud = client(&bench, "secret");
    let watch = EniWatch::new(Arc::clone(&cloud));
    let counts = AddressCounts { ipv4: 2, ipv6: 1, ..AddressCounts::default() };
    let eni = cloud.create_eni(&CreateEni { counts, ..wish("t") }).await.unwrap();
    assert_eq!(eni.assigned.ipv4.len(), 2);
    watch.until(&eni.id, Goal::Settled, Duration::from_secs(30)).await.unwrap();
    let mut all = AddressSet::default();
    for (token, what) in [
        ("a", Assign::Ipv4(2)),
        ("b", Assign::Ipv6(1)),
        ("c", Assign::Ipv4Prefixes(1)),
        ("d", Assign::Ipv6Prefixes(1)),
    ] {
        let given = cloud.assign(&eni.id, &token.into(), what).await.unwrap();
        let again = cloud.assign(&eni.id, &token.into(), what).await.unwrap();
        assert_eq!(given, again, "{what:?}");
        all.ipv4.extend(given.ipv4);
        all.ipv6.extend(given.ipv6);
        all.prefixes.extend(given.prefixes);
    }
    let mine = EniFilter { ids: vec![eni.id.clone()], ..EniFilter::default() };
    let seen = cloud.describe_enis(&mine).await.unwrap()[0].clone();
    assert_eq!((seen.assigned.ipv4.len(), seen.assigned.ipv6.len(), seen.assigned.prefixes.len()), (4, 2, 2));
    assert_eq!((all.ipv4.len(), all.ipv6.len(), all.prefixes.len()), (2, 1, 2));
    cloud.unassign(&eni.id, &all).await.unwrap();
    cloud.unassign(&eni.id, &all).await.unwrap();
    assert_eq!(cloud.describe_enis(&mine).await.unwrap()[0].assigned, eni.assigned);
    let primary = AddressSet { ipv4: eni.addresses.v4.into_iter().collect(), ..AddressSet::default() };
    assert_eq!(cloud.unassign(&eni.id, &primary).await.unwrap_err().kind, CloudFailureKind::Invalid);
    cloud.set_security_groups(&eni.id, &["sg-2".into()]).await.unwrap();
    assert_eq!(cloud.describe_enis(&mine).await.unwrap()[0].security_groups, ["sg-2".into()]);
    let seen = cloud.describe_vswitches(&["vsw-tiny".into(), "vsw-x".into(), "vsw-a".into()]).await.unwrap();
    assert_eq!(seen.len(), 2);
}

#[tokio::test]
async fn the_agents_client_moves_members_on_and_off_a_trunk() {
    let bench = Bench::new().await;
    let cloud = client(&bench, "secret");
    let watch = EniWatch::new(Arc::clone(&cloud));
    let (node, patience) = (InstanceId::from("i-1"), Duration::from_secs(30));
    let trunk = cloud.create_eni(&CreateEni { kind: EniKind::Trunk, ..wish("trunk") }).await.unwrap();
    let member = cloud.create_eni(&wish("member")).await.unwrap();
    let trunking = cloud.trunking().unwrap();
    for eni in [&trunk, &member] {
        watch.until(&eni.id, Goal::Settled, patience).await.unwrap();
    }
    let early = trunking.attach_member(&member.id, &trunk.id, &node).await.unwrap_err();
    assert_eq!(early.vendor_code.as_deref(), Some("InvalidOperation.EniNotAttachedToInstance"));
    cloud.attach_eni(&trunk.id, &node).await.unwrap();
    let carrier = watch.until(&trunk.id, Goal::InUse(node.clone()), patience).await.unwrap().unwrap();
    assert_eq!((carrier.kind, carrier.vlan_id), (EniKind::Trunk, None));
    trunking.attach_member(&member.id, &trunk.id, &node).await.unwrap();
    trunking.attach_member(&member.id, &trunk.id, &node).await.unwrap();
    let seen = watch.until(&member.id, Goal::InUse(node.clone()), patience).await.unwrap().unwrap();
    assert_eq!((seen.kind, seen.vlan_id, seen.trunk.as_ref()), (EniKind::Member, Some(1), Some(&trunk.id)));
    let carrying = cloud.detach_eni(&trunk.id, &node).await.unwrap_err();
    assert_eq!(carrying.kind, CloudFailureKind::InvalidState, "it carries a member");
    trunking.detach_member(&member.id, &trunk.id, &node).await.unwrap();
    let free = watch.until(&member.id, Goal::Available, patience).await.unwrap().unwrap();
    assert_eq!((free.kind, free.vlan_id, free.trunk), (EniKind::Secondary, None, None));
    trunking.detach_member(&member.id, &trunk.id, &node).await.unwrap();
    cloud.detach_eni(&trunk.id, &node).await.unwrap();
}
