//! A person at the cloud's console, who does as they like with ENIs; and cables that come off.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use ipnetwork::IpNetwork;
use serde::Deserialize;
use terway_types::{AddressSet, EniId, InstanceId, SecurityGroupId, Timestamp};

use super::change::{malformed, parse};
use super::{done, refused};
use crate::live::Live;
use crate::model::{Assign, InstanceState, Refusal, Wanted, World};

/// What a deed needs to be told; each deed reads its own part.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Details {
    security_groups: Vec<String>,
    tags: BTreeMap<String, String>,
    ipv4: Vec<Ipv4Addr>,
    ipv6: Vec<Ipv6Addr>,
    prefixes: Vec<IpNetwork>,
}

/// `POST /v1/enis/{id}/delete`.
pub(super) async fn delete(State(live): State<Arc<Live>>, Path(id): Path<String>) -> Response {
    answer(live.with(|world, now| world.delete_by_hand(&EniId(id), now)))
}

/// `POST /v1/console/enis/{id}/{deed}`: `delete`, `detach`, `unplug`, `plug`, `security-groups`, `tags`,
/// `assign`, `unassign`. It is answered when the fabric has done it.
pub(super) async fn deed(
    State(live): State<Arc<Live>>,
    Path((id, deed)): Path<(String, String)>,
    body: Bytes,
) -> Response {
    match parse::<Details>(&body) {
        Ok(details) => {
            let done = live.with(|world, now| act(world, &EniId(id), &deed, details, now));
            live.caught_up().await;
            done.map_or_else(|| refused(StatusCode::NOT_FOUND, "there is no such deed"), answer)
        }
        Err(error) => malformed(&error),
    }
}

/// `POST /v1/console/instances/{id}/{deed}`.
pub(super) async fn instance_deed(
    State(live): State<Arc<Live>>,
    Path((id, deed)): Path<(String, String)>,
) -> Response {
    let id = InstanceId(id);
    let done = live.with(|world, now| {
        let state = match deed.as_str() {
            "running" => InstanceState::Running,
            "stopped" => InstanceState::Stopped,
            "starting" => InstanceState::Starting,
            "stopping" => InstanceState::Stopping,
            "release" => return Some(world.release_instance(&id, now)),
            _ => return None,
        };
        Some(world.set_instance_state(&id, state))
    });
    live.caught_up().await;
    done.map_or_else(|| refused(StatusCode::NOT_FOUND, "there is no such deed"), answer)
}

fn act(
    world: &mut World,
    id: &EniId,
    deed: &str,
    details: Details,
    now: Timestamp,
) -> Option<Result<(), Refusal>> {
    let Details { security_groups, tags, ipv4, ipv6, prefixes } = details;
    let addresses = AddressSet { ipv4, ipv6, prefixes };
    let groups: Vec<SecurityGroupId> = security_groups.into_iter().map(SecurityGroupId).collect();
    Some(match deed {
        "delete" => world.delete_by_hand(id, now),
        "detach" => world.detach_by_hand(id, now),
        "unplug" => world.set_cable(id, false, now),
        "plug" => world.set_cable(id, true, now),
        "security-groups" => world.regroup_by_hand(id, &groups, now),
        "tags" => world.retag_by_hand(id, tags, now),
        "assign" => {
            let request = Assign { eni: id.clone(), wanted: Wanted::These(addresses), client_token: None };
            world.assign(&request, None, now).map(|_| ())
        }
        "unassign" => world.unassign(id, &addresses, now),
        _ => return None,
    })
}

fn answer(outcome: Result<(), Refusal>) -> Response {
    match outcome {
        Ok(()) => done(),
        Err(refusal) => refused(StatusCode::CONFLICT, &refusal.to_string()),
    }
}
