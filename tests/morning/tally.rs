//! What a part of the morning cost: calls, refusals, and how long pods waited.

use std::fmt::Write as _;
use std::time::Duration;

use crate::account::Account;

/// Calls so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Count {
    /// All of them.
    calls: u32,
    /// Those that changed something.
    changes: u32,
    /// Those that were refused because they were too many.
    throttled: u32,
}

impl Count {
    pub(crate) fn add(&mut self, changes: bool, throttled: bool) {
        self.calls += 1;
        self.changes += u32::from(changes && !throttled);
        self.throttled += u32::from(throttled);
    }
}

/// A part of the morning.
#[derive(Debug)]
pub(crate) struct Chapter {
    title: &'static str,
    began: Duration,
    before: Count,
}

/// A part of the morning that is over.
#[derive(Debug)]
pub(crate) struct Cost {
    title: &'static str,
    lasted: Duration,
    /// Nodes or pods it was about.
    pieces: u32,
    pub(crate) calls: u32,
    pub(crate) changes: u32,
    pub(crate) throttled: u32,
    /// How long each pod waited, shortest first.
    waits: Vec<Duration>,
}

impl Chapter {
    pub(crate) fn begin(title: &'static str, account: &Account) -> Self {
        account.take_waits();
        Self { title, began: account.elapsed(), before: account.count() }
    }

    pub(crate) fn end(self, account: &Account, pieces: u32) -> Cost {
        let (after, mut waits) = (account.count(), account.take_waits());
        waits.sort_unstable();
        Cost {
            title: self.title,
            lasted: account.elapsed().saturating_sub(self.began),
            pieces,
            calls: after.calls - self.before.calls,
            changes: after.changes - self.before.changes,
            throttled: after.throttled - self.before.throttled,
            waits,
        }
    }
}

impl Cost {
    pub(crate) fn calls_per_piece(&self) -> f64 {
        f64::from(self.calls) / f64::from(self.pieces.max(1))
    }

    /// How long such a share of the pods waited at most.
    pub(crate) fn wait(&self, percent: usize) -> Duration {
        let last = self.waits.len().saturating_sub(1);
        self.waits.get(last * percent / 100).copied().unwrap_or_default()
    }
}

/// All parts beside each other.
pub(crate) fn table(parts: &[Cost]) -> String {
    let mut text = format!(
        "{:<38} {:>8} {:>8} {:>8} {:>9} {:>9} {:>28}\n",
        "chapter", "minutes", "calls", "per one", "changes", "throttled", "ready after p50, p99, 100 %"
    );
    for part in parts {
        let waits = match part.waits.len() {
            0 => "-".to_owned(),
            _ => [50, 99, 100].map(|percent| format!("{:.1} s", part.wait(percent).as_secs_f64())).join(", "),
        };
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{:<38} {:>8.1} {:>8} {:>8} {:>9} {:>9} {:>28}",
            part.title,
            part.lasted.as_secs_f64() / 60.0,
            part.calls,
            if part.pieces == 0 { "-".to_owned() } else { format!("{:.2}", part.calls_per_piece()) },
            part.changes,
            part.throttled,
            waits
        );
    }
    text
}
