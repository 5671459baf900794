//! Changes that the cloud accepts at once and carries out in its own time.

use std::sync::Mutex;

use terway_types::{AddressSet, CloudFailureKind as Kind};

use super::answers::create;
use super::*;
use crate::cloud::{Assign, Cloud, EniStatus};

fn assigned() -> Answer {
    said(json!({"PrivateIpAddressSet": [
        {"PrivateIpAddress": "10.0.0.21", "Primary": false, "State": "PENDING"},
        {"PrivateIpAddress": "10.0.0.20", "Primary": false, "State": "PENDING"}]}))
}

async fn assign(answers: Vec<Answer>) -> (Result<AddressSet, Kind>, Server) {
    let server = Server::giving(answers).await;
    let outcome = cloud(&server).assign(&"eni-7".into(), &"t-1".into(), Assign::Ipv4(2)).await;
    (outcome.map_err(|failure| failure.kind), server)
}

#[tokio::test]
async fn an_assign_ends_with_its_task() {
    let (outcome, server) = assign(vec![assigned(), task("RUNNING"), task("SUCCESS")]).await;
    let ipv4 = vec![[10, 0, 0, 20].into(), [10, 0, 0, 21].into()];
    assert_eq!(outcome, Ok(AddressSet { ipv4, ..AddressSet::default() }));
    assert_eq!(
        server.actions(),
        ["AssignPrivateIpAddresses", "DescribeVpcTaskResult", "DescribeVpcTaskResult"]
    );
    assert_eq!(body(&server.seen()[1]), json!({"TaskId": "R-1"}), "it goes by the request id");
}

#[tokio::test]
async fn a_task_that_fails_or_does_not_end_is_told_apart() {
    assert_eq!(assign(vec![assigned(), task("FAILED")]).await.0, Err(Kind::Transient));
    let server = Server::giving([assigned(), task("RUNNING"), task("RUNNING"), task("RUNNING")]).await;
    let impatient = TencentConfig { task_patience: Duration::from_millis(200), ..config(&server.host) };
    let cloud = Tencent::new(impatient).unwrap();
    let outcome = cloud.assign(&"eni-7".into(), &"t-1".into(), Assign::Ipv4(2)).await;
    assert_eq!(outcome.unwrap_err().kind, Kind::Ambiguous);
    assert!(server.actions().len() < 5, "patience has an end");
    let busy = refused("UnsupportedOperation.MutexOperationTaskRunning", "busy");
    assert_eq!(assign(vec![busy]).await.0, Err(Kind::Conflict));
    let untold = said(json!({"PrivateIpAddressSet": []}));
    assert_eq!(assign(vec![untold, task("SUCCESS")]).await.0, Err(Kind::Ambiguous));
}

#[tokio::test]
async fn prefixes_are_refused_here() {
    let server = Server::giving([]).await;
    let cloud = cloud(&server);
    let assign = cloud.assign(&"eni-7".into(), &"t-1".into(), Assign::Ipv4Prefixes(1)).await;
    let prefixes = AddressSet { prefixes: vec!["10.0.1.0/28".parse().unwrap()], ..AddressSet::default() };
    let unassign = cloud.unassign(&"eni-7".into(), &prefixes).await;
    assert_eq!(assign.unwrap_err().kind, Kind::Invalid);
    assert_eq!(unassign.unwrap_err().kind, Kind::Invalid);
    assert!(server.seen().is_empty());
}

fn with_v6(addresses: &[&str], state: &str) -> Value {
    let mut eni = eni("eni-7", state, "");
    eni["Ipv6AddressSet"] =
        addresses.iter().map(|address| json!({"Address": address, "Primary": false})).collect();
    eni
}

fn v6_given(address: &str) -> Answer {
    said(json!({"Ipv6AddressSet": [{"Address": address}]}))
}

#[tokio::test]
async fn a_new_eni_gets_its_ipv6_addresses_once_it_is_there() {
    let server = Server::giving([
        said(json!({"NetworkInterface": with_v6(&[], "PENDING")})),
        page(&[with_v6(&[], "PENDING")], 1),
        page(&[with_v6(&[], "AVAILABLE")], 1),
        page(&[with_v6(&[], "AVAILABLE")], 1),
        v6_given("fd00::9"),
        task("SUCCESS"),
    ])
    .await;
    let made = cloud(&server).create_eni(&create(1)).await.unwrap();
    assert_eq!(made.status, EniStatus::Available);
    assert_eq!(made.addresses.v6, "fd00::9".parse().ok());
    assert_eq!(made.assigned.ipv6, ["fd00::9".parse::<std::net::Ipv6Addr>().unwrap()]);
}

