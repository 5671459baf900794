//! Plain records and a place for a ledger.

use std::path::PathBuf;

use tempfile::TempDir;
use terway_types::{AddressCounts, Addresses, EniPhase, EniRecord, Gateways, Subnets, Timestamp};

pub(crate) fn place() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
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
