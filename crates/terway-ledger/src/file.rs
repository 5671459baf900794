//! The ledger's file: how it begins, how it is opened, how a damaged one is put aside. No file is ever written
//! over or deleted, drafts excepted.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use redb::{Builder, Database};
use terway_types::{LedgerChange, LedgerSnapshot, NodeMode};

use crate::error::{CreateError, OpenError, SetAsideError, open_error};
use crate::history::DEFAULT_HISTORY;
use crate::inspect::{inspect, is_locked};
use crate::meta::{self, SCHEMA};
use crate::migrate;
use crate::table::Edits;

/// The database's page cache; the whole ledger of a node is smaller.
const CACHE_BYTES: usize = 2 << 20;

pub(crate) fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

/// Opens a file that was found to be sound, and brings it up to date.
pub(crate) fn open_database(path: &Path) -> Result<Database, OpenError> {
    let failed = |error| open_error(path, error);
    let schema = inspect(path)?;
    let database = builder().open(path).map_err(|error| failed(error.into()))?;
    if schema < SCHEMA {
        migrate::from_version_1(&database).map_err(failed)?;
    }
    Ok(database)
}

/// Makes an empty ledger.
pub(crate) fn create_empty(path: &Path) -> Result<(), OpenError> {
    create(path, &Edits::default(), None)
}

/// Makes a ledger with these records, and with this mode latched, or none: for recovery. It is there whole or
/// not at all.
pub fn create_with(
    path: &Path,
    snapshot: &LedgerSnapshot,
    mode: Option<NodeMode>,
) -> Result<(), CreateError> {
    let exists = path.try_exists().map_err(|source| open_error(path, source.into()))?;
    if exists {
        return Err(CreateError::Exists { path: path.to_path_buf() });
    }
    let changes: Vec<_> = (snapshot.enis.iter().cloned().map(LedgerChange::PutEni))
        .chain(snapshot.attachments.iter().cloned().map(LedgerChange::PutAttachment))
        .chain(snapshot.addresses.iter().cloned().map(LedgerChange::PutAddress))
        .chain(snapshot.prefixes.iter().cloned().map(LedgerChange::PutPrefix))
        .collect();
    let edits = Edits::new(&changes).map_err(CreateError::Records)?;
    Ok(create(path, &edits, mode)?)
}

/// Makes a ledger under another name first: whatever lies under the ledger's own name was complete once, so an
/// empty file there is damage and not a beginning.
fn create(path: &Path, edits: &Edits, mode: Option<NodeMode>) -> Result<(), OpenError> {
    let io_failed = |source: io::Error| open_error(path, source.into());
    let draft = beside(path, ".new");
    if draft.try_exists().map_err(io_failed)? {
        fs::remove_file(&draft).map_err(io_failed)?;
    }
    let made = write_draft(&draft, edits, mode).map_err(|error| open_error(path, error)).and_then(|()| {
        fs::rename(&draft, path).map_err(io_failed)?;
        sync_directory(path).map_err(io_failed)
    });
    if made.is_err() {
        let _ = fs::remove_file(&draft);
    }
    made
}

fn write_draft(draft: &Path, edits: &Edits, mode: Option<NodeMode>) -> Result<(), redb::Error> {
    fill(&builder().create(draft)?, edits, mode)
}

/// Makes a ledger of an empty database.
pub(crate) fn fill(database: &Database, edits: &Edits, mode: Option<NodeMode>) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    migrate::make_tables(&transaction)?;
    if let Some(mode) = mode {
        meta::latch(&transaction, mode)?;
    }
    edits.apply(&transaction, DEFAULT_HISTORY)?;
    transaction.commit()?;
    Ok(())
}

/// Gives a ledger another name, `<name>.damaged-<unix seconds>`, and returns it: so that a new one can take its
/// place and the old one can be looked at. Refuses a ledger that is in use.
pub fn set_aside(path: &Path, unix_seconds: u64) -> Result<PathBuf, SetAsideError> {
    let failed = |source| SetAsideError::Failed { path: path.to_path_buf(), source };
    if is_locked(path).map_err(failed)? {
        return Err(SetAsideError::Locked { path: path.to_path_buf() });
    }
    let first = format!(".damaged-{unix_seconds}");
    let mut aside = beside(path, &first);
    let mut number = 1;
    while fs::symlink_metadata(&aside).is_ok() {
        number += 1;
        aside = beside(path, &format!("{first}-{number}"));
    }
    fs::rename(path, &aside).map_err(failed)?;
    sync_directory(path).map_err(failed)?;
    Ok(aside)
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(suffix);
    path.with_file_name(name)
}

/// A rename is durable only when its directory is.
fn sync_directory(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => fs::File::open(parent)?.sync_all(),
        _ => fs::File::open(".")?.sync_all(),
    }
}
