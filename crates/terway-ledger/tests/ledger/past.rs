//! The history: bounded, numbered, and found again by whatever is known.

use std::fs;
use std::net::IpAddr;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use terway_ledger::{HistoryQuery, Ledger, ReadError};
use terway_types::{
    Addresses, AttachmentKey, FaultCode, HistoryEntry, LedgerChange, PastCall, PastHolding, PodRef, Timestamp,
};

use crate::samples::{eni, key, place};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn pod(name: &str, uid: &str) -> PodRef {
    PodRef { namespace: "default".into(), name: name.into(), uid: Some(uid.into()) }
}

fn held(key: &AttachmentKey, pod: PodRef, number: u8, from: u64, to: u64) -> HistoryEntry {
    let v6 = format!("fd00::{number}").parse().ok();
    HistoryEntry::Held(PastHolding {
        key: key.clone(),
        pod,
        token: format!("token-{number}").into(),
        eni: Some(format!("eni-{number}").into()),
        addresses: Addresses::new(Some([10, 0, 0, number].into()), v6),
        from: Timestamp(from),
        to: Timestamp(to),
    })
}

fn called(object: &str, intent: &str, at: u64, took: u64) -> HistoryEntry {
    HistoryEntry::Called(PastCall {
        action: "AttachNetworkInterface".into(),
        object: object.into(),
        intent: Some(intent.into()),
        request_id: Some("R-1".into()),
        failure: None,
        at: Timestamp(at),
        took: Duration::from_millis(took),
    })
}

fn remember(ledger: &mut Ledger, entries: &[HistoryEntry]) {
    let changes: Vec<_> = entries.iter().cloned().map(LedgerChange::Remember).collect();
    ledger.commit(&changes).unwrap();
}

fn numbers(ledger: &Ledger, query: &HistoryQuery) -> Vec<u64> {
    ledger.history(query).unwrap().into_iter().map(|(number, _)| number).collect()
}

#[test]
fn it_is_found_by_whatever_is_known() {
    let (_dir, path) = place();
    let mut ledger = Ledger::open(&path).unwrap();
    let entries = [
        held(&key("c1"), pod("web-0", "u1"), 1, 100, 200),
        called("eni-1, 10.0.0.1", "token-1", 210, 20),
        held(&key("c2"), pod("web-0", "u2"), 10, 150, 300),
        called("eni-10", "token-10", 310, 5),
    ];
    remember(&mut ledger, &entries);

    let all = HistoryQuery::default();
    let expected: Vec<_> =
        entries.into_iter().enumerate().map(|(n, entry)| (n as u64, entry)).rev().collect();
    assert_eq!(ledger.history(&all).unwrap(), expected);
    let uid_unknown = PodRef { uid: None, ..pod("web-0", "") };
    let queries = [
        (HistoryQuery { address: Some(ip("10.0.0.1")), ..all.clone() }, vec![1, 0]),
        (HistoryQuery { address: Some(ip("fd00::10")), ..all.clone() }, vec![2]),
        (HistoryQuery { eni: Some("eni-1".into()), ..all.clone() }, vec![1, 0]),
        (HistoryQuery { eni: Some("eni-10".into()), ..all.clone() }, vec![3, 2]),
        (HistoryQuery { pod: Some(uid_unknown), ..all.clone() }, vec![2, 0]),
        (HistoryQuery { pod: Some(pod("web-0", "u2")), ..all.clone() }, vec![2]),
        (HistoryQuery { pod: Some(pod("web-1", "u2")), ..all.clone() }, vec![]),
        (HistoryQuery { key: Some(key("c1")), ..all.clone() }, vec![0]),
        (HistoryQuery { intent: Some("token-10".into()), ..all.clone() }, vec![3, 2]),
        (HistoryQuery { since: Some(Timestamp(300)), ..all.clone() }, vec![3, 2]),
        (HistoryQuery { until: Some(Timestamp(149)), ..all.clone() }, vec![0]),
        (HistoryQuery { until: Some(Timestamp(190)), ..all.clone() }, vec![2, 1, 0]),
        (
            HistoryQuery { since: Some(Timestamp(201)), until: Some(Timestamp(304)), ..all.clone() },
            vec![2, 1],
        ),
        (HistoryQuery { limit: Some(2), ..all.clone() }, vec![3, 2]),
        (HistoryQuery { limit: Some(0), ..all.clone() }, vec![]),
        (HistoryQuery { limit: Some(1), eni: Some("eni-1".into()), ..all.clone() }, vec![1]),
    ];
    for (query, expected) in queries {
        assert_eq!(numbers(&ledger, &query), expected, "{query:?}");
    }
}

