//! What answers mean when all is well, and when an object already is as wanted.

use std::collections::BTreeMap;

use terway_types::{AddressSet, Addresses, CloudFailureKind as Kind, Gateways, InstanceId, MacAddr, Subnets};

use super::*;
use crate::cloud::{Assign, Cloud, EniDescription, EniFilter, EniKind, EniStatus, InstanceLimits, VSwitch};

fn described(status: EniStatus, instance: Option<&str>) -> EniDescription {
    EniDescription {
        id: "eni-7".into(),
        status,
        mac: MacAddr([0, 0x16, 0x3e, 0, 0, 7]),
        vswitch: "vsw-1".into(),
        zone: "cn-hangzhou-h".into(),
        security_groups: vec!["sg-1".into(), "sg-2".into()],
        addresses: Addresses::new("10.0.0.7".parse().ok(), "fd00::7".parse().ok()),
        instance: instance.map(InstanceId::from),
        assigned: AddressSet {
            ipv4: vec![[10, 0, 0, 7].into()],
            ipv6: vec!["fd00::7".parse().unwrap()],
            prefixes: Vec::new(),
        },
        kind: EniKind::Secondary,
        vlan_id: None,
        trunk: None,
        description: String::new(),
        tags: BTreeMap::from([("creator".into(), "terway".into())]),
    }
}

#[tokio::test]
async fn an_eni_is_understood_in_every_status() {
    let statuses = [
        ("Available", EniStatus::Available),
        ("Attaching", EniStatus::Attaching),
        ("InUse", EniStatus::InUse),
        ("Detaching", EniStatus::Detaching),
        ("Deleting", EniStatus::Deleting),
        ("Creating", EniStatus::Creating),
        ("SomethingNew", EniStatus::Creating),
    ];
    let answers = statuses.map(|(text, _)| page(&[eni("eni-7", text, "i-1")], ""));
    let server = Server::giving(answers).await;
    let cloud = server.cloud();
    for (text, status) in statuses {
        let found = cloud.describe_enis(&EniFilter::default()).await.unwrap();
        assert_eq!(found, [described(status, Some("i-1"))], "{text}");
    }
}

#[tokio::test]
async fn the_primary_interface_and_the_attachment_are_seen() {
    let body = r#"{"NetworkInterfaceId":"eni-0","Status":"InUse","Type":"Primary","MacAddress":"00:16:3e:00:00:01",
        "InstanceId":"","Attachment":{"InstanceId":"i-9"},"PrivateIpAddress":null,"Ipv6Sets":null}"#;
    let server = Server::giving([page(&[body.to_owned()], "")]).await;
    let found = server.cloud().describe_enis(&EniFilter::default()).await.unwrap();
    assert!(found[0].primary());
    assert_eq!(found[0].instance, Some("i-9".into()));
    assert!(found[0].addresses.is_empty());
}

#[tokio::test]
async fn a_listing_goes_over_all_pages() {
    let server = Server::giving([
        page(&[eni("eni-1", "InUse", "i-1"), eni("eni-2", "InUse", "i-1")], "t1"),
        page(&[], "t2"),
        page(&[eni("eni-3", "InUse", "i-1")], ""),
    ])
    .await;
    let found = server.cloud().describe_enis(&EniFilter::default()).await.unwrap();
    let ids: Vec<_> = found.iter().map(|eni| eni.id.as_str()).collect();
    assert_eq!(ids, ["eni-1", "eni-2", "eni-3"]);
    let tokens: Vec<_> = server.seen().iter().map(|seen| seen.parameter("NextToken")).collect();
    assert_eq!(tokens, [None, Some("t1".into()), Some("t2".into())]);
}

#[tokio::test]
async fn many_ids_are_asked_for_in_several_calls() {
    let server = Server::giving([page(&[], ""), page(&[], ""), page(&[], "")]).await;
    let ids = (0..205).map(|n| format!("eni-{n}").into()).collect();
    server.cloud().describe_enis(&EniFilter { ids, ..EniFilter::default() }).await.unwrap();
    let asked = |seen: &Seen| {
        let parameters = seen.parameters();
        parameters.iter().filter(|(name, _)| name.starts_with("NetworkInterfaceId.")).count()
    };
    let counts: Vec<_> = server.seen().iter().map(asked).collect();
    assert_eq!(counts, [100, 100, 5]);
}

