//! A look at a ledger's file before it is opened: for damage, and for its schema version. It happens on a copy
//! in memory, so that nothing is written to a file that must be refused.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Bound;
use std::path::Path;

use redb::backends::{FileBackend, InMemoryBackend};
use redb::{Database, ReadableDatabase as _, StorageBackend as _};

use crate::error::{OpenError, open_error};
use crate::file::builder;
use crate::meta::{SCHEMA, schema};

/// Refuses a file that is damaged, no ledger, of a newer schema, or in use. Returns its schema version.
pub(crate) fn inspect(path: &Path) -> Result<u64, OpenError> {
    sound_copy(path).map(|(_, schema)| schema)
}

/// A copy in memory of a file that [`inspect`] lets pass, and its schema version.
pub(crate) fn sound_copy(path: &Path) -> Result<(Database, u64), OpenError> {
    let failed = |source: io::Error| open_error(path, source.into());
    if is_locked(path).map_err(failed)? {
        return Err(OpenError::Locked { path: path.to_path_buf() });
    }
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if metadata.is_dir() {
        return Err(failed(io::ErrorKind::IsADirectory.into()));
    }
    judge(path, file, metadata.len())
}

/// What a file holds, if it is sound.
pub(crate) fn judge(path: &Path, file: impl Read, length: u64) -> Result<(Database, u64), OpenError> {
    let corrupt = |detail: String| OpenError::Corrupt { path: path.to_path_buf(), detail };
    if length < HEADER as u64 {
        return Err(corrupt("it is empty, or cut short".to_owned()));
    }
    if length > LONGEST {
        return Err(corrupt(format!("it has {length} bytes, more than a ledger ever has")));
    }
    let memory = InMemoryBackend::new();
    let written = copy(file, length, &memory).map_err(|source| open_error(path, source.into()))?;
    if length < written {
        return Err(corrupt(format!("it was cut short: {length} bytes are left of {written}")));
    }
    // A copy in memory cannot fail for any other reason than its content.
    let copy = builder().create_with_backend(memory).map_err(|error| corrupt(error.to_string()))?;
    match schema_of(&copy).map_err(|error| corrupt(error.to_string()))? {
        Some(found @ 1..=SCHEMA) => Ok((copy, found)),
        Some(found) if found > SCHEMA => {
            Err(OpenError::TooNew { path: path.to_path_buf(), found, known: SCHEMA })
        }
        Some(found) => Err(corrupt(format!("schema version {found} was never in use"))),
        None => Err(corrupt("it is a database without a schema version".to_owned())),
    }
}

/// Returns how many bytes the head says the file has.
fn copy(mut file: impl Read, length: u64, memory: &InMemoryBackend) -> io::Result<u64> {
    memory.set_len(length)?;
    let mut chunk = Vec::with_capacity(CHUNK);
    let (mut offset, mut written) = (0, 0);
    while offset < length {
        file.by_ref().take((length - offset).min(CHUNK as u64)).read_to_end(&mut chunk)?;
        if chunk.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if offset == 0 {
            written = length_by_head(&chunk);
            demand_checksums(&mut chunk);
        }
        memory.write(offset, &chunk)?;
        offset += chunk.len() as u64;
        chunk.clear();
    }
    Ok(written)
}

/// Whether another process, or this one, has the ledger open. Asked before judging the bytes: a copy made
/// during a commit of a running daemon looks damaged.
pub(crate) fn is_locked(path: &Path) -> io::Result<bool> {
    let backend = FileBackend::new(File::open(path)?).map_err(io::Error::other)?;
    let free = backend.try_lock_shared_range(Bound::Unbounded, Bound::Unbounded);
    backend.close()?;
    free.map(|free| !free).map_err(io::Error::from)
}

// The head of a file of redb's format 3 (its docs/design.md): nine bytes of magic, one of flags, from byte 12 on
// five numbers that tell the length, and two slots for commits from byte 64 on. A slot has the checksums of its two roots at 16 and 48, and its own at the end.
const MAGIC: &[u8] = b"redb";
const FLAGS: usize = 9;
const OTHER_SLOT_IS_LATEST: u8 = 1;
const MUST_RECOVER: u8 = 2;
const TWO_PHASE: u8 = 4;
/// A page's bytes, pages of a region's head, its most pages of data, whole regions, pages of data in the last.
const LENGTHS: [usize; 5] = [12, 16, 20, 24, 28];
const SLOTS: [usize; 2] = [64, 192];
const SLOT: usize = 128;
const CHECKSUMS: [usize; 3] = [16, 48, SLOT - 16];
const HEADER: usize = SLOTS[1] + SLOT;
/// A hundred times what the largest node needs; a damaged length must not exhaust the node's memory.
const LONGEST: u64 = 1 << 30;
/// Bytes copied at once, the whole head among the first.
const CHUNK: usize = 1 << 16;

/// How long the file is by its head. A file grows, durably, before its head says so, and shrinks after it: one
/// that is shorter was cut by something else than a power cut, and what was durable may have been in the rest.
/// Recovery would take that for a torn commit, and pass over the latest.
fn length_by_head(head: &[u8]) -> u64 {
    if !head.starts_with(MAGIC) {
        return 0;
    }
    let number =
        |at: usize| head[at..][..4].iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte));
    let [page, region_head, region_data, regions, last] = LENGTHS.map(number);
    let of_last = if last == 0 { 0 } else { region_head + last };
    let pages = regions.saturating_mul(region_head + region_data).saturating_add(1 + of_last);
    pages.saturating_mul(page)
}

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

fn schema_of(copy: &Database) -> Result<Option<u64>, redb::Error> {
    schema(&copy.begin_read()?)
}
