//! Files that were cut, or whose bits or pages changed: refused with the reason, or what they hold is what was
//! committed. Never rows made up, never a panic.

use redb::Database;

use super::medium::Medium;
use super::{Chance, State, changes, commit, ledger, opened, state};
use crate::error::OpenError;
use crate::history::DEFAULT_HISTORY;
use crate::table::Edits;

const PAGE: usize = 4096;

/// What became of damaged files.
#[derive(Debug, Default)]
struct Tally {
    refused: usize,
    unharmed: usize,
}

/// What a file may be opened to, and what becomes of it by [`go_on`].
struct Expected {
    found: State,
    later: State,
}

impl Expected {
    fn of(healthy: &[u8]) -> Self {
        let (database, medium) = opened(healthy).unwrap();
        Self { found: state(&database), later: go_on(database, &medium) }
    }
}

/// Commits some more, closes, and opens again: damage to the database's own books shows only now.
fn go_on(database: Database, medium: &Medium) -> State {
    (100..103).for_each(|turn| commit(&database, &changes(turn)).unwrap());
    drop(database);
    state(&opened(&medium.bytes()).unwrap().0)
}

fn open_damaged(bytes: &[u8], allowed: &[&Expected], tally: &mut Tally, what: &str) {
    match opened(bytes) {
        Ok((database, medium)) => {
            let found = state(&database);
            let expected = allowed.iter().find(|expected| expected.found == found);
            let expected = expected.unwrap_or_else(|| panic!("{what}: {found:?}"));
            assert_eq!(go_on(database, &medium), expected.later, "{what}");
            tally.unharmed += 1;
        }
        Err(OpenError::Corrupt { .. }) => tally.refused += 1,
        Err(other) => panic!("{what}: {other:?}"),
    }
}

/// A ledger that was closed: its bytes and what it holds.
fn closed() -> (Vec<u8>, Expected) {
    let (database, medium) = ledger();
    drop(database);
    let bytes = medium.bytes();
    let expected = Expected::of(&bytes);
    (bytes, expected)
}

#[test]
fn cut_at_any_length() {
    let (bytes, content) = closed();
    let mut chance = Chance(2);
    let pages = (0..bytes.len()).step_by(PAGE).flat_map(|at| [at.saturating_sub(1), at, at + 1]);
    let head = (0..PAGE).step_by(131);
    let anywhere: Vec<_> = (0..100).map(|_| chance.below(bytes.len())).collect();
    let mut tally = Tally::default();
    for length in head.chain(pages).chain(anywhere) {
        open_damaged(&bytes[..length], &[&content], &mut tally, &format!("cut at {length}"));
    }
    assert!(tally.refused > 200, "{tally:?}");
}

/// Where the ledger was not closed, what is missing at the end must not look like a power cut during the last
/// commit: that would lose a commit that was durable.
#[test]
fn cut_after_a_kill() {
    let (database, medium) = ledger();
    for turn in 40..70 {
        commit(&database, &changes(turn)).unwrap();
        let bytes = medium.bytes();
        for length in (PAGE..bytes.len()).step_by(PAGE) {
            let refused = matches!(opened(&bytes[..length]), Err(OpenError::Corrupt { .. }));
            assert!(refused, "turn {turn}: {length} of {} bytes pass for a ledger", bytes.len());
        }
    }
}

#[test]
fn flipped_bits() {
    let (bytes, content) = closed();
    let used: Vec<_> = (0..bytes.len()).filter(|&at| bytes[at] != 0).collect();
    let mut chance = Chance(3);
    let mut tally = Tally::default();
    for _ in 0..250 {
        let mut damaged = bytes.clone();
        let (at, bit) = (used[chance.below(used.len())], chance.below(8));
        damaged[at] ^= 1 << bit;
        open_damaged(&damaged, &[&content], &mut tally, &format!("bit {bit} of byte {at}"));
    }
    assert!(tally.refused > 40, "{tally:?}");
}

