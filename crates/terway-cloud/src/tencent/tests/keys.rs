//! The metadata service and the chain of Tencent Cloud's keys.

use std::path::Path;

use axum::http::Method;
use terway_types::{CloudFailureKind as Kind, Gateways, MacAddr, Subnets};

use super::super::{TencentKeys, TencentMetadata};
use super::*;
use crate::cloud::{InstanceIdentity, Metadata, Ranges};
use crate::credentials::{CredentialSource, Environment, KeyPlaces};

fn metadata(server: &Server) -> Arc<TencentMetadata> {
    Arc::new(TencentMetadata::new(&format!("http://{}", server.host)).unwrap().hasty())
}

/// An instance's metadata, with this role or none.
fn instance(seen: &Seen, role: Option<&str>) -> Answer {
    assert_eq!(seen.method, Method::GET);
    match (seen.path.trim_start_matches("/latest/meta-data/"), role) {
        ("instance-id", _) => Answer::ok("ins-1"),
        ("instance/instance-type", _) => Answer::ok("S5.LARGE8\n"),
        ("placement/region", _) => Answer::ok("ap-guangzhou"),
        ("placement/zone", _) => Answer::ok("ap-guangzhou-3"),
        ("mac", _) => Answer::ok("20:90:6f:00:00:01"),
        ("network/interfaces/macs/", _) => Answer::ok("20:90:6F:00:00:01/\n20:90:6F:00:00:02/\n"),
        ("network/interfaces/macs/20:90:6F:00:00:01/vpc-id", _) => Answer::ok("vpc-1"),
        ("network/interfaces/macs/20:90:6F:00:00:01/subnet-id", _) => Answer::ok("subnet-1"),
        ("network/interfaces/macs/20:90:6F:00:00:01/primary-local-ipv4", _) => Answer::ok("10.0.17.7"),
        ("network/interfaces/macs/20:90:6F:00:00:01/local-ipv4s/10.0.17.7/gateway", _) => {
            Answer::ok("10.0.16.1")
        }
        ("network/interfaces/macs/20:90:6F:00:00:01/local-ipv4s/10.0.17.7/subnet-mask", _) => {
            Answer::ok("255.255.240.0")
        }
        ("cam/security-credentials/", Some(role)) => Answer::ok(role),
        (path, Some(role)) if path.ends_with(role) => Answer::ok(
            r#"{"TmpSecretId":"AKID-tmp","TmpSecretKey":"top-secret","ExpiredTime":4951000000,
            "Expiration":"2126-11-21T09:00:00Z","Token":"t-1","Code":"Success"}"#,
        ),
        _ => Answer::new(404, ""),
    }
}

