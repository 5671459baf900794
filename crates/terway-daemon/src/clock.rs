//! The wall clock, as a value that tests can replace.

use std::time::{SystemTime, UNIX_EPOCH};

use terway_types::Timestamp;

/// Something that tells the time.
pub type Clock = fn() -> Timestamp;

/// The system's time.
pub fn system() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
