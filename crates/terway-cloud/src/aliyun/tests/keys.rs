//! The chain of Alibaba Cloud's keys, with services on loopback.

use std::path::Path;

use terway_types::CloudFailureKind as Kind;

use super::*;
use crate::aliyun::{AliyunKeys, AliyunMetadata};
use crate::credentials::{CredentialSource, Environment, KeyPlaces};

const KEY: &str = r#"{"AccessKeyId":"STS.1","AccessKeySecret":"top-secret","SecurityToken":"t-1",
    "Expiration":"2126-11-21T09:00:00Z","LastUpdated":"2026-11-21T03:00:00Z","Code":"Success"}"#;

fn environment(values: Vec<(&'static str, String)>) -> Environment {
    Arc::new(move |name| values.iter().find(|(key, _)| *key == name).map(|(_, value)| value.clone()))
}

/// A chain whose services are all at this server, and whose files are in this directory.
fn keys(server: &Server, directory: &Path) -> AliyunKeys {
    let url = format!("http://{}", server.host);
    let metadata = Arc::new(AliyunMetadata::new(&url).unwrap().hasty());
    let places = KeyPlaces {
        secret_directory: Some(directory.to_owned()),
        environment: environment(Vec::new()),
        sts_endpoint: Some(url),
        proxies: false,
        ..KeyPlaces::default()
    };
    AliyunKeys {
        places,
        addon_token: directory.join("token-config"),
        ..AliyunKeys::new("cn-hangzhou", metadata)
    }
}

/// A node with this role, or none.
fn metadata(seen: &Seen, role: Option<&str>, key: &str) -> Answer {
    let path = seen.path.trim_start_matches("/latest/");
    match (path, role) {
        ("api/token", _) => Answer::ok("token-1"),
        _ if seen.header("x-aliyun-ecs-metadata-token") != "token-1" => Answer::new(401, ""),
        ("meta-data/ram/security-credentials/", Some(role)) => Answer::ok(role),
        (path, Some(role)) if path.ends_with(role) => Answer::ok(key),
        _ => Answer::new(404, "<html>"),
    }
}

#[tokio::test]
async fn the_instances_role_gives_a_temporary_key() {
    let server = Server::start(|seen| metadata(seen, Some("NodeRole"), KEY)).await;
    let directory = tempfile::tempdir().unwrap();
    let chain = keys(&server, directory.path()).chain().unwrap();
    let key = chain.access_key().await.unwrap();
    assert_eq!((key.id(), key.secret(), key.token()), ("STS.1", "top-secret", Some("t-1")));
    assert_eq!(chain.in_use().as_deref(), Some("the RAM role of the instance"));
    let asked = server.seen().len();
    chain.access_key().await.unwrap();
    assert_eq!(server.seen().len(), asked, "kept until it expires");
}

#[tokio::test]
async fn without_any_key_every_place_is_named_with_its_reason() {
    let server = Server::start(|seen| metadata(seen, None, KEY)).await;
    let directory = tempfile::tempdir().unwrap();
    let failure = keys(&server, directory.path()).chain().unwrap().access_key().await.unwrap_err();
    assert_eq!(failure.kind, Kind::Denied);
    let place = directory.path().display();
    assert_eq!(
        failure.message,
        format!(
            "no key for the cloud; tried the secret mounted at {place}: not set up: no file access-key-id; \
             access_key in the configuration: not set up: no key in it; \
             the environment variables ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_ACCESS_KEY_SECRET: \
             not set up: both unset; \
             the web identity (RRSA): not set up: ALIBABA_CLOUD_ROLE_ARN is unset; \
             the add-on token file {place}/token-config: not set up: no such file; \
             the RAM role of the instance: not set up: the instance has no role"
        )
    );
}

#[tokio::test]
async fn a_role_without_a_key_is_a_failure_that_may_pass() {
    let server =
        Server::start(|seen| metadata(seen, Some("R"), r#"{"Code":"AssumeRoleUnauthorized"}"#)).await;
    let directory = tempfile::tempdir().unwrap();
    let failure = keys(&server, directory.path()).chain().unwrap().access_key().await.unwrap_err();
    assert_eq!(failure.kind, Kind::Transient);
    assert!(
        failure.message.ends_with("the answer for role R has Code \"AssumeRoleUnauthorized\""),
        "{failure}"
    );
}

#[tokio::test]
async fn a_mounted_secret_wins_over_all_else() {
    let server = Server::giving([]).await;
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("access-key-id"), "mounted\n").unwrap();
    std::fs::write(directory.path().join("access-key-secret"), "s\n").unwrap();
    let configured = Some(("configured".into(), SecretString::from("s")));
    let mut keys = keys(&server, directory.path());
    keys.places.configured = configured;
    let chain = keys.chain().unwrap();
    assert_eq!(chain.access_key().await.unwrap().id(), "mounted");
    assert!(server.seen().is_empty());
}

fn with_identity(mut keys: AliyunKeys, directory: &Path) -> AliyunKeys {
    let file = directory.join("oidc-token");
    std::fs::write(&file, "header.pay+load.sign\n").unwrap();
    keys.places.environment = environment(vec![
        ("ALIBABA_CLOUD_ROLE_ARN", "acs:ram::1:role/r".into()),
        ("ALIBABA_CLOUD_OIDC_PROVIDER_ARN", "acs:ram::1:oidc-provider/p".into()),
        ("ALIBABA_CLOUD_OIDC_TOKEN_FILE", file.display().to_string()),
    ]);
    keys
}

#[tokio::test]
async fn a_web_identity_is_exchanged_for_a_key() {
    let server = Server::giving([Answer::ok(format!(r#"{{"RequestId":"R-1","Credentials":{KEY}}}"#))]).await;
    let directory = tempfile::tempdir().unwrap();
    let chain = with_identity(keys(&server, directory.path()), directory.path()).chain().unwrap();
    assert_eq!(chain.access_key().await.unwrap().id(), "STS.1");
    let seen = &server.seen()[0];
    assert_eq!(seen.method, Method::POST);
    assert_eq!(seen.header("content-type"), "application/x-www-form-urlencoded");
    assert_eq!(seen.body, "OIDCToken=header%2Epay%2Bload%2Esign");
    let expected = [
        ("Action", "AssumeRoleWithOIDC"),
        ("Format", "JSON"),
        ("OIDCProviderArn", "acs:ram::1:oidc-provider/p"),
        ("RoleArn", "acs:ram::1:role/r"),
        ("RoleSessionName", "terway"),
        ("Version", "2015-04-01"),
    ];
    for (name, value) in expected {
        assert_eq!(seen.parameter(name).as_deref(), Some(value));
    }
    assert!(seen.parameter("SignatureNonce").is_some() && seen.parameter("Timestamp").is_some());
    assert_eq!(seen.header("authorization"), "", "nothing signs it");
}

#[tokio::test]
async fn a_refused_web_identity_is_told_without_its_token() {
    let server = Server::start(|seen| {
        if seen.method == Method::POST {
            Answer::refusal(400, "AuthenticationFail.OIDCToken.Expired", "token header.pay+load.sign expired")
        } else {
            metadata(seen, None, KEY)
        }
    })
    .await;
    let directory = tempfile::tempdir().unwrap();
    let chain = with_identity(keys(&server, directory.path()), directory.path()).chain().unwrap();
    let failure = chain.access_key().await.unwrap_err();
    assert_eq!(failure.kind, Kind::Transient);
    let expected = "AssumeRoleWithOIDC of acs:ram::1:role/r refused: AuthenticationFail.OIDCToken.Expired: \
                    token [redacted] expired [request R-1]";
    assert!(failure.message.contains(expected), "{failure}");
}

#[tokio::test]
async fn an_endless_answer_to_a_web_identity_is_cut_off() {
    let server = Server::start(|seen| match seen.method {
        Method::POST => Answer::ok(" ".repeat((1 << 20) + 1)),
        _ => metadata(seen, None, KEY),
    })
    .await;
    let directory = tempfile::tempdir().unwrap();
    let chain = with_identity(keys(&server, directory.path()), directory.path()).chain().unwrap();
    let failure = chain.access_key().await.unwrap_err();
    assert!(failure.message.contains("the answer is longer than 1048576 bytes"), "{failure}");
}

#[test]
fn the_regions_sts_is_asked() {
    let metadata = Arc::new(AliyunMetadata::new("http://127.0.0.1:1").unwrap());
    let shown = format!("{:?}", AliyunKeys::new("cn-hangzhou", Arc::clone(&metadata)).chain().unwrap());
    assert!(shown.contains("sts-vpc.cn-hangzhou.aliyuncs.com"), "{shown}");
    assert!(AliyunKeys::new("no region", metadata).chain().is_err());
}
