//! The whole world as JSON.

use serde_json::{Value, json};
use terway_types::{EniId, InstanceId, SecurityGroupId, Timestamp};

use crate::config::CredentialConfig;
use crate::live::Records;
use crate::model::{Eni, Instance, VSwitch, World};

/// The whole world.
pub(super) fn view(records: &Records, now: Timestamp) -> Value {
    let world = &records.world;
    let config = world.config();
    json!({
        "now_ms": now.0,
        "cloud": config.cloud,
        "region": config.region,
        "vpc": { "id": config.vpc.id, "ipv4": config.vpc.ipv4_cidr, "ipv6": config.vpc.ipv6_cidr },
        "vswitches": world.vswitches().map(vswitch).collect::<Vec<_>>(),
        "security_groups": config.security_groups,
        "instances": world.instances().map(|instance| node(world, instance)).collect::<Vec<_>>(),
        "enis": world.enis().map(eni).collect::<Vec<_>>(),
        "calls": records.calls.counts(),
        "outcomes": records.calls.outcomes(),
        "errors": records.calls.errors(),
        "last_call": records.calls.last(),
        "held": records.calls.held(),
        "faults": records.faults.remaining(),
        "manners": config.manners,
        "credentials": config.credentials.iter().map(credential).collect::<Vec<_>>(),
        "latency_ms": config.latency_ms,
        "quota": config.quota,
    })
}

fn vswitch(vswitch: &VSwitch) -> Value {
    let gateways = vswitch.gateways;
    json!({
        "id": vswitch.id.as_str(),
        "zone": vswitch.zone,
        "ipv4": vswitch.subnets.v4,
        "ipv6": vswitch.subnets.v6,
        "gateway": gateways.v4,
        "ipv6_gateway": gateways.v6,
        "free_ipv4": u64::try_from(vswitch.free_ipv4()).unwrap_or(u64::MAX),
    })
}

fn node(world: &World, instance: &Instance) -> Value {
    let enis: Vec<&str> = world.enis_of(&instance.id).into_iter().map(|eni| eni.id.as_str()).collect();
    let described = world.config().instances.iter().find(|node| node.id == instance.id.as_str());
    json!({
        "id": instance.id.as_str(),
        "type": instance.instance_type.id,
        "vswitch": instance.vswitch.as_str(),
        "zone": instance.zone,
        "state": instance.state,
        "netns": described.map(|node| &node.netns),
        "primary_eni": instance.primary.as_str(),
        "enis": enis,
    })
}

fn eni(eni: &Eni) -> Value {
    json!({
        "id": eni.id.as_str(),
        "type": eni.kind,
        "status": eni.status,
        "link": eni.link,
        "instance": eni.instance().map(InstanceId::as_str),
        "device_index": eni.attachment.as_ref().map(|attachment| attachment.device_index),
        "vswitch": eni.vswitch.as_str(),
        "mac": eni.mac.to_string(),
        "trunk": eni.trunk().map(EniId::as_str),
        "ipv4": eni.addresses.ipv4,
        "ipv6": eni.addresses.ipv6,
        "prefixes": eni.addresses.prefixes,
        "name": eni.name,
        "description": eni.description,
        "security_groups": eni.security_groups.iter().map(SecurityGroupId::as_str).collect::<Vec<_>>(),
        "tags": eni.tags,
        "client_token": eni.client_token,
        "delete_on_release": eni.delete_on_release,
        "created_ms": eni.created.0,
    })
}

/// A key without its secret.
fn credential(key: &CredentialConfig) -> Value {
    json!({
        "access_key_id": key.access_key_id,
        "role": key.role,
        "state": key.state,
        "rotations": key.rotations,
    })
}
