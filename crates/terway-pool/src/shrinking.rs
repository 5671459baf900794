//! When idle ENIs leave: surplus at a slow pace, idle ones of a quiet pool in batches down to the low water mark,
//! and whatever exceeds the node's limit at once.

use terway_types::Timestamp;

use crate::engine::Pool;
use crate::outbox::Outbox;

impl Pool {
    /// Idle ENIs to have at least.
    pub(crate) fn low_mark(&self) -> u32 {
        let warm_up = if self.pace.warm { 0 } else { self.settings.warm_up };
        self.settings.min_idle.max(warm_up)
    }

    /// Idle ENIs to have at most.
    pub(crate) fn high_mark(&self) -> u32 {
        self.settings.max_idle.max(self.low_mark())
    }

    /// Notes when the warm-up is reached: that many are idle, or the node takes no more.
    pub(crate) fn watch_warm_up(&mut self) {
        let tally = self.books.tally();
        let full = self.room() == 0 && tally.coming + tally.linking + tally.leaving == 0;
        self.pace.warm |= tally.idle >= self.settings.warm_up || full;
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
        let (surplus, idle) = (self.surplus(), self.books.tally().idle);
        if self.pace.sheds(surplus > 0, idle > 0, self.now, &self.settings) {
            self.let_several_go(if self.settings.release.quick { surplus } else { 1 }, out);
        }
    }

    /// What a quiet pool can do without, if nobody waits.
    fn reclaimable(&self) -> u32 {
        let tally = self.books.tally();
        let above_low = tally.spare().saturating_sub(self.low_mark()).min(tally.idle);
        if self.waiters.is_empty() { above_low } else { 0 }
    }

    fn reclaim(&mut self, out: &mut Outbox) {
        let Some(batch) = self.settings.reclaim.map(|reclaim| reclaim.batch.max(1)) else { return };
        let count = batch.min(self.reclaimable());
        if count > 0 && self.pace.reclaims(self.now, &self.settings, &mut self.random) {
            self.let_several_go(count, out);
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
        self.pace.next(self.reclaimable() > 0, self.now, &self.settings)
    }
}
