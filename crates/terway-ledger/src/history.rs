//! The history: a table of numbered lines that only grows at its end, and loses its beginning to stay within its
//! bound.

use std::net::IpAddr;
use std::num::NonZeroU64;

use redb::{ReadTransaction, ReadableTable as _, TableDefinition, WriteTransaction};
use terway_types::{
    AttachmentKey, EniId, HistoryEntry, IntentToken, PastCall, PastHolding, PodRef, Timestamp,
};

use crate::row::decode;

pub(crate) const HISTORY: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("history");

/// Entries a ledger keeps unless told otherwise: some weeks of a node whose pods come and go every few minutes.
pub const DEFAULT_HISTORY: NonZeroU64 = NonZeroU64::new(10_000).unwrap();

/// The part of its bound by which a full history is shortened.
const SPARE: u64 = 64;

/// Which entries are asked for. Every condition that is given must hold; none given means all entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HistoryQuery {
    /// Held this address, or a call named it.
    pub address: Option<IpAddr>,
    /// Held this ENI or addresses of it, or a call named it.
    pub eni: Option<EniId>,
    /// Was held by this pod: by namespace and name, and by uid if one is given.
    pub pod: Option<PodRef>,
    /// Was held by this attachment.
    pub key: Option<AttachmentKey>,
    /// Belonged to this intent.
    pub intent: Option<IntentToken>,
    /// Ended at this time or later.
    pub since: Option<Timestamp>,
    /// Began at this time or earlier.
    pub until: Option<Timestamp>,
    /// At most so many, the newest.
    pub limit: Option<usize>,
}

impl HistoryQuery {
    /// Whether an entry is asked for, apart from the limit.
    pub fn matches(&self, entry: &HistoryEntry) -> bool {
        let began = match entry {
            HistoryEntry::Held(holding) => holding.from,
            HistoryEntry::Called(call) => call.at - call.took,
        };
        self.since.is_none_or(|since| entry.ended() >= since)
            && self.until.is_none_or(|until| began <= until)
            && match entry {
                HistoryEntry::Held(holding) => self.matches_holding(holding),
                HistoryEntry::Called(call) => self.matches_call(call),
            }
    }

    fn matches_holding(&self, holding: &PastHolding) -> bool {
        self.address.is_none_or(|address| holding.addresses.iter().any(|held| held == address))
            && self.eni.as_ref().is_none_or(|eni| holding.eni.as_ref() == Some(eni))
            && self.pod.as_ref().is_none_or(|pod| is_same_pod(pod, &holding.pod))
            && self.key.as_ref().is_none_or(|key| *key == holding.key)
            && self.intent.as_ref().is_none_or(|intent| *intent == holding.token)
    }

    fn matches_call(&self, call: &PastCall) -> bool {
        self.pod.is_none()
            && self.key.is_none()
            && self.address.is_none_or(|address| names(&call.object, &address.to_string()))
            && self.eni.as_ref().is_none_or(|eni| names(&call.object, eni.as_str()))
            && self.intent.as_ref().is_none_or(|intent| call.intent.as_ref() == Some(intent))
    }
}

fn is_same_pod(asked: &PodRef, held: &PodRef) -> bool {
    asked.namespace == held.namespace
        && asked.name == held.name
        && (asked.uid.is_none() || asked.uid == held.uid)
}

/// Whether a list of ids has this one. `eni-1` is no part of `eni-10`.
fn names(object: &str, id: &str) -> bool {
    object.split(|c: char| c.is_whitespace() || matches!(c, ',' | ';' | '=')).any(|part| part == id)
}

/// Adds entries at the end, and forgets the oldest ones beyond the bound.
pub(crate) fn append(
    transaction: &WriteTransaction,
    entries: &[Vec<u8>],
    bound: NonZeroU64,
) -> Result<(), redb::Error> {
    let mut table = transaction.open_table(HISTORY)?;
    // At least one entry always stays, so no number is ever given twice.
    let mut next = table.last()?.map_or(0, |(last, _)| last.value() + 1);
    for entry in entries {
        table.insert(next, entry.as_slice())?;
        next += 1;
    }
    let first = table.first()?.map_or(next, |(first, _)| first.value());
    if next - first > bound.get() {
        // Some at once, so that most commits touch the end of the table only.
        let oldest = next - (bound.get() - bound.get() / SPARE);
        for number in first..oldest {
            table.remove(number)?;
        }
    }
    Ok(())
}

/// The entries asked for with their numbers, newest first.
pub(crate) fn find(
    transaction: &ReadTransaction,
    query: &HistoryQuery,
) -> Result<Vec<(u64, HistoryEntry)>, redb::Error> {
    let limit = query.limit.unwrap_or(usize::MAX);
    let mut found = Vec::new();
    let table = transaction.open_table(HISTORY)?;
    for row in table.iter()?.rev() {
        if found.len() >= limit {
            break;
        }
        let (number, value) = row?;
        let entry = decode(&number.value(), value.value())?;
        if query.matches(&entry) {
            found.push((number.value(), entry));
        }
    }
    Ok(found)
}