#[tokio::test]
async fn a_list_of_vswitches_does_not_begin_anew_where_one_is_asked_for_too_soon() {
    let page = |id: &str| {
        Answer::ok(format!(
            r#"{{"VSwitches":{{"VSwitch":[{{"VSwitchId":"{id}","VpcId":"vpc-1","ZoneId":"cn-hangzhou-h",
            "CidrBlock":"10.0.0.0/24","Ipv6CidrBlock":"","AvailableIpAddressCount":250}}]}}}}"#
        ))
    };
    let slow = || Answer::refusal(400, "Throttling.User", "slow down");
    let server = Server::giving([page("vsw-1"), slow(), page("vsw-2")]).await;
    let ids = ["vsw-1".into(), "vsw-2".into()];
    let found = server.cloud().describe_vswitches(&ids).await.unwrap();
    assert!(found.iter().map(|vswitch| &vswitch.id).eq(&ids), "{found:?}");
    assert_eq!(server.seen().len(), 3);
    let server = Server::giving([slow(), slow(), slow(), slow()]).await;
    let refused = server.cloud().describe_vswitches(&ids).await.unwrap_err();
    assert_eq!((refused.kind, server.seen().len()), (Kind::Throttled, 4), "patience ends");
}

#[tokio::test]
async fn a_vswitch_is_found_or_none() {
    let body = r#"{"VSwitches":{"VSwitch":[{"VSwitchId":"vsw-1","VpcId":"vpc-1","ZoneId":"cn-hangzhou-h",
        "CidrBlock":"10.0.0.0/24",
        "Ipv6CidrBlock":"","AvailableIpAddressCount":250}]}}"#;
    let none = Answer::refusal(404, "InvalidVswitchID.NotFound", "no such vSwitch");
    let server = Server::giving([Answer::ok(body), Answer::ok(body), none]).await;
    let cloud = server.cloud();
    let expected = VSwitch {
        id: "vsw-1".into(),
        zone: "cn-hangzhou-h".into(),
        vpc: "vpc-1".to_owned(),
        subnets: Subnets::new("10.0.0.0/24".parse().ok(), None),
        gateways: Gateways::new("10.0.0.253".parse().ok(), None),
        free_ipv4: 250,
    };
    assert_eq!(cloud.describe_vswitch(&"vsw-1".into()).await, Ok(Some(expected)));
    assert_eq!(cloud.describe_vswitch(&"vsw-2".into()).await, Ok(None), "another one is not the one");
    assert_eq!(cloud.describe_vswitch(&"vsw-2".into()).await, Ok(None));
}

#[tokio::test]
async fn an_instance_types_limits_are_read() {
    let body = r#"{"InstanceTypes":{"InstanceType":[
        {"InstanceTypeId":"ecs.a","EniQuantity":3,"EniTotalQuantity":3,"EniPrivateIpAddressQuantity":6,
         "EniIpv6AddressQuantity":1,"EniTrunkSupported":false},
        {"InstanceTypeId":"ecs.b","EniQuantity":8,"EniTotalQuantity":68,"EniPrivateIpAddressQuantity":20,
         "EniIpv6AddressQuantity":20,"EniTrunkSupported":true}]}}"#;
    let server = Server::giving([Answer::ok(body), Answer::ok(body)]).await;
    let cloud = server.cloud();
    let small = InstanceLimits {
        enis: 3,
        ipv4_per_eni: 6,
        ipv6_per_eni: 1,
        members: 0,
        trunk: false,
        prefixes_per_eni: 5,
        assign_batch: 10,
    };
    let large = InstanceLimits {
        enis: 8,
        ipv4_per_eni: 20,
        ipv6_per_eni: 20,
        members: 60,
        trunk: true,
        prefixes_per_eni: 19,
        assign_batch: 10,
    };
    assert_eq!(cloud.instance_limits("ecs.a").await, Ok(Some(small)));
    assert_eq!(cloud.instance_limits("ecs.b").await, Ok(Some(large)));
}

