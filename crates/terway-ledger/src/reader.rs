//! Reading beside the writer, from any thread.

use std::sync::Arc;

use redb::ReadableDatabase as _;
use terway_types::{HistoryEntry, LedgerSnapshot, NodeMode};

use crate::error::ReadError;
use crate::history::{self, HistoryQuery};
use crate::shared::Shared;
use crate::{export, meta, table};

/// Reads what is durable while the [`crate::Ledger`] goes on committing. Each call sees one commit's state. It
/// works as long as the ledger lives and is open.
#[derive(Clone, Debug)]
pub struct LedgerReader {
    pub(crate) shared: Arc<Shared>,
}

impl LedgerReader {
    /// All records, sorted as [`LedgerSnapshot`] says.
    pub fn snapshot(&self) -> Result<LedgerSnapshot, ReadError> {
        self.shared.read(table::read)
    }

    /// The entries of the history asked for with their numbers, newest first. A number is never given twice.
    pub fn history(&self, query: &HistoryQuery) -> Result<Vec<(u64, HistoryEntry)>, ReadError> {
        self.shared.read(|database| history::find(&database.begin_read()?, query))
    }

    /// The node's mode, if it was latched.
    pub fn mode(&self) -> Result<Option<NodeMode>, ReadError> {
        self.shared.read(|database| meta::mode(&database.begin_read()?))
    }

    /// The whole ledger as lines of JSON, as [`crate::export`] gives them.
    pub fn export(&self) -> Result<String, ReadError> {
        self.shared.read(export::lines)
    }
}
