//! Keeps the runtime's CNI configuration in place once pods can be served. It is never removed, not even
//! at shutdown: without it runtimes cannot run DEL either.
//!
//! containerd's watcher hears renames, but not files that are moved in from elsewhere; so the draft lies
//! in the same directory, under a name no runtime reads.
//!
//! On a node whose pods get whole ENIs a custom chain is refused (`chain`): the configuration is installed without it,
//! and the operator is told.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use terway_types::{NodeMode, fault};

use crate::chain::{self, Chain, ChainError};
use crate::events::Events;
use crate::watched_dir::WatchedDir;

/// The name it is installed under.
const NAME: &str = "10-terway.conflist";
/// The draft's name; runtimes read `.conf`, `.conflist` and `.json`.
const DRAFT: &str = ".10-terway.conflist.draft";
/// What older versions installed; it would win over ours by its name.
const OLD_NAME: &str = "10-terway.conf";
/// How often to look when nothing is heard.
const SLOW: Duration = Duration::from_mins(1);

/// Where the configuration comes from and goes to.
#[derive(Clone, Debug)]
pub struct Conflist {
    /// The file to install.
    pub source: PathBuf,
    /// The runtime's directory.
    pub directory: PathBuf,
}

/// What came of an installation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// Whether anything was done.
    pub changed: bool,
    /// The plugins that were left out.
    pub refused: Vec<String>,
}

