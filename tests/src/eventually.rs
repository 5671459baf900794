//! Waiting for conditions: level-triggered, with a deadline, and saying what was waited for.

use std::time::{Duration, Instant};
use std::{iter, thread};

use anyhow::{Result, bail};

/// Times to allow for an answer, the next one where none came. The daemon answers a twentieth of its caller's time before
/// the end of it; that nothing was heard on a machine that stalled for longer says nothing of the daemon.
pub fn ever_longer(first: Duration) -> impl Iterator<Item = Duration> {
    iter::successors(Some(first), |time| Some(*time * 4)).take(3)
}

/// Looks again and again until `look` finds something; fails after `limit` naming `what`.
pub fn eventually<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Option<T>) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return Ok(found);
        }
        if start.elapsed() > limit {
            bail!("{what}: still not so after {limit:?}");
        }
        thread::park_timeout(Duration::from_millis(5));
    }
}
