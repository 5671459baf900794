//! Who may call: the right key, the right time, once.

use reqwest::Method;

use crate::bench::{Bench, Call, date};

fn describe() -> Call {
    Call::new("DescribeNetworkInterfaces", &[("RegionId", "sim-region-1")])
}

#[tokio::test]
async fn a_signed_call_is_answered_in_query_and_form_by_get_and_post() {
    let bench = Bench::new().await;
    let get = Call { method: Method::GET, ..describe() };
    assert_eq!(get.send(&bench).await.unwrap().0, 200);
    let odd = [("RegionId", "sim-region-1"), ("Description", "a b*~/+é'")];
    assert_eq!(Call::new("DescribeNetworkInterfaces", &odd).send(&bench).await.unwrap().0, 200);
    let form = Call {
        form: "RegionId=sim-region-1&Type=Primary".to_owned(),
        ..Call::new("DescribeNetworkInterfaces", &[])
    };
    let (status, body) = form.send(&bench).await.unwrap();
    assert_eq!((status, &body["TotalCount"]), (200, &2.into()), "{body}");
}

#[tokio::test]
async fn an_error_has_the_vendors_shape_and_the_clouds_time() {
    let bench = Bench::new().await;
    let call = Call { secret: "wrong".to_owned(), ..describe() };
    let response = call.request(&bench).send().await.unwrap();
    assert_eq!(response.status().as_u16(), 400);
    assert!(response.headers()["date"].to_str().unwrap().ends_with(" GMT"));
    let body: serde_json::Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
    for field in ["RequestId", "HostId", "Code", "Message", "Recommend"] {
        assert!(!body[field].as_str().unwrap().is_empty(), "{field}: {body}");
    }
    assert_eq!(body["Code"], "SignatureDoesNotMatch");
}

#[tokio::test]
async fn who_may_not_call_is_told_why() {
    let bench = Bench::new().await;
    let unknown = Call { key: "stranger".to_owned(), ..describe() };
    assert_eq!(unknown.refusal(&bench).await, (404, "InvalidAccessKeyId.NotFound".into()));
    for seconds in [-16 * 60, 16 * 60] {
        let stale = Call { date: date(seconds), ..describe() };
        assert_eq!(stale.refusal(&bench).await, (400, "InvalidTimeStamp.Expired".into()), "{seconds} s");
    }
    let late = Call { date: date(-14 * 60), ..describe() };
    assert_eq!(late.send(&bench).await.unwrap().0, 200);
    let tampered = Call { smuggled: "&Status=Available".to_owned(), ..describe() };
    assert_eq!(tampered.refusal(&bench).await, (400, "SignatureDoesNotMatch".into()));
    let unsigned = bench.http.post(bench.url()).header("x-acs-action", "X").send().await.unwrap();
    assert_eq!(unsigned.status().as_u16(), 400);
    assert!(String::from_utf8_lossy(&unsigned.bytes().await.unwrap()).contains("IncompleteSignature"));
    let body = String::from("x=1");
    let swapped = describe().request(&bench).body(body).send().await.unwrap();
    assert!(String::from_utf8_lossy(&swapped.bytes().await.unwrap()).contains("SignatureDoesNotMatch"));
}

#[tokio::test]
async fn a_nonce_works_once_and_a_refused_call_does_not_spend_it() {
    let bench = Bench::new().await;
    let call = describe();
    let forged = Call { nonce: call.nonce.clone(), secret: "wrong".to_owned(), ..describe() };
    assert_eq!(forged.refusal(&bench).await.1, "SignatureDoesNotMatch");
    assert_eq!(call.send(&bench).await.unwrap().0, 200);
    assert_eq!(call.refusal(&bench).await, (400, "SignatureNonceUsed".into()));
}

#[tokio::test]
async fn a_temporary_key_needs_its_token() {
    let bench = Bench::new().await;
    let sts = |token: Option<&str>| Call {
        key: "sts".to_owned(),
        secret: "other".to_owned(),
        security_token: token.map(str::to_owned),
        ..describe()
    };
    assert_eq!(sts(Some("t0k3n")).send(&bench).await.unwrap().0, 200);
    assert_eq!(sts(None).refusal(&bench).await.1, "InvalidSecurityToken.MismatchWithAccessKey");
    assert_eq!(sts(Some("old")).refusal(&bench).await.1, "InvalidSecurityToken.MismatchWithAccessKey");
}

#[tokio::test]
async fn unknown_actions_and_versions_are_refused() {
    let bench = Bench::new().await;
    let action = Call::new("RunInstances", &[]);
    assert_eq!(action.refusal(&bench).await, (404, "InvalidAction.NotFound".into()));
    let wrong_product = Call::new("DescribeVSwitches", &[("RegionId", "sim-region-1")]);
    assert_eq!(wrong_product.refusal(&bench).await, (404, "InvalidAction.NotFound".into()));
    let version = Call { version: "1999-01-01".to_owned(), ..describe() };
    assert_eq!(version.refusal(&bench).await, (400, "InvalidVersion".into()));
}
