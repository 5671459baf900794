//! A look at a ledger's file before it is opened: for damage, and for its schema version. It happens on a copy
//! in memory, so that nothing is written to a file that must be refused.

use std::fs::{self, File};
use std::io;
use std::ops::Bound;
use std::path::Path;

use redb::backends::{FileBackend, InMemoryBackend};
use redb::{ReadableDatabase, StorageBackend as _, TableDefinition};

use crate::error::{OpenError, open_error};
use crate::store::builder;

/// The schema this version writes, and the newest it reads.
pub(crate) const SCHEMA: u64 = 1;
pub(crate) const SCHEMA_KEY: &str = "schema";
pub(crate) const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");

/// Refuses a file that is damaged, no ledger, of a newer schema, or in use.
pub(crate) fn inspect(path: &Path) -> Result<(), OpenError> {
    let failed = |error: redb::Error| open_error(path, error);
    let corrupt = |detail: &str| OpenError::Corrupt { path: path.to_path_buf(), detail: detail.to_owned() };
    if is_locked(path).map_err(|source| failed(source.into()))? {
        return Err(OpenError::Locked { path: path.to_path_buf() });
    }
    let mut bytes = fs::read(path).map_err(|source| failed(source.into()))?;
    if bytes.len() < HEADER {
        return Err(corrupt("it is empty, or cut short"));
    }
    demand_checksums(&mut bytes);
    let memory = InMemoryBackend::new();
    let copied = memory.set_len(bytes.len() as u64).and_then(|()| memory.write(0, &bytes));
    copied.map_err(|source| failed(source.into()))?;
    drop(bytes);
    // A copy in memory cannot fail for any other reason than its content.
    let copy = builder().create_with_backend(memory).map_err(|error| corrupt(&error.to_string()))?;
    match schema_of(&copy).map_err(|error| corrupt(&error.to_string()))? {
        Some(SCHEMA) => Ok(()),
        Some(found) if found > SCHEMA => {
            Err(OpenError::TooNew { path: path.to_path_buf(), found, known: SCHEMA })
        }
        Some(found) => Err(corrupt(&format!("schema version {found} was never in use"))),
        None => Err(corrupt("it is a database without a schema version")),
    }
}

/// Whether another process, or this one, has the ledger open. Asked before judging the bytes: a copy made
/// during a commit of a running daemon looks damaged.
fn is_locked(path: &Path) -> io::Result<bool> {
    let backend = FileBackend::new(File::open(path)?).map_err(io::Error::other)?;
    let free = backend.try_lock_shared_range(Bound::Unbounded, Bound::Unbounded);
    backend.close()?;
    free.map(|free| !free).map_err(io::Error::from)
}

// The head of a file of redb's format 3 (its docs/design.md): nine bytes of magic, one of flags, and two slots
// for commits from byte 64 on. A slot has the checksums of its two roots at 16 and 48, and its own at the end.
const FLAGS: usize = 9;
const OTHER_SLOT_IS_LATEST: u8 = 1;
const MUST_RECOVER: u8 = 2;
const TWO_PHASE: u8 = 4;
const SLOTS: [usize; 2] = [64, 192];
const SLOT: usize = 128;
const CHECKSUMS: [usize; 3] = [16, 48, SLOT - 16];
const HEADER: usize = SLOTS[1] + SLOT;

/// Changes the head of a copy so that opening it verifies every checksum. A ledger that was closed properly is
/// otherwise believed unread: flipped bits would come out as rows, or end the daemon in a failed assertion.
fn demand_checksums(head: &mut [u8]) {
    let flags = head[FLAGS];
    head[FLAGS] = (flags | MUST_RECOVER) & !TWO_PHASE;
    if flags & TWO_PHASE != 0 {
        // The latest commit was complete, so falling back to the one before would lose what was durable.
        let before = SLOTS[usize::from(flags & OTHER_SLOT_IS_LATEST == 0)];
        for checksum in CHECKSUMS {
            head[before + checksum..][..16].iter_mut().for_each(|byte| *byte ^= 0xff);
        }
    }
}

fn schema_of(database: &impl ReadableDatabase) -> Result<Option<u64>, redb::Error> {
    let transaction = database.begin_read()?;
    let table = match transaction.open_table(META) {
        Ok(table) => table,
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    Ok(table.get(SCHEMA_KEY)?.map(|version| version.value()))
}
