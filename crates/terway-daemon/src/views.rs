//! The pool, its history and the node's events as messages, for the CLI.

use std::time::Duration;

use terway_pool::{AddressView, EniView, PoolView, WaiterView};
use terway_rpc::wire;
use terway_types::{
    AddressPhase, AttachmentRecord, EniId, EniPhase, EniRecord, HistoryEntry, MacAddr, PastCall, PastHolding,
    PrefixRecord, Timestamp,
};

use crate::events::NodeEvent;
use crate::inventory::Look;

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
        mode: view.mode.name().to_owned(),
        operations: view.operations,
        set_aside: view
            .set_aside
            .iter()
            .map(|(vswitch, until)| wire::SetAsideView {
                vswitch: vswitch.to_string(),
                until_unix_ms: until.0,
            })
            .collect(),
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
        shared_addresses: view.addresses.iter().map(address).collect(),
        prefixes: view.prefixes.iter().map(prefix).collect(),
        security_groups: record.security_groups.iter().map(ToString::to_string).collect(),
        claim: record.claim.as_ref().map(|claim| claim.id.to_string()).unwrap_or_default(),
        rests_until_unix_ms: match record.phase {
            EniPhase::Quarantined { until } => until.0,
            _ => 0,
        },
    }
}

fn address(view: &AddressView) -> wire::AddressView {
    let record = &view.record;
    let (attachment, until) = match &record.phase {
        AddressPhase::InUse(key) => (Some(key.into()), Timestamp(0)),
        AddressPhase::Quarantined { until } => (None, *until),
        AddressPhase::Idle | AddressPhase::Unassigning => (None, Timestamp(0)),
    };
    wire::AddressView {
        address: record.address.to_string(),
        phase: record.phase.name().to_owned(),
        since_unix_ms: record.since.0,
        attachment,
        pod_name: view.pod.as_ref().map(|pod| pod.name.clone()).unwrap_or_default(),
        pod_namespace: view.pod.as_ref().map(|pod| pod.namespace.clone()).unwrap_or_default(),
        rests_until_unix_ms: until.0,
    }
}

fn prefix(record: &PrefixRecord) -> wire::PrefixView {
    wire::PrefixView {
        prefix: record.prefix.to_string(),
        phase: record.phase.name().to_owned(),
        since_unix_ms: record.since.0,
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

/// One event.
pub fn event(event: &NodeEvent) -> wire::NodeEvent {
    wire::NodeEvent { at_unix_ms: event.at.0, reason: event.reason.clone(), message: event.message.clone() }
}

/// A look at all ENIs.
pub fn look(look: &Look) -> wire::InspectReply {
    let seen = look.cloud.clone().unwrap_or_default();
    let ids = |enis: std::collections::BTreeSet<EniId>| enis.into_iter().map(|id| id.0).collect();
    wire::InspectReply {
        began_unix_ms: look.began.0,
        took_ms: millis(look.took),
        enis: count(seen.enis),
        foreign: ids(seen.foreign),
        orphans: ids(seen.orphans),
        missing: ids(seen.missing),
        cloud_fault: look.cloud.as_ref().err().map(Into::into),
        metadata_macs: look.metadata.as_ref().map_or(0, |macs| count(*macs)),
        metadata_fault: look.metadata.as_ref().err().map(Into::into),
    }
}

/// A holding that lasts, as if it ended now.
pub fn holding_now(held: &AttachmentRecord, eni: &EniRecord, now: Timestamp) -> PastHolding {
    PastHolding {
        key: held.key.clone(),
        pod: held.pod.clone(),
        token: held.eni.clone(),
        eni: eni.id.clone(),
        addresses: held.addresses,
        from: held.since,
        to: now,
    }
}

/// A holding that lasts.
pub fn lasting(held: &AttachmentRecord, eni: &EniRecord) -> wire::PastHolding {
    holding(&holding_now(held, eni, Timestamp(0)))
}

/// A line of history.
pub fn entry(number: u64, entry: &HistoryEntry) -> wire::HistoryEntry {
    use wire::history_entry::Entry;
    let entry = match entry {
        HistoryEntry::Held(past) => Entry::Held(holding(past)),
        HistoryEntry::Called(past) => Entry::Called(call(past)),
    };
    wire::HistoryEntry { number, entry: Some(entry) }
}

fn holding(past: &PastHolding) -> wire::PastHolding {
    wire::PastHolding {
        attachment: Some((&past.key).into()),
        pod_name: past.pod.name.clone(),
        pod_namespace: past.pod.namespace.clone(),
        pod_uid: past.pod.uid.clone().unwrap_or_default(),
        eni: past.eni.as_ref().map(EniId::to_string).unwrap_or_default(),
        token: past.token.to_string(),
        addresses: Some(past.addresses.into()),
        from_unix_ms: past.from.0,
        to_unix_ms: past.to.0,
    }
}

fn call(past: &PastCall) -> wire::PastCall {
    wire::PastCall {
        action: past.action.clone(),
        object: past.object.clone(),
        intent: past.intent.as_ref().map(ToString::to_string).unwrap_or_default(),
        request_id: past.request_id.clone().unwrap_or_default(),
        failure: past.failure.as_ref().map(ToString::to_string).unwrap_or_default(),
        at_unix_ms: past.at.0,
        took_ms: millis(past.took),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
