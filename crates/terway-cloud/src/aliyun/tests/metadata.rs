//! The metadata service: token, retries, and the node's identity.

use axum::http::Method;
use terway_types::{CloudFailureKind as Kind, Gateways, MacAddr, Subnets};

use super::*;
use crate::aliyun::AliyunMetadata;
use crate::cloud::{InstanceIdentity, Metadata, Ranges};

const TOKEN: &str = "x-aliyun-ecs-metadata-token";

fn metadata(server: &Server) -> AliyunMetadata {
    AliyunMetadata::new(&format!("http://{}", server.host)).unwrap().hasty()
}

/// An instance's metadata, for whoever brings the token.
fn instance(seen: &Seen, token: &str) -> Answer {
    if seen.path == "/latest/api/token" {
        assert_eq!(seen.method, Method::PUT);
        assert_eq!(seen.header("x-aliyun-ecs-metadata-token-ttl-seconds"), "21600");
        return Answer::ok(token);
    }
    assert_eq!(seen.method, Method::GET);
    if seen.header(TOKEN) != token {
        return Answer::new(401, "");
    }
    match seen.path.trim_start_matches("/latest/meta-data/") {
        "instance-id" => Answer::ok("i-1"),
        "instance/instance-type" => Answer::ok("ecs.g7.large\n"),
        "region-id" => Answer::ok("cn-hangzhou"),
        "zone-id" => Answer::ok("cn-hangzhou-h"),
        "vpc-id" => Answer::ok("vpc-1"),
        "vswitch-id" => Answer::ok("vsw-1"),
        "mac" => Answer::ok("00:16:3e:00:00:01"),
        "network/interfaces/macs/" => Answer::ok("00:16:3e:00:00:01/\n00:16:3e:00:00:02/\n"),
        "network/interfaces/macs/00:16:3e:00:00:01/vswitch-cidr-block" => Answer::ok("10.0.0.0/24"),
        "network/interfaces/macs/00:16:3e:00:00:01/vswitch-ipv6-cidr-block" => Answer::ok("fd00::/64"),
        "network/interfaces/macs/00:16:3e:00:00:01/gateway" => Answer::ok("10.0.0.253\n"),
        "network/interfaces/macs/00:16:3e:00:00:01/ipv6-gateway" => Answer::ok("fd00::ffff:ffff:ffff:fffd"),
        _ => Answer::new(404, "<html>404</html>"),
    }
}

#[tokio::test]
async fn the_node_knows_itself_with_one_token() {
    let server = Server::start(|seen| instance(seen, "token-1")).await;
    let metadata = metadata(&server);
    let expected = InstanceIdentity {
        id: "i-1".into(),
        instance_type: "ecs.g7.large".into(),
        region: "cn-hangzhou".into(),
        zone: "cn-hangzhou-h".into(),
        vpc: "vpc-1".into(),
        vswitch: "vsw-1".into(),
        primary_mac: MacAddr([0, 0x16, 0x3e, 0, 0, 1]),
        ranges: Ranges {
            subnets: Subnets::new("10.0.0.0/24".parse().ok(), "fd00::/64".parse().ok()),
            gateways: Gateways::new("10.0.0.253".parse().ok(), "fd00::ffff:ffff:ffff:fffd".parse().ok()),
        },
    };
    assert_eq!(metadata.identity().await, Ok(expected));
    let macs = metadata.macs().await.unwrap();
    assert_eq!(macs, [MacAddr([0, 0x16, 0x3e, 0, 0, 1]), MacAddr([0, 0x16, 0x3e, 0, 0, 2])]);
    let tokens = server.seen().iter().filter(|seen| seen.method == Method::PUT).count();
    assert_eq!(tokens, 1);
}

#[tokio::test]
async fn a_token_that_is_no_longer_taken_is_renewed() {
    let number = std::sync::atomic::AtomicU32::new(0);
    let server = Server::start(move |seen| {
        use std::sync::atomic::Ordering::SeqCst;
        if seen.method == Method::PUT {
            number.fetch_add(1, SeqCst);
        }
        let current = number.load(SeqCst);
        // The first token is never good.
        if current == 1 && seen.method == Method::GET {
            return Answer::new(401, "");
        }
        instance(seen, &format!("token-{current}"))
    })
    .await;
    assert_eq!(metadata(&server).macs().await.unwrap().len(), 2);
    let methods: Vec<_> = server.seen().into_iter().map(|seen| seen.method).collect();
    assert_eq!(methods, [Method::PUT, Method::GET, Method::PUT, Method::GET]);
}

#[tokio::test]
async fn a_token_refused_twice_ends_the_read() {
    let server =
        Server::start(|seen| Answer::new(if seen.method == Method::PUT { 200 } else { 401 }, "t")).await;
    let failure = metadata(&server).macs().await.unwrap_err();
    assert_eq!(failure.kind, Kind::Denied);
    assert_eq!(server.seen().len(), 4);
    let fault = crate::fault(&failure);
    assert_eq!(fault.remedy, "allow this node to read its instance metadata");
}