fn wrong_state() -> Answer {
    Answer::refusal(403, "InvalidOperation.InvalidEniState", "wrong state")
}

#[tokio::test]
async fn what_is_attached_already_is_attached() {
    let attach = async |status, instance| {
        let server = Server::giving([wrong_state(), page(&[eni("eni-7", status, instance)], "")]).await;
        let outcome = server.cloud().attach_eni(&"eni-7".into(), &"i-1".into()).await;
        assert_eq!(server.actions(), ["AttachNetworkInterface", "DescribeNetworkInterfaces"]);
        outcome.map_err(|failure| failure.kind)
    };
    assert_eq!(attach("InUse", "i-1").await, Ok(()));
    assert_eq!(attach("Attaching", "i-1").await, Ok(()));
    assert_eq!(attach("InUse", "i-2").await, Err(Kind::InvalidState));
    assert_eq!(attach("Detaching", "i-1").await, Err(Kind::InvalidState));
    assert_eq!(attach("Available", "").await, Err(Kind::InvalidState));
}

#[tokio::test]
async fn what_is_detached_or_gone_is_detached() {
    let detach = async |answers: Vec<Answer>| {
        let server = Server::giving(answers).await;
        let outcome = server.cloud().detach_eni(&"eni-7".into(), &"i-1".into()).await;
        outcome.map_err(|failure| failure.kind)
    };
    let looked = |status, instance| vec![wrong_state(), page(&[eni("eni-7", status, instance)], "")];
    let refused = |code| vec![Answer::refusal(404, code, "no such thing")];
    assert_eq!(detach(refused("InvalidEniId.NotFound")).await, Ok(()));
    assert_eq!(detach(refused("InvalidEcsId.NotFound")).await, Ok(()));
    assert_eq!(detach(looked("Available", "")).await, Ok(()));
    assert_eq!(detach(looked("Detaching", "i-1")).await, Ok(()));
    assert_eq!(detach(looked("InUse", "i-2")).await, Err(Kind::InvalidState));
    assert_eq!(detach(looked("InUse", "i-1")).await, Err(Kind::InvalidState));
    assert_eq!(detach(vec![wrong_state(), page(&[], "")]).await, Err(Kind::InvalidState), "one look only");
}

#[tokio::test]
async fn what_is_gone_is_deleted() {
    let delete = async |answers: Vec<Answer>| {
        let server = Server::giving(answers).await;
        server.cloud().delete_eni(&"eni-7".into()).await.map_err(|failure| failure.kind)
    };
    assert_eq!(delete(vec![Answer::refusal(404, "InvalidEniId.NotFound", "gone")]).await, Ok(()));
    assert_eq!(delete(vec![wrong_state(), page(&[eni("eni-7", "Deleting", "")], "")]).await, Ok(()));
    let in_use = vec![wrong_state(), page(&[eni("eni-7", "InUse", "i-1")], "")];
    assert_eq!(delete(in_use).await, Err(Kind::InvalidState));
}

