//! What answers mean when all is well, and when an object already is as wanted.

use std::collections::BTreeMap;

use terway_types::{
    AddressCounts, AddressSet, Addresses, CloudFailureKind as Kind, Gateways, InstanceId, MacAddr, Subnets,
};

use super::*;
use crate::cloud::{
    Cloud, CreateEni, EniDescription, EniFilter, EniKind, EniStatus, InstanceLimits, VSwitch,
};

fn described(status: EniStatus, instance: Option<&str>) -> EniDescription {
    EniDescription {
        id: "eni-7".into(),
        status,
        mac: MacAddr([0x20, 0x90, 0x6f, 0, 0, 7]),
        vswitch: "subnet-1".into(),
        zone: "ap-guangzhou-3".into(),
        security_groups: vec!["sg-1".into(), "sg-2".into()],
        addresses: Addresses::new("10.0.0.9".parse().ok(), "fd00::7".parse().ok()),
        assigned: AddressSet {
            ipv4: vec![[10, 0, 0, 8].into(), [10, 0, 0, 9].into()],
            ipv6: vec!["fd00::7".parse().unwrap()],
            prefixes: Vec::new(),
        },
        instance: instance.map(InstanceId::from),
        kind: EniKind::Secondary,
        vlan_id: None,
        trunk: None,
        description: "of a pod".into(),
        tags: BTreeMap::from([("creator".into(), "terway".into())]),
    }
}

pub(super) fn create(ipv6: u32) -> CreateEni {
    CreateEni {
        token: "t-1".into(),
        vswitch: "subnet-1".into(),
        security_groups: vec!["sg-1".into()],
        counts: AddressCounts { ipv4: 1, ipv6, ..AddressCounts::default() },
        primary_ipv4: None,
        kind: EniKind::Secondary,
        tags: BTreeMap::new(),
    }
}

#[tokio::test]
async fn an_eni_is_understood_in_every_state() {
    let states = [
        ("PENDING", "", EniStatus::Creating),
        ("AVAILABLE", "", EniStatus::Available),
        ("ATTACHING", "ins-1", EniStatus::Attaching),
        ("AVAILABLE", "ins-1", EniStatus::InUse),
        ("INUSE", "ins-1", EniStatus::InUse),
        ("DETACHING", "ins-1", EniStatus::Detaching),
        ("DELETING", "", EniStatus::Deleting),
        ("SOMETHING_NEW", "", EniStatus::Creating),
    ];
    let answers = states.map(|(state, instance, _)| page(&[eni("eni-7", state, instance)], 1));
    let server = Server::giving(answers).await;
    let cloud = cloud(&server);
    for (state, instance, status) in states {
        let found = cloud.describe_enis(&EniFilter::default()).await.unwrap();
        assert_eq!(found, [described(status, Some(instance).filter(|id| !id.is_empty()))], "{state}");
    }
}

#[tokio::test]
async fn the_primary_interface_is_seen() {
    let mut primary = eni("eni-0", "AVAILABLE", "ins-1");
    primary["Primary"] = true.into();
    let mut relay = eni("eni-1", "AVAILABLE", "ins-1");
    relay["EniType"] = 2.into();
    let server = Server::giving([page(&[primary, relay], 2)]).await;
    let found = cloud(&server).describe_enis(&EniFilter::default()).await.unwrap();
    assert_eq!((found[0].kind, found[1].kind), (EniKind::Primary, EniKind::Trunk));
}

