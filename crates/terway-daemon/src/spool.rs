//! Releases that the plugin wrote to disk while the daemon was away. Each is made durable in the ledger
//! first and unlinked then, under the attachment's turn, so that no later ADD of the same key is undone.

use std::convert::Infallible;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use serde::Deserialize;
use terway_pool::{Answer, Event};
use terway_types::{AttachmentKey, ContainerId, Fault, IfName, NameError, NetworkName, Timestamp};

use crate::clock;
use crate::driver::DriverHandle;
use crate::instance_lock::private_directory;
use crate::metrics::Metrics;
use crate::turns::Turns;
use crate::watched_dir::WatchedDir;

/// How often to look when nothing is heard.
const SLOW: Duration = Duration::from_mins(1);
/// How long a release may wait for another operation on its attachment.
const PATIENCE: Duration = Duration::from_secs(130);
/// Whoever began a draft this long ago was killed over it: it is written and renamed at once, even to a slow disk.
const NOBODYS: Duration = Duration::from_mins(5);

/// The spool's directory.
#[derive(Clone, Debug)]
pub struct Spool {
    directory: PathBuf,
}

/// One file, as the plugin writes it.
#[derive(Debug, Deserialize)]
struct Entry {
    version: u32,
    network: String,
    container_id: String,
    ifname: String,
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
enum EntryError {
    #[error("failed to read")]
    Io(#[from] io::Error),
    #[error("is not what the plugin writes")]
    Json(#[from] serde_json::Error),
    #[error("has version {0}, this daemon reads version 1")]
    Version(u32),
    #[error("names no attachment")]
    Name(#[from] NameError),
}

impl Spool {
    /// The spool of a state directory; made if need be, so that the plugin and the watch find it.
    pub fn open(state_dir: &Path, now: Timestamp) -> io::Result<Self> {
        let directory = state_dir.join("spool");
        private_directory(&directory)?;
        let spool = Self { directory };
        spool.remove_drafts(now);
        Ok(spool)
    }

    /// Those nobody completes. The runtime was not told that these releases are done, and asks again.
    fn remove_drafts(&self, now: Timestamp) {
        let begun = |path: &PathBuf| fs::metadata(path).and_then(|draft| draft.modified());
        let nobodys = |begun: SystemTime| now.since(clock::at(begun)) > NOBODYS;
        for path in self.files("tmp").into_iter().filter(|path| begun(path).is_ok_and(nobodys)) {
            if let Err(error) = fs::remove_file(&path) {
                tracing::warn!(%error, path = %path.display(), "a draft that nobody completes cannot be removed");
            }
        }
    }

    /// Consumes what is there, and then whatever appears, until dropped.
    pub async fn keep(self, driver: DriverHandle, turns: &Turns, metrics: &Metrics) -> Infallible {
        loop {
            // Watch before looking, so that no file falls between.
            let watched = WatchedDir::new(&self.directory);
            if let Err(error) = self.drain(&driver, turns, metrics).await {
                tracing::warn!(%error, "spooled releases wait");
            }
            match watched {
                Ok(watched) => watched.changed(SLOW).await,
                Err(_) => tokio::time::sleep(SLOW).await,
            }
        }
    }

    /// Consumes what is there now. A release that fails stays for the next time.
    pub async fn drain(&self, driver: &DriverHandle, turns: &Turns, metrics: &Metrics) -> Result<(), Fault> {
        let mut failed = None;
        // The plugin writes drafts under other names.
        for path in self.files("json") {
            match read(&path) {
                Ok(key) => match self.release(&path, key, driver, turns).await {
                    Ok(()) => metrics.spooled("released"),
                    Err(fault) => failed = Some(fault),
                },
                Err(EntryError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    set_aside(&path, &error);
                    metrics.spooled("set-aside");
                }
            }
        }
        failed.map_or(Ok(()), Err)
    }

    async fn release(
        &self,
        path: &Path,
        key: AttachmentKey,
        driver: &DriverHandle,
        turns: &Turns,
    ) -> Result<(), Fault> {
        let _turn = turns.take(&key, Instant::now() + PATIENCE).await?;
        // Before the plugin asks for the same attachment anew, it withdraws the file: what it gets after
        // that must not be released.
        if !path.exists() {
            return Ok(());
        }
        let asked = key.clone();
        match driver.ask(|request| Event::Release { request, key: asked }).await {
            Answer::Failed(fault) => return Err(fault),
            Answer::Released(held) => {
                let eni = held.and_then(|held| held.eni.id).map(|id| id.0).unwrap_or_default();
                tracing::info!(attachment = %key, eni, "spooled release done");
            }
            Answer::Allocated(_) | Answer::Collected(_) => {}
        }
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::error!(%error, path = %path.display(), "a spooled release is done but cannot be unlinked");
            }
            _ => {}
        }
        Ok(())
    }

    /// Those whose names end so, in order.
    fn files(&self, wanted: &str) -> Vec<PathBuf> {
        let entries = match fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) => {
                tracing::error!(%error, directory = %self.directory.display(), "failed to read the spool");
                return Vec::new();
            }
        };
        let mut files: Vec<_> = entries
            .filter_map(|entry| entry.ok().map(|entry| entry.path()))
            .filter(|path| path.extension().is_some_and(|suffix| suffix == wanted))
            .collect();
        files.sort();
        files
    }
}

fn read(path: &Path) -> Result<AttachmentKey, EntryError> {
    let entry: Entry = serde_json::from_slice(&fs::read(path)?)?;
    if entry.version != 1 {
        return Err(EntryError::Version(entry.version));
    }
    Ok(AttachmentKey {
        network: NetworkName::new(entry.network)?,
        container: ContainerId::new(entry.container_id)?,
        ifname: IfName::new(entry.ifname)?,
    })
}

/// Nobody can use it, and it must not stop those after it.
fn set_aside(path: &Path, error: &EntryError) {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".bad");
    let aside = path.with_file_name(name);
    let error = terway_types::fault::chain(error);
    match fs::rename(path, &aside) {
        Ok(()) => tracing::error!(error, path = %aside.display(), "set a broken spool file aside"),
        Err(failed) => {
            tracing::error!(error, %failed, path = %path.display(), "failed to set a broken spool file aside");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drafts_that_nobody_completes_are_removed_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let now = clock::at(SystemTime::now());
        let spool = Spool::open(dir.path(), now).unwrap();
        let (draft, complete) = (spool.directory.join("a.7.tmp"), spool.directory.join("b.json"));
        fs::write(&draft, "{").unwrap();
        fs::write(&complete, "{").unwrap();
        Spool::open(dir.path(), now + NOBODYS / 2).unwrap();
        assert!(draft.exists(), "somebody may be at it");
        Spool::open(dir.path(), now + NOBODYS * 2).unwrap();
        assert!(!draft.exists());
        assert!(complete.exists());
    }
}
