//! A Unix socket only its owner may use. A path left behind by a daemon that ended is replaced; one at
//! which somebody listens is not.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener as StdListener, UnixStream};
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;

use crate::instance_lock::private_directory;

/// Why nobody can be heard at a path.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody listens there already.
    #[error("another process listens at {}", path.display())]
    Taken {
        /// The path.
        path: PathBuf,
    },
    /// The path holds something that is no socket.
    #[error("{} exists and is no socket; remove it", path.display())]
    NoSocket {
        /// The path.
        path: PathBuf,
    },
    /// The system refused.
    #[error("failed to listen at {}", path.display())]
    Io {
        /// The path.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// Listens at `path` with mode 0600. The socket gets its mode under another name first, so that nobody
/// ever meets it with a wider one.
pub fn listen(path: &Path) -> Result<UnixListener, BindError> {
    let failed = |source| BindError::Io { path: path.to_owned(), source };
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            return Err(BindError::NoSocket { path: path.to_owned() });
        }
        Ok(_) if UnixStream::connect(path).is_ok() => return Err(BindError::Taken { path: path.to_owned() }),
        _ => {}
    }
    if let Some(parent) = path.parent() {
        private_directory(parent).map_err(failed)?;
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let draft = path.with_file_name(name);
    if fs::symlink_metadata(&draft).is_ok() {
        fs::remove_file(&draft).map_err(failed)?;
    }
    let listener = StdListener::bind(&draft).map_err(failed)?;
    fs::set_permissions(&draft, Permissions::from_mode(0o600)).map_err(failed)?;
    fs::rename(&draft, path).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    UnixListener::from_std(listener).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stale_path_is_replaced_and_a_live_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run/eni.socket");
        let listener = listen(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
        assert!(matches!(listen(&path), Err(BindError::Taken { .. })));
        drop(listener);
        listen(&path).unwrap();
    }

    #[tokio::test]
    async fn a_file_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("eni.socket");
        fs::write(&path, "precious").unwrap();
        assert!(matches!(listen(&path), Err(BindError::NoSocket { .. })));
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }
}
