//! The open database between the one who writes and those who read.

use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use redb::Database;

use crate::error::{OpenError, ReadError, read_error};
use crate::file::open_database;

/// A ledger's file and its database. The lock is held for writing only while the database is opened or closed:
/// reads and commits go on side by side.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) path: PathBuf,
    /// Closed after a failed commit, because the database refuses everything after an I/O error; the writer's
    /// next call opens it again and thereby finds what really is on the medium.
    database: RwLock<Option<Database>>,
}

impl Shared {
    pub(crate) fn new(path: &Path, database: Database) -> Self {
        Self { path: path.to_path_buf(), database: RwLock::new(Some(database)) }
    }

    /// Does something with the database, which is opened again if need be.
    pub(crate) fn with<T>(&self, job: impl FnOnce(&Database) -> T) -> Result<T, OpenError> {
        if let Some(database) = &*self.guard() {
            return Ok(job(database));
        }
        let mut closed = self.database.write().unwrap_or_else(PoisonError::into_inner);
        let database = match closed.take() {
            Some(database) => database,
            None => open_database(&self.path)?,
        };
        Ok(job(closed.insert(database)))
    }

    /// Reads from the database, unless it is closed.
    pub(crate) fn read<T>(
        &self,
        job: impl FnOnce(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, ReadError> {
        match &*self.guard() {
            Some(database) => job(database).map_err(|error| read_error(&self.path, error)),
            None => Err(ReadError::Closed { path: self.path.clone() }),
        }
    }

    /// Closes the database as soon as nobody reads any more, and frees the file for others.
    pub(crate) fn close(&self) {
        *self.database.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn guard(&self) -> RwLockReadGuard<'_, Option<Database>> {
        self.database.read().unwrap_or_else(PoisonError::into_inner)
    }
}
