//! The pool as messages, for the CLI.

use terway_pool::{EniView, PoolView, WaiterView};
use terway_rpc::wire;
use terway_types::{EniId, MacAddr};

/// The whole pool.
pub fn pool(view: &PoolView) -> wire::PoolView {
    wire::PoolView {
        enis: view.enis.iter().map(eni).collect(),
        waiters: view.waiters.iter().map(waiter).collect(),
        min_idle: view.min_idle,
        max_idle: view.max_idle,
        max_enis: view.max_enis,
        idle: view.idle,
        in_use: view.in_use,
        capacity_now: view.capacity.now,
        capacity_later: view.capacity.later,
    }
}

/// One ENI.
pub fn eni(view: &EniView) -> wire::EniView {
    let record = &view.record;
    let pod = view.attachment.as_ref().map(|attachment| &attachment.pod);
    wire::EniView {
        id: record.id.as_ref().map(EniId::to_string).unwrap_or_default(),
        token: record.token.to_string(),
        mac: record.mac.as_ref().map(MacAddr::to_string).unwrap_or_default(),
        vswitch: record.vswitch.to_string(),
        phase: record.phase.name().to_owned(),
        since_unix_ms: record.since.0,
        addresses: Some(record.addresses.into()),
        attachment: view.attachment.as_ref().map(|attachment| (&attachment.key).into()),
        pod_name: pod.map(|pod| pod.name.clone()).unwrap_or_default(),
        pod_namespace: pod.map(|pod| pod.namespace.clone()).unwrap_or_default(),
        link_present: view.link_present,
        last_fault: view.last_fault.as_ref().map(Into::into),
    }
}

fn waiter(view: &WaiterView) -> wire::WaiterView {
    wire::WaiterView {
        attachment: Some((&view.key).into()),
        since_unix_ms: view.since.0,
        place: view.place,
        waits_for: view.waits_for.clone(),
    }
}
