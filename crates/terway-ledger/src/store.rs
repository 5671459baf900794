//! The ledger itself: one file, three tables, one durable transaction per commit.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use redb::{Builder, Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};
use serde::Serialize;
use serde::de::DeserializeOwned;
use terway_types::{LedgerChange, LedgerSnapshot};

use crate::error::{CommitError, OpenError, ReadError, commit_error, open_error};
use crate::inspect::{META, SCHEMA, SCHEMA_KEY, inspect};
use crate::row::{AttachmentRow, EniRow};

const ENIS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("enis");
const ATTACHMENTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("attachments");

/// The database's page cache; the whole ledger of a node is smaller.
const CACHE_BYTES: usize = 2 << 20;

/// The durable state of one node. One process has it open at a time.
#[derive(Debug)]
pub struct Ledger {
    path: PathBuf,
    /// Closed after a failed commit, because the database refuses everything after an I/O error; the next
    /// call opens it again and thereby finds what really is on the medium.
    database: Option<Database>,
}

impl Ledger {
    /// Opens the ledger in this file, or makes an empty one. A file that cannot be used is left untouched.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        if !path.try_exists().map_err(|source| open_error(path, source.into()))? {
            create(path)?;
        }
        let database = open_database(path)?;
        Ok(Self { path: path.to_path_buf(), database: Some(database) })
    }

    /// Where the ledger lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Everything in the ledger, sorted by token and by key.
    pub fn snapshot(&mut self) -> Result<LedgerSnapshot, ReadError> {
        self.reopen().map_err(ReadError::Reopen)?;
        let Some(database) = &self.database else { return Ok(LedgerSnapshot::default()) };
        read(database).map_err(|detail| ReadError::Corrupt { path: self.path.clone(), detail })
    }

    /// Makes these changes durable, all or none, in this order. When it returns, they survive a power cut.
    pub fn commit(&mut self, changes: &[LedgerChange]) -> Result<(), CommitError> {
        if changes.is_empty() {
            return Ok(());
        }
        self.reopen().map_err(CommitError::Reopen)?;
        let Some(database) = &self.database else { return Ok(()) };
        let rows = changes.iter().map(Row::new).collect::<Result<Vec<_>, _>>()?;
        if let Err(error) = write(database, &rows) {
            self.database = None;
            return Err(commit_error(&self.path, changes.len(), error));
        }
        Ok(())
    }

    fn reopen(&mut self) -> Result<(), OpenError> {
        if self.database.is_none() {
            self.database = Some(open_database(&self.path)?);
        }
        Ok(())
    }
}

/// A change as the tables take it.
enum Row {
    PutEni(String, Vec<u8>),
    RemoveEni(String),
    PutAttachment(String, Vec<u8>),
    RemoveAttachment(String),
}

impl Row {
    fn new(change: &LedgerChange) -> Result<Self, CommitError> {
        Ok(match change {
            LedgerChange::PutEni(eni) => Self::PutEni(
                eni.token.0.clone(),
                encode(&EniRow::from(eni), || format!("ENI {}", eni.token))?,
            ),
            LedgerChange::RemoveEni(token) => Self::RemoveEni(token.0.clone()),
            LedgerChange::PutAttachment(attachment) => {
                let row = AttachmentRow::from(attachment);
                let key = attachment.key.to_string();
                let value = encode(&row, || format!("attachment {key}"))?;
                Self::PutAttachment(key, value)
            }
            LedgerChange::RemoveAttachment(key) => Self::RemoveAttachment(key.to_string()),
            change => return Err(CommitError::NotKept { change: format!("{change:?}") }),
        })
    }
}

fn encode(row: &impl Serialize, what: impl Fn() -> String) -> Result<Vec<u8>, CommitError> {
    serde_json::to_vec(row).map_err(|source| CommitError::Encode { what: what(), source })
}

fn write(database: &Database, rows: &[Row]) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut enis = transaction.open_table(ENIS)?;
        let mut attachments = transaction.open_table(ATTACHMENTS)?;
        for row in rows {
            match row {
                Row::PutEni(key, value) => drop(enis.insert(key.as_str(), value.as_slice())?),
                Row::RemoveEni(key) => drop(enis.remove(key.as_str())?),
                Row::PutAttachment(key, value) => drop(attachments.insert(key.as_str(), value.as_slice())?),
                Row::RemoveAttachment(key) => drop(attachments.remove(key.as_str())?),
            }
        }
    }
    transaction.commit()?;
    Ok(())
}

fn read(database: &Database) -> Result<LedgerSnapshot, String> {
    let transaction = database.begin_read().map_err(|error| error.to_string())?;
    let mut enis = Vec::new();
    let table = transaction.open_table(ENIS).map_err(|error| error.to_string())?;
    for row in table.iter().map_err(|error| error.to_string())? {
        let (key, value) = row.map_err(|error| error.to_string())?;
        enis.push(decode::<EniRow, _>("ENI", key.value(), value.value())?);
    }
    let mut attachments = Vec::new();
    let table = transaction.open_table(ATTACHMENTS).map_err(|error| error.to_string())?;
    for row in table.iter().map_err(|error| error.to_string())? {
        let (key, value) = row.map_err(|error| error.to_string())?;
        attachments.push(decode::<AttachmentRow, _>("attachment", key.value(), value.value())?);
    }
    let mut snapshot = LedgerSnapshot { enis, attachments, ..LedgerSnapshot::default() };
    // Keys are sorted as text in the table, part by part in memory: `a-b/c` and `a/c` differ.
    snapshot.attachments.sort_by(|a: &terway_types::AttachmentRecord, b| a.key.cmp(&b.key));
    Ok(snapshot)
}

fn decode<R: DeserializeOwned, T: TryFrom<R>>(what: &str, key: &str, value: &[u8]) -> Result<T, String>
where
    T::Error: std::fmt::Display,
{
    let row: R = serde_json::from_slice(value).map_err(|error| format!("row of {what} {key}: {error}"))?;
    row.try_into().map_err(|error| format!("row of {what} {key}: {error}"))
}

/// Makes an empty ledger under another name first: whatever lies under the ledger's own name was complete
/// once, so an empty file there is damage and not a beginning.
fn create(path: &Path) -> Result<(), OpenError> {
    let failed = |error: redb::Error| open_error(path, error);
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let draft = path.with_file_name(name);
    let io_failed = |source: io::Error| failed(source.into());
    if draft.try_exists().map_err(io_failed)? {
        fs::remove_file(&draft).map_err(io_failed)?;
    }
    let made = draft_ledger(&draft).map_err(failed).and_then(|()| {
        fs::rename(&draft, path).map_err(io_failed)?;
        sync_directory(path).map_err(io_failed)
    });
    if made.is_err() {
        let _ = fs::remove_file(&draft);
    }
    made
}

fn draft_ledger(draft: &Path) -> Result<(), redb::Error> {
    let database = builder().create(draft)?;
    let transaction = database.begin_write()?;
    {
        transaction.open_table(META)?.insert(SCHEMA_KEY, SCHEMA)?;
        transaction.open_table(ENIS)?;
        transaction.open_table(ATTACHMENTS)?;
    }
    transaction.commit()?;
    Ok(())
}

/// A rename is durable only when its directory is.
fn sync_directory(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => fs::File::open(parent)?.sync_all(),
        _ => fs::File::open(".")?.sync_all(),
    }
}

fn open_database(path: &Path) -> Result<Database, OpenError> {
    inspect(path)?;
    builder().open(path).map_err(|error| open_error(path, error.into()))
}

pub(crate) fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    builder
}
