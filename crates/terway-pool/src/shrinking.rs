//! When idle ENIs leave: surplus at a slow pace, idle ones of a quiet pool in batches down to the low water mark,
//! and whatever exceeds the node's limit at once. Also the warm-up, which both marks follow until it is reached.

use std::time::Duration;

use terway_types::Timestamp;

use crate::engine::Pool;
use crate::outbox::Outbox;
use crate::settings::PoolSettings;

/// Jitter must not let one batch follow another without a pause.
const SHORTEST: Duration = Duration::from_millis(1);

/// The clocks.
#[derive(Clone, Debug)]
pub(crate) struct Shrinking {
    /// When the next surplus ENI goes, while there is a surplus.
    release_at: Option<Timestamp>,
    /// When somebody last got or gave back something. The pool's own work does not count.
    touched: Timestamp,
    /// Earliest time of the next batch after one.
    next_batch: Timestamp,
    /// Whether the warm-up has not been reached yet.
    warming: bool,
}

impl Shrinking {
    pub(crate) fn new(settings: &PoolSettings, now: Timestamp) -> Self {
        Self { release_at: None, touched: now, next_batch: now, warming: settings.warm_up > 0 }
    }

    /// Drops what does not decide the future.
    #[cfg(test)]
    pub(crate) fn forget_past(&mut self, now: Timestamp, settings: &PoolSettings) {
        if settings.reclaim.is_none() {
            self.touched = Timestamp(0);
        }
        self.next_batch = if self.next_batch > now { self.next_batch } else { Timestamp(0) };
    }

    pub(crate) fn touched(&mut self, now: Timestamp) {
        (self.touched, self.next_batch) = (now, now);
    }
}

impl Pool {
    /// Idle ENIs to have at least.
    pub(crate) fn low_mark(&self) -> u32 {
        let warm = if self.shrinking.warming { self.settings.warm_up } else { 0 };
        self.settings.min_idle.max(warm)
    }

    /// Idle ENIs to have at most.
    pub(crate) fn high_mark(&self) -> u32 {
        self.settings.max_idle.max(self.low_mark())
    }

    /// Notes when the warm-up is reached: that many are idle, or the node takes no more.
    pub(crate) fn watch_warm_up(&mut self) {
        if self.shrinking.warming {
            let tally = self.books.tally();
            let full = self.room() == 0 && tally.coming + tally.linking + tally.leaving == 0;
            self.shrinking.warming = tally.idle < self.settings.warm_up && !full;
        }
    }

    /// Lets go what is too much.
    pub(crate) fn shrink(&mut self, out: &mut Outbox) {
        let tally = self.books.tally();
        let over = (tally.total() - tally.leaving).saturating_sub(self.limit());
        self.let_several_go(over, out);
        self.release_surplus(out);
        self.reclaim(out);
    }

    /// ENIs bound beyond pods and high water mark.
    fn surplus(&self) -> u32 {
        let wanted = self.high_mark().saturating_add(self.waiters.unclaimed());
        self.books.tally().spare().saturating_sub(wanted)
    }

    fn release_surplus(&mut self, out: &mut Outbox) {
        let surplus = self.surplus();
        let pace = self.settings.release;
        if surplus == 0 {
            self.shrinking.release_at = None;
            return;
        }
        let at = *self.shrinking.release_at.get_or_insert(self.now + pace.interval);
        if at <= self.now && self.books.tally().idle > 0 {
            self.let_several_go(if pace.quick { surplus } else { 1 }, out);
            self.shrinking.release_at = (self.surplus() > 0).then(|| self.now + pace.interval);
        }
    }

    /// What a quiet pool can do without.
    fn reclaimable(&self) -> u32 {
        let tally = self.books.tally();
        tally.spare().saturating_sub(self.low_mark()).min(tally.idle)
    }

    fn reclaim_at(&self) -> Option<Timestamp> {
        let reclaim = self.settings.reclaim?;
        let quiet = self.shrinking.touched + reclaim.after;
        (self.waiters.is_empty() && self.reclaimable() > 0).then(|| quiet.max(self.shrinking.next_batch))
    }

    fn reclaim(&mut self, out: &mut Outbox) {
        let Some(reclaim) = self.settings.reclaim else { return };
        if self.reclaim_at().is_some_and(|at| at <= self.now) {
            self.let_several_go(reclaim.batch.max(1).min(self.reclaimable()), out);
            let pause = self.random.varied(reclaim.interval, reclaim.jitter_permille);
            self.shrinking.next_batch = self.now + pause.max(SHORTEST);
        }
    }

    fn let_several_go(&mut self, count: u32, out: &mut Outbox) {
        for _ in 0..count {
            if !self.let_one_go(out) {
                return;
            }
        }
    }

    /// When something leaves by the clock.
    pub(crate) fn next_shrinking(&self) -> Option<Timestamp> {
        let surplus = self.shrinking.release_at.filter(|_| self.books.tally().idle > 0);
        surplus.into_iter().chain(self.reclaim_at()).min()
    }
}
