//! Waiting for conditions: level-triggered, with a deadline, and saying what was waited for.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

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
