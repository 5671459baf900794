//! The instance metadata service: plain reads, folders with a slash at their entries' ends. The caller is the
//! instance that has the caller's source address.

use std::sync::Arc;

use axum::extract::{ConnectInfo, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use terway_types::Timestamp;

use super::shape;
use crate::api::line::Caller;
use crate::api::speaker;
use crate::live::Live;
use crate::model::{Eni, Instance, Status, VSwitch, World};

/// What the root folder lists.
const ROOT: &str = "app-id\ncam/\ninstance/\ninstance-id\nlocal-ipv4\nmac\nnetwork/\nplacement/\nuuid";

/// `GET /latest/meta-data/`.
pub(super) async fn root(state: State<Arc<Live>>, caller: ConnectInfo<Caller>) -> Response {
    read(state, caller, Path(String::new())).await
}

/// `GET /latest/meta-data/...`.
pub(super) async fn read(
    State(live): State<Arc<Live>>,
    ConnectInfo(caller): ConnectInfo<Caller>,
    Path(path): Path<String>,
) -> Response {
    live.with_records(|records, now| {
        records.calls.count("metadata/read");
        let Some(instance) = speaker::of(&records.world, caller.ip()) else {
            let message = format!("no instance speaks with {}\n", caller.ip());
            return (StatusCode::FORBIDDEN, message).into_response();
        };
        let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
        match lookup(&records.world, instance, &segments, now) {
            Some(text) => text.into_response(),
            None => (StatusCode::NOT_FOUND, "404 - Not Found\n").into_response(),
        }
    })
}

fn lookup(world: &World, instance: &Instance, path: &[&str], now: Timestamp) -> Option<String> {
    let primary = || world.eni(&instance.primary);
    match path {
        [] => Some(ROOT.to_owned()),
        ["instance-id"] => Some(instance.id.to_string()),
        ["instance", "instance-type"] => Some(instance.instance_type.id.clone()),
        ["app-id"] => Some("1250000000".to_owned()),
        ["mac"] => primary().map(shape::mac),
        ["local-ipv4"] => primary()?.primary_ipv4().map(|address| address.to_string()),
        ["placement", "region"] => Some(world.config().region.clone()),
        ["placement", "zone"] => Some(instance.zone.clone()),
        ["network", "interfaces", "macs"] => {
            let lines: Vec<String> =
                attached(world, instance, now).map(|eni| format!("{}/", shape::mac(eni))).collect();
            Some(lines.join("\n"))
        }
        ["network", "interfaces", "macs", mac, rest @ ..] => {
            let eni = attached(world, instance, now).find(|eni| shape::mac(eni) == *mac)?;
            interface(world, eni, rest)
        }
        ["cam", "security-credentials", rest @ ..] => role_credentials(world, rest, now),
        _ => None,
    }
}

/// The ENIs the instance really has; those on their way are not listed.
fn attached<'a>(world: &'a World, instance: &Instance, now: Timestamp) -> impl Iterator<Item = &'a Eni> {
    let seen = world.seen(world.config().manners.metadata_lag(), now).enis_of(&instance.id);
    seen.into_iter().filter(|eni| eni.status == Status::InUse)
}

fn interface(world: &World, eni: &Eni, path: &[&str]) -> Option<String> {
    let VSwitch { subnets, gateways, .. } = world.vswitch(&eni.vswitch)?;
    let addresses = || eni.addresses.ipv4.iter().map(ToString::to_string);
    match path {
        [] => Some("local-ipv4s/\nmac\nprimary-local-ipv4\nsubnet-id\nvpc-id".to_owned()),
        ["mac"] => Some(shape::mac(eni)),
        ["primary-local-ipv4"] => eni.primary_ipv4().map(|address| address.to_string()),
        ["vpc-id"] => Some(world.config().vpc.id.clone()),
        ["subnet-id"] => Some(eni.vswitch.to_string()),
        ["local-ipv4s"] => {
            Some(addresses().map(|address| format!("{address}/")).collect::<Vec<_>>().join("\n"))
        }
        ["local-ipv4s", address, leaf] => {
            addresses().find(|own| own == address)?;
            match *leaf {
                "local-ipv4" => Some((*address).to_owned()),
                "gateway" => gateways.v4.map(|gateway| gateway.to_string()),
                "subnet-mask" => subnets.v4.map(|cidr| cidr.mask().to_string()),
                _ => None,
            }
        }
        _ => None,
    }
}

/// The instance role's name, or its temporary key. None when the description has no such key.
fn role_credentials(world: &World, path: &[&str], now: Timestamp) -> Option<String> {
    let key = world.config().credentials.iter().find(|key| key.role.is_some())?;
    let role = key.role.as_deref()?;
    match path {
        [] => Some(role.to_owned()),
        [name] if *name == role => {
            let (token, end) = key.token_at(now);
            let ms = i64::try_from(end.0).unwrap_or(i64::MAX);
            let expiration = jiff::Timestamp::from_millisecond(ms).unwrap_or_default();
            let body = json!({
                "TmpSecretId": key.access_key_id,
                "TmpSecretKey": key.access_key_secret,
                "ExpiredTime": end.0 / 1000,
                "Expiration": expiration.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
                "Token": token.unwrap_or_default(),
                "Code": "Success",
            });
            Some(body.to_string())
        }
        _ => None,
    }
}
