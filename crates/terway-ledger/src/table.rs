//! The tables, and how changes become rows in them. All tables but the history have text keys and JSON rows.

use std::num::NonZeroU64;

use redb::{
    Database, ReadTransaction, ReadableDatabase as _, ReadableTable as _, TableDefinition, WriteTransaction,
};
use terway_types::{AddressRecord, AttachmentRecord, EniRecord, LedgerChange, LedgerSnapshot, PrefixRecord};

use crate::error::CommitError;
use crate::history;
use crate::row::{Stored, decode, encode};

/// A table of records.
pub(crate) type Records = TableDefinition<'static, &'static str, &'static [u8]>;

pub(crate) const ENIS: Records = TableDefinition::new("enis");
pub(crate) const ATTACHMENTS: Records = TableDefinition::new("attachments");
const ADDRESSES: Records = TableDefinition::new("addresses");
const PREFIXES: Records = TableDefinition::new("prefixes");

/// Every table of records.
pub(crate) const RECORDS: [Records; 4] = [ENIS, ATTACHMENTS, ADDRESSES, PREFIXES];

/// Changes as the tables take them.
#[derive(Default)]
pub(crate) struct Edits {
    /// Per table of [`RECORDS`]: the key, and the row unless it is to go.
    records: [Vec<(String, Option<Vec<u8>>)>; RECORDS.len()],
    history: Vec<Vec<u8>>,
}

impl Edits {
    /// Writes the changes as rows.
    pub(crate) fn new(changes: &[LedgerChange]) -> Result<Self, CommitError> {
        let mut edits = Self::default();
        let [enis, attachments, addresses, prefixes] = &mut edits.records;
        for change in changes {
            match change {
                LedgerChange::PutEni(eni) => enis.push(put(&eni.token, eni)?),
                LedgerChange::RemoveEni(token) => enis.push(remove(token)),
                LedgerChange::PutAttachment(held) => attachments.push(put(&held.key, held)?),
                LedgerChange::RemoveAttachment(key) => attachments.push(remove(key)),
                LedgerChange::PutAddress(address) => addresses.push(put(&address.address, address)?),
                LedgerChange::RemoveAddress(address) => addresses.push(remove(address)),
                LedgerChange::PutPrefix(prefix) => prefixes.push(put(&prefix.prefix, prefix)?),
                LedgerChange::RemovePrefix(prefix) => prefixes.push(remove(prefix)),
                LedgerChange::Remember(entry) => edits.history.push(encode(&entry.ended(), entry)?),
            }
        }
        Ok(edits)
    }

    /// Makes them durable in one transaction. Of the history the latest `bound` entries stay.
    pub(crate) fn write(&self, database: &Database, bound: NonZeroU64) -> Result<(), redb::Error> {
        let transaction = database.begin_write()?;
        self.apply(&transaction, bound)?;
        transaction.commit()?;
        Ok(())
    }

    /// Puts them into a transaction.
    pub(crate) fn apply(&self, transaction: &WriteTransaction, bound: NonZeroU64) -> Result<(), redb::Error> {
        for (definition, edits) in RECORDS.into_iter().zip(&self.records) {
            if edits.is_empty() {
                continue;
            }
            let mut table = transaction.open_table(definition)?;
            for (key, row) in edits {
                match row {
                    Some(row) => drop(table.insert(key.as_str(), row.as_slice())?),
                    None => drop(table.remove(key.as_str())?),
                }
            }
        }
        if !self.history.is_empty() {
            history::append(transaction, &self.history, bound)?;
        }
        Ok(())
    }
}

fn put<T: Stored>(key: &impl ToString, value: &T) -> Result<(String, Option<Vec<u8>>), CommitError> {
    Ok((key.to_string(), Some(encode(key, value)?)))
}

fn remove(key: &impl ToString) -> (String, Option<Vec<u8>>) {
    (key.to_string(), None)
}

/// All records.
pub(crate) fn read(database: &Database) -> Result<LedgerSnapshot, redb::Error> {
    let transaction = database.begin_read()?;
    let mut snapshot = LedgerSnapshot {
        enis: read_all::<EniRecord>(&transaction, ENIS)?,
        attachments: read_all::<AttachmentRecord>(&transaction, ATTACHMENTS)?,
        addresses: read_all::<AddressRecord>(&transaction, ADDRESSES)?,
        prefixes: read_all::<PrefixRecord>(&transaction, PREFIXES)?,
    };
    // Keys are sorted as text in the tables, and by their parts in memory: `10.0.0.10` and `10.0.0.9` differ.
    snapshot.attachments.sort_unstable_by(|a, b| a.key.cmp(&b.key));
    snapshot.addresses.sort_unstable_by_key(|record| record.address);
    snapshot.prefixes.sort_unstable_by_key(|record| record.prefix);
    Ok(snapshot)
}

fn read_all<T: Stored>(transaction: &ReadTransaction, definition: Records) -> Result<Vec<T>, redb::Error> {
    let table = transaction.open_table(definition)?;
    let mut records = Vec::new();
    for row in table.iter()? {
        let (key, value) = row?;
        records.push(decode(&key.value(), value.value())?);
    }
    Ok(records)
}