#[tokio::test]
async fn a_passing_trouble_is_tried_four_times() {
    let answers = [500, 429, 503].map(|status| Answer::new(status, "")).into_iter();
    let answers = std::iter::once(Answer::ok("t")).chain(answers).chain([Answer::ok("")]);
    let server = Server::giving(answers).await;
    assert_eq!(metadata(&server).macs().await, Ok(vec![]));

    let server =
        Server::start(|seen| Answer::new(if seen.method == Method::PUT { 200 } else { 500 }, "t")).await;
    let failure = metadata(&server).macs().await.unwrap_err();
    assert_eq!(failure.kind, Kind::Transient);
    assert_eq!(server.seen().len(), 5, "one token, four reads");
    assert_eq!(failure.message, "/latest/meta-data/network/interfaces/macs/: HTTP status 500");
}

#[tokio::test]
async fn an_endless_answer_is_cut_off() {
    let server = Server::start(|seen| match seen.method {
        Method::PUT => Answer::ok("t"),
        _ => Answer::ok("\n".repeat((1 << 20) + 1)),
    })
    .await;
    let failure = metadata(&server).macs().await.unwrap_err();
    assert_eq!(failure.kind, Kind::Transient);
    assert!(failure.message.ends_with("the answer is longer than 1048576 bytes"), "{failure}");
}

#[tokio::test]
async fn a_path_that_does_not_exist_is_not_tried_again() {
    for missing in ["region-id", "zone-id"] {
        let server = Server::start(move |seen| match seen.path.strip_prefix("/latest/meta-data/") {
            Some(path) if path == missing => Answer::new(404, ""),
            _ => instance(seen, "t"),
        })
        .await;
        let failure = metadata(&server).identity().await.unwrap_err();
        assert_eq!(failure.kind, Kind::Gone);
        assert_eq!(failure.message, format!("/latest/meta-data/{missing}: HTTP status 404"));
        let fault = crate::fault(&failure).to_string();
        assert!(fault.contains("metadata service does not tell") && fault.contains(missing), "{fault}");
    }
}

#[tokio::test]
async fn a_node_without_a_vswitch_of_its_own_knows_the_rest() {
    let server = Server::start(|seen| match seen.path.as_str() {
        "/latest/meta-data/vswitch-id" => Answer::new(404, ""),
        _ => instance(seen, "t"),
    })
    .await;
    let identity = metadata(&server).identity().await.unwrap();
    assert_eq!((identity.id.as_str(), identity.vswitch.as_str()), ("i-1", ""));
}

#[tokio::test]
async fn a_gateway_that_is_none_leaves_the_node_what_it_is() {
    for answer in [Answer::new(404, ""), Answer::ok("by the door")] {
        let server = Server::start(move |seen| {
            let of_nic = seen.path.strip_prefix("/latest/meta-data/network/interfaces/macs/");
            match of_nic.filter(|leaf| !leaf.is_empty()) {
                Some(_) => answer.clone(),
                None => instance(seen, "t"),
            }
        })
        .await;
        let identity = metadata(&server).identity().await.unwrap();
        assert_eq!((identity.id.as_str(), identity.ranges), ("i-1", Ranges::default()));
    }
}

#[tokio::test]
async fn what_the_instance_carries_is_counted() {
    let server =
        Server::start(|seen| match seen.path.strip_prefix("/latest/meta-data/network/interfaces/macs/") {
            Some("") => Answer::ok("00:16:3e:00:00:01/\n00:16:3e:00:00:02/\n"),
            Some("00:16:3e:00:00:01/private-ipv4s") => Answer::ok(r#"["10.0.0.1"]"#),
            Some("00:16:3e:00:00:02/private-ipv4s") => Answer::ok(r#"["10.0.0.2","10.0.0.3","10.0.0.4"]"#),
            Some("00:16:3e:00:00:02/ipv6s") => Answer::ok("[fd00::2]"),
            Some(_) => Answer::new(404, ""),
            None => Answer::ok("t"),
        })
        .await;
    let carried = metadata(&server).carried().await.unwrap();
    assert_eq!((carried.enis, carried.ipv4_per_eni, carried.ipv6_per_eni), (2, 3, 1));
}

#[tokio::test]
async fn nonsense_is_named() {
    let server = Server::start(|seen| match seen.path.as_str() {
        "/latest/meta-data/mac" => Answer::ok("<html>"),
        _ => instance(seen, "t"),
    })
    .await;
    let failure = metadata(&server).identity().await.unwrap_err();
    assert_eq!(failure.message, "mac: \"<html>\" is no value");
}

#[tokio::test]
async fn readers_at_the_same_time_share_a_token() {
    let server = Server::start(|seen| instance(seen, "t")).await;
    let metadata = metadata(&server);
    let (a, b, c) = tokio::join!(metadata.macs(), metadata.macs(), metadata.identity());
    assert!(a.is_ok() && b.is_ok() && c.is_ok());
    let tokens = server.seen().iter().filter(|seen| seen.method == Method::PUT).count();
    assert_eq!(tokens, 1);
}

#[test]
fn only_a_plain_address_is_a_metadata_service() {
    assert!(AliyunMetadata::new(crate::aliyun::METADATA_URL).is_ok());
    for url in ["", "100.100.100.200", "https://x", "http://x/latest", "http://x/?a"] {
        assert!(AliyunMetadata::new(url).is_err(), "{url}");
    }
}
