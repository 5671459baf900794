//! What happens to a ledger in the field: kills, power cuts, downgrades, full and read-only file systems,
//! damaged files, two daemons at once.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use redb::{Database, TableDefinition};
use terway_ledger::{CommitError, Ledger, OpenError, ReadError};
use terway_types::{FaultCode, LedgerChange, LedgerSnapshot};

use crate::samples::{eni, names, place};

const PAGE: usize = 4096;

fn filled(path: &Path) {
    Ledger::open(path).unwrap().commit(&[LedgerChange::PutEni(eni(1))]).unwrap();
}

fn refused(path: &Path) -> OpenError {
    let before = fs::read(path).unwrap();
    let error = Ledger::open(path).expect_err("must be refused");
    assert!(fs::read(path).unwrap() == before, "a refused ledger must stay as it was");
    error
}

#[test]
fn a_new_ledger_is_empty_and_stays_so() {
    let (dir, path) = place();
    assert_eq!(Ledger::open(&path).unwrap().snapshot().unwrap(), LedgerSnapshot::default());
    assert_eq!(Ledger::open(&path).unwrap().snapshot().unwrap(), LedgerSnapshot::default());
    assert_eq!(names(dir.path()), ["ledger.redb"], "no draft is left behind");
}

#[test]
fn a_draft_of_a_killed_creation_is_no_obstacle() {
    let (_dir, path) = place();
    fs::write(path.with_file_name("ledger.redb.new"), b"half").unwrap();
    assert!(Ledger::open(&path).is_ok());
}

/// A copy of the file of a running daemon is what a kill or a power cut leaves behind.
#[test]
fn the_file_opens_to_the_last_commit_at_any_time() {
    let (dir, path) = place();
    let mut ledger = Ledger::open(&path).unwrap();
    for number in 0..40 {
        let mut changes = vec![LedgerChange::PutEni(eni(number))];
        if number % 3 == 2 {
            changes.push(LedgerChange::RemoveEni(eni(number - 2).token));
        }
        ledger.commit(&changes).unwrap();
        let copy = dir.path().join(format!("copy-{number}"));
        fs::copy(&path, &copy).unwrap();
        assert_eq!(Ledger::open(&copy).unwrap().snapshot().unwrap(), ledger.snapshot().unwrap());
        fs::remove_file(copy).unwrap();
    }
}

/// The bytes of a commit reach the medium in any order; whatever part of them did, the file opens to the state
/// before or after it.
#[test]
fn a_torn_commit_is_whole_or_not_there() {
    let (dir, path) = place();
    let mut ledger = Ledger::open(&path).unwrap();
    (0..20).for_each(|number| ledger.commit(&[LedgerChange::PutEni(eni(number))]).unwrap());
    let (before, old) = (fs::read(&path).unwrap(), ledger.snapshot().unwrap());
    ledger.commit(&[LedgerChange::PutEni(eni(99)), LedgerChange::RemoveEni(eni(3).token)]).unwrap();
    let (after, new) = (fs::read(&path).unwrap(), ledger.snapshot().unwrap());
    assert_eq!(before.len(), after.len());

    let pages: Vec<_> = (0..before.len().div_ceil(PAGE)).collect();
    let changed: Vec<_> = pages.into_iter().filter(|n| page(&before, *n) != page(&after, *n)).collect();
    assert!((2..=12).contains(&changed.len()), "{} pages changed", changed.len());
    let copy = dir.path().join("torn");
    for landed in 0..1_usize << changed.len() {
        let mut torn = before.clone();
        for (_, &number) in changed.iter().enumerate().filter(|(bit, _)| landed >> bit & 1 == 1) {
            let range = number * PAGE..((number + 1) * PAGE).min(torn.len());
            torn[range.clone()].copy_from_slice(&after[range]);
        }
        fs::write(&copy, torn).unwrap();
        let found = Ledger::open(&copy).unwrap().snapshot().unwrap();
        assert!(found == old || found == new, "subset {landed:b}: {found:?}");
    }
}

