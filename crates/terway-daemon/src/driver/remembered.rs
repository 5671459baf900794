//! History that did not come from the pool: it rides along with the next commit, or makes one of its own soon.

use std::time::{Duration, Instant};

use terway_types::{HistoryEntry, LedgerChange};

/// Longest wait for a commit to ride along with.
const WAIT: Duration = Duration::from_secs(1);
/// More than this waiting means that the disk refuses; the oldest are forgotten then.
const MOST: usize = 1000;

/// Entries that wait.
#[derive(Debug, Default)]
pub(super) struct Remembered {
    waiting: Vec<LedgerChange>,
    since: Option<Instant>,
}

impl Remembered {
    pub(super) fn add(&mut self, entry: HistoryEntry) {
        if self.waiting.len() >= MOST {
            self.waiting.remove(0);
        }
        self.waiting.push(LedgerChange::Remember(entry));
        self.since.get_or_insert_with(Instant::now);
    }

    /// How long they may still wait, if there are any.
    pub(super) fn due_in(&self) -> Option<Duration> {
        self.since.map(|since| WAIT.saturating_sub(since.elapsed()))
    }

    /// What to write now.
    pub(super) fn waiting(&self) -> &[LedgerChange] {
        &self.waiting
    }

    /// They are durable.
    pub(super) fn written(&mut self) {
        self.waiting.clear();
        self.since = None;
    }

    /// They are not; they wait for another chance.
    pub(super) fn refused(&mut self) {
        self.since = Some(Instant::now());
    }
}
