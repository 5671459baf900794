//! The instance metadata service. The caller is the instance whose ENI has the caller's source address;
//! over loopback, `127.0.0.N` is the N-th instance of the description. Reads need a session token.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{ConnectInfo, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use terway_types::{InstanceId, Timestamp};

use crate::api::line::Caller;
use crate::api::speaker;
use crate::live::Live;
use crate::model::{Eni, Instance, Status, VSwitch, World};

const TTL_HEADER: &str = "x-aliyun-ecs-metadata-token-ttl-seconds";
const TOKEN_HEADER: &str = "x-aliyun-ecs-metadata-token";
/// The longest life of a session token, in seconds.
const MAX_TTL: u64 = 21_600;

/// The session tokens given out.
#[derive(Debug, Default)]
pub(crate) struct MetadataTokens(BTreeMap<String, (InstanceId, Timestamp)>);

impl MetadataTokens {
    fn admits(&self, token: &str, instance: &InstanceId, now: Timestamp) -> bool {
        self.0.get(token).is_some_and(|(owner, until)| owner == instance && now < *until)
    }
}

/// `PUT /latest/api/token`.
pub(super) async fn token(
    State(live): State<Arc<Live>>,
    ConnectInfo(caller): ConnectInfo<Caller>,
    headers: HeaderMap,
) -> Response {
    let ttl = headers.get(TTL_HEADER).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let Some(ttl) = ttl.filter(|ttl| (1..=MAX_TTL).contains(ttl)) else {
        return (StatusCode::BAD_REQUEST, format!("{TTL_HEADER} must be 1 to {MAX_TTL}\n")).into_response();
    };
    live.with_records(|records, now| {
        records.calls.count("metadata/token");
        let Some(instance) = speaker::of(&records.world, caller.ip()).map(|instance| instance.id.clone())
        else {
            return stranger(caller.ip());
        };
        let token = records.world.request_id();
        records.tokens.0.retain(|_, (_, until)| now < *until);
        records.tokens.0.insert(token.clone(), (instance, now + Duration::from_secs(ttl)));
        token.into_response()
    })
}

/// `GET /latest/meta-data/...`.
pub(super) async fn read(
    State(live): State<Arc<Live>>,
    ConnectInfo(caller): ConnectInfo<Caller>,
    Path(path): Path<String>,
    headers: HeaderMap,
) -> Response {
    live.with_records(|records, now| {
        records.calls.count("metadata/read");
        let Some(instance) = speaker::of(&records.world, caller.ip()) else { return stranger(caller.ip()) };
        let token = headers.get(TOKEN_HEADER).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if !records.tokens.admits(token, &instance.id, now) {
            return (StatusCode::UNAUTHORIZED, "a valid session token is needed\n").into_response();
        }
        let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
        match lookup(&records.world, instance, &segments, now) {
            Some(text) => text.into_response(),
            None => (StatusCode::NOT_FOUND, "404 - Not Found\n").into_response(),
        }
    })
}

fn stranger(address: IpAddr) -> Response {
    (StatusCode::FORBIDDEN, format!("no instance speaks with {address}\n")).into_response()
}

fn lookup(world: &World, instance: &Instance, path: &[&str], now: Timestamp) -> Option<String> {
    let config = world.config();
    match path {
        ["instance-id"] => Some(instance.id.to_string()),
        ["instance", "instance-type"] => Some(instance.instance_type.id.clone()),
        ["region-id"] => Some(config.region.clone()),
        ["zone-id"] => Some(instance.zone.clone()),
        ["vswitch-id"] => Some(instance.vswitch.to_string()),
        ["vswitch-cidr-block"] => world.vswitch(&instance.vswitch)?.subnets.v4.map(|cidr| cidr.to_string()),
        ["vpc-id"] => Some(config.vpc.id.clone()),
        ["vpc-cidr-block"] => Some(config.vpc.ipv4_cidr.to_string()),
        ["mac"] => world.eni(&instance.primary).map(|eni| eni.mac.to_string()),
        ["private-ipv4"] => world.eni(&instance.primary)?.primary_ipv4().map(|address| address.to_string()),
        ["network", "interfaces", "macs"] => {
            let lines: Vec<String> =
                attached(world, instance, now).map(|eni| format!("{}/", eni.mac)).collect();
            Some(lines.join("\n"))
        }
        ["network", "interfaces", "macs", mac, leaf] => {
            let eni = attached(world, instance, now).find(|eni| eni.mac.to_string() == *mac)?;
            interface(world, eni, leaf)
        }
        ["ram", "security-credentials", rest @ ..] => role_credentials(world, rest, now),
        _ => None,
    }
}

/// The ENIs the instance really has; those on their way are not listed.
fn attached<'a>(world: &'a World, instance: &Instance, now: Timestamp) -> impl Iterator<Item = &'a Eni> {
    let seen = world.seen(world.config().manners.metadata_lag(), now).enis_of(&instance.id);
    seen.into_iter().filter(|eni| eni.status == Status::InUse)
}

fn interface(world: &World, eni: &Eni, leaf: &str) -> Option<String> {
    let VSwitch { subnets, gateways, .. } = world.vswitch(&eni.vswitch)?;
    let set = &eni.addresses;
    match leaf {
        "network-interface-id" => Some(eni.id.to_string()),
        "primary-ip-address" => eni.primary_ipv4().map(|address| address.to_string()),
        "private-ipv4s" => Some(json!(set.ipv4).to_string()),
        "ipv6s" => list(&set.ipv6),
        "ipv4-prefixes" => list(set.prefixes.iter().filter(|prefix| prefix.is_ipv4())),
        "ipv6-prefixes" => list(set.prefixes.iter().filter(|prefix| prefix.is_ipv6())),
        "gateway" => gateways.v4.map(|address| address.to_string()),
        "ipv6-gateway" if !set.ipv6.is_empty() => gateways.v6.map(|address| address.to_string()),
        "vswitch-id" => Some(eni.vswitch.to_string()),
        "vpc-id" => Some(world.config().vpc.id.clone()),
        "vswitch-cidr-block" => subnets.v4.map(|cidr| cidr.to_string()),
        "vswitch-ipv6-cidr-block" => subnets.v6.map(|cidr| cidr.to_string()),
        "vpc-cidr-block" => Some(world.config().vpc.ipv4_cidr.to_string()),
        _ => None,
    }
}

/// Bracketed and without quotes, as the vendor lists IPv6 addresses; nothing if there is nothing.
fn list<T: ToString>(items: impl IntoIterator<Item = T>) -> Option<String> {
    let texts: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    (!texts.is_empty()).then(|| format!("[{}]", texts.join(",")))
}

/// The instance role's name, or its temporary key. None when the description has no such key.
fn role_credentials(world: &World, path: &[&str], now: Timestamp) -> Option<String> {
    let key = world.config().credentials.iter().find(|key| key.role.is_some())?;
    let role = key.role.as_deref()?;
    match path {
        [] => Some(role.to_owned()),
        [name] if *name == role => {
            let time = |at: Timestamp| super::describe::iso_time(at);
            let (token, end) = key.token_at(now);
            let body = json!({
                "AccessKeyId": key.access_key_id,
                "AccessKeySecret": key.access_key_secret,
                "SecurityToken": token.unwrap_or_default(),
                "Expiration": time(end),
                "LastUpdated": time(now),
                "Code": "Success",
            });
            Some(body.to_string())
        }
        _ => None,
    }
}
