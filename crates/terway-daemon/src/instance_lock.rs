//! One `terwayd` per state directory: a lock on a file in it, which the kernel drops when the process
//! ends, however it ends.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use terway_types::{Fault, FaultCode};

/// The lock, held until it is dropped.
#[derive(Debug)]
pub struct InstanceLock {
    _file: Flock<File>,
}

/// Why the lock is not ours.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error("another terwayd ({holder}) uses the state directory {}", directory.display())]
    Taken {
        /// The state directory.
        directory: PathBuf,
        /// Who, as the lock file says.
        holder: String,
    },
    /// The directory or the file in it cannot be made or written.
    #[error("failed to lock the state directory {}", directory.display())]
    Io {
        /// The state directory.
        directory: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl LockError {
    /// The failure as a person meets it.
    pub fn fault(&self) -> Fault {
        let fault = Fault::new(FaultCode::StateUnwritable, self.to_string());
        match self {
            Self::Taken { .. } => fault.remedy("stop it, or give this one another --state-dir"),
            Self::Io { source, .. } => fault.caused_by(source),
        }
    }
}

impl InstanceLock {
    /// Makes the directory if need be and locks it, without waiting.
    pub fn take(directory: &Path) -> Result<Self, LockError> {
        let failed = |source| LockError::Io { directory: directory.to_owned(), source };
        private_directory(directory).map_err(failed)?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(directory.join("terwayd.lock"))
            .map_err(failed)?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(mut file) => {
                write_holder(&mut file).map_err(failed)?;
                Ok(Self { _file: file })
            }
            Err((mut file, Errno::EWOULDBLOCK)) => {
                let mut pid = String::new();
                let holder = match file.read_to_string(&mut pid) {
                    Ok(_) if !pid.trim().is_empty() => format!("process {}", pid.trim()),
                    _ => "of unknown process id".to_owned(),
                };
                Err(LockError::Taken { directory: directory.to_owned(), holder })
            }
            Err((_, errno)) => Err(failed(errno.into())),
        }
    }
}

fn write_holder(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

/// Makes a directory only we may enter, and its parents; one that exists keeps its mode.
pub fn private_directory(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_one_is_told_who_is_first() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state");
        let first = InstanceLock::take(&path).unwrap();
        let error = InstanceLock::take(&path).unwrap_err().to_string();
        assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
        drop(first);
        InstanceLock::take(&path).unwrap();
    }
}