fn page(bytes: &[u8], number: usize) -> &[u8] {
    &bytes[number * PAGE..((number + 1) * PAGE).min(bytes.len())]
}

#[test]
fn a_newer_schema_is_refused_with_both_numbers() {
    const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
    let (_dir, path) = place();
    filled(&path);
    let database = Database::open(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(META).unwrap().insert("schema", 7).unwrap();
    transaction.commit().unwrap();
    // Not closed properly, as after a kill, and then closed.
    let copy = path.with_file_name("killed");
    fs::copy(&path, &copy).unwrap();
    drop(database);
    for path in [copy, path] {
        let error = refused(&path);
        assert!(matches!(error, OpenError::TooNew { found: 7, known: 2, .. }), "{error:?}");
        assert_eq!(error.fault().code, FaultCode::LedgerTooNew);
        assert!(error.to_string().ends_with("has schema version 7, this version reads up to 2"), "{error}");
    }
}

#[test]
fn a_file_that_is_no_ledger_is_refused() {
    let (_dir, path) = place();
    filled(&path);
    let whole = fs::read(&path).unwrap();
    let mut cases =
        vec![Vec::new(), b"x".to_vec(), b"{\"enis\":[]}".repeat(1000), vec![0; 8192], vec![0xa5; 65536]];
    cases.extend([1, 63, 64, 511, 4095, 4096, whole.len() / 2].map(|length| whole[..length].to_vec()));
    for bytes in cases {
        fs::write(&path, &bytes).unwrap();
        let error = refused(&path);
        assert!(matches!(error, OpenError::Corrupt { .. }), "{} bytes: {error:?}", bytes.len());
        assert_eq!(error.fault().code, FaultCode::LedgerCorrupt);
    }
    // A hole of a terabyte behind the head.
    fs::File::options().write(true).open(&path).unwrap().set_len(1 << 40).unwrap();
    let error = Ledger::open(&path).unwrap_err();
    assert!(
        error.to_string().ends_with("it has 1099511627776 bytes, more than a ledger ever has"),
        "{error}"
    );
    // Somebody else's database.
    fs::remove_file(&path).unwrap();
    drop(Database::create(&path).unwrap());
    assert!(matches!(refused(&path), OpenError::Corrupt { .. }));
}

/// Flips one byte after another, all over the parts of the file that are in use. The ledger either is refused or
/// holds what it held.
#[test]
fn a_flipped_byte_is_noticed_or_does_not_matter() {
    let (_dir, path) = place();
    let mut ledger = Ledger::open(&path).unwrap();
    (0..10).for_each(|number| ledger.commit(&[LedgerChange::PutEni(eni(number))]).unwrap());
    let content = ledger.snapshot().unwrap();
    drop(ledger);
    let whole = fs::read(&path).unwrap();
    let used: Vec<_> = whole.iter().enumerate().filter(|(_, byte)| **byte != 0).map(|(at, _)| at).collect();
    let mut refused = 0;
    for &at in used.iter().step_by(used.len() / 300 + 1) {
        let mut flipped = whole.clone();
        flipped[at] ^= 0x04;
        fs::write(&path, &flipped).unwrap();
        match Ledger::open(&path) {
            Ok(mut ledger) => assert_eq!(ledger.snapshot().unwrap(), content, "byte {at}"),
            Err(OpenError::Corrupt { .. }) => refused += 1,
            Err(other) => panic!("byte {at}: {other:?}"),
        }
    }
    assert!(refused > 20, "only {refused} of the flips were noticed");
}

#[test]
fn a_row_that_makes_no_sense_is_named() {
    const ENIS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("enis");
    let (_dir, path) = place();
    filled(&path);
    let database = Database::open(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(ENIS).unwrap().insert("token-9", b"{\"token\":1}".as_slice()).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let error = Ledger::open(&path).unwrap().snapshot().unwrap_err();
    assert!(matches!(error, ReadError::Corrupt { .. }));
    assert!(error.to_string().contains("row of ENI token-9"), "{error}");
    assert_eq!(error.fault().code, FaultCode::LedgerCorrupt);
}

#[test]
fn a_second_daemon_is_kept_out() {
    let (_dir, path) = place();
    let first = Ledger::open(&path).unwrap();
    let error = Ledger::open(&path).expect_err("locked");
    assert!(matches!(error, OpenError::Locked { .. }), "{error:?}");
    assert!(error.fault().remedy.contains("stop the other terwayd"), "{}", error.fault());
    drop(first);
    assert!(Ledger::open(&path).is_ok());
}

#[test]
fn a_directory_that_cannot_be_written_is_named() {
    let (dir, path) = place();
    let missing = Ledger::open(&dir.path().join("nowhere/ledger.redb")).unwrap_err();
    assert!(matches!(missing, OpenError::Unwritable { .. }), "{missing:?}");
    assert!(!missing.fault().to_string().contains("not found"), "{}", missing.fault());
    assert_eq!(missing.fault().code, FaultCode::StateUnwritable);

    let not_a_file = Ledger::open(dir.path()).unwrap_err();
    assert!(matches!(not_a_file, OpenError::Unwritable { .. }), "{not_a_file:?}");

    // Permissions do not bind root; there the directory's mode is no obstacle.
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o500)).unwrap();
    let binds = fs::write(dir.path().join("probe"), b"").is_err();
    let opened = Ledger::open(&path);
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(matches!(opened, Err(OpenError::Unwritable { .. })), binds, "{opened:?}");
}

