//! The node's mode, and what is done about a ledger that cannot be used: put it aside, make another one, look
//! at what is in it.

use std::fs;

use redb::{Database, TableDefinition};
use serde_json::{Value, json};
use terway_ledger::{
    CreateError, HistoryQuery, Latched, Ledger, OpenError, SetAsideError, create_with, export, set_aside,
};
use terway_types::{
    AddressPhase, AddressRecord, Addresses, AttachmentRecord, FaultCode, HistoryEntry, LedgerChange,
    LedgerSnapshot, NodeMode, PastCall, PodRef, PrefixPhase, PrefixRecord, Timestamp,
};

use crate::samples::{eni, key, names, place};

fn snapshot() -> LedgerSnapshot {
    let attachment = AttachmentRecord {
        key: key("c1"),
        pod: PodRef::default(),
        netns: "/run/netns/x".into(),
        eni: eni(1).token,
        addresses: Addresses::new("10.0.0.9".parse().ok(), None),
        claim: Some("claim-1".into()),
        since: Timestamp(1),
    };
    let address = |address: &str, phase| AddressRecord {
        address: address.parse().unwrap(),
        eni: eni(1).token,
        phase,
        since: Timestamp(2),
    };
    let prefix = PrefixRecord {
        prefix: "10.0.1.0/28".parse().unwrap(),
        eni: eni(2).token,
        phase: PrefixPhase::Frozen,
        since: Timestamp(3),
    };
    LedgerSnapshot {
        enis: vec![eni(1), eni(2)],
        attachments: vec![attachment],
        addresses: vec![
            address("10.0.0.9", AddressPhase::InUse(key("c1"))),
            address("10.0.0.10", AddressPhase::Idle),
        ],
        prefixes: vec![prefix],
    }
}

#[test]
fn the_first_mode_stays() {
    let (_dir, path) = place();
    let mut ledger = Ledger::open(&path).unwrap();
    assert_eq!(ledger.mode().unwrap(), None);
    assert_eq!(ledger.latch_mode(NodeMode::Shared).unwrap(), Latched::First);
    for _ in 0..2 {
        assert_eq!(ledger.latch_mode(NodeMode::Shared).unwrap(), Latched::Agrees);
        let differs = Latched::Differs { kept: NodeMode::Shared, wanted: NodeMode::Exclusive };
        assert_eq!(ledger.latch_mode(NodeMode::Exclusive).unwrap(), differs);
        assert_eq!(ledger.reader().mode().unwrap(), Some(NodeMode::Shared));
        drop(ledger);
        ledger = Ledger::open(&path).unwrap();
    }
    ledger.commit(&[LedgerChange::PutEni(eni(1))]).unwrap();
    assert_eq!(ledger.mode().unwrap(), Some(NodeMode::Shared), "a commit does not touch it");
}

