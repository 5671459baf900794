//! The rows of what a shared ENI has besides its primary addresses: single addresses, and prefixes.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use terway_types::{AddressPhase, AddressRecord, IntentToken, PrefixPhase, PrefixRecord, Timestamp};

use super::{KeyRow, RowError, Stored, wrong};

/// One address.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct AddressRow {
    address: IpAddr,
    eni: String,
    phase: AddressPhaseRow,
    since_unix_ms: u64,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "name")]
enum AddressPhaseRow {
    Idle,
    InUse { attachment: KeyRow },
    Quarantined { until_unix_ms: u64 },
    Unassigning,
}

/// One prefix.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PrefixRow {
    prefix: String,
    eni: String,
    phase: PrefixPhaseRow,
    since_unix_ms: u64,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum PrefixPhaseRow {
    Ready,
    Frozen,
    Unassigning,
}

impl Stored for AddressRecord {
    type Row = AddressRow;
    const WHAT: &'static str = "address";
}

impl Stored for PrefixRecord {
    type Row = PrefixRow;
    const WHAT: &'static str = "prefix";
}

impl From<&AddressRecord> for AddressRow {
    fn from(record: &AddressRecord) -> Self {
        Self {
            address: record.address,
            eni: record.eni.0.clone(),
            phase: match &record.phase {
                AddressPhase::Idle => AddressPhaseRow::Idle,
                AddressPhase::InUse(key) => AddressPhaseRow::InUse { attachment: key.into() },
                AddressPhase::Quarantined { until } => {
                    AddressPhaseRow::Quarantined { until_unix_ms: until.0 }
                }
                AddressPhase::Unassigning => AddressPhaseRow::Unassigning,
            },
            since_unix_ms: record.since.0,
        }
    }
}

impl TryFrom<AddressRow> for AddressRecord {
    type Error = RowError;

    fn try_from(row: AddressRow) -> Result<Self, RowError> {
        Ok(Self {
            address: row.address,
            eni: IntentToken(row.eni),
            phase: match row.phase {
                AddressPhaseRow::Idle => AddressPhase::Idle,
                AddressPhaseRow::InUse { attachment } => AddressPhase::InUse(attachment.try_into()?),
                AddressPhaseRow::Quarantined { until_unix_ms } => {
                    AddressPhase::Quarantined { until: Timestamp(until_unix_ms) }
                }
                AddressPhaseRow::Unassigning => AddressPhase::Unassigning,
            },
            since: Timestamp(row.since_unix_ms),
        })
    }
}

impl From<&PrefixRecord> for PrefixRow {
    fn from(record: &PrefixRecord) -> Self {
        Self {
            prefix: record.prefix.to_string(),
            eni: record.eni.0.clone(),
            phase: match record.phase {
                PrefixPhase::Ready => PrefixPhaseRow::Ready,
                PrefixPhase::Frozen => PrefixPhaseRow::Frozen,
                PrefixPhase::Unassigning => PrefixPhaseRow::Unassigning,
            },
            since_unix_ms: record.since.0,
        }
    }
}

impl TryFrom<PrefixRow> for PrefixRecord {
    type Error = RowError;

    fn try_from(row: PrefixRow) -> Result<Self, RowError> {
        let prefix = row.prefix.parse();
        Ok(Self {
            prefix: prefix.map_err(|_| wrong("prefix", row.prefix, "CIDR"))?,
            eni: IntentToken(row.eni),
            phase: match row.phase {
                PrefixPhaseRow::Ready => PrefixPhase::Ready,
                PrefixPhaseRow::Frozen => PrefixPhase::Frozen,
                PrefixPhaseRow::Unassigning => PrefixPhase::Unassigning,
            },
            since: Timestamp(row.since_unix_ms),
        })
    }
}
