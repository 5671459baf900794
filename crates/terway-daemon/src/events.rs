//! What the node's operator should have heard of: the last few events, kept in memory for `terway-cli` and
//! written to the log as they happen.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use terway_types::Timestamp;

use crate::clock::Clock;

/// Enough for a bad hour; the log has all of them.
const KEPT: usize = 200;

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeEvent {
    /// When.
    pub at: Timestamp,
    /// A short name in CamelCase.
    pub reason: String,
    /// What happened, and what the daemon does about it.
    pub message: String,
}

/// The last events.
#[derive(Debug)]
pub struct Events {
    clock: Clock,
    kept: Mutex<VecDeque<NodeEvent>>,
}

impl Events {
    /// None yet.
    pub fn new(clock: Clock) -> Self {
        Self { clock, kept: Mutex::default() }
    }

    /// Something happened. An event that repeats the last one is kept once, with the later time.
    pub fn note(&self, reason: &str, message: impl Into<String>) {
        let message = message.into();
        tracing::warn!(reason, "{message}");
        let event = NodeEvent { at: (self.clock)(), reason: reason.to_owned(), message };
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        match kept.back_mut() {
            Some(last) if last.reason == event.reason && last.message == event.message => *last = event,
            _ => kept.push_back(event),
        }
        if kept.len() > KEPT {
            kept.pop_front();
        }
    }

    /// All that are kept, oldest first.
    pub fn all(&self) -> Vec<NodeEvent> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ones_are_kept_and_repetitions_once() {
        let events = Events::new(|| Timestamp(7));
        for number in 0..KEPT + 5 {
            events.note("Some", number.to_string());
            events.note("Some", number.to_string());
        }
        let all = events.all();
        assert_eq!(all.len(), KEPT);
        assert_eq!((all[0].message.as_str(), all[0].at), ("5", Timestamp(7)));
    }
}
