//! The row of an attachment: what it is called, whom it serves, what it holds.

use std::net::{Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};
use terway_types::{AttachmentRecord, ClaimId, IntentToken, PodRef, Timestamp};

use super::{KeyRow, Pair, RowError, Stored};

/// One attachment.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct AttachmentRow {
    key: KeyRow,
    pod_namespace: String,
    pod_name: String,
    pod_uid: Option<String>,
    netns: String,
    eni: String,
    addresses: Pair<Ipv4Addr, Ipv6Addr>,
    claim: Option<String>,
    since_unix_ms: u64,
}

impl Stored for AttachmentRecord {
    type Row = AttachmentRow;
    const WHAT: &'static str = "attachment";
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
            addresses: attachment.addresses.into(),
            claim: attachment.claim.as_ref().map(|claim| claim.0.clone()),
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
            addresses: row.addresses.into(),
            claim: row.claim.map(ClaimId),
            since: Timestamp(row.since_unix_ms),
        })
    }
}
