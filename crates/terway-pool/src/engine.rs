//! The pool's engine: takes one event, asks the rules of the other files, and hands out effects.

use terway_types::{AttachmentKey, AttachmentRecord, EniRecord, LedgerSnapshot, Timestamp};

use crate::effect::Effect;
use crate::event::Event;
use crate::settings::PoolSettings;
use crate::view::PoolView;

/// The pool of ENIs.
#[derive(Debug)]
pub struct Pool {
    settings: PoolSettings,
}

impl Pool {
    /// Rebuilds the pool from what is durable, and resumes whatever was under way.
    pub fn new(settings: PoolSettings, snapshot: LedgerSnapshot, now: Timestamp) -> (Self, Vec<Effect>) {
        let _ = (snapshot, now);
        (Self { settings }, Vec::new())
    }

    /// Takes one event and answers with the effects, to be executed in order.
    pub fn handle(&mut self, now: Timestamp, event: Event) -> Vec<Effect> {
        let _ = (now, event);
        Vec::new()
    }

    /// When the pool wants a [`Event::Tick`] at the latest.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        None
    }

    /// The pool as plain data.
    pub fn view(&self, now: Timestamp) -> PoolView {
        let _ = now;
        PoolView {
            enis: Vec::new(),
            waiters: Vec::new(),
            min_idle: self.settings.min_idle,
            max_idle: self.settings.max_idle,
            max_enis: self.settings.max_enis,
            idle: 0,
            in_use: 0,
            capacity: crate::effect::Capacity::default(),
        }
    }

    /// What one attachment holds.
    pub fn attachment(&self, key: &AttachmentKey) -> Option<(&AttachmentRecord, &EniRecord)> {
        let _ = key;
        None
    }

    /// Every attachment and what it holds, sorted by key.
    pub fn attachments(&self) -> impl Iterator<Item = (&AttachmentRecord, &EniRecord)> {
        std::iter::empty()
    }
}