#[tokio::test]
async fn the_node_knows_itself() {
    let server = Server::start(|seen| instance(seen, None)).await;
    let expected = InstanceIdentity {
        id: "ins-1".into(),
        instance_type: "S5.LARGE8".into(),
        region: "ap-guangzhou".into(),
        zone: "ap-guangzhou-3".into(),
        vpc: "vpc-1".into(),
        vswitch: "subnet-1".into(),
        primary_mac: MacAddr([0x20, 0x90, 0x6f, 0, 0, 1]),
        ranges: Ranges {
            subnets: Subnets::new("10.0.16.0/20".parse().ok(), None),
            gateways: Gateways::new("10.0.16.1".parse().ok(), None),
        },
    };
    assert_eq!(metadata(&server).identity().await, Ok(expected));
    assert_eq!(metadata(&server).macs().await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_gateway_that_is_none_leaves_the_node_what_it_is() {
    for (leaf, answer) in
        [("primary-local-ipv4", Answer::new(404, "")), ("subnet-mask", Answer::ok("255.0.255.0"))]
    {
        let server = Server::start(move |seen| {
            let asked = seen.path.ends_with(leaf) || seen.path.ends_with("gateway");
            if asked { answer.clone() } else { instance(seen, None) }
        })
        .await;
        let identity = metadata(&server).identity().await.unwrap();
        assert_eq!((identity.vswitch.as_str(), identity.ranges.subnets), ("subnet-1", Subnets::default()));
    }
}

#[tokio::test]
async fn a_service_that_stumbles_is_asked_again() {
    let failures = std::sync::Mutex::new(2);
    let server = Server::start(move |seen| {
        let mut left = failures.lock().unwrap();
        if *left > 0 {
            *left -= 1;
            return Answer::new(500, "");
        }
        instance(seen, None)
    })
    .await;
    assert!(metadata(&server).macs().await.is_ok());
    let absent = Server::start(|_| Answer::new(404, "")).await;
    assert_eq!(metadata(&absent).macs().await.unwrap_err().kind, Kind::Gone);
    assert_eq!(absent.seen().len(), 1);
}

fn keys(server: &Server, directory: &Path, environment: Environment) -> TencentKeys {
    let places = KeyPlaces {
        secret_directory: Some(directory.to_owned()),
        environment,
        sts_endpoint: Some(format!("http://{}", server.host)),
        proxies: false,
        ..KeyPlaces::default()
    };
    TencentKeys { places, ..TencentKeys::new("ap-guangzhou", metadata(server)) }
}

fn empty() -> Environment {
    Arc::new(|_| None)
}

#[tokio::test]
async fn the_instances_role_gives_a_temporary_key() {
    let server = Server::start(|seen| instance(seen, Some("TKE_QCSRole"))).await;
    let directory = tempfile::tempdir().unwrap();
    let chain = keys(&server, directory.path(), empty()).chain().unwrap();
    let key = chain.access_key().await.unwrap();
    assert_eq!((key.id(), key.secret(), key.token()), ("AKID-tmp", "top-secret", Some("t-1")));
    assert_eq!(chain.in_use().as_deref(), Some("the CAM role of the instance"));
}

#[tokio::test]
async fn without_any_key_every_place_is_named_with_its_reason() {
    let server = Server::start(|seen| instance(seen, None)).await;
    let directory = tempfile::tempdir().unwrap();
    let failure = keys(&server, directory.path(), empty()).chain().unwrap().access_key().await.unwrap_err();
    assert_eq!(failure.kind, Kind::Denied);
    assert_eq!(
        failure.message,
        format!(
            "no key for the cloud; tried the secret mounted at {}: not set up: no file secret-id; \
             access_key in the configuration: not set up: no key in it; \
             the environment variables TENCENTCLOUD_SECRET_ID and TENCENTCLOUD_SECRET_KEY: \
             not set up: both unset; \
             the web identity of the pod: not set up: TKE_REGION is unset; \
             the CAM role of the instance: not set up: the instance has no role",
            directory.path().display()
        )
    );
}

#[tokio::test]
async fn a_web_identity_is_exchanged_for_a_key() {
    let given = said(json!({"ExpiredTime": 4_951_000_000_i64, "Expiration": "2126-11-21T09:00:00Z",
        "Credentials": {"Token": "t-1", "TmpSecretId": "AKID-tmp", "TmpSecretKey": "top-secret"}}));
    let server =
        Server::giving([given, refused("InvalidParameter.WebIdentityTokenError", "bad jwt.token")]).await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    std::fs::write(&file, "jwt.token\n").unwrap();
    let path = file.display().to_string();
    let environment: Environment = Arc::new(move |name| match name {
        "TKE_REGION" => Some("ap-guangzhou".into()),
        "TKE_PROVIDER_ID" => Some("provider-1".into()),
        "TKE_ROLE_ARN" => Some("qcs::cam::uin/1:roleName/r".into()),
        "TKE_WEB_IDENTITY_TOKEN_FILE" => Some(path.clone()),
        _ => None,
    });
    let chain = || keys(&server, directory.path(), Arc::clone(&environment)).chain().unwrap();
    assert_eq!(chain().access_key().await.unwrap().id(), "AKID-tmp");
    let seen = &server.seen()[0];
    assert_eq!((seen.action(), seen.header("authorization")), ("AssumeRoleWithWebIdentity", "SKIP"));
    assert_eq!(seen.header("x-tc-version"), "2018-08-13");
    assert_eq!(
        body(seen),
        json!({"ProviderId": "provider-1", "RoleArn": "qcs::cam::uin/1:roleName/r",
            "RoleSessionName": "terway", "WebIdentityToken": "jwt.token"})
    );
    let failure = chain().access_key().await.unwrap_err();
    assert!(
        failure.message.contains("InvalidParameter.WebIdentityTokenError: bad [redacted] [request R-1]"),
        "{failure}"
    );
}
