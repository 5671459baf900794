//! Why there is no connection to the daemon, each with its remedy.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use terway_types::{Fault, FaultCode};

/// Why no connection came about. Each has another remedy.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// There is no such file.
    #[error("there is no socket {}", path.display())]
    NoSocket {
        /// The socket's path.
        path: PathBuf,
    },
    /// This user may not connect.
    #[error("permission denied on socket {}", path.display())]
    Denied {
        /// The socket's path.
        path: PathBuf,
    },
    /// The file is left over from a daemon that ended.
    #[error("nobody listens on socket {}", path.display())]
    NobodyListens {
        /// The socket's path.
        path: PathBuf,
    },
    /// Nobody accepted in time.
    #[error("nobody accepted on socket {} within {after:?}", path.display())]
    TimedOut {
        /// The socket's path.
        path: PathBuf,
        /// How long the attempt lasted.
        after: Duration,
    },
    /// Anything else.
    #[error("failed to connect to socket {}", path.display())]
    Other {
        /// The socket's path.
        path: PathBuf,
        /// Why.
        source: Box<dyn Error + Send + Sync>,
    },
}

impl From<ConnectError> for Fault {
    fn from(error: ConnectError) -> Self {
        let fault = Self::new(FaultCode::DaemonUnreachable, "failed to reach terwayd").caused_by(&error);
        match error {
            ConnectError::NoSocket { .. } => {
                fault.remedy("check that terwayd runs on this node and that both use the same socket path")
            }
            ConnectError::Denied { .. } => fault.remedy("run as the user terwayd runs as, usually root"),
            ConnectError::NobodyListens { .. } => fault.remedy("start terwayd on this node; see its log"),
            ConnectError::TimedOut { .. } | ConnectError::Other { .. } => fault,
        }
    }
}

impl ConnectError {
    /// Whether it is what a daemon that is about to listen looks like.
    pub fn may_be_starting(&self) -> bool {
        matches!(self, Self::NoSocket { .. } | Self::NobodyListens { .. })
    }

    /// What the system's word means, if it is one of those with a remedy of their own.
    pub(crate) fn of_kind(path: &Path, kind: io::ErrorKind) -> Option<Self> {
        let path = path.to_owned();
        match kind {
            io::ErrorKind::NotFound => Some(Self::NoSocket { path }),
            io::ErrorKind::PermissionDenied => Some(Self::Denied { path }),
            io::ErrorKind::ConnectionRefused => Some(Self::NobodyListens { path }),
            _ => None,
        }
    }
}