#[test]
fn a_mode_that_was_never_in_use_is_damage() {
    const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
    let (_dir, path) = place();
    drop(Ledger::open(&path).unwrap());
    let database = Database::open(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(META).unwrap().insert("mode", 9).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let mut ledger = Ledger::open(&path).unwrap();
    assert_eq!(ledger.mode().unwrap_err().fault().code, FaultCode::LedgerCorrupt);
    let error = ledger.latch_mode(NodeMode::Shared).unwrap_err();
    assert_eq!(error.fault().code, FaultCode::LedgerCorrupt, "{error:?}");
    assert!(error.fault().to_string().contains("node mode 9"), "{}", error.fault());
}

#[test]
fn a_damaged_ledger_makes_room_and_is_kept() {
    let (dir, path) = place();
    fs::write(&path, b"damage").unwrap();
    assert!(matches!(Ledger::open(&path), Err(OpenError::Corrupt { .. })));
    let aside = set_aside(&path, 1_790_000_000).unwrap();
    assert_eq!(aside, dir.path().join("ledger.redb.damaged-1790000000"));
    create_with(&path, &snapshot(), Some(NodeMode::Shared)).unwrap();
    let mut ledger = Ledger::open(&path).unwrap();
    assert_eq!(ledger.snapshot().unwrap(), snapshot());
    assert_eq!(ledger.mode().unwrap(), Some(NodeMode::Shared));
    assert_eq!(ledger.history(&HistoryQuery::default()).unwrap(), []);
    drop(ledger);
    // Again within the same second, and again.
    for number in 2..4 {
        let again = set_aside(&path, 1_790_000_000).unwrap();
        assert_eq!(again, dir.path().join(format!("ledger.redb.damaged-1790000000-{number}")));
        create_with(&path, &LedgerSnapshot::default(), None).unwrap();
    }
    assert_eq!(fs::read(&aside).unwrap(), b"damage");
    assert_eq!(names(dir.path()).len(), 4, "{:?}", names(dir.path()));
}

#[test]
fn nothing_is_written_over_and_nothing_in_use_is_moved() {
    let (dir, path) = place();
    let missing = set_aside(&path, 1).unwrap_err();
    assert!(matches!(missing, SetAsideError::Failed { .. }), "{missing:?}");
    assert!(!missing.fault().to_string().contains("not found"), "{}", missing.fault());

    let mut ledger = Ledger::open(&path).unwrap();
    ledger.commit(&[LedgerChange::PutEni(eni(1))]).unwrap();
    let locked = set_aside(&path, 1).unwrap_err();
    assert!(matches!(locked, SetAsideError::Locked { .. }), "{locked:?}");
    let exists = create_with(&path, &snapshot(), None).unwrap_err();
    assert!(matches!(exists, CreateError::Exists { .. }), "{exists:?}");
    drop(ledger);
    assert!(matches!(create_with(&path, &snapshot(), None), Err(CreateError::Exists { .. })));
    assert_eq!(Ledger::open(&path).unwrap().snapshot().unwrap().enis, [eni(1)]);

    let nowhere = create_with(&dir.path().join("nowhere/ledger.redb"), &snapshot(), None).unwrap_err();
    assert_eq!(nowhere.fault().code, FaultCode::StateUnwritable);
    assert_eq!(names(dir.path()), ["ledger.redb"]);
}

#[test]
fn the_whole_of_it_can_be_read_by_people() {
    let (_dir, path) = place();
    create_with(&path, &snapshot(), Some(NodeMode::Exclusive)).unwrap();
    let mut ledger = Ledger::open(&path).unwrap();
    ledger
        .commit(&[LedgerChange::Remember(HistoryEntry::Called(PastCall {
            action: "AttachNetworkInterface".into(),
            object: "eni-1".into(),
            intent: None,
            request_id: None,
            failure: None,
            at: Timestamp(5),
            took: std::time::Duration::from_millis(2),
        }))])
        .unwrap();
    assert!(matches!(export(&path), Err(OpenError::Locked { .. })));
    let alive = ledger.reader().export().unwrap();
    drop(ledger);
    let before = fs::read(&path).unwrap();
    assert_eq!(export(&path).unwrap(), alive);
    assert!(fs::read(&path).unwrap() == before, "the file must stay as it was");

    let lines: Vec<Value> = alive.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let tables: Vec<_> = lines.iter().map(|line| line["table"].as_str().unwrap()).collect();
    let expected = ["meta", "enis", "enis", "attachments", "addresses", "addresses", "prefixes", "history"];
    assert_eq!(tables, expected);
    assert_eq!(lines[0], json!({"table": "meta", "schema": 2, "mode": "exclusive"}));
    assert_eq!(lines[1]["key"], "token-0001");
    assert_eq!(lines[1]["row"]["id"], "eni-1");
    assert_eq!(lines[5]["row"]["phase"]["attachment"]["container"], "c1");
    assert_eq!(lines[7]["key"], 0);
    assert_eq!(lines[7]["row"]["Called"]["took_ns"], 2_000_000);
}

#[test]
fn a_row_that_is_no_json_is_shown_as_it_is() {
    const ENIS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("enis");
    let (_dir, path) = place();
    drop(Ledger::open(&path).unwrap());
    let database = Database::open(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(ENIS).unwrap().insert("t", b"half a r\xff".as_slice()).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let text = export(&path).unwrap();
    assert!(text.contains("half a r\u{fffd}"), "{text}");
    assert!(Ledger::open(&path).unwrap().snapshot().is_err());
}