/// A file system of its own that is too small, in namespaces of its own; this test runs itself again in there.
#[test]
fn a_full_file_system_is_named_and_passes() {
    const INSIDE: &str = "TERWAY_LEDGER_ON_FULL_FILE_SYSTEM";
    if let Some(dir) = std::env::var_os(INSIDE) {
        return fill_up(Path::new(&dir));
    }
    let (dir, _) = place();
    let script = "mount -t tmpfs -o size=6m tmpfs \"$1\" && exec \"$2\" --exact \"$3\"";
    let status = Command::new("unshare")
        .args(["-Urm", "sh", "-ec", script, "sh"])
        .args([dir.path().as_os_str(), std::env::current_exe().unwrap().as_os_str()])
        .arg("mishaps::a_full_file_system_is_named_and_passes")
        .env(INSIDE, dir.path())
        .status()
        .expect("this test needs the program `unshare` and user namespaces");
    assert!(status.success(), "the test inside the namespaces failed: {status}");
}

fn fill_up(dir: &Path) {
    let path = dir.join("ledger.redb");
    let mut ledger = Ledger::open(&path).unwrap();
    ledger.commit(&[LedgerChange::PutEni(eni(0))]).unwrap();
    let ballast = dir.join("ballast");
    let mut file = fs::File::create(&ballast).unwrap();
    while file.write_all(&[1; 4096]).is_ok() {}
    drop(file);

    let mut held = vec![eni(0)];
    let error = loop {
        let next = eni(held.len() as u64);
        match ledger.commit(&[LedgerChange::PutEni(next.clone())]) {
            Ok(()) => held.push(next),
            Err(error) => break error,
        }
        assert!(held.len() < 50_000, "the file system never filled up");
    };
    assert!(matches!(error, CommitError::Full { changes: 1, .. }), "{error:?}");
    assert_eq!(error.fault().code, FaultCode::StateFull);
    let other = Ledger::open(&dir.join("other.redb")).expect_err("no room for another one");
    assert!(matches!(other, OpenError::Full { .. }), "{other:?}");

    assert_eq!(names(dir), ["ballast", "ledger.redb"], "no part of the other one is left behind");

    fs::remove_file(&ballast).unwrap();
    assert_eq!(ledger.snapshot().unwrap().enis, held, "what was committed is there, the rest is not");
    ledger.commit(&[LedgerChange::RemoveEni(held[0].token.clone())]).unwrap();
    assert_eq!(ledger.snapshot().unwrap().enis, held[1..]);
}