/// Otherwise the caller would take the create for undone, and forget the ENI.
#[tokio::test]
async fn a_new_eni_that_gets_no_address_leaves_a_doubt() {
    let made = || said(json!({"NetworkInterface": with_v6(&[], "AVAILABLE")}));
    for refusal in ["UnauthorizedOperation", "ResourceNotFound", "LimitExceeded", "RequestLimitExceeded"] {
        let looked = page(&[with_v6(&[], "AVAILABLE")], 1);
        let server = Server::giving([made(), looked, refused(refusal, "no")]).await;
        let failure = cloud(&server).create_eni(&create(1)).await.unwrap_err();
        assert_eq!(failure.kind, Kind::Ambiguous, "{refusal}");
        assert!(failure.message.starts_with("eni-7 is made, but gets no IPv6 address: no"), "{failure}");
    }
    let server = Server::giving([made(), page(&[], 0)]).await;
    let unseen = cloud(&server).create_eni(&create(1)).await.unwrap_err();
    assert_eq!(unseen.kind, Kind::Ambiguous, "new ENIs may be invisible for a while");
}

#[tokio::test]
async fn a_repeated_create_adds_only_what_is_missing() {
    let there = || said(json!({"NetworkInterface": with_v6(&["fd00::9"], "AVAILABLE")}));
    let server = Server::giving([there()]).await;
    cloud(&server).create_eni(&create(1)).await.unwrap();
    assert_eq!(server.actions(), ["CreateNetworkInterface"]);
}

/// The action takes no token: the first call is lost after its effect, and the second must not add more.
#[tokio::test]
async fn ipv6_addresses_of_a_lost_call_are_found_by_looking() {
    let present = Mutex::new(vec!["fd00::1"]);
    let server = Server::start(move |seen| match seen.action() {
        "DescribeNetworkInterfaces" => page(&[with_v6(&present.lock().unwrap(), "AVAILABLE")], 1),
        "AssignIpv6Addresses" => {
            present.lock().unwrap().push("fd00::2");
            Answer::new(502, "<html>bad gateway</html>")
        }
        action => panic!("{action} is not expected"),
    })
    .await;
    let cloud = cloud(&server);
    let assign = async || cloud.assign(&"eni-7".into(), &"t-1".into(), Assign::Ipv6(1)).await;
    assert_eq!(assign().await.unwrap_err().kind, Kind::Ambiguous);
    let found = assign().await.unwrap();
    assert_eq!(found.ipv6, ["fd00::2".parse::<std::net::Ipv6Addr>().unwrap()]);
    let calls = server.actions().iter().filter(|action| *action == "AssignIpv6Addresses").count();
    assert_eq!(calls, 1);
}

#[tokio::test]
async fn what_an_eni_does_not_have_is_taken_off() {
    let unassign = async |addresses: &[[u8; 4]], answers: Vec<Answer>| {
        let server = Server::giving(answers).await;
        let ipv4 = addresses.iter().map(|address| (*address).into()).collect();
        let what = AddressSet { ipv4, ..AddressSet::default() };
        let outcome = cloud(&server).unassign(&"eni-7".into(), &what).await.map_err(|failure| failure.kind);
        (outcome, server.actions().len())
    };
    let absent = || refused("UnsupportedOperation.AttachmentNotFound", "not there");
    let looked = || page(&[eni("eni-7", "AVAILABLE", "")], 1);
    let (has, lacks) = ([10, 0, 0, 8], [10, 0, 0, 99]);
    assert_eq!(unassign(&[has], vec![accepted(), task("SUCCESS")]).await, (Ok(()), 2));
    assert_eq!(unassign(&[lacks], vec![absent(), looked()]).await, (Ok(()), 2));
    let rest = vec![absent(), looked(), accepted(), task("SUCCESS")];
    assert_eq!(unassign(&[has, lacks], rest).await, (Ok(()), 4));
    let primary = vec![refused("InvalidParameterValue", "the primary address"), looked()];
    assert_eq!(unassign(&[[10, 0, 0, 9]], primary).await, (Err(Kind::Invalid), 2));
    assert_eq!(unassign(&[has], vec![refused("ResourceNotFound", "no ENI")]).await, (Ok(()), 1));
    let unseen = vec![refused("InvalidParameterValue", "no"), page(&[], 0)];
    assert_eq!(unassign(&[has], unseen).await, (Err(Kind::Invalid), 2), "one look proves nothing");
}
