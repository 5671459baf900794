//! The row of an ENI. Its phase carries what the phase needs, so no combination is impossible.

use std::net::{Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};
use terway_types::{
    AfterClaim, AssignIntent, ClaimHold, ClaimId, EniId, EniPhase, EniRecord, IntentToken, SecurityGroupId,
    Subnets, Timestamp, VSwitchId,
};

use super::{CountsRow, KeyRow, Pair, RowError, Stored, parsed};

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "name")]
enum PhaseRow {
    Creating,
    Detached,
    Attaching,
    Attached,
    Ready,
    InUse { attachment: KeyRow },
    Quarantined { until_unix_ms: u64 },
    Regrouping,
    Kept,
    Detaching,
    Deleting,
}

/// One ENI.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct EniRow {
    token: String,
    id: Option<String>,
    mac: Option<String>,
    vswitch: String,
    security_groups: Vec<String>,
    addresses: Pair<Ipv4Addr, Ipv6Addr>,
    subnets: Pair<String, String>,
    gateways: Pair<Ipv4Addr, Ipv6Addr>,
    phase: PhaseRow,
    since_unix_ms: u64,
    counts: CountsRow,
    claim: Option<ClaimRow>,
    assigning: Option<AssignRow>,
}

#[derive(Debug, Serialize, Deserialize)]
struct ClaimRow {
    id: String,
    then: AfterRow,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum AfterRow {
    Delete,
    Keep,
    Forget,
}

impl From<&ClaimHold> for ClaimRow {
    fn from(claim: &ClaimHold) -> Self {
        let then = match claim.then {
            AfterClaim::Delete => AfterRow::Delete,
            AfterClaim::Keep => AfterRow::Keep,
            AfterClaim::Forget => AfterRow::Forget,
        };
        Self { id: claim.id.0.clone(), then }
    }
}

impl From<ClaimRow> for ClaimHold {
    fn from(row: ClaimRow) -> Self {
        let then = match row.then {
            AfterRow::Delete => AfterClaim::Delete,
            AfterRow::Keep => AfterClaim::Keep,
            AfterRow::Forget => AfterClaim::Forget,
        };
        Self { id: ClaimId(row.id), then }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct AssignRow {
    token: String,
    counts: CountsRow,
}

impl Stored for EniRecord {
    type Row = EniRow;
    const WHAT: &'static str = "ENI";
}

impl From<&EniPhase> for PhaseRow {
    fn from(phase: &EniPhase) -> Self {
        match phase {
            EniPhase::Creating => Self::Creating,
            EniPhase::Detached => Self::Detached,
            EniPhase::Attaching => Self::Attaching,
            EniPhase::Attached => Self::Attached,
            EniPhase::Ready => Self::Ready,
            EniPhase::InUse(key) => Self::InUse { attachment: key.into() },
            EniPhase::Quarantined { until } => Self::Quarantined { until_unix_ms: until.0 },
            EniPhase::Regrouping => Self::Regrouping,
            EniPhase::Kept => Self::Kept,
            EniPhase::Detaching => Self::Detaching,
            EniPhase::Deleting => Self::Deleting,
        }
    }
}

impl TryFrom<PhaseRow> for EniPhase {
    type Error = RowError;

    fn try_from(row: PhaseRow) -> Result<Self, RowError> {
        Ok(match row {
            PhaseRow::Creating => Self::Creating,
            PhaseRow::Detached => Self::Detached,
            PhaseRow::Attaching => Self::Attaching,
            PhaseRow::Attached => Self::Attached,
            PhaseRow::Ready => Self::Ready,
            PhaseRow::InUse { attachment } => Self::InUse(attachment.try_into()?),
            PhaseRow::Quarantined { until_unix_ms } => Self::Quarantined { until: Timestamp(until_unix_ms) },
            PhaseRow::Regrouping => Self::Regrouping,
            PhaseRow::Kept => Self::Kept,
            PhaseRow::Detaching => Self::Detaching,
            PhaseRow::Deleting => Self::Deleting,
        })
    }
}

impl From<&EniRecord> for EniRow {
    fn from(eni: &EniRecord) -> Self {
        Self {
            token: eni.token.0.clone(),
            id: eni.id.as_ref().map(|id| id.0.clone()),
            mac: eni.mac.map(|mac| mac.to_string()),
            vswitch: eni.vswitch.0.clone(),
            security_groups: eni.security_groups.iter().map(|group| group.0.clone()).collect(),
            addresses: eni.addresses.into(),
            subnets: Pair {
                ipv4: eni.subnets.v4.map(|net| net.to_string()),
                ipv6: eni.subnets.v6.map(|net| net.to_string()),
            },
            gateways: eni.gateways.into(),
            phase: (&eni.phase).into(),
            since_unix_ms: eni.since.0,
            counts: eni.counts.into(),
            claim: eni.claim.as_ref().map(ClaimRow::from),
            assigning: eni
                .assigning
                .as_ref()
                .map(|intent| AssignRow { token: intent.token.0.clone(), counts: intent.counts.into() }),
        }
    }
}

impl TryFrom<EniRow> for EniRecord {
    type Error = RowError;

    fn try_from(row: EniRow) -> Result<Self, RowError> {
        Ok(Self {
            token: IntentToken(row.token),
            id: row.id.map(EniId),
            mac: parsed("mac", row.mac, "MAC address")?,
            vswitch: VSwitchId(row.vswitch),
            security_groups: row.security_groups.into_iter().map(SecurityGroupId).collect(),
            addresses: row.addresses.into(),
            subnets: Subnets::new(
                parsed("subnets.ipv4", row.subnets.ipv4, "IPv4 CIDR")?,
                parsed("subnets.ipv6", row.subnets.ipv6, "IPv6 CIDR")?,
            ),
            gateways: row.gateways.into(),
            phase: row.phase.try_into()?,
            since: Timestamp(row.since_unix_ms),
            counts: row.counts.into(),
            claim: row.claim.map(ClaimHold::from),
            assigning: row.assigning.map(|intent| AssignIntent {
                token: IntentToken(intent.token),
                counts: intent.counts.into(),
            }),
        })
    }
}
