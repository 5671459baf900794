//! How the ledger fails, each way with the fault a person meets.

use std::io;
use std::path::{Path, PathBuf};

use terway_types::{Fault, FaultCode};

/// Why a ledger cannot be opened. The file is left as it was, except where the medium itself failed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory or the file cannot be written, or not read.
    #[error("failed to open ledger {}", path.display())]
    Unwritable {
        /// The ledger's file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file system has no room.
    #[error("failed to open ledger {}: no space left on its file system", path.display())]
    Full {
        /// The ledger's file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A newer version wrote it.
    #[error("ledger {} has schema version {found}, this version reads up to {known}", path.display())]
    TooNew {
        /// The ledger's file.
        path: PathBuf,
        /// The version it was written with.
        found: u64,
        /// The newest version known here.
        known: u64,
    },
    /// The file is damaged, or is no ledger at all.
    #[error("ledger {} cannot be read: {detail}", path.display())]
    Corrupt {
        /// The ledger's file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// Another process has it open.
    #[error("ledger {} is in use by another process", path.display())]
    Locked {
        /// The ledger's file.
        path: PathBuf,
    },
}

impl OpenError {
    /// The failure as a person meets it.
    pub fn fault(&self) -> Fault {
        let fault = |code| {
            let fault = Fault::new(code, self.to_string());
            match std::error::Error::source(self) {
                Some(source) => fault.caused_by(source),
                None => fault,
            }
        };
        match self {
            Self::Unwritable { .. } => fault(FaultCode::StateUnwritable),
            Self::Full { .. } => fault(FaultCode::StateFull),
            Self::TooNew { .. } => fault(FaultCode::LedgerTooNew),
            Self::Corrupt { .. } => fault(FaultCode::LedgerCorrupt),
            Self::Locked { .. } => fault(FaultCode::StateUnwritable)
                .remedy("stop the other terwayd of this node, or give this one another --state-dir"),
        }
    }
}

/// Why a change was not made durable. None of its parts is visible in the ledger afterwards, unless the
/// medium failed at the very end; [`crate::Ledger::snapshot`] tells what holds.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The file system has no room.
    #[error("failed to record {changes} changes in ledger {}: no space left on its file system", path.display())]
    Full {
        /// The ledger's file.
        path: PathBuf,
        /// How many changes were to be recorded.
        changes: usize,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The medium, or the file on it, failed.
    #[error("failed to record {changes} changes in ledger {}", path.display())]
    Failed {
        /// The ledger's file.
        path: PathBuf,
        /// How many changes were to be recorded.
        changes: usize,
        /// What the database said.
        #[source]
        source: Box<redb::Error>,
    },
    /// A value cannot be written as a row.
    #[error("failed to write {what} as a row")]
    Encode {
        /// Which value.
        what: String,
        /// What the encoder said.
        #[source]
        source: serde_json::Error,
    },
    /// An earlier commit failed, and the ledger could not be opened again since.
    #[error("failed to open the ledger again after an earlier failure")]
    Reopen(#[source] OpenError),
}

impl CommitError {
    /// The failure as a person meets it.
    pub fn fault(&self) -> Fault {
        let code = match self {
            Self::Full { .. } => FaultCode::StateFull,
            Self::Failed { source, .. } if matches!(**source, redb::Error::Corrupted(_)) => {
                FaultCode::LedgerCorrupt
            }
            Self::Failed { .. } => FaultCode::StateUnwritable,
            Self::Encode { .. } => FaultCode::Internal,
            Self::Reopen(source) => return source.fault(),
        };
        let fault = Fault::new(code, self.to_string());
        match std::error::Error::source(self) {
            Some(source) => fault.caused_by(source),
            None => fault,
        }
    }
}

/// Why the ledger's content cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The database, or a row in it, is damaged.
    #[error("ledger {} cannot be read: {detail}", path.display())]
    Corrupt {
        /// The ledger's file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// The medium failed.
    #[error("failed to read ledger {}", path.display())]
    Failed {
        /// The ledger's file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The ledger is closed: its owner has gone, or has not opened it again after a failed commit.
    #[error("ledger {} is closed", path.display())]
    Closed {
        /// The ledger's file.
        path: PathBuf,
    },
    /// An earlier commit failed, and the ledger could not be opened again since.
    #[error("failed to open the ledger again after an earlier failure")]
    Reopen(#[source] OpenError),
}

impl ReadError {
    /// The failure as a person meets it.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Corrupt { .. } => Fault::new(FaultCode::LedgerCorrupt, self.to_string()),
            Self::Failed { source, .. } => {
                Fault::new(FaultCode::StateUnwritable, self.to_string()).caused_by(source)
            }
            Self::Closed { .. } => Fault::new(FaultCode::StateUnwritable, self.to_string())
                .remedy("see in the daemon's log why the last change could not be recorded"),
            Self::Reopen(source) => source.fault(),
        }
    }
}

/// Why a ledger with given records was not made. Nothing lies under its name then that was not there before.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// There is a file of that name; it is not written over.
    #[error("ledger {} exists already", path.display())]
    Exists {
        /// The ledger's file.
        path: PathBuf,
    },
    /// A record cannot be written as a row.
    #[error("failed to write the records of a new ledger")]
    Records(#[source] CommitError),
    /// The file cannot be made.
    #[error(transparent)]
    File(#[from] OpenError),
}

impl CreateError {
    /// The failure as a person meets it.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Exists { .. } => Fault::new(FaultCode::StateUnwritable, self.to_string())
                .remedy("move the file away first, or go on with it"),
            Self::Records(source) => source.fault(),
            Self::File(source) => source.fault(),
        }
    }
}

/// Why a ledger was not put aside. It lies where it lay.
#[derive(Debug, thiserror::Error)]
pub enum SetAsideError {
    /// A process has it open.
    #[error("ledger {} is in use", path.display())]
    Locked {
        /// The ledger's file.
        path: PathBuf,
    },
    /// There is no such file, or its directory cannot be written.
    #[error("failed to put ledger {} aside", path.display())]
    Failed {
        /// The ledger's file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl SetAsideError {
    /// The failure as a person meets it.
    pub fn fault(&self) -> Fault {
        let fault = Fault::new(FaultCode::StateUnwritable, self.to_string());
        match self {
            Self::Locked { .. } => fault.remedy("stop the terwayd of this node first"),
            Self::Failed { source, .. } => fault.caused_by(source),
        }
    }
}

/// Whether the system says that there is no room: on the file system, or in the quota.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// What a failed opening of the database means.
pub(crate) fn open_error(path: &Path, error: redb::Error) -> OpenError {
    let path = path.to_path_buf();
    match error {
        redb::Error::Io(source) if is_full(&source) => OpenError::Full { path, source },
        redb::Error::Io(source) => OpenError::Unwritable { path, source },
        redb::Error::DatabaseAlreadyOpen => OpenError::Locked { path },
        other => OpenError::Corrupt { path, detail: detail(other) },
    }
}

/// What a failed read means.
pub(crate) fn read_error(path: &Path, error: redb::Error) -> ReadError {
    let path = path.to_path_buf();
    match error {
        redb::Error::Io(source) => ReadError::Failed { path, source },
        other => ReadError::Corrupt { path, detail: detail(other) },
    }
}

/// What is wrong with the content, without the database's own preamble.
fn detail(error: redb::Error) -> String {
    match error {
        redb::Error::Corrupted(detail) => detail,
        other => other.to_string(),
    }
}

/// What a failed commit means.
pub(crate) fn commit_error(path: &Path, changes: usize, error: redb::Error) -> CommitError {
    let path = path.to_path_buf();
    match error {
        redb::Error::Io(source) if is_full(&source) => CommitError::Full { path, changes, source },
        other => CommitError::Failed { path, changes, source: Box::new(other) },
    }
}
