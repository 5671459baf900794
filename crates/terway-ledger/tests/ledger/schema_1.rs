//! A ledger of schema version 1, with rows as that version wrote them.

use std::path::Path;

use redb::{Database, TableDefinition};
use terway_ledger::{HistoryQuery, Latched, Ledger, OpenError};
use terway_types::{
    AddressCounts, Addresses, AttachmentRecord, EniPhase, EniRecord, Gateways, LedgerChange, NodeMode,
    PodRef, Subnets, Timestamp,
};

use crate::samples::{key, place};

const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
const ENIS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("enis");
const ATTACHMENTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("attachments");

const CREATING: &str = r#"{"token":"t-1","id":null,"mac":null,"vswitch":"vsw-a","security_groups":["sg-1","sg-2"],"addresses":{},"subnets":{},"gateways":{},"phase":{"name":"Creating"},"since_unix_ms":7}"#;
const IN_USE: &str = r#"{"token":"t-2","id":"eni-2","mac":"00:16:3e:00:00:02","vswitch":"vsw-a","security_groups":["sg-1"],"addresses":{"ipv4":"10.0.0.2","ipv6":"fd00::2"},"subnets":{"ipv4":"10.0.0.0/24","ipv6":"fd00::/64"},"gateways":{"ipv4":"10.0.0.253","ipv6":"fd00::ffff:ffff:ffff:fffd"},"phase":{"name":"InUse","attachment":{"network":"net","container":"c1","ifname":"eth0"}},"since_unix_ms":8}"#;
const HELD: &str = r#"{"key":{"network":"net","container":"c1","ifname":"eth0"},"pod_namespace":"default","pod_name":"web-0","pod_uid":null,"netns":"/run/netns/x","eni":"t-2","since_unix_ms":9}"#;

fn version_1(path: &Path, enis: &[(&str, &str)], attachments: &[(&str, &str)]) {
    let database = Database::create(path).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(META).unwrap().insert("schema", 1).unwrap();
    for (table, rows) in [(ENIS, enis), (ATTACHMENTS, attachments)] {
        let mut table = transaction.open_table(table).unwrap();
        for (key, row) in rows {
            table.insert(*key, row.as_bytes()).unwrap();
        }
    }
    transaction.commit().unwrap();
}

fn creating() -> EniRecord {
    EniRecord {
        token: "t-1".into(),
        id: None,
        mac: None,
        vswitch: "vsw-a".into(),
        security_groups: vec!["sg-1".into(), "sg-2".into()],
        addresses: Addresses::default(),
        subnets: Subnets::default(),
        gateways: Gateways::default(),
        phase: EniPhase::Creating,
        since: Timestamp(7),
        counts: AddressCounts { ipv4: 1, ..AddressCounts::default() },
        claim: None,
        assigning: None,
    }
}

fn in_use() -> EniRecord {
    EniRecord {
        token: "t-2".into(),
        id: Some("eni-2".into()),
        mac: "00:16:3e:00:00:02".parse().ok(),
        vswitch: "vsw-a".into(),
        security_groups: vec!["sg-1".into()],
        addresses: Addresses::new("10.0.0.2".parse().ok(), "fd00::2".parse().ok()),
        subnets: Subnets::new("10.0.0.0/24".parse().ok(), "fd00::/64".parse().ok()),
        gateways: Gateways::new("10.0.0.253".parse().ok(), "fd00::ffff:ffff:ffff:fffd".parse().ok()),
        phase: EniPhase::InUse(key("c1")),
        since: Timestamp(8),
        counts: AddressCounts { ipv4: 1, ipv6: 1, ..AddressCounts::default() },
        claim: None,
        assigning: None,
    }
}

fn held() -> AttachmentRecord {
    AttachmentRecord {
        key: key("c1"),
        pod: PodRef { namespace: "default".into(), name: "web-0".into(), uid: None },
        netns: "/run/netns/x".into(),
        eni: "t-2".into(),
        addresses: in_use().addresses,
        claim: None,
        since: Timestamp(9),
    }
}

#[test]
fn it_is_brought_up_to_date_when_opened() {
    let (_dir, path) = place();
    version_1(&path, &[("t-1", CREATING), ("t-2", IN_USE)], &[("net/c1/eth0", HELD)]);
    // The second time it is of version 2.
    for _ in 0..2 {
        let mut ledger = Ledger::open(&path).unwrap();
        let snapshot = ledger.snapshot().unwrap();
        assert_eq!(snapshot.enis, [creating(), in_use()]);
        assert_eq!(snapshot.attachments, [held()]);
        assert!(snapshot.addresses.is_empty() && snapshot.prefixes.is_empty());
        assert_eq!(ledger.history(&HistoryQuery::default()).unwrap(), []);
    }
    let mut ledger = Ledger::open(&path).unwrap();
    ledger.commit(&[LedgerChange::RemoveEni("t-1".into())]).unwrap();
    assert_eq!(ledger.snapshot().unwrap().enis, [in_use()]);
}

/// Version 1 served nothing but whole ENIs.
#[test]
fn a_node_that_has_enis_of_version_1_is_exclusive() {
    let (_dir, path) = place();
    version_1(&path, &[("t-1", CREATING)], &[]);
    let mut ledger = Ledger::open(&path).unwrap();
    let latched = ledger.latch_mode(NodeMode::Shared).unwrap();
    assert_eq!(latched, Latched::Differs { kept: NodeMode::Exclusive, wanted: NodeMode::Shared });

    let (_dir, path) = place();
    version_1(&path, &[], &[]);
    assert_eq!(Ledger::open(&path).unwrap().latch_mode(NodeMode::Shared).unwrap(), Latched::First);
}

#[test]
fn an_attachment_whose_eni_is_gone_holds_no_address() {
    let (_dir, path) = place();
    version_1(&path, &[], &[("net/c1/eth0", HELD)]);
    let held = AttachmentRecord { addresses: Addresses::default(), ..held() };
    assert_eq!(Ledger::open(&path).unwrap().snapshot().unwrap().attachments, [held]);
}

#[test]
fn a_row_that_makes_no_sense_stops_it_whole() {
    let (_dir, path) = place();
    version_1(&path, &[("t-1", CREATING), ("t-2", "[]")], &[]);
    for _ in 0..2 {
        let error = Ledger::open(&path).unwrap_err();
        assert!(matches!(error, OpenError::Corrupt { .. }), "{error:?}");
        assert!(error.to_string().contains("row of t-2"), "{error}");
    }
    let database = Database::open(&path).unwrap();
    let transaction = redb::ReadableDatabase::begin_read(&database).unwrap();
    assert_eq!(transaction.open_table(META).unwrap().get("schema").unwrap().unwrap().value(), 1);
    let row = transaction.open_table(ENIS).unwrap().get("t-1").unwrap().unwrap();
    assert_eq!(row.value(), CREATING.as_bytes());
}
