//! The rows of the history: past holdings, and past calls to the cloud.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use terway_types::{
    CloudFailure, CloudFailureKind, EniId, HistoryEntry, IntentToken, PastCall, PastHolding, PodRef,
    Timestamp,
};

use super::{KeyRow, Pair, RowError, Stored};

/// One line of history.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum HistoryRow {
    Held(HoldingRow),
    Called(CallRow),
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct HoldingRow {
    key: KeyRow,
    pod_namespace: String,
    pod_name: String,
    pod_uid: Option<String>,
    token: String,
    eni: Option<String>,
    addresses: Pair<Ipv4Addr, Ipv6Addr>,
    from_unix_ms: u64,
    to_unix_ms: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CallRow {
    action: String,
    object: String,
    intent: Option<String>,
    request_id: Option<String>,
    failure: Option<FailureRow>,
    at_unix_ms: u64,
    took_ns: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct FailureRow {
    kind: KindRow,
    action: String,
    vendor_code: Option<String>,
    request_id: Option<String>,
    message: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "name")]
enum KindRow {
    Throttled,
    Quota { which: String, limit: Option<u32> },
    SubnetExhausted,
    InvalidState,
    Gone,
    Denied,
    ClockSkew,
    Conflict,
    Invalid,
    Transient,
    Ambiguous,
}

impl Stored for HistoryEntry {
    type Row = HistoryRow;
    const WHAT: &'static str = "history entry";
}

impl From<&HistoryEntry> for HistoryRow {
    fn from(entry: &HistoryEntry) -> Self {
        match entry {
            HistoryEntry::Held(holding) => Self::Held(holding.into()),
            HistoryEntry::Called(call) => Self::Called(call.into()),
        }
    }
}

impl TryFrom<HistoryRow> for HistoryEntry {
    type Error = RowError;

    fn try_from(row: HistoryRow) -> Result<Self, RowError> {
        Ok(match row {
            HistoryRow::Held(row) => Self::Held(row.try_into()?),
            HistoryRow::Called(row) => Self::Called(row.into()),
        })
    }
}

impl From<&PastHolding> for HoldingRow {
    fn from(holding: &PastHolding) -> Self {
        Self {
            key: (&holding.key).into(),
            pod_namespace: holding.pod.namespace.clone(),
            pod_name: holding.pod.name.clone(),
            pod_uid: holding.pod.uid.clone(),
            token: holding.token.0.clone(),
            eni: holding.eni.as_ref().map(|id| id.0.clone()),
            addresses: holding.addresses.into(),
            from_unix_ms: holding.from.0,
            to_unix_ms: holding.to.0,
        }
    }
}

impl TryFrom<HoldingRow> for PastHolding {
    type Error = RowError;

    fn try_from(row: HoldingRow) -> Result<Self, RowError> {
        Ok(Self {
            key: row.key.try_into()?,
            pod: PodRef { namespace: row.pod_namespace, name: row.pod_name, uid: row.pod_uid },
            token: IntentToken(row.token),
            eni: row.eni.map(EniId),
            addresses: row.addresses.into(),
            from: Timestamp(row.from_unix_ms),
            to: Timestamp(row.to_unix_ms),
        })
    }
}

impl From<&PastCall> for CallRow {
    fn from(call: &PastCall) -> Self {
        Self {
            action: call.action.clone(),
            object: call.object.clone(),
            intent: call.intent.as_ref().map(|intent| intent.0.clone()),
            request_id: call.request_id.clone(),
            failure: call.failure.as_ref().map(Into::into),
            at_unix_ms: call.at.0,
            // 584 years; no call takes longer.
            took_ns: u64::try_from(call.took.as_nanos()).unwrap_or(u64::MAX),
        }
    }
}

impl From<CallRow> for PastCall {
    fn from(row: CallRow) -> Self {
        Self {
            action: row.action,
            object: row.object,
            intent: row.intent.map(IntentToken),
            request_id: row.request_id,
            failure: row.failure.map(Into::into),
            at: Timestamp(row.at_unix_ms),
            took: Duration::from_nanos(row.took_ns),
        }
    }
}

impl From<&CloudFailure> for FailureRow {
    fn from(failure: &CloudFailure) -> Self {
        Self {
            kind: (&failure.kind).into(),
            action: failure.action.clone(),
            vendor_code: failure.vendor_code.clone(),
            request_id: failure.request_id.clone(),
            message: failure.message.clone(),
        }
    }
}

impl From<FailureRow> for CloudFailure {
    fn from(row: FailureRow) -> Self {
        let FailureRow { kind, action, vendor_code, request_id, message } = row;
        Self { kind: kind.into(), action, vendor_code, request_id, message }
    }
}

impl From<&CloudFailureKind> for KindRow {
    fn from(kind: &CloudFailureKind) -> Self {
        match kind {
            CloudFailureKind::Throttled => Self::Throttled,
            CloudFailureKind::Quota { which, limit } => Self::Quota { which: which.clone(), limit: *limit },
            CloudFailureKind::SubnetExhausted => Self::SubnetExhausted,
            CloudFailureKind::InvalidState => Self::InvalidState,
            CloudFailureKind::Gone => Self::Gone,
            CloudFailureKind::Denied => Self::Denied,
            CloudFailureKind::ClockSkew => Self::ClockSkew,
            CloudFailureKind::Conflict => Self::Conflict,
            CloudFailureKind::Invalid => Self::Invalid,
            CloudFailureKind::Transient => Self::Transient,
            CloudFailureKind::Ambiguous => Self::Ambiguous,
        }
    }
}

impl From<KindRow> for CloudFailureKind {
    fn from(row: KindRow) -> Self {
        match row {
            KindRow::Throttled => Self::Throttled,
            KindRow::Quota { which, limit } => Self::Quota { which, limit },
            KindRow::SubnetExhausted => Self::SubnetExhausted,
            KindRow::InvalidState => Self::InvalidState,
            KindRow::Gone => Self::Gone,
            KindRow::Denied => Self::Denied,
            KindRow::ClockSkew => Self::ClockSkew,
            KindRow::Conflict => Self::Conflict,
            KindRow::Invalid => Self::Invalid,
            KindRow::Transient => Self::Transient,
            KindRow::Ambiguous => Self::Ambiguous,
        }
    }
}
