//! The power goes at any step of a commit, of a recovery, of a migration: what was committed is there, and
//! nothing is there by halves.

use super::medium::{Step, after_power_cut};
use super::{Chance, State, changes, commit, ledger, opened, state, version_1};

/// Ways a cut may turn out that are tried for each step.
const TRIES: u64 = 5;

#[test]
fn a_commit_is_there_whole_or_not_at_all() {
    let (database, medium) = ledger();
    for turn in 30..45 {
        medium.take_log();
        let (bytes, before) = (medium.bytes(), state(&database));
        commit(&database, &changes(turn)).unwrap();
        let (log, after) = (medium.take_log(), state(&database));
        let durable = log.iter().rposition(|step| matches!(step, Step::Sync)).unwrap() + 1;
        assert_eq!(durable, log.len(), "nothing is written after the last sync");
        for done in 0..=log.len() {
            for attempt in 0..TRIES {
                let mut chance = Chance(turn << 32 | (done as u64) << 16 | attempt);
                let left = after_power_cut(&bytes, &log, done, &mut chance);
                let found = recovered(&left, &mut chance);
                if done == durable {
                    assert_eq!(found, after, "turn {turn}, attempt {attempt}: a commit was lost");
                } else {
                    assert!(found == before || found == after, "turn {turn}, step {done}, attempt {attempt}");
                }
            }
        }
    }
}

/// Opens what a power cut left, loses power once more while that goes on, and opens it again.
fn recovered(left: &[u8], chance: &mut Chance) -> State {
    let (database, medium) = opened(left).unwrap();
    let found = state(&database);
    // Opening, then closing.
    drop(database);
    let log = medium.take_log();
    let again = after_power_cut(left, &log, chance.below(log.len() + 1), chance);
    let (database, _) = opened(&again).unwrap();
    assert_eq!(state(&database), found, "a second cut changed what the first one had left");
    found
}

#[test]
fn a_migration_is_whole_or_not_there() {
    let (bytes, migrated, log) = migration();
    let mut chance = Chance(1);
    for done in 0..=log.len() {
        for _ in 0..TRIES {
            let left = after_power_cut(&bytes, &log, done, &mut chance);
            let (database, _) = opened(&left).unwrap();
            assert_eq!(state(&database), migrated, "step {done}");
        }
    }
}

/// A ledger of version 1, what it becomes, and the steps to there.
fn migration() -> (Vec<u8>, State, Vec<Step>) {
    let bytes = version_1();
    let (database, medium) = opened(&bytes).unwrap();
    let migrated = state(&database);
    assert_eq!(migrated.records.enis.len(), 100);
    drop(database);
    (bytes, migrated, medium.take_log())
}
