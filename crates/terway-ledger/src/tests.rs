//! The ledger on a medium that fails, loses what was not synced, or rots.

mod damage;
mod medium;
mod power_cuts;
mod write_failures;

use std::path::Path;

use redb::{Database, TableDefinition};
use terway_types::{
    AddressCounts, AddressPhase, AddressRecord, Addresses, EniPhase, EniRecord, Gateways, HistoryEntry,
    LedgerChange, LedgerSnapshot, NodeMode, PastCall, Subnets, Timestamp,
};

use self::medium::Medium;
use crate::error::{OpenError, open_error};
use crate::file::{builder, fill};
use crate::history::{DEFAULT_HISTORY, HistoryQuery, find};
use crate::inspect::judge;
use crate::meta::SCHEMA;
use crate::table::{self, ATTACHMENTS, ENIS, Edits};

/// Everything a ledger holds.
#[derive(Clone, Debug, PartialEq)]
struct State {
    records: LedgerSnapshot,
    history: Vec<(u64, HistoryEntry)>,
}

fn state(database: &Database) -> State {
    let transaction = redb::ReadableDatabase::begin_read(database).unwrap();
    State {
        records: table::read(database).unwrap(),
        history: find(&transaction, &HistoryQuery::default()).unwrap(),
    }
}

/// What a file of these bytes is opened to, as [`crate::Ledger::open`] does it.
fn opened(bytes: &[u8]) -> Result<(Database, Medium), OpenError> {
    let path = Path::new("ledger.redb");
    let (_, schema) = judge(path, bytes, bytes.len() as u64)?;
    let medium = Medium::holding(bytes.to_vec());
    let opened = builder().create_with_backend(medium.clone());
    let database = opened.map_err(|error| open_error(path, error.into()))?;
    if schema < SCHEMA {
        crate::migrate::from_version_1(&database).unwrap();
    }
    Ok((database, medium))
}

/// An open ledger with some content.
fn ledger() -> (Database, Medium) {
    let medium = Medium::holding(Vec::new());
    let database = builder().create_with_backend(medium.clone()).unwrap();
    fill(&database, &Edits::default(), Some(NodeMode::Shared)).unwrap();
    (0..30).for_each(|turn| commit(&database, &changes(turn)).unwrap());
    (database, medium)
}

/// A ledger of version 1 with 100 ENIs, closed.
fn version_1() -> Vec<u8> {
    const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
    const ROW: &str = r#""id":null,"mac":null,"vswitch":"v","security_groups":[],"addresses":{"ipv4":"10.0.0.2"},"subnets":{},"gateways":{},"phase":{"name":"Creating"},"since_unix_ms":7"#;
    let medium = Medium::holding(Vec::new());
    let database = builder().create_with_backend(medium.clone()).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(META).unwrap().insert("schema", 1).unwrap();
    for number in 0..100 {
        let token = format!("token-{number}");
        let row = format!(r#"{{"token":"{token}",{ROW}}}"#);
        transaction.open_table(ENIS).unwrap().insert(token.as_str(), row.as_bytes()).unwrap();
    }
    transaction.open_table(ATTACHMENTS).unwrap();
    transaction.commit().unwrap();
    drop(database);
    medium.bytes()
}

fn commit(database: &Database, changes: &[LedgerChange]) -> Result<(), redb::Error> {
    Edits::new(changes).unwrap().write(database, DEFAULT_HISTORY)
}

/// Changes of every kind; each turn's differ.
fn changes(turn: u64) -> Vec<LedgerChange> {
    let address = |number: u64| [10, 0, 0, u8::try_from(number % 250).unwrap()].into();
    vec![
        LedgerChange::PutEni(eni(turn)),
        LedgerChange::RemoveEni(eni(turn.saturating_sub(7)).token),
        LedgerChange::PutAddress(AddressRecord {
            address: address(turn),
            eni: eni(turn).token,
            phase: AddressPhase::Quarantined { until: Timestamp(turn + 10) },
            since: Timestamp(turn),
        }),
        LedgerChange::RemoveAddress(address(turn.saturating_sub(20))),
        LedgerChange::Remember(HistoryEntry::Called(PastCall {
            action: "AssignPrivateIpAddresses".to_owned(),
            object: format!("eni-{turn}"),
            intent: None,
            request_id: None,
            failure: None,
            at: Timestamp(turn),
            took: std::time::Duration::from_millis(3),
        })),
    ]
}

fn eni(number: u64) -> EniRecord {
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

/// Sebastiano Vigna's SplitMix64: enough chance for tests, and the same on every run.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }
}
