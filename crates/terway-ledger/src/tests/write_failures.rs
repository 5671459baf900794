//! The medium refuses a step of a commit: the commit fails, the file opens to the state before or after it, and
//! goes on from there.

use std::fs;
use std::io::ErrorKind;

use super::medium::{Failure, Medium};
use super::{State, changes, commit, ledger, opened, state, version_1};
use crate::file::builder;
use crate::migrate::from_version_1;
use crate::{CommitError, HistoryQuery, Ledger, ReadError};

#[test]
fn a_commit_that_fails_leaves_the_state_before_or_after() {
    let mut failed = 0;
    for kind in [ErrorKind::StorageFull, ErrorKind::Other] {
        for lasting in [false, true] {
            failed += fail_each_step(kind, lasting);
        }
    }
    assert!(failed > 20, "only {failed} commits failed");
}

fn fail_each_step(kind: ErrorKind, lasting: bool) -> usize {
    let (database, medium) = ledger();
    drop(database);
    let bytes = medium.bytes();
    for at in 0.. {
        let (database, medium) = opened(&bytes).unwrap();
        let before = state(&database);
        medium.fail(Failure { at, kind, lasting });
        let outcome = commit(&database, &changes(99));
        if outcome.is_ok() {
            assert!(medium.take_log().len() <= at, "a step failed and the commit did not");
            assert_ne!(state(&database), before);
            return at;
        }
        // The ledger closes the database after a failure, on a medium that may still fail.
        drop(database);
        let what = format!("step {at}, {kind}, lasting {lasting}");
        goes_on(&medium, &before, &what);
    }
    unreachable!("a commit has an end");
}

fn goes_on(medium: &Medium, before: &State, what: &str) {
    let (healthy, _) = opened(&medium.bytes()).unwrap();
    let found = state(&healthy);
    if found != *before {
        let (reference, _) = ledger();
        commit(&reference, &changes(99)).unwrap();
        assert_eq!(found, state(&reference), "{what}");
    }
    commit(&healthy, &changes(100)).unwrap();
    assert!(state(&healthy).records.enis.iter().any(|eni| eni.since.0 == 100), "{what}");
}

#[test]
fn a_migration_that_fails_can_be_made_again() {
    let bytes = version_1();
    let (migrated, _) = opened(&bytes).unwrap();
    for at in 0.. {
        let medium = Medium::holding(bytes.clone());
        let database = builder().create_with_backend(medium.clone()).unwrap();
        medium.fail(Failure { at, kind: ErrorKind::StorageFull, lasting: true });
        let outcome = from_version_1(&database);
        drop(database);
        let (again, _) = opened(&medium.bytes()).unwrap();
        assert_eq!(state(&again), state(&migrated), "step {at}");
        if outcome.is_ok() {
            assert!(at > 5, "only {at} steps");
            return;
        }
    }
}

#[test]
fn a_failed_commit_closes_the_ledger_until_its_owner_comes_back() {
    let (database, medium) = ledger();
    let content = state(&database);
    drop(database);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.redb");
    fs::write(&path, medium.bytes()).unwrap();

    // Reads and writes go to the medium until it fails, and to the file from then on.
    let (database, medium) = opened(&medium.bytes()).unwrap();
    let mut ledger = Ledger::of(&path, database);
    let reader = ledger.reader();
    assert_eq!(reader.snapshot().unwrap(), content.records);
    medium.fail(Failure { at: 0, kind: ErrorKind::StorageFull, lasting: true });
    let error = ledger.commit(&changes(99)).unwrap_err();
    assert!(matches!(error, CommitError::Full { changes: 5, .. }), "{error:?}");
    assert!(matches!(reader.snapshot(), Err(ReadError::Closed { .. })));
    assert_eq!(ledger.history(&HistoryQuery::default()).unwrap(), content.history);
    assert_eq!(reader.snapshot().unwrap(), content.records);
    ledger.commit(&changes(99)).unwrap();
}
