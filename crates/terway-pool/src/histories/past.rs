//! What a cloud looked like lately, for reads that are stale.

use std::collections::VecDeque;
use std::time::Duration;

use terway_types::Timestamp;

/// Scenes, each from its time on.
#[derive(Clone, Debug)]
pub(crate) struct Past<S> {
    scenes: VecDeque<(Timestamp, S)>,
}

impl<S> Default for Past<S> {
    fn default() -> Self {
        Self { scenes: VecDeque::new() }
    }
}

impl<S> Past<S> {
    /// Notes what the cloud looks like at the end of this moment, unless it is the `same` as before.
    pub(crate) fn note(
        &mut self,
        same: impl Fn(&S) -> bool,
        scene: impl FnOnce() -> S,
        now: Timestamp,
        horizon: Duration,
    ) {
        if self.scenes.back().is_none_or(|(_, before)| !same(before)) {
            self.scenes.pop_back_if(|(from, _)| *from == now);
            self.scenes.push_back((now, scene()));
        }
        while self.scenes.get(1).is_some_and(|(from, _)| *from + horizon <= now) {
            self.scenes.pop_front();
        }
    }

    /// Drops since when it has looked like the oldest scene, if that is longer than `horizon`.
    pub(crate) fn forget_past(&mut self, now: Timestamp, horizon: Duration) {
        if let Some((from, _)) = self.scenes.front_mut() {
            *from = (*from).max(now - horizon);
        }
    }

    /// What it looked like then.
    pub(crate) fn at(&self, time: Timestamp) -> Option<&S> {
        self.scenes.iter().rev().find(|(from, _)| *from <= time).map(|(_, scene)| scene)
    }
}
