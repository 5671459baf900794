//! What failures mean: refusals inside HTTP 200, nonsense, and clocks.

use terway_types::{CloudFailure, CloudFailureKind as Kind};

use super::answers::create;
use super::*;
use crate::calls::tests::Kept;
use crate::cloud::{Cloud, EniFilter};
use crate::{CallSink, fault};

/// How a create and a describe fail that are answered like this.
async fn both(answer: Answer) -> (CloudFailure, CloudFailure) {
    let server = Server::giving([answer.clone(), answer]).await;
    let cloud = cloud(&server);
    let create = cloud.create_eni(&create(0)).await.unwrap_err();
    (create, cloud.describe_enis(&EniFilter::default()).await.unwrap_err())
}

#[tokio::test]
async fn a_refusal_is_told_in_full() {
    let (create, _) = both(refused("UnauthorizedOperation", "no CAM permission, AKID-test not found")).await;
    assert_eq!(create.kind, Kind::Denied);
    assert_eq!(create.vendor_code.as_deref(), Some("UnauthorizedOperation"));
    assert_eq!(create.request_id.as_deref(), Some("R-1"));
    let statement = r#"{"effect":"allow","action":["vpc:CreateNetworkInterface"],"resource":["*"]}"#;
    assert_eq!(
        create.message,
        format!("no CAM permission, [redacted] absent; policy statement to add: {statement}")
    );
    assert!(fault(&create).remedy.ends_with(statement));
}

#[tokio::test]
async fn each_class_of_refusal_is_recognised() {
    let quota = Kind::Quota { which: "LimitExceeded".into(), limit: Some(8) };
    let cases = [
        ("RequestLimitExceeded", "m", Kind::Throttled),
        ("LimitExceeded", "the limit is 8", quota),
        ("ResourceInsufficient.Subnet", "m", Kind::SubnetExhausted),
        ("UnsupportedOperation.IdempotentProcessing", "m", Kind::Conflict),
        ("InternalError", "m", Kind::Ambiguous),
    ];
    for (code, message, kind) in cases {
        assert_eq!(both(refused(code, message)).await.0.kind, kind, "{code}");
    }
}

#[tokio::test]
async fn clock_skew_shows_both_clocks() {
    let answer = Answer {
        date: Some("Sat, 21 Nov 2026 09:00:00 GMT"),
        ..refused("AuthFailure.SignatureExpire", "expired")
    };
    let (create, _) = both(answer).await;
    assert_eq!(create.kind, Kind::ClockSkew);
    assert_eq!(
        create.message,
        "expired; this node's clock says 2026-11-21T08:00:00Z, 3600 s behind the cloud's 2026-11-21T09:00:00Z"
    );
}

#[tokio::test]
async fn what_is_not_an_answer_leaves_a_doubt_only_after_a_change() {
    for answer in ["<html>captive portal</html>", "{}", "{\"Response\":7}", r#"{"Response":{"Error":{}}}"#] {
        let (create, describe) = both(Answer::ok(answer)).await;
        assert_eq!((create.kind, describe.kind), (Kind::Ambiguous, Kind::Transient), "{answer}");
        assert!(create.message.contains("is not one of the API"), "{}", create.message);
    }
    let (create, describe) = both(Answer::new(302, "moved")).await;
    assert_eq!((create.kind, describe.kind), (Kind::Transient, Kind::Transient));
    let (create, _) = both(Answer::ok(" ".repeat((8 << 20) + 1))).await;
    assert_eq!(create.message, "the answer is longer than 8388608 bytes");
}

#[tokio::test]
async fn an_eni_without_what_matters_is_refused() {
    let mut spoilt = eni("eni-7", "AVAILABLE", "");
    spoilt["MacAddress"] = "20:90".into();
    let server = Server::giving([page(&[spoilt], 1)]).await;
    let failure = cloud(&server).describe_enis(&EniFilter::default()).await.unwrap_err();
    assert_eq!(failure.message, "the answer cannot be used: ENI eni-7 has MacAddress \"20:90\"");
}

#[tokio::test]
async fn exchanges_are_written_down_with_what_they_name() {
    let server = Server::giving([accepted(), accepted(), task("SUCCESS")]).await;
    let kept = Arc::new(Kept::default());
    let calls = Some(Arc::clone(&kept) as Arc<dyn CallSink>);
    let cloud = Tencent::new(TencentConfig { calls, ..config(&server.host) }).unwrap();
    cloud.attach_eni(&"eni-7".into(), &"ins-1".into()).await.unwrap();
    let ipv4 = vec![[10, 0, 0, 8].into()];
    let what = terway_types::AddressSet { ipv4, ..Default::default() };
    crate::on_behalf_of("t-3".into(), cloud.unassign(&"eni-7".into(), &what)).await.unwrap();
    let lines: Vec<_> = kept
        .records()
        .iter()
        .map(|record| {
            let intent = record.intent.as_ref().map_or("-", |token| token.as_str());
            format!("{} {} {intent} [{}]", record.provider, record.action, record.object)
        })
        .collect();
    assert_eq!(
        lines,
        [
            "tencent AttachNetworkInterface - [eni-7,ins-1]",
            "tencent UnassignPrivateIpAddresses t-3 [eni-7,10.0.0.8]",
            "tencent DescribeVpcTaskResult t-3 []",
        ]
    );
}

#[test]
fn a_wrong_configuration_is_refused_and_nothing_of_a_key_is_shown() {
    let mut wrong = config("127.0.0.1:1");
    wrong.region = "ap guangzhou".into();
    assert!(Tencent::new(wrong).is_err());
    for endpoint in ["ftp://x", "http://x/path", "http://user@x"] {
        let wrong = TencentConfig { cvm_endpoint: Some(endpoint.into()), ..config("127.0.0.1:1") };
        let told = Tencent::new(wrong).unwrap_err().to_string();
        assert!(told.starts_with(&format!("endpoint {endpoint:?} must")), "{told}");
    }
    let shown = format!("{:?} {:?}", config("127.0.0.1:1"), Tencent::new(config("127.0.0.1:1")).unwrap());
    assert!(!shown.contains("secret") && !shown.contains("sts-token") && !shown.contains("AKID"), "{shown}");
}
