//! Files that were cut, or whose bits or pages changed: refused with the reason, or what they hold is what was
//! committed. Never rows made up, never a panic.

use super::{Chance, State, changes, commit, ledger, opened, state};
use crate::error::OpenError;

const PAGE: usize = 4096;

/// What became of damaged files.
#[derive(Debug, Default)]
struct Tally {
    refused: usize,
    unharmed: usize,
}

/// Opens a damaged file; `allowed` are the states it may hold.
fn open_damaged(bytes: &[u8], allowed: &[&State], tally: &mut Tally, what: &str) {
    match opened(bytes) {
        Ok((database, _)) => {
            let found = state(&database);
            assert!(allowed.contains(&&found), "{what}: {found:?}");
            tally.unharmed += 1;
        }
        Err(OpenError::Corrupt { .. }) => tally.refused += 1,
        Err(other) => panic!("{what}: {other:?}"),
    }
}

/// A ledger that was closed: its bytes and what it holds.
fn closed() -> (Vec<u8>, State) {
    let (database, medium) = ledger();
    let content = state(&database);
    drop(database);
    (medium.bytes(), content)
}

#[test]
fn cut_at_any_length() {
    let (bytes, content) = closed();
    let mut chance = Chance(2);
    let pages = (0..bytes.len()).step_by(PAGE).flat_map(|at| [at.saturating_sub(1), at, at + 1]);
    let head = (0..PAGE).step_by(61);
    let anywhere: Vec<_> = (0..100).map(|_| chance.below(bytes.len())).collect();
    let mut tally = Tally::default();
    for length in head.chain(pages).chain(anywhere) {
        open_damaged(&bytes[..length], &[&content], &mut tally, &format!("cut at {length}"));
    }
    assert!(tally.refused > 400, "{tally:?}");
}

#[test]
fn flipped_bits() {
    let (bytes, content) = closed();
    let used: Vec<_> = (0..bytes.len()).filter(|&at| bytes[at] != 0).collect();
    let mut chance = Chance(3);
    let mut tally = Tally::default();
    for _ in 0..600 {
        let mut damaged = bytes.clone();
        let (at, bit) = (used[chance.below(used.len())], chance.below(8));
        damaged[at] ^= 1 << bit;
        open_damaged(&damaged, &[&content], &mut tally, &format!("bit {bit} of byte {at}"));
    }
    assert!(tally.refused > 100, "{tally:?}");
}

#[test]
fn every_bit_of_the_head() {
    let (bytes, content) = closed();
    let mut tally = Tally::default();
    for bit in 0..8 * 320 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        open_damaged(&damaged, &[&content], &mut tally, &format!("bit {bit}"));
    }
    assert!(tally.refused > 500, "{tally:?}");
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
        for &other in used.iter().step_by(7) {
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
    let before = state(&database);
    commit(&database, &changes(40)).unwrap();
    let (bytes, after) = (medium.bytes(), state(&database));
    drop(database);
    let used: Vec<_> = (0..bytes.len()).filter(|&at| bytes[at] != 0).collect();
    let mut chance = Chance(4);
    let mut tally = Tally::default();
    for _ in 0..600 {
        let mut damaged = bytes.clone();
        let (at, bit) = (used[chance.below(used.len())], chance.below(8));
        damaged[at] ^= 1 << bit;
        open_damaged(&damaged, &[&before, &after], &mut tally, &format!("bit {bit} of byte {at}"));
    }
    assert!(tally.refused > 10, "{tally:?}");
}
