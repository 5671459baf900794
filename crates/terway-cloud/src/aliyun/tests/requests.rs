//! What is sent: the shape of every action's request, its headers and signature.

use std::collections::BTreeMap;

use axum::http::Method;

use super::*;
use crate::cloud::{Cloud, CreateEni, EniFilter};

fn create() -> CreateEni {
    CreateEni {
        token: "node-1-7".into(),
        vswitch: "vsw-1".into(),
        security_groups: vec!["sg-2".into(), "sg-1".into()],
        ipv6: true,
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
    server.cloud().create_eni(&CreateEni { ipv6: false, ..create() }).await.unwrap();
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
        host: seen.header("host"),
        action: seen.action(),
        version: seen.header("x-acs-version"),
        parameters: &parameters,
    };
    let date = seen.header("x-acs-date");
    let signed = super::super::sign::sign(&arrived, &key, date, seen.header("x-acs-signature-nonce"));
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
