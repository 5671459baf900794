//! The ledger itself: one file, one writer, one durable transaction per commit.

use std::num::NonZeroU64;
use std::path::Path;
use std::sync::Arc;

use redb::Database;
use terway_types::{HistoryEntry, LedgerChange, LedgerSnapshot, NodeMode};

use crate::error::{CommitError, OpenError, ReadError, commit_error, open_error};
use crate::file::{create_empty, open_database};
use crate::history::{DEFAULT_HISTORY, HistoryQuery};
use crate::meta::{self, Latched};
use crate::reader::LedgerReader;
use crate::shared::Shared;
use crate::table::Edits;

/// The durable state of one node. One process has it open at a time.
#[derive(Debug)]
pub struct Ledger {
    shared: Arc<Shared>,
    history: NonZeroU64,
}

impl Ledger {
    /// Opens the ledger in this file, or makes an empty one. A ledger of an older schema is brought up to
    /// date. A file that cannot be used is left untouched.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        if !path.try_exists().map_err(|source| open_error(path, source.into()))? {
            create_empty(path)?;
        }
        Ok(Self::of(path, open_database(path)?))
    }

    /// Goes on with an open database; after a failure it is opened again from the path.
    pub(crate) fn of(path: &Path, database: Database) -> Self {
        Self { shared: Arc::new(Shared::new(path, database)), history: DEFAULT_HISTORY }
    }

    /// Keeps at most so many entries of history from now on, instead of [`DEFAULT_HISTORY`]. When there are more,
    /// the oldest ones go, a sixty-fourth of the bound at once.
    #[must_use]
    pub fn with_history(mut self, entries: NonZeroU64) -> Self {
        self.history = entries;
        self
    }

    /// Where the ledger lies.
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// A way to read for other threads.
    pub fn reader(&self) -> LedgerReader {
        LedgerReader { shared: Arc::clone(&self.shared) }
    }

    /// All records, sorted as [`LedgerSnapshot`] says.
    pub fn snapshot(&mut self) -> Result<LedgerSnapshot, ReadError> {
        self.reopen().map_err(ReadError::Reopen)?;
        self.reader().snapshot()
    }

    /// The entries of the history asked for with their numbers, newest first.
    pub fn history(&self, query: &HistoryQuery) -> Result<Vec<(u64, HistoryEntry)>, ReadError> {
        self.reopen().map_err(ReadError::Reopen)?;
        self.reader().history(query)
    }

    /// The node's mode, if it was latched.
    pub fn mode(&self) -> Result<Option<NodeMode>, ReadError> {
        self.reopen().map_err(ReadError::Reopen)?;
        self.reader().mode()
    }

    /// Makes these changes durable, all or none, in this order. When it returns, they survive a power cut.
    pub fn commit(&mut self, changes: &[LedgerChange]) -> Result<(), CommitError> {
        if changes.is_empty() {
            return Ok(());
        }
        let edits = Edits::new(changes)?;
        self.write(changes.len(), |database| edits.write(database, self.history))
    }

    /// Keeps the node's mode if none is kept yet, durably; otherwise tells whether the kept one is the wanted
    /// one. A kept mode never changes.
    pub fn latch_mode(&mut self, wanted: NodeMode) -> Result<Latched, CommitError> {
        self.write(1, |database| {
            let transaction = database.begin_write()?;
            let latched = meta::latch(&transaction, wanted)?;
            match latched {
                Latched::First => transaction.commit()?,
                Latched::Agrees | Latched::Differs { .. } => transaction.abort()?,
            }
            Ok(latched)
        })
    }

    fn write<T>(
        &self,
        changes: usize,
        job: impl FnOnce(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, CommitError> {
        let written = self.shared.with(job).map_err(CommitError::Reopen)?;
        written.map_err(|error| {
            self.shared.close();
            commit_error(self.path(), changes, error)
        })
    }

    fn reopen(&self) -> Result<(), OpenError> {
        self.shared.with(|_| ())
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        self.shared.close();
    }
}