#[test]
fn flipped_bits_of_the_head() {
    let (bytes, content) = closed();
    let mut tally = Tally::default();
    for bit in (0..8 * 320).step_by(3) {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        open_damaged(&damaged, &[&content], &mut tally, &format!("bit {bit}"));
    }
    assert!(tally.refused > 160, "{tally:?}");
}

#[test]
fn pages_gone_or_in_the_wrong_place() {
    let (bytes, content) = closed();
    let used: Vec<_> = (0..bytes.len() / PAGE)
        .filter(|page| bytes[page * PAGE..][..PAGE].iter().any(|byte| *byte != 0))
        .collect();
    let mut tally = Tally::default();
    for &page in &used {
        let mut zeroed = bytes.clone();
        zeroed[page * PAGE..][..PAGE].fill(0);
        open_damaged(&zeroed, &[&content], &mut tally, &format!("page {page} zeroed"));
        for &other in used.iter().step_by(13) {
            let mut misplaced = bytes.clone();
            misplaced.copy_within(other * PAGE..(other + 1) * PAGE, page * PAGE);
            open_damaged(&misplaced, &[&content], &mut tally, &format!("page {other} over page {page}"));
        }
    }
    assert!(tally.refused > used.len(), "{tally:?} of {} pages", used.len());
}

/// Of a ledger that was not closed, damage in the last commit looks like a power cut during it.
#[test]
fn flipped_bits_after_a_kill() {
    let (database, medium) = ledger();
    let before = Expected::of(&medium.bytes());
    commit(&database, &changes(40)).unwrap();
    let bytes = medium.bytes();
    let after = Expected::of(&bytes);
    let used: Vec<_> = (0..bytes.len()).filter(|&at| bytes[at] != 0).collect();
    let mut chance = Chance(4);
    let mut tally = Tally::default();
    for _ in 0..250 {
        let mut damaged = bytes.clone();
        let (at, bit) = (used[chance.below(used.len())], chance.below(8));
        damaged[at] ^= 1 << bit;
        open_damaged(&damaged, &[&before, &after], &mut tally, &format!("bit {bit} of byte {at}"));
    }
    assert!(tally.refused > 3, "{tally:?}");
}

/// Closing writes down which pages are free. A used one taken for a free one would be written over some day.
#[test]
fn flipped_bits_in_what_closing_wrote() {
    let (database, medium) = ledger();
    let killed = medium.bytes();
    drop(database);
    let bytes = medium.bytes();
    let expected = Expected::of(&bytes);
    let written: Vec<_> = (PAGE..bytes.len())
        .filter(|at| {
            let page = at / PAGE * PAGE..(at / PAGE + 1) * PAGE;
            bytes[*at] != 0 && killed.get(page.clone()) != bytes.get(page)
        })
        .collect();
    assert!(written.len() > 50, "closing wrote {} bytes", written.len());
    let mut tally = Tally::default();
    for &at in written.iter().step_by(written.len() / 150 + 1) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        open_damaged(&damaged, &[&expected], &mut tally, &format!("byte {at}"));
    }
    // The rest is in pages that are free again.
    assert!(tally.refused > 25, "{tally:?}");
}

/// A commit in two phases is known to be complete, so its damage is no torn commit: falling back would lose it.
#[test]
fn a_commit_known_to_be_complete_is_not_passed_over() {
    let (database, medium) = ledger();
    let before = medium.bytes();
    let mut transaction = database.begin_write().unwrap();
    transaction.set_two_phase_commit(true);
    Edits::new(&changes(40)).unwrap().apply(&transaction, DEFAULT_HISTORY).unwrap();
    transaction.commit().unwrap();
    let bytes = medium.bytes();
    let after = Expected::of(&bytes);
    drop(database);
    let changed = (1..bytes.len() / PAGE).map(|page| page * PAGE..(page + 1) * PAGE);
    let mut tally = Tally::default();
    for page in changed.filter(|page| before.get(page.clone()) != bytes.get(page.clone())) {
        let mut damaged = bytes.clone();
        damaged[page.start + 9] ^= 0x10;
        open_damaged(&damaged, &[&after], &mut tally, &format!("page at {}", page.start));
    }
    assert!(tally.refused > 5, "{tally:?}");
}