#[test]
fn the_oldest_goes_and_no_number_comes_twice() {
    let (_dir, path) = place();
    let entry = |number| held(&key("c1"), pod("web-0", "u1"), number, 0, u64::from(number));
    let bound = |entries| NonZeroU64::new(entries).unwrap();
    let all = HistoryQuery::default();

    let mut ledger = Ledger::open(&path).unwrap().with_history(bound(4));
    (0..6).for_each(|number| remember(&mut ledger, &[entry(number)]));
    assert_eq!(numbers(&ledger, &all), [5, 4, 3, 2]);
    // More at once than fit.
    remember(&mut ledger, &[6, 7, 8, 9, 10, 11].map(entry));
    assert_eq!(numbers(&ledger, &all), [11, 10, 9, 8]);
    drop(ledger);

    let mut ledger = Ledger::open(&path).unwrap().with_history(bound(1));
    assert_eq!(numbers(&ledger, &all), [11, 10, 9, 8], "a smaller bound takes effect with the next entry");
    remember(&mut ledger, &[entry(12)]);
    assert_eq!(ledger.history(&all).unwrap(), [(12, entry(12))]);
    drop(ledger);

    let mut ledger = Ledger::open(&path).unwrap();
    remember(&mut ledger, &[entry(13), entry(14)]);
    assert_eq!(numbers(&ledger, &all), [14, 13, 12]);
}

#[test]
fn a_full_history_loses_a_sixty_fourth_at_once() {
    let (_dir, path) = place();
    let mut ledger = Ledger::open(&path).unwrap().with_history(NonZeroU64::new(128).unwrap());
    for number in 0..300 {
        remember(&mut ledger, &[called("eni-1", "token", number, 1)]);
        let kept = numbers(&ledger, &HistoryQuery::default());
        assert!(kept.len() as u64 <= 128 && kept.len() as u64 >= 126.min(number + 1), "{kept:?}");
        assert!(kept.iter().copied().eq((number + 1 - kept.len() as u64..=number).rev()), "{kept:?}");
    }
}

/// Entries come and go for as long as the node lives.
#[test]
fn the_file_does_not_grow_for_ever() {
    let (_dir, path) = place();
    let mut ledger = Ledger::open(&path).unwrap().with_history(NonZeroU64::new(500).unwrap());
    let mut churn = |commits: u64| {
        for number in 0..commits {
            let entry = called(&format!("eni-{number}"), "token", number, 1);
            let changes = [
                LedgerChange::PutEni(eni(number % 50)),
                LedgerChange::RemoveEni(eni((number + 25) % 50).token),
                LedgerChange::Remember(entry),
            ];
            ledger.commit(&changes).unwrap();
        }
        fs::metadata(&path).unwrap().len()
    };
    let (settled, later) = (churn(1_000), churn(2_000));
    assert!(later <= settled, "{later} bytes after {settled}");
}

#[test]
fn it_is_no_record() {
    let (_dir, path) = place();
    let mut ledger = Ledger::open(&path).unwrap();
    remember(&mut ledger, &[called("eni-1", "token-1", 1, 1)]);
    assert_eq!(ledger.snapshot().unwrap(), terway_types::LedgerSnapshot::default());
}

/// Each commit remembers one entry and replaces one ENI whose time is the entry's number, so whoever reads must
/// find both or neither.
#[test]
fn readers_see_whole_commits_while_the_writer_goes_on() {
    const COMMITS: u64 = 200;
    let (_dir, path) = place();
    let mut ledger = Ledger::open(&path).unwrap().with_history(NonZeroU64::new(16).unwrap());
    remember(&mut ledger, &[called("eni-0", "token", 0, 0)]);
    let reader = ledger.reader();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for reader in [reader.clone(), reader.clone()] {
            scope.spawn(|| {
                let (mut latest, reader) = (0, reader);
                while !done.load(Ordering::Relaxed) {
                    let history = reader.history(&HistoryQuery::default()).unwrap();
                    assert!(history.len() <= 16, "{} entries", history.len());
                    assert!(history[0].0 >= latest, "{} after {latest}", history[0].0);
                    assert!(history.windows(2).all(|two| two[0].0 == two[1].0 + 1), "a gap in {history:?}");
                    latest = history[0].0;
                    let enis = reader.snapshot().unwrap().enis;
                    assert!(latest == 0 || enis[0].since.0 >= latest, "{enis:?} after {latest}");
                }
            });
        }
        let written = (1..=COMMITS).try_for_each(|number| {
            let mut changed = eni(1);
            changed.since = Timestamp(number);
            let entry = called("eni-1", "token", number, 0);
            ledger.commit(&[LedgerChange::PutEni(changed), LedgerChange::Remember(entry)])
        });
        done.store(true, Ordering::Relaxed);
        written.unwrap();
    });
    assert_eq!(numbers(&ledger, &HistoryQuery { limit: Some(1), ..HistoryQuery::default() }), [COMMITS]);
}

#[test]
fn a_reader_does_not_keep_the_ledger_open() {
    let (_dir, path) = place();
    let ledger = Ledger::open(&path).unwrap();
    let reader = ledger.reader();
    drop(ledger);
    let error = reader.history(&HistoryQuery::default()).unwrap_err();
    assert!(matches!(error, ReadError::Closed { .. }), "{error:?}");
    assert_eq!(error.fault().code, FaultCode::StateUnwritable);
    assert!(Ledger::open(&path).is_ok());
}