#[tokio::test]
async fn all_addresses_of_an_eni_are_read() {
    let body = r#"{"NetworkInterfaceId":"eni-8","Status":"InUse","Type":"Member","MacAddress":"00:16:3e:00:00:08",
        "Description":"of a pod","PrivateIpAddress":"10.0.0.9",
        "PrivateIpSets":{"PrivateIpSet":[{"PrivateIpAddress":"10.0.0.9","Primary":true},
            {"PrivateIpAddress":"10.0.0.8","Primary":false}]},
        "Ipv6Sets":{"Ipv6Set":[{"Ipv6Address":"fd00::9"},{"Ipv6Address":"fd00::8"}]},
        "Ipv4PrefixSets":{"Ipv4PrefixSet":[{"Ipv4Prefix":"10.0.1.16/28"}]},
        "Ipv6PrefixSets":{"Ipv6PrefixSet":[{"Ipv6Prefix":"fd00:0:0:1::/80"}]},
        "Attachment":{"InstanceId":"i-1","DeviceIndex":7,"TrunkNetworkInterfaceId":"eni-1"}}"#;
    let server = Server::giving([page(&[body.to_owned()], "")]).await;
    let found = server.cloud().describe_enis(&EniFilter::default()).await.unwrap().remove(0);
    let expected = AddressSet {
        ipv4: vec![[10, 0, 0, 8].into(), [10, 0, 0, 9].into()],
        ipv6: vec!["fd00::8".parse().unwrap(), "fd00::9".parse().unwrap()],
        prefixes: vec!["10.0.1.16/28".parse().unwrap(), "fd00:0:0:1::/80".parse().unwrap()],
    };
    assert_eq!(found.assigned, expected);
    assert_eq!(found.addresses, Addresses::new("10.0.0.9".parse().ok(), "fd00::9".parse().ok()));
    assert_eq!((found.kind, found.vlan_id, found.trunk), (EniKind::Member, Some(7), Some("eni-1".into())));
    assert_eq!(found.description, "of a pod");
}

#[tokio::test]
async fn an_assign_tells_what_was_given() {
    let v4 = r#"{"AssignedPrivateIpAddressesSet":{"PrivateIpSet":{"PrivateIpAddress":["10.0.0.9","10.0.0.8"]},
        "Ipv4PrefixSet":{"Ipv4Prefixes":["10.0.1.16/28"]}}}"#;
    let v6 =
        r#"{"Ipv6Sets":{"Ipv6Address":["fd00::9"]},"Ipv6PrefixSets":{"Ipv6Prefix":["fd00:0:0:1::/80"]}}"#;
    let server = Server::giving([Answer::ok(v4), Answer::ok(v6), accepted()]).await;
    let cloud = server.cloud();
    let assign = async |what| cloud.assign(&"eni-7".into(), &"t-1".into(), what).await;
    let four = assign(Assign::Ipv4(2)).await.unwrap();
    assert_eq!(four.ipv4, [[10, 0, 0, 8].into(), [10, 0, 0, 9].into()] as [std::net::Ipv4Addr; 2]);
    assert_eq!(four.prefixes, ["10.0.1.16/28".parse().unwrap()]);
    let six = assign(Assign::Ipv6(1)).await.unwrap();
    assert_eq!(six.ipv6, ["fd00::9".parse::<std::net::Ipv6Addr>().unwrap()]);
    assert_eq!(six.prefixes, ["fd00:0:0:1::/80".parse().unwrap()]);
    let untold = assign(Assign::Ipv4(1)).await.unwrap_err();
    assert_eq!(untold.kind, Kind::Ambiguous, "something was given, but what?");
}

#[tokio::test]
async fn what_an_eni_does_not_have_is_taken_off() {
    let unassigned = || Answer::refusal(400, "InvalidIp.IpUnassigned", "not assigned");
    let unassign = async |addresses: u8, answers: Vec<Answer>| {
        let server = Server::giving(answers).await;
        let what = AddressSet {
            ipv4: (1..=addresses).map(|n| [10, 0, 0, n].into()).collect(),
            ..AddressSet::default()
        };
        let outcome = server.cloud().unassign(&"eni-7".into(), &what).await.map_err(|failure| failure.kind);
        (outcome, server.seen().len())
    };
    assert_eq!(unassign(1, vec![unassigned()]).await, (Ok(()), 1));
    let mixed = vec![unassigned(), accepted(), unassigned(), accepted()];
    assert_eq!(unassign(3, mixed).await, (Ok(()), 4), "what it has goes one by one");
    assert_eq!(unassign(2, vec![Answer::refusal(404, "InvalidEniId.NotFound", "gone")]).await, (Ok(()), 1));
    let refused = vec![unassigned(), Answer::refusal(400, "InvalidParameter", "the primary address")];
    assert_eq!(unassign(2, refused).await, (Err(Kind::Invalid), 2));
}
