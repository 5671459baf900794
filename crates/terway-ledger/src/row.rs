//! Rows as they lie on disk: JSON objects of their own, so that the vocabulary may change without the
//! file, and a person can read them. Names and meanings here belong to schema version 1.

use std::net::{Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};
use terway_types::{
    AddressCounts, Addresses, AttachmentKey, AttachmentRecord, ContainerId, EniId, EniPhase, EniRecord,
    Gateways, IfName, IntentToken, NetworkName, PodRef, SecurityGroupId, Subnets, Timestamp, VSwitchId,
};

/// A row that is well-formed but says something impossible.
#[derive(Debug, thiserror::Error)]
#[error("{field} {value:?} is no {wanted}")]
pub(crate) struct RowError {
    field: &'static str,
    value: String,
    wanted: &'static str,
}

#[derive(Debug, Serialize, Deserialize)]
struct Pair<V4, V6> {
    #[serde(skip_serializing_if = "Option::is_none")]
    ipv4: Option<V4>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ipv6: Option<V6>,
}

#[derive(Debug, Serialize, Deserialize)]
struct KeyRow {
    network: String,
    container: String,
    ifname: String,
}

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
}

/// One attachment.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct AttachmentRow {
    key: KeyRow,
    pod_namespace: String,
    pod_name: String,
    pod_uid: Option<String>,
    netns: String,
    eni: String,
    since_unix_ms: u64,
}

impl From<&AttachmentKey> for KeyRow {
    fn from(key: &AttachmentKey) -> Self {
        Self {
            network: key.network.to_string(),
            container: key.container.to_string(),
            ifname: key.ifname.to_string(),
        }
    }
}

impl TryFrom<KeyRow> for AttachmentKey {
    type Error = RowError;

    fn try_from(row: KeyRow) -> Result<Self, RowError> {
        let network = NetworkName::new(row.network.clone());
        let container = ContainerId::new(row.container.clone());
        let ifname = IfName::new(row.ifname.clone());
        Ok(Self {
            network: network.map_err(|_| wrong("network", row.network, "network name"))?,
            container: container.map_err(|_| wrong("container", row.container, "container id"))?,
            ifname: ifname.map_err(|_| wrong("ifname", row.ifname, "interface name"))?,
        })
    }
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
            addresses: Pair { ipv4: eni.addresses.v4, ipv6: eni.addresses.v6 },
            subnets: Pair {
                ipv4: eni.subnets.v4.map(|net| net.to_string()),
                ipv6: eni.subnets.v6.map(|net| net.to_string()),
            },
            gateways: Pair { ipv4: eni.gateways.v4, ipv6: eni.gateways.v6 },
            phase: (&eni.phase).into(),
            since_unix_ms: eni.since.0,
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
            addresses: Addresses::new(row.addresses.ipv4, row.addresses.ipv6),
            subnets: Subnets::new(
                parsed("subnets.ipv4", row.subnets.ipv4, "IPv4 CIDR")?,
                parsed("subnets.ipv6", row.subnets.ipv6, "IPv6 CIDR")?,
            ),
            gateways: Gateways::new(row.gateways.ipv4, row.gateways.ipv6),
            phase: row.phase.try_into()?,
            since: Timestamp(row.since_unix_ms),
            counts: AddressCounts { ipv4: 1, ..AddressCounts::default() },
            claim: None,
            assigning: None,
        })
    }
}

impl From<&AttachmentRecord> for AttachmentRow {
    fn from(attachment: &AttachmentRecord) -> Self {
        Self {
            key: (&attachment.key).into(),
            pod_namespace: attachment.pod.namespace.clone(),
            pod_name: attachment.pod.name.clone(),
            pod_uid: attachment.pod.uid.clone(),
            netns: attachment.netns.clone(),
            eni: attachment.eni.0.clone(),
            since_unix_ms: attachment.since.0,
        }
    }
}

impl TryFrom<AttachmentRow> for AttachmentRecord {
    type Error = RowError;

    fn try_from(row: AttachmentRow) -> Result<Self, RowError> {
        Ok(Self {
            key: row.key.try_into()?,
            pod: PodRef { namespace: row.pod_namespace, name: row.pod_name, uid: row.pod_uid },
            netns: row.netns,
            eni: IntentToken(row.eni),
            addresses: Addresses::default(),
            claim: None,
            since: Timestamp(row.since_unix_ms),
        })
    }
}

fn wrong(field: &'static str, value: String, wanted: &'static str) -> RowError {
    RowError { field, value, wanted }
}

fn parsed<T: std::str::FromStr>(
    field: &'static str,
    text: Option<String>,
    wanted: &'static str,
) -> Result<Option<T>, RowError> {
    let Some(text) = text else { return Ok(None) };
    text.parse().map(Some).map_err(|_| wrong(field, text, wanted))
}