#[tokio::test]
async fn a_listing_goes_over_all_pages() {
    let one = |id: &str| eni(id, "AVAILABLE", "");
    let server = Server::giving([page(&[one("eni-1"), one("eni-2")], 3), page(&[one("eni-3")], 3)]).await;
    let found = cloud(&server).describe_enis(&EniFilter::default()).await.unwrap();
    let ids: Vec<_> = found.iter().map(|eni| eni.id.as_str()).collect();
    assert_eq!(ids, ["eni-1", "eni-2", "eni-3"]);
    let bodies: Vec<_> = server.seen().iter().map(|seen| seen.body.clone()).collect();
    assert_eq!(bodies, [r#"{"Limit":100,"Offset":0}"#, r#"{"Limit":100,"Offset":2}"#]);
}

#[tokio::test]
async fn with_ids_the_rest_of_the_filter_is_applied_here() {
    let mut other = eni("eni-8", "AVAILABLE", "ins-1");
    other["TagSet"] = json!([]);
    let server = Server::giving([page(&[eni("eni-7", "AVAILABLE", "ins-1"), other], 2)]).await;
    let filter = EniFilter {
        ids: vec!["eni-7".into(), "eni-8".into()],
        instance: Some("ins-1".into()),
        tags: BTreeMap::from([("creator".into(), "terway".into())]),
    };
    let found = cloud(&server).describe_enis(&filter).await.unwrap();
    assert_eq!(found.len(), 1);
    let sent = json!({"Limit": 100, "NetworkInterfaceIds": ["eni-7", "eni-8"], "Offset": 0});
    assert_eq!(body(&server.seen()[0]), sent);
}

#[tokio::test]
async fn one_unknown_id_does_not_hide_the_others() {
    let server = Server::start(|seen| {
        let asked = body(seen);
        let ids: Vec<_> =
            asked["NetworkInterfaceIds"].as_array().unwrap().iter().map(|id| id.as_str().unwrap()).collect();
        if ids.contains(&"eni-gone") {
            return refused("ResourceNotFound", "eni-gone");
        }
        let enis: Vec<_> = ids.iter().map(|id| eni(id, "AVAILABLE", "")).collect();
        page(&enis, enis.len())
    })
    .await;
    let ids = ["eni-1", "eni-gone", "eni-2", "eni-3"].map(Into::into).to_vec();
    let found = cloud(&server).describe_enis(&EniFilter { ids, ..EniFilter::default() }).await.unwrap();
    let ids: Vec<_> = found.iter().map(|eni| eni.id.as_str()).collect();
    assert_eq!(ids, ["eni-1", "eni-2", "eni-3"]);
}

#[tokio::test]
async fn subnets_and_limits_are_read() {
    let subnet = json!({"SubnetSet": [{"SubnetId": "subnet-1", "VpcId": "vpc-1", "CidrBlock": "10.0.0.0/24",
        "Ipv6CidrBlock": "", "Zone": "ap-guangzhou-3", "AvailableIpAddressCount": 250}], "TotalCount": 1});
    let limits = json!({"EniQuantity": 8, "EniPrivateIpAddressQuantity": 20, "ExtendEniQuantity": null,
        "SubEniQuantity": null});
    let server = Server::giving([said(subnet), refused("ResourceNotFound", "no subnet"), said(limits)]).await;
    let cloud = cloud(&server);
    let expected = VSwitch {
        id: "subnet-1".into(),
        zone: "ap-guangzhou-3".into(),
        vpc: "vpc-1".to_owned(),
        subnets: Subnets::new("10.0.0.0/24".parse().ok(), None),
        gateways: Gateways::new("10.0.0.1".parse().ok(), None),
        free_ipv4: 250,
    };
    assert_eq!(cloud.describe_vswitch(&"subnet-1".into()).await, Ok(Some(expected)));
    assert_eq!(cloud.describe_vswitch(&"subnet-2".into()).await, Ok(None));
    let expected = InstanceLimits {
        enis: 8,
        ipv4_per_eni: 20,
        ipv6_per_eni: 20,
        members: 0,
        trunk: false,
        prefixes_per_eni: 0,
        assign_batch: 10,
    };
    assert_eq!(cloud.instance_limits("S5.LARGE8").await, Ok(Some(expected)));
}

#[tokio::test]
async fn what_is_attached_already_is_attached() {
    let attach = async |code, state, instance| {
        let server = Server::giving([refused(code, "no"), page(&[eni("eni-7", state, instance)], 1)]).await;
        let outcome = cloud(&server).attach_eni(&"eni-7".into(), &"ins-1".into()).await;
        outcome.map_err(|failure| failure.kind)
    };
    let exists = "UnsupportedOperation.AttachmentAlreadyExists";
    assert_eq!(attach(exists, "AVAILABLE", "ins-1").await, Ok(()));
    assert_eq!(attach(exists, "ATTACHING", "ins-1").await, Ok(()));
    assert_eq!(attach(exists, "AVAILABLE", "ins-2").await, Err(Kind::InvalidState));
    assert_eq!(attach("UnsupportedOperation.InvalidState", "PENDING", "").await, Err(Kind::InvalidState));
    assert_eq!(attach("ResourceNotFound", "AVAILABLE", "").await, Err(Kind::Invalid), "no such instance");
}

#[tokio::test]
async fn what_is_detached_or_gone_is_detached_and_deleted() {
    let wrong = || refused("UnsupportedOperation.InvalidState", "no");
    let detach = async |answers: Vec<Answer>| {
        let server = Server::giving(answers).await;
        let outcome = cloud(&server).detach_eni(&"eni-7".into(), &"ins-1".into()).await;
        outcome.map_err(|failure| failure.kind)
    };
    let looked = |state, instance| vec![wrong(), page(&[eni("eni-7", state, instance)], 1)];
    assert_eq!(detach(vec![accepted()]).await, Ok(()));
    assert_eq!(detach(vec![refused("ResourceNotFound", "no")]).await, Ok(()));
    assert_eq!(detach(looked("AVAILABLE", "")).await, Ok(()));
    assert_eq!(detach(looked("DETACHING", "ins-1")).await, Ok(()));
    assert_eq!(detach(looked("AVAILABLE", "ins-1")).await, Err(Kind::InvalidState));
    let delete = async |answers: Vec<Answer>| {
        let server = Server::giving(answers).await;
        cloud(&server).delete_eni(&"eni-7".into()).await.map_err(|failure| failure.kind)
    };
    assert_eq!(delete(vec![refused("ResourceNotFound", "no")]).await, Ok(()));
    assert_eq!(delete(looked("DELETING", "")).await, Ok(()));
    let in_use = vec![refused("ResourceInUse", "no"), page(&[eni("eni-7", "AVAILABLE", "ins-1")], 1)];
    assert_eq!(delete(in_use).await, Err(Kind::InvalidState));
}

#[tokio::test]
async fn a_create_answers_the_eni_in_whatever_state() {
    let made = || said(json!({"NetworkInterface": eni("eni-7", "PENDING", "")}));
    let missing = || refused("ResourceNotFound", "the subnet");
    let server = Server::giving([made(), missing()]).await;
    let cloud = cloud(&server);
    assert_eq!(cloud.create_eni(&create(0)).await, Ok(described(EniStatus::Creating, None)));
    assert_eq!(cloud.create_eni(&create(0)).await.unwrap_err().kind, Kind::Invalid);
}

#[tokio::test]
async fn a_group_that_does_not_exist_is_not_a_missing_eni() {
    let group = async |answers: Vec<Answer>| {
        let server = Server::giving(answers).await;
        let outcome = cloud(&server).set_security_groups(&"eni-7".into(), &["sg-9".into()]).await;
        outcome.map_err(|failure| failure.kind)
    };
    let absent = || refused("ResourceNotFound", "no such thing");
    assert_eq!(group(vec![accepted()]).await, Ok(()));
    let there = page(&[eni("eni-7", "AVAILABLE", "ins-1")], 1);
    assert_eq!(group(vec![absent(), there]).await, Err(Kind::Invalid));
    assert_eq!(group(vec![absent(), page(&[], 0)]).await, Err(Kind::Gone));
}
