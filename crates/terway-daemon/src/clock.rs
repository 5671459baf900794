//! The time, as a value that tests can replace: the wall clock when the program started, and from then on the
//! kernel's monotonic clock. Somebody who sets the wall clock must neither end a rest early nor make it last for days.

use std::sync::LazyLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use terway_types::Timestamp;

/// Something that tells the time.
pub type Clock = fn() -> Timestamp;

static START: LazyLock<(Timestamp, Instant)> = LazyLock::new(|| (at(SystemTime::now()), Instant::now()));

/// The time of this process; never runs backwards.
pub fn system() -> Timestamp {
    let (wall, started) = *START;
    wall + started.elapsed()
}

/// A time of the wall clock, as files bear it.
pub fn at(wall: SystemTime) -> Timestamp {
    let since = wall.duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
