//! What failures mean: refusals, nonsense, silence and broken connections.

use std::collections::BTreeMap;
use std::future::pending;

use terway_types::{AddressCounts, CloudFailure, CloudFailureKind as Kind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::cloud::{Cloud, CreateEni, EniFilter, EniKind};

fn create() -> CreateEni {
    CreateEni {
        token: "t-1".into(),
        vswitch: "vsw-1".into(),
        security_groups: vec!["sg-1".into()],
        counts: AddressCounts { ipv4: 1, ..AddressCounts::default() },
        primary_ipv4: None,
        kind: EniKind::Secondary,
        tags: BTreeMap::new(),
    }
}

/// How a create and a describe fail that are answered like this.
async fn both(answer: Answer) -> (CloudFailure, CloudFailure) {
    let server = Server::giving([answer.clone(), answer]).await;
    both_of(&server.cloud()).await
}

async fn both_of(cloud: &Aliyun) -> (CloudFailure, CloudFailure) {
    let create = cloud.create_eni(&create()).await.unwrap_err();
    (create, cloud.describe_enis(&EniFilter::default()).await.unwrap_err())
}

#[tokio::test]
async fn a_refusal_is_told_in_full() {
    let (create, describe) = both(Answer::refusal(403, "Forbidden.RAM", "User not authorized")).await;
    let expected = CloudFailure {
        kind: Kind::Denied,
        action: "CreateNetworkInterface".into(),
        vendor_code: Some("Forbidden.RAM".into()),
        request_id: Some("R-1".into()),
        message: "User not authorized; policy statement to add: \
                  {\"Effect\":\"Allow\",\"Action\":\"ecs:CreateNetworkInterface\",\"Resource\":\"*\"}"
            .into(),
    };
    assert_eq!(create, expected);
    assert_eq!((describe.kind, describe.action.as_str()), (Kind::Denied, "DescribeNetworkInterfaces"));
}

#[tokio::test]
async fn each_class_of_refusal_is_recognised() {
    let quota = Kind::Quota { which: "EniPerInstanceLimitExceeded".into(), limit: None };
    let cases = [
        (400, "Throttling.User", Kind::Throttled),
        (403, "EniPerInstanceLimitExceeded", quota),
        (400, "InvalidVSwitchId.IpNotEnough", Kind::SubnetExhausted),
        (403, "InvalidOperation.InvalidEniState", Kind::InvalidState),
        (404, "InvalidEniId.NotFound", Kind::Gone),
        (400, "IdempotentParameterMismatch", Kind::Conflict),
        (400, "MissingParameter", Kind::Invalid),
        (500, "InternalError", Kind::Ambiguous),
    ];
    for (status, code, kind) in cases {
        let server = Server::giving([Answer::refusal(status, code, "m")]).await;
        let failure = server.cloud().create_eni(&create()).await.unwrap_err();
        assert_eq!(failure.kind, kind, "{code}");
    }
}

#[tokio::test]
async fn a_quotas_limit_is_read_from_the_message() {
    let (create, _) =
        both(Answer::refusal(403, "EniPerInstanceLimitExceeded", "the limit of i-1 is 8.")).await;
    let quota = Kind::Quota { which: "EniPerInstanceLimitExceeded".into(), limit: Some(8) };
    assert_eq!(create.kind, quota);
}

#[tokio::test]
async fn a_refusal_never_says_the_words_of_success() {
    let (create, _) = both(Answer::refusal(404, "InvalidVSwitchId.NotFound", "vsw-1 is not found.")).await;
    assert_eq!(create.message, "vsw-1 is absent.");
}

#[tokio::test]
async fn clock_skew_shows_both_clocks() {
    let answer = Answer {
        date: Some("Sat, 21 Nov 2026 09:00:00 GMT"),
        ..Answer::refusal(400, "InvalidTimeStamp.Expired", "expired")
    };
    let (create, _) = both(answer).await;
    assert_eq!(create.kind, Kind::ClockSkew);
    assert_eq!(
        create.message,
        "expired; this node's clock says 2026-11-21T08:00:00Z, 3600 s behind the cloud's 2026-11-21T09:00:00Z"
    );
}

#[tokio::test]
async fn no_part_of_the_key_is_repeated() {
    let message =
        "Specified signature is not matched for LTAI-test sts-token. server string to sign is:POST%26";
    let (create, _) = both(Answer::refusal(400, "SignatureDoesNotMatch", message)).await;
    assert_eq!(create.message, "Specified signature is not matched for [redacted] [redacted].");
}

#[tokio::test]
async fn what_is_not_json_leaves_a_doubt_only_after_a_change() {
    let html = "<html>captive portal</html>";
    for status in [200, 502] {
        let (create, describe) = both(Answer::new(status, html)).await;
        assert_eq!((create.kind, describe.kind), (Kind::Ambiguous, Kind::Transient), "{status}");
        assert!(create.message.contains("captive portal"), "{}", create.message);
    }
    for status in [302, 404] {
        let (create, describe) = both(Answer::new(status, html)).await;
        assert_eq!((create.kind, describe.kind), (Kind::Transient, Kind::Transient), "{status}");
    }
    let (create, describe) = both(Answer::new(429, html)).await;
    assert_eq!((create.kind, describe.kind), (Kind::Throttled, Kind::Throttled));
}

#[tokio::test]
async fn an_answer_without_what_matters_is_refused() {
    let (create, describe) = both(Answer::ok("{}")).await;
    assert_eq!((create.kind, describe.kind), (Kind::Ambiguous, Kind::Transient));
    assert_eq!(create.message, "the answer cannot be used: an ENI has NetworkInterfaceId \"\"");

    let broken = eni("eni-7", "InUse", "i-1").replace("00:16:3e:00:00:07", "00:16");
    let server = Server::giving([page(&[broken], "")]).await;
    let describe = server.cloud().describe_enis(&EniFilter::default()).await.unwrap_err();
    assert_eq!(describe.message, "the answer cannot be used: ENI eni-7 has MacAddress \"00:16\"");
}

#[tokio::test]
async fn an_endless_answer_is_cut_off() {
    let (create, describe) = both(Answer::ok(" ".repeat((8 << 20) + 1))).await;
    assert_eq!((create.kind, describe.kind), (Kind::Ambiguous, Kind::Transient));
    assert_eq!(create.message, "the answer is longer than 8388608 bytes");
}

#[tokio::test]
async fn nobody_listening_is_harmless() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    drop(listener);
    let (create, describe) = both_of(&cloud(config(&host))).await;
    assert_eq!((create.kind, describe.kind), (Kind::Transient, Kind::Transient));
    assert!(create.message.contains("refused"), "{}", create.message);
    assert!(!create.message.contains("ClientToken"), "the query is of no use here: {}", create.message);
}

