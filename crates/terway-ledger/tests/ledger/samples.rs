//! Plain records and a place for a ledger.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use terway_types::{
    AddressCounts, Addresses, AttachmentKey, ContainerId, EniPhase, EniRecord, Gateways, IfName, NetworkName,
    Subnets, Timestamp,
};

pub(crate) fn place() -> (TempDir, PathBuf) {
    // In memory where there is such a place: nothing here depends on the medium, and syncing takes its time.
    let memory = Path::new("/dev/shm");
    let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
    let path = dir.path().join("ledger.redb");
    (dir, path)
}

pub(crate) fn eni(number: u64) -> EniRecord {
    EniRecord {
        token: format!("token-{number:04}").into(),
        id: Some(format!("eni-{number}").into()),
        mac: None,
        vswitch: "vsw-a".into(),
        security_groups: vec!["sg-1".into()],
        addresses: Addresses::default(),
        subnets: Subnets::default(),
        gateways: Gateways::default(),
        phase: EniPhase::Ready,
        since: Timestamp(number),
        counts: AddressCounts { ipv4: 1, ..AddressCounts::default() },
        claim: None,
        assigning: None,
    }
}

pub(crate) fn key(container: &str) -> AttachmentKey {
    AttachmentKey {
        network: NetworkName::new("net").unwrap(),
        container: ContainerId::new(container).unwrap(),
        ifname: IfName::new("eth0").unwrap(),
    }
}

/// What lies in a directory, sorted.
pub(crate) fn names(dir: &Path) -> Vec<OsString> {
    let mut names: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    names
}
