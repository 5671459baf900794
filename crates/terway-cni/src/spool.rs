//! Releases the daemon could not be told of: one small file each, which it reads when it is back. So a
//! DEL succeeds while the daemon is away, and the address is not lost.

use std::fmt::Write as _;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::Serialize;
use sha1::{Digest, Sha1};
use terway_types::{AttachmentKey, Fault, FaultCode, MacAddr, PodRef, Timestamp};

/// The format of the files.
const VERSION: u32 = 1;

/// A release to be done later.
#[derive(Clone, Debug)]
pub(crate) struct Release<'a> {
    /// What to release.
    pub(crate) key: &'a AttachmentKey,
    /// The pod it served.
    pub(crate) pod: &'a PodRef,
    /// The ENI's hardware address, if known.
    pub(crate) mac: Option<MacAddr>,
    /// When the runtime asked. An attachment of the same name made after this is another one.
    pub(crate) at: Timestamp,
}

#[derive(Serialize)]
struct Entry<'a> {
    version: u32,
    network: &'a str,
    container_id: &'a str,
    ifname: &'a str,
    pod_name: &'a str,
    pod_namespace: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    mac: Option<String>,
    at_unix_ms: u64,
}

/// The name of an attachment's files: a digest, because a key may be longer than a file name.
pub(crate) fn stem(key: &AttachmentKey) -> String {
    let mut text = String::with_capacity(40);
    for byte in Sha1::digest(key.to_string().as_bytes()) {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Leaves the release for the daemon. On return it is on disk.
pub(crate) fn write(dir: &Path, release: &Release<'_>) -> Result<(), Fault> {
    let path = path_of(dir, release.key);
    store(dir, &path, release).map_err(|error| {
        let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        let code = if full { FaultCode::StateFull } else { FaultCode::StateUnwritable };
        let what = format!("failed to spool the release of {} to {}", release.key, path.display());
        Fault::new(code, what).caused_by(&error)
    })
}

/// Takes back a release that waits for the daemon: the same attachment is being made again, and must
/// not lose what it gets. Says whether there was one.
pub(crate) fn withdraw(dir: &Path, key: &AttachmentKey) -> Result<bool, Fault> {
    let path = path_of(dir, key);
    match fs::remove_file(&path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => {
            let what = format!("failed to withdraw the spooled release {}", path.display());
            Err(Fault::new(FaultCode::StateUnwritable, what).caused_by(&error))
        }
    }
}

fn path_of(dir: &Path, key: &AttachmentKey) -> PathBuf {
    dir.join(stem(key)).with_extension("json")
}

fn store(dir: &Path, path: &Path, release: &Release<'_>) -> io::Result<()> {
    let entry = Entry {
        version: VERSION,
        network: release.key.network.as_str(),
        container_id: release.key.container.as_str(),
        ifname: release.key.ifname.as_str(),
        pod_name: &release.pod.name,
        pod_namespace: &release.pod.namespace,
        mac: release.mac.map(|mac| mac.to_string()),
        at_unix_ms: release.at.0,
    };
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    // The daemon takes what ends in `.json`; the process id keeps two writers apart.
    let draft = path.with_extension(format!("{}.tmp", std::process::id()));
    let written = write_synced(&draft, &entry).and_then(|()| fs::rename(&draft, path));
    if written.is_err() {
        // The first error is the one that matters.
        let _ = fs::remove_file(&draft);
        return written;
    }
    File::open(dir)?.sync_all()
}

fn write_synced(path: &Path, entry: &Entry<'_>) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(&serde_json::to_vec(entry)?)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{key, pod};

    #[test]
    fn a_release_is_one_complete_file() {
        let dir = tempfile::tempdir().unwrap();
        let spool = dir.path().join("state/spool");
        let (key, pod) = (key(), pod());
        let mac = "00:16:3e:01:02:03".parse().ok();
        write(&spool, &Release { key: &key, pod: &pod, mac, at: Timestamp(1_000) }).unwrap();
        write(&spool, &Release { key: &key, pod: &pod, mac, at: Timestamp(2_000) }).unwrap();
        let names: Vec<_> = fs::read_dir(&spool).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        let name = format!("{}.json", stem(&key));
        assert_eq!(names, [name.as_str()]);
        let text = fs::read_to_string(spool.join(name)).unwrap();
        let entry: serde_json::Value = serde_json::from_str(&text).unwrap();
        let expected = serde_json::json!({
            "version": 1, "network": "terway", "container_id": "c0ffee", "ifname": "eth0",
            "pod_name": "web", "pod_namespace": "default", "mac": "00:16:3e:01:02:03", "at_unix_ms": 2000,
        });
        assert_eq!(entry, expected);
    }

    #[test]
    fn a_release_can_be_withdrawn_once() {
        let dir = tempfile::tempdir().unwrap();
        let (key, pod) = (key(), pod());
        assert_eq!(withdraw(dir.path(), &key), Ok(false));
        write(dir.path(), &Release { key: &key, pod: &pod, mac: None, at: Timestamp(1) }).unwrap();
        assert_eq!(withdraw(dir.path(), &key), Ok(true));
        assert_eq!(withdraw(dir.path(), &key), Ok(false));
    }

    #[test]
    fn a_spool_that_cannot_be_written_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let blocked = dir.path().join("file");
        fs::write(&blocked, "").unwrap();
        let (key, pod) = (key(), pod());
        let release = Release { key: &key, pod: &pod, mac: None, at: Timestamp(1) };
        let fault = write(&blocked.join("spool"), &release).unwrap_err();
        assert_eq!(fault.code, FaultCode::StateUnwritable);
        assert!(fault.what.contains("terway/c0ffee/eth0"), "{fault}");
    }
}