/// A server that takes connections and does this with each.
async fn raw<F: Future<Output = ()> + Send + 'static>(serve: fn(TcpStream) -> F) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    host
}

#[tokio::test]
async fn silence_after_the_request_leaves_a_doubt() {
    let host = raw(|stream| async move {
        let _open = stream;
        pending::<()>().await;
    })
    .await;
    let (create, describe) = both_of(&hasty(&host)).await;
    assert_eq!((create.kind, describe.kind), (Kind::Ambiguous, Kind::Transient));
}

#[tokio::test]
async fn a_connection_cut_after_the_request_leaves_a_doubt() {
    let host = raw(|mut stream| async move {
        let mut request = [0; 4096];
        assert!(stream.read(&mut request).await.unwrap() > 0);
    })
    .await;
    let (create, describe) = both_of(&cloud(config(&host))).await;
    assert_eq!((create.kind, describe.kind), (Kind::Ambiguous, Kind::Transient));
}

#[tokio::test]
async fn a_truncated_answer_leaves_a_doubt() {
    let host = raw(|mut stream| async move {
        let mut request = [0; 4096];
        assert!(stream.read(&mut request).await.unwrap() > 0);
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"RequestId\"").await.unwrap();
    })
    .await;
    let (create, describe) = both_of(&cloud(config(&host))).await;
    assert_eq!((create.kind, describe.kind), (Kind::Ambiguous, Kind::Transient));
    assert!(create.message.starts_with("the answer broke off"), "{}", create.message);
}

#[tokio::test]
async fn a_throttled_action_waits_before_it_is_called_again() {
    let server = Server::giving([Answer::refusal(400, "Throttling", "slow down")]).await;
    let budget = Arc::new(Budget::default());
    let cloud = cloud(AliyunConfig { budget: Arc::clone(&budget), ..config(&server.host) });
    cloud.create_eni(&create()).await.unwrap_err();
    let soon = Duration::from_millis(50);
    let again = tokio::time::timeout(soon, budget.acquire("CreateNetworkInterface")).await;
    assert!(again.is_err(), "the action rests");
    let other = tokio::time::timeout(soon, budget.acquire("AttachNetworkInterface")).await;
    assert!(other.is_ok(), "other actions do not");
}

#[test]
fn a_wrong_configuration_is_refused_before_anything_is_sent() {
    let wrong = |change: fn(&mut AliyunConfig)| {
        let mut config = config("127.0.0.1:1");
        change(&mut config);
        Aliyun::new(config).unwrap_err().to_string()
    };
    let region = wrong(|config| {
        config.region = "cn hangzhou".into();
        config.vpc_endpoint = None;
    });
    assert_eq!(region, "region \"cn hangzhou\" is not a name like cn-hangzhou or ap-guangzhou");
    let endpoint = wrong(|config| config.ecs_endpoint = Some("ftp://x".into()));
    assert!(endpoint.starts_with("endpoint \"ftp://x\" must start with"), "{endpoint}");
}

#[test]
fn an_https_client_can_be_made() {
    let mut config = config("127.0.0.1:1");
    (config.ecs_endpoint, config.vpc_endpoint) = (None, None);
    let cloud = Aliyun::new(config).unwrap();
    let shown = format!("{cloud:?}");
    assert!(!shown.contains("secret") && !shown.contains("sts-token") && !shown.contains("LTAI"), "{shown}");
}
