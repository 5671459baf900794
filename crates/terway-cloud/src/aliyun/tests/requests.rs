//! What is sent: the shape of every action's request, its headers and signature.

use std::collections::BTreeMap;

use axum::http::Method;
use terway_types::{AddressCounts, AddressSet};

use super::*;
use crate::cloud::{Assign, Cloud, CreateEni, EniFilter, EniKind};

fn create() -> CreateEni {
    CreateEni {
        token: "node-1-7".into(),
        vswitch: "vsw-1".into(),
        security_groups: vec!["sg-2".into(), "sg-1".into()],
        counts: AddressCounts { ipv4: 1, ipv6: 1, ..AddressCounts::default() },
        primary_ipv4: None,
        kind: EniKind::Secondary,
        tags: BTreeMap::from([
            ("terway.io/intent".into(), "node-1-7".into()),
            ("creator".into(), "terway".into()),
        ]),
    }
}

/// The only request's parameters as lines, with its action first.
fn sent(server: &Server) -> Vec<String> {
    let seen = server.seen();
    assert_eq!(seen.len(), 1, "{seen:?}");
    let pairs = seen[0].parameters().into_iter().map(|(name, value)| format!("{name}={value}"));
    std::iter::once(seen[0].action().to_owned()).chain(pairs).collect()
}

#[tokio::test]
async fn a_create_names_everything_and_is_repeatable() {
    let server = Server::giving([Answer::ok(eni("eni-7", "Available", ""))]).await;
    server.cloud().create_eni(&create()).await.unwrap();
    assert_eq!(
        sent(&server),
        [
            "CreateNetworkInterface",
            "ClientToken=node-1-7",
            "DeleteOnRelease=true",
            "Description=interface of a pod, made by terway",
            "InstanceType=Secondary",
            "Ipv6AddressCount=1",
            "RegionId=cn-hangzhou",
            "SecurityGroupIds.1=sg-2",
            "SecurityGroupIds.2=sg-1",
            "SourceDestCheck=false",
            "Tag.1.Key=creator",
            "Tag.1.Value=terway",
            "Tag.2.Key=terway.io/intent",
            "Tag.2.Value=node-1-7",
            "VSwitchId=vsw-1",
        ]
    );
}

#[tokio::test]
async fn a_create_without_ipv6_asks_for_none() {
    let server = Server::giving([Answer::ok(eni("eni-7", "Available", ""))]).await;
    let counts = AddressCounts { ipv4: 1, ..AddressCounts::default() };
    server.cloud().create_eni(&CreateEni { counts, ..create() }).await.unwrap();
    assert_eq!(server.seen()[0].parameter("Ipv6AddressCount"), None);
}

#[tokio::test]
async fn the_lesser_actions_name_eni_and_instance() {
    let (eni, instance) = ("eni-7".into(), "i-1".into());
    let server = Server::giving([accepted()]).await;
    server.cloud().attach_eni(&eni, &instance).await.unwrap();
    let expected =
        ["AttachNetworkInterface", "InstanceId=i-1", "NetworkInterfaceId=eni-7", "RegionId=cn-hangzhou"];
    assert_eq!(sent(&server), expected);

    let server = Server::giving([accepted()]).await;
    server.cloud().detach_eni(&eni, &instance).await.unwrap();
    let expected =
        ["DetachNetworkInterface", "InstanceId=i-1", "NetworkInterfaceId=eni-7", "RegionId=cn-hangzhou"];
    assert_eq!(sent(&server), expected);

    let server = Server::giving([accepted()]).await;
    server.cloud().delete_eni(&eni).await.unwrap();
    assert_eq!(sent(&server), ["DeleteNetworkInterface", "NetworkInterfaceId=eni-7", "RegionId=cn-hangzhou"]);
}

