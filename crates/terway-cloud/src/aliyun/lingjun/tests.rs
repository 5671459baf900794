//! The Lingjun side of the provider: requests byte by byte, as in the provider's own tests, and answers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use terway_types::{AddressCounts, AddressSet, CloudFailureKind as Kind};

use super::super::tests::golden::compare;
use super::*;
use crate::budget::Budget;
use crate::credentials::StaticKey;
use crate::golden_files::complete;
use crate::loopback::{Answer, Server};

fn place() -> Place {
    Place { node: "e01-cn-1".into(), vpc: "vpc-1".to_owned(), zone: "cn-wulanchabu-a".into() }
}

fn wish() -> CreateEni {
    CreateEni {
        token: "node-1-7".into(),
        vswitch: "vsw-1".into(),
        security_groups: vec!["sg-1".into(), "sg-2".into()],
        counts: AddressCounts { ipv4: 1, ..AddressCounts::default() },
        primary_ipv4: None,
        kind: EniKind::Secondary,
        tags: BTreeMap::from([
            ("terway.io/intent".into(), "node-1-7".into()),
            ("creator".into(), "terway".into()),
        ]),
    }
}

#[test]
fn every_action_is_sent_as_documented() {
    let (eni, node) = ("leni-7".into(), "e01-cn-1".into());
    let calls = [
        (&api::CREATE, api::create(&wish(), &place())),
        (&api::ATTACH, api::bind(&eni, &node)),
        (&api::DETACH, api::bind(&eni, &node)),
        (&api::DELETE, api::one(&eni)),
        (&api::UPDATE, api::security_group(&eni, &"sg-2".into())),
        (&api::LIST, api::list(api::in_vpc("vpc-1"), 2)),
        (&api::NODE, api::node(&node)),
    ];
    let compared = calls.iter().map(|(action, _)| action.name);
    complete(include_str!("api.rs"), "aliyun/tests/golden/lingjun", compared);
    for (action, parameters) in calls {
        compare(&format!("lingjun/{}", action.name), action, parameters);
    }
}

fn cloud(server: &Server) -> Lingjun {
    let key = StaticKey::new("LTAI-test", SecretString::from("secret"), None).unwrap();
    let url = Some(format!("http://{}", server.host));
    let config = AliyunConfig {
        ecs_endpoint: url.clone(),
        vpc_endpoint: url.clone(),
        eflo_endpoint: url,
        proxies: false,
        ..AliyunConfig::new("cn-wulanchabu", Arc::new(key), Arc::new(Budget::default()))
    };
    Lingjun { patience: Duration::from_millis(1), ..Lingjun::new(config, place()).unwrap() }
}