/// Why it is not installed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// The file cannot be read.
    #[error("failed to read it")]
    Read(#[source] io::Error),
    /// No runtime could use it.
    #[error("it is no list of plugins")]
    Malformed(#[from] ChainError),
    /// The runtime's directory cannot be written.
    #[error("failed to write into {}", directory.display())]
    Write {
        /// The directory.
        directory: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl Conflist {
    /// Installs the configuration and puts it back whenever it vanishes or differs; runs until dropped.
    pub async fn keep(self, mode: NodeMode, events: Arc<Events>) {
        let mut failed = None;
        let mut refused = Vec::new();
        loop {
            // Watch before looking, so that no change falls between.
            let watched = WatchedDir::new(&self.directory);
            match self.install(mode) {
                Ok(installed) => {
                    failed = None;
                    if installed.changed {
                        tracing::info!(directory = %self.directory.display(), "installed {NAME}");
                    }
                    if installed.refused != refused {
                        if let Some(complaint) = chain::complaint(&installed.refused) {
                            events.note("CustomChainRefused", complaint);
                        }
                        refused = installed.refused;
                    }
                }
                Err(error) => {
                    let why = fault::chain(&error);
                    if failed.as_ref() != Some(&why) {
                        events.note("CniConfNotInstalled", self.complaint(&why));
                        failed = Some(why);
                    }
                }
            }
            match watched {
                Ok(watched) => watched.changed(SLOW).await,
                Err(_) => tokio::time::sleep(SLOW).await,
            }
        }
    }

    fn complaint(&self, why: &str) -> String {
        let (source, target) = (self.source.display(), self.directory.join(NAME));
        format!(
            "{source} is not installed as {}: {why}; what is there stays, and without one the runtime starts no pods. \
             Looked at again every minute",
            target.display()
        )
    }

    /// Installs the configuration unless it is in place.
    pub fn install(&self, mode: NodeMode) -> Result<Installed, InstallError> {
        let source = fs::read(&self.source).map_err(InstallError::Read)?;
        let Chain { content, refused } = chain::allowed(source, mode)?;
        let changed = self
            .put(&content)
            .map_err(|source| InstallError::Write { directory: self.directory.clone(), source })?;
        Ok(Installed { changed, refused })
    }

    /// Puts this content in place; whether anything was done for that.
    fn put(&self, wanted: &[u8]) -> io::Result<bool> {
        let target = self.directory.join(NAME);
        let old = self.directory.join(OLD_NAME);
        let old_is_there = old.try_exists()?;
        let in_place = fs::read(&target).is_ok_and(|found| found == wanted)
            && fs::metadata(&target).is_ok_and(|found| found.permissions().mode() & 0o777 == 0o644);
        if !in_place {
            let draft = self.directory.join(DRAFT);
            write_durably(&draft, wanted)?;
            fs::rename(&draft, &target)?;
        }
        if old_is_there {
            fs::remove_file(&old)?;
        }
        if !in_place || old_is_there {
            File::open(&self.directory)?.sync_all()?;
        }
        Ok(!in_place || old_is_there)
    }
}

fn write_durably(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(path)?;
    // The mode above passes through the umask.
    file.set_permissions(fs::Permissions::from_mode(0o644))?;
    file.write_all(content)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
    use tempfile::TempDir;
    use terway_types::Timestamp;

    use super::*;

    const LIST: &str = r#"{"name": "terway", "plugins": [{"type": "terway"}]}"#;

    fn scene() -> (TempDir, Conflist) {
        let root = tempfile::tempdir().unwrap();
        let conflist = Conflist { source: root.path().join("source"), directory: root.path().join("net.d") };
        fs::create_dir(&conflist.directory).unwrap();
        fs::write(&conflist.source, LIST).unwrap();
        (root, conflist)
    }

    fn install(conflist: &Conflist) -> bool {
        conflist.install(NodeMode::Shared).unwrap().changed
    }

    #[test]
    fn the_runtime_hears_a_rename_within_its_directory() {
        let (_root, conflist) = scene();
        fs::write(conflist.directory.join(OLD_NAME), "{}").unwrap();
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK).unwrap();
        inotify.add_watch(&conflist.directory, AddWatchFlags::IN_ALL_EVENTS).unwrap();
        assert!(install(&conflist));
        let events = inotify.read_events().unwrap();
        let moved = |flag| events.iter().find(|event| event.mask.contains(flag)).expect("a move");
        let (from, to) = (moved(AddWatchFlags::IN_MOVED_FROM), moved(AddWatchFlags::IN_MOVED_TO));
        assert_eq!(from.cookie, to.cookie, "both ends of one move were seen, so it stayed in the directory");
        assert_eq!(from.name.as_deref(), Some(DRAFT.as_ref()));
        assert_eq!(to.name.as_deref(), Some(NAME.as_ref()));
        let created = events.iter().filter(|event| event.mask.contains(AddWatchFlags::IN_CREATE));
        assert!(created.into_iter().all(|event| event.name.as_deref() == Some(DRAFT.as_ref())));
        assert!(!conflist.directory.join(OLD_NAME).exists());
        assert_eq!(fs::metadata(conflist.directory.join(NAME)).unwrap().permissions().mode() & 0o777, 0o644);
    }

    #[test]
    fn what_is_in_place_is_not_touched() {
        let (_root, conflist) = scene();
        assert!(install(&conflist));
        assert!(!install(&conflist));
        fs::write(conflist.directory.join(NAME), "else").unwrap();
        assert!(install(&conflist));
    }

    #[test]
    fn a_source_that_cannot_be_used_leaves_what_is_installed() {
        let (_root, conflist) = scene();
        install(&conflist);
        let refused = |why: &str| {
            let error = conflist.install(NodeMode::Shared).unwrap_err();
            assert!(conflist.complaint(&fault::chain(&error)).contains(why), "{error:?}");
            assert_eq!(fs::read_to_string(conflist.directory.join(NAME)).unwrap(), LIST);
        };
        fs::write(&conflist.source, "{").unwrap();
        refused("source is not installed as");
        refused("it is no list of plugins: is not JSON: EOF");
        fs::remove_file(&conflist.source).unwrap();
        refused("failed to read it: No such file");
    }

    #[test]
    fn a_directory_that_cannot_be_written_is_named() {
        let (_root, conflist) = scene();
        fs::remove_dir(&conflist.directory).unwrap();
        let error = conflist.install(NodeMode::Shared).unwrap_err();
        assert!(
            fault::chain(&error)
                .starts_with(&format!("failed to write into {}", conflist.directory.display()))
        );
    }

    #[tokio::test]
    async fn it_comes_back_when_somebody_removes_it() {
        let (_root, conflist) = scene();
        let target = conflist.directory.join(NAME);
        let watched = WatchedDir::new(&conflist.directory).unwrap();
        let keeper =
            tokio::spawn(conflist.clone().keep(NodeMode::Shared, Arc::new(Events::new(|| Timestamp(0)))));
        let appeared = async |wanted: &str| {
            while fs::read_to_string(&target).ok().as_deref() != Some(wanted) {
                watched.changed(Duration::from_secs(10)).await;
            }
        };
        let all = async {
            appeared(LIST).await;
            fs::remove_file(&target).unwrap();
            appeared(LIST).await;
            fs::write(&target, "{}").unwrap();
            appeared(LIST).await;
        };
        tokio::time::timeout(Duration::from_secs(20), all).await.unwrap();
        keeper.abort();
    }
}
