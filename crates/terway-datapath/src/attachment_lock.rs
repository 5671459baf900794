//! One lock per attachment, held by whoever changes its state in the kernel: overlapping ADD, DEL and repair of one
//! attachment come one after the other, those of different attachments do not meet. The kernel drops the lock when
//! its holder dies.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use terway_types::{AttachmentKey, Fault, FaultCode};

use crate::names::sha1_hex;

/// A held lock.
#[derive(Debug)]
pub struct AttachmentLock {
    path: PathBuf,
    file: Flock<File>,
}

/// Waits for the lock of an attachment, at most `patience`.
pub fn acquire(run_dir: &Path, key: &AttachmentKey, patience: Duration) -> Result<AttachmentLock, Fault> {
    let path = run_dir.join(sha1_hex(&key.to_string())).with_extension("lock");
    let failed = |error: io::Error| {
        let what = format!("failed to lock attachment {key} by {}", path.display());
        Fault::new(FaultCode::StateUnwritable, what)
            .caused_by(&error)
            .remedy("make the folder of the key run_dir writable")
    };
    let busy = || {
        let what = format!("attachment {key} is being worked on by another call since {patience:?}");
        Fault::new(FaultCode::AttachmentBusy, what)
    };
    let until = Instant::now() + patience;
    DirBuilder::new().recursive(true).mode(0o700).create(run_dir).map_err(failed)?;
    loop {
        let file = open(&path).map_err(failed)?;
        let left = until.saturating_duration_since(Instant::now());
        let file = lock(file, left).map_err(failed)?.ok_or_else(busy)?;
        // Whoever held it before may have removed the file: then the lock we got guards nothing.
        if is_still_at(&file, &path).map_err(failed)? {
            return Ok(AttachmentLock { path, file });
        }
    }
}

impl AttachmentLock {
    /// Gives the lock back and its file up: there will be no further call for this attachment.
    pub fn retire(self) {
        // A file that stays is in nobody's way, and a reboot removes it. It goes before the lock does.
        let _ = fs::remove_file(&self.path);
        drop(self.file);
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// The locked file, or none if it stayed locked by others for so long.
fn lock(file: File, patience: Duration) -> io::Result<Option<Flock<File>>> {
    let file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(locked) => return Ok(Some(locked)),
        Err((_, Errno::EWOULDBLOCK)) if patience.is_zero() => return Ok(None),
        Err((file, Errno::EWOULDBLOCK)) => file,
        Err((_, errno)) => return Err(errno.into()),
    };
    // flock(2) has no time limit, so a thread waits in it and we wait for the thread. If we give up,
    // it stays behind until this short-lived process ends; what it gets by then is dropped at once.
    let (sender, receiver) = mpsc::sync_channel(0);
    thread::Builder::new().name("lock".into()).spawn(move || {
        let _ = sender.send(wait(file));
    })?;
    match receiver.recv_timeout(patience) {
        Ok(outcome) => outcome.map(Some),
        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => Ok(None),
    }
}

fn wait(mut file: File) -> io::Result<Flock<File>> {
    loop {
        match Flock::lock(file, FlockArg::LockExclusive) {
            Ok(locked) => return Ok(locked),
            Err((same, Errno::EINTR)) => file = same,
            Err((_, errno)) => return Err(errno.into()),
        }
    }
}

fn is_still_at(file: &File, path: &Path) -> io::Result<bool> {
    let held = file.metadata()?;
    match fs::metadata(path) {
        Ok(there) => Ok((there.dev(), there.ino()) == (held.dev(), held.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use terway_types::{ContainerId, IfName, NetworkName};

    use super::*;

    fn key_of(network: &str, container: &str, ifname: &str) -> AttachmentKey {
        AttachmentKey {
            network: NetworkName::new(network).unwrap(),
            container: ContainerId::new(container).unwrap(),
            ifname: IfName::new(ifname).unwrap(),
        }
    }

    fn key() -> AttachmentKey {
        key_of("terway", "c0ffee", "eth0")
    }

    const LONG: Duration = Duration::from_secs(20);

    /// Whether a thread of this process has one of these names.
    fn is_there_a_thread(named: &[&str]) -> bool {
        let names = fs::read_dir("/proc/self/task").unwrap().filter_map(|task| {
            // A thread may have ended meanwhile.
            fs::read_to_string(task.ok()?.path().join("comm")).ok()
        });
        names.into_iter().any(|name| named.contains(&name.trim()))
    }

    #[test]
    fn who_has_no_patience_leaves_nobody_waiting() {
        let dir = tempfile::tempdir().unwrap();
        let _held = acquire(dir.path(), &key(), LONG).unwrap();
        let path = dir.path().to_owned();
        let impatient = move || acquire(&path, &key(), Duration::ZERO).unwrap_err();
        let refused =
            thread::Builder::new().name("impatient".into()).spawn(impatient).unwrap().join().unwrap();
        assert_eq!(refused.code, FaultCode::AttachmentBusy);
        // A thread bears its maker's name until it gives itself its own. Those of other tests come to their end; one
        // that waits for our lock would not.
        let end = Instant::now() + LONG;
        while is_there_a_thread(&["impatient", "lock"]) {
            assert!(Instant::now() < end, "a thread still waits");
            thread::yield_now();
        }
    }

    #[test]
    fn two_calls_of_one_attachment_come_one_after_the_other() {
        let dir = tempfile::tempdir().unwrap();
        let first = acquire(dir.path(), &key(), LONG).unwrap();
        let fault = acquire(dir.path(), &key(), Duration::from_millis(20)).unwrap_err();
        assert_eq!(fault.code, FaultCode::AttachmentBusy);
        assert!(fault.what.contains("terway/c0ffee/eth0"), "{fault}");
        thread::scope(|scope| {
            let second = scope.spawn(|| acquire(dir.path(), &key(), LONG));
            drop(first);
            second.join().unwrap().unwrap();
        });
    }

    #[test]
    fn different_attachments_do_not_meet() {
        let dir = tempfile::tempdir().unwrap();
        let _first = acquire(dir.path(), &key(), LONG).unwrap();
        for other in [key_of("terway", "c0ffee", "eth1"), key_of("blue", "c0ffee", "eth0")] {
            acquire(dir.path(), &other, Duration::ZERO).unwrap();
        }
    }

    #[test]
    fn a_retired_lock_is_no_lock_for_who_waited_on_it() {
        let dir = tempfile::tempdir().unwrap();
        for _ in 0..50 {
            let first = acquire(dir.path(), &key(), LONG).unwrap();
            thread::scope(|scope| {
                let waiting = scope.spawn(|| acquire(dir.path(), &key(), LONG).unwrap());
                first.retire();
                let second = waiting.join().unwrap();
                assert!(is_still_at(&second.file, &second.path).unwrap());
                assert!(acquire(dir.path(), &key(), Duration::ZERO).is_err());
                second.retire();
            });
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "no lock file stays behind");
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let blocked = dir.path().join("file");
        fs::write(&blocked, "").unwrap();
        let fault = acquire(&blocked.join("locks"), &key(), LONG).unwrap_err();
        assert_eq!(fault.code, FaultCode::StateUnwritable);
    }
}