fn said(content: &str) -> Answer {
    Answer::ok(format!(r#"{{"Code":0,"Message":"success","RequestId":"R-1","Content":{content}}}"#))
}

fn refused(code: u32) -> Answer {
    Answer::ok(format!(r#"{{"Code":{code},"Message":"no","RequestId":"R-1","Content":null}}"#))
}

fn leni(id: &str, status: &str, node: &str) -> String {
    format!(
        r#"{{"ElasticNetworkInterfaceId":"{id}","Status":"{status}","Type":"CUSTOM","Mac":"00:16:3e:00:00:07",
        "Ip":"10.0.0.7","VSwitchId":"vsw-1","VpcId":"vpc-1","ZoneId":"z","SecurityGroupId":"sg-1","NodeId":"{node}",
        "Description":"creator=terway;terway.io/intent=t","Unknown":1}}"#
    )
}

fn listing(total: usize, enis: &[String]) -> Answer {
    said(&format!(r#"{{"Total":{total},"Data":[{}]}}"#, enis.join(",")))
}

#[tokio::test]
async fn a_new_eni_is_waited_for_until_it_is_listed() {
    let created = said(r#"{"NodeId":"","ElasticNetworkInterfaceId":"leni-7"}"#);
    let unborn = leni("leni-7", "Executing", "").replace("00:16:3e:00:00:07", "");
    let answers = [created.clone(), listing(1, &[leni("leni-7", "Executing", "")])];
    let server = Server::giving(answers).await;
    let eni = cloud(&server).create_eni(&wish()).await.unwrap();
    assert_eq!((eni.id.as_str(), eni.status, eni.kind), ("leni-7", EniStatus::Creating, EniKind::Secondary));
    assert_eq!(eni.tags["terway.io/intent"], "t");
    assert_eq!(server.seen()[1].body.split('&').next(), Some("ElasticNetworkInterfaceId=leni-7"));

    let unseen = listing(1, &[unborn]);
    let server = Server::giving([created, unseen.clone(), unseen]).await;
    let unseen = cloud(&server).create_eni(&wish()).await.unwrap_err();
    assert_eq!(
        (unseen.kind, unseen.message.as_str()),
        (Kind::Ambiguous, "leni-7 is made, but cannot be seen yet")
    );
}

#[tokio::test]
async fn refusals_are_numbers_inside_success_or_codes_outside() {
    let quota = Kind::Quota { which: "1013".into(), limit: None };
    let bare = Answer::new(400, r#"{"Code":1013,"Message":"no"}"#);
    let forbidden = Answer::refusal(403, "Forbidden.RAM", "not allowed");
    let cases = [
        (refused(1013), quota.clone()),
        (bare, quota),
        (refused(1017), Kind::Conflict),
        (refused(999), Kind::Ambiguous),
        (forbidden, Kind::Denied),
        (Answer::ok("<html>"), Kind::Ambiguous),
    ];
    for (answer, kind) in cases {
        let server = Server::giving([answer]).await;
        let failure = cloud(&server).create_eni(&wish()).await.unwrap_err();
        assert_eq!(failure.kind, kind, "{failure}");
        if kind == Kind::Denied {
            let statement = r#""Action":"eflo:CreateElasticNetworkInterface""#;
            assert!(failure.message.contains(statement), "{failure}");
        }
    }
}

#[tokio::test]
async fn what_is_as_wanted_already_is_not_asked_for() {
    let (eni, node) = ("leni-7".into(), "e01-cn-1".into());
    let there = listing(1, &[leni("leni-7", "Available", "e01-cn-1")]);
    let free = listing(1, &[leni("leni-7", "Unattached", "")]);
    let server = Server::giving([there.clone(), free.clone(), there, free]).await;
    let cloud = cloud(&server);
    cloud.attach_eni(&eni, &node).await.unwrap();
    cloud.detach_eni(&eni, &node).await.unwrap();
    let elsewhere = cloud.attach_eni(&eni, &"e01-cn-2".into()).await.unwrap_err();
    assert_eq!(elsewhere.kind, Kind::InvalidState);
    cloud.detach_eni(&eni, &node).await.unwrap();
    assert!(server.actions().iter().all(|action| action == "ListElasticNetworkInterfaces"));

    let gone = [listing(0, &[]), refused(1011), refused(1011)];
    let server = Server::giving(gone).await;
    let cloud = self::cloud(&server);
    cloud.detach_eni(&eni, &node).await.unwrap();
    cloud.delete_eni(&eni).await.unwrap();
}

#[tokio::test]
async fn listings_go_over_all_pages_and_filter_here() {
    let pages = [
        listing(3, &[leni("leni-1", "Available", "e01-cn-1"), leni("leni-2", "Unattached", "")]),
        listing(3, &[leni("leni-3", "Attach Failed", "")]),
    ];
    let server = Server::giving(pages).await;
    let tags = BTreeMap::from([("creator".into(), "terway".into())]);
    let found = cloud(&server).describe_enis(&EniFilter { tags, ..EniFilter::default() }).await.unwrap();
    let states: Vec<_> = found.iter().map(|eni| (eni.id.as_str(), eni.status)).collect();
    let (in_use, free) = (EniStatus::InUse, EniStatus::Available);
    assert_eq!(states, [("leni-1", in_use), ("leni-2", free), ("leni-3", free)]);
    let bodies: Vec<_> = server.seen().into_iter().map(|seen| seen.body).collect();
    assert_eq!(bodies[0], "PageNumber=1&PageSize=100&RegionId=cn-wulanchabu&VpcId=vpc-1");
    assert!(bodies[1].starts_with("PageNumber=2&"), "{bodies:?}");
}

#[tokio::test]
async fn a_nodes_quota_is_its_limit() {
    let node = r#"{"NodeId":"e01-cn-1","LeniQuota":16,"LniSipQuota":3,"LeniSipQuota":9,"HdeniQuota":0}"#;
    let server = Server::giving([said(node)]).await;
    let limits = cloud(&server).instance_limits("efg2.x").await.unwrap().unwrap();
    assert_eq!((limits.enis, limits.ipv4_per_eni, limits.trunk), (16, 10, false));
    let server = Server::giving([refused(1011)]).await;
    assert_eq!(cloud(&server).instance_limits("efg2.x").await.unwrap(), None);
}

#[tokio::test]
async fn what_these_enis_do_not_have_is_told_before_anything_is_sent() {
    let server = Server::giving([]).await;
    let cloud = cloud(&server);
    let more = AddressCounts { ipv4: 2, ..AddressCounts::default() };
    let outcomes = [
        cloud.create_eni(&CreateEni { kind: EniKind::Trunk, ..wish() }).await.map(drop),
        cloud.create_eni(&CreateEni { counts: more, ..wish() }).await.map(drop),
        cloud.create_eni(&CreateEni { primary_ipv4: Some([10, 0, 0, 1].into()), ..wish() }).await.map(drop),
        cloud.assign(&"leni-1".into(), &"t".into(), Assign::Ipv4(1)).await.map(drop),
        cloud.set_delete_on_release(&"leni-1".into(), true).await,
        cloud.set_security_groups(&"leni-1".into(), &[]).await,
        cloud.describe_instances(&[]).await.map(drop),
    ];
    for outcome in outcomes {
        let failure = outcome.unwrap_err();
        assert_eq!(failure.kind, Kind::Invalid);
        assert!(failure.message.starts_with("not for Lingjun nodes: "), "{failure}");
    }
    assert!(cloud.trunking().is_none());
    cloud.unassign(&"leni-1".into(), &AddressSet::default()).await.unwrap();
    assert!(server.seen().is_empty());
}