#[tokio::test]
async fn a_describe_carries_every_part_of_the_filter() {
    let server = Server::giving([page(&[], "")]).await;
    let filter = EniFilter {
        ids: vec!["eni-2".into(), "eni-1".into()],
        instance: Some("i-1".into()),
        tags: BTreeMap::from([("creator".into(), "terway".into())]),
    };
    server.cloud().describe_enis(&filter).await.unwrap();
    assert_eq!(
        sent(&server),
        [
            "DescribeNetworkInterfaces",
            "InstanceId=i-1",
            "MaxResults=500",
            "NetworkInterfaceId.1=eni-2",
            "NetworkInterfaceId.2=eni-1",
            "RegionId=cn-hangzhou",
            "Tag.1.Key=creator",
            "Tag.1.Value=terway",
        ]
    );
}

/// The port is another one each time, so the signature is computed again from what arrived; `sign` has
/// its own tests with values from elsewhere.
#[tokio::test]
async fn a_call_is_signed_as_it_is_sent() {
    let server = Server::giving([Answer::ok(r#"{"VSwitches":{"VSwitch":[]}}"#)]).await;
    server.cloud().describe_vswitch(&"vsw-1".into()).await.unwrap();
    let seen = &server.seen()[0];
    assert_eq!((&seen.method, seen.path.as_str()), (&Method::POST, "/"));
    assert_eq!(seen.query, "RegionId=cn-hangzhou&VSwitchId=vsw-1");
    assert_eq!(seen.header("host"), server.host);
    assert_eq!(seen.header("x-acs-action"), "DescribeVSwitches");
    assert_eq!(seen.header("x-acs-version"), "2016-04-28");
    assert_eq!(seen.header("x-acs-date"), "2026-11-21T08:00:00Z");
    assert_eq!(seen.header("x-acs-security-token"), "sts-token");
    assert_eq!(seen.header("content-length"), "0");
    assert!(seen.header("user-agent").starts_with("terway/"));

    let key = crate::AccessKey::new("LTAI-test", "secret".into(), Some("sts-token".into())).unwrap();
    let parameters = seen.parameters();
    let arrived = super::super::sign::Unsigned {
        in_form: false,
        host: seen.header("host"),
        action: seen.action(),
        version: seen.header("x-acs-version"),
        parameters: &parameters,
    };
    let date = seen.header("x-acs-date");
    let signed = super::super::sign::acs3::sign(&arrived, &key, date, seen.header("x-acs-signature-nonce"));
    let authorization = signed.headers.iter().find(|(name, _)| *name == "authorization").unwrap();
    assert_eq!(seen.header("authorization"), authorization.1);
}

#[tokio::test]
async fn an_instance_type_is_asked_for_by_name() {
    let server = Server::giving([Answer::ok(r#"{"InstanceTypes":{"InstanceType":[]}}"#)]).await;
    assert_eq!(server.cloud().instance_limits("ecs.g7.large").await, Ok(None));
    assert_eq!(
        sent(&server),
        ["DescribeInstanceTypes", "InstanceTypes.1=ecs.g7.large", "RegionId=cn-hangzhou"]
    );
}

#[tokio::test]
async fn a_create_asks_for_every_kind_of_address() {
    let server = Server::giving([Answer::ok(eni("eni-7", "Available", ""))]).await;
    let counts = AddressCounts { ipv4: 6, ipv6: 2, ipv4_prefixes: 3, ipv6_prefixes: 1 };
    server.cloud().create_eni(&CreateEni { counts, kind: EniKind::Trunk, ..create() }).await.unwrap();
    let asked = |name| server.seen()[0].parameter(name);
    assert_eq!(asked("SecondaryPrivateIpAddressCount").as_deref(), Some("5"), "the primary one counts");
    assert_eq!(asked("Ipv6AddressCount").as_deref(), Some("2"));
    assert_eq!(asked("Ipv4PrefixCount").as_deref(), Some("3"));
    assert_eq!(asked("Ipv6PrefixCount").as_deref(), Some("1"));
    assert_eq!(asked("InstanceType").as_deref(), Some("Trunk"));
}

#[tokio::test]
async fn an_assign_names_token_and_amount() {
    let v4 = r#"{"AssignedPrivateIpAddressesSet":{"NetworkInterfaceId":"eni-7",
        "PrivateIpSet":{"PrivateIpAddress":["10.0.0.9"]}}}"#;
    let v6 = r#"{"NetworkInterfaceId":"eni-7","Ipv6Sets":{"Ipv6Address":["fd00::9"]}}"#;
    let cases = [
        (Assign::Ipv4(3), v4, "AssignPrivateIpAddresses", "SecondaryPrivateIpAddressCount=3"),
        (Assign::Ipv4Prefixes(2), v4, "AssignPrivateIpAddresses", "Ipv4PrefixCount=2"),
        (Assign::Ipv6(1), v6, "AssignIpv6Addresses", "Ipv6AddressCount=1"),
        (Assign::Ipv6Prefixes(4), v6, "AssignIpv6Addresses", "Ipv6PrefixCount=4"),
    ];
    for (what, answer, action, amount) in cases {
        let server = Server::giving([Answer::ok(answer)]).await;
        server.cloud().assign(&"eni-7".into(), &"t-9".into(), what).await.unwrap();
        let mut expected =
            vec![amount, "ClientToken=t-9", "NetworkInterfaceId=eni-7", "RegionId=cn-hangzhou"];
        expected.sort_unstable();
        expected.insert(0, action);
        assert_eq!(sent(&server), expected);
    }
    let server = Server::giving([]).await;
    let nothing = server.cloud().assign(&"eni-7".into(), &"t-9".into(), Assign::Ipv4(0)).await;
    assert_eq!((nothing, server.seen().len()), (Ok(AddressSet::default()), 0));
}

#[tokio::test]
async fn an_unassign_goes_by_kind_and_in_parts() {
    let server = Server::start(|_| accepted()).await;
    let what = AddressSet {
        ipv4: (1..=11).map(|n| [10, 0, 0, n].into()).collect(),
        ipv6: vec!["fd00::9".parse().unwrap()],
        prefixes: vec!["10.0.1.0/28".parse().unwrap(), "fd00:1::/80".parse().unwrap()],
    };
    server.cloud().unassign(&"eni-7".into(), &what).await.unwrap();
    let calls: Vec<_> = server
        .seen()
        .iter()
        .map(|seen| {
            let names = seen.parameters().into_iter().map(|(name, value)| format!("{name}={value}"));
            let named: Vec<_> = names.filter(|name| name.contains(".1=")).collect();
            (seen.action().to_owned(), seen.parameters().len() - 2, named.join(","))
        })
        .collect();
    let call = |action: &str, count, first: &str| (action.to_owned(), count, first.to_owned());
    assert_eq!(
        calls,
        [
            call("UnassignPrivateIpAddresses", 10, "PrivateIpAddress.1=10.0.0.1"),
            call("UnassignPrivateIpAddresses", 1, "PrivateIpAddress.1=10.0.0.11"),
            call("UnassignPrivateIpAddresses", 1, "Ipv4Prefix.1=10.0.1.0/28"),
            call("UnassignIpv6Addresses", 1, "Ipv6Address.1=fd00::9"),
            call("UnassignIpv6Addresses", 1, "Ipv6Prefix.1=fd00:1::/80"),
        ]
    );
}

#[tokio::test]
async fn security_groups_are_replaced_as_a_whole() {
    let server = Server::giving([accepted()]).await;
    server.cloud().set_security_groups(&"eni-7".into(), &["sg-2".into(), "sg-1".into()]).await.unwrap();
    let expected = [
        "ModifyNetworkInterfaceAttribute",
        "NetworkInterfaceId=eni-7",
        "RegionId=cn-hangzhou",
        "SecurityGroupId.1=sg-2",
        "SecurityGroupId.2=sg-1",
    ];
    assert_eq!(sent(&server), expected);
}
