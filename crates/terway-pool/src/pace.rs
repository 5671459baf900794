//! When ENIs or addresses leave the pool: surplus after it has lasted, and in batches when the pool has been quiet.
//! The pool has one such clock, whatever its mode.

use std::time::Duration;

use terway_types::Timestamp;

use crate::random::Random;
use crate::settings::PoolSettings;

/// The clock of releases.
#[derive(Clone, Debug)]
pub(crate) struct Pace {
    /// Since when there is a surplus, or when some of it was released last.
    surplus_since: Option<Timestamp>,
    /// When something was allocated or released last.
    used: Timestamp,
    /// When the next batch is reclaimed.
    reclaim_at: Option<Timestamp>,
    /// Whether the warm-up was reached once. Until then both water marks follow it.
    pub(crate) warm: bool,
}

impl Pace {
    pub(crate) fn new(settings: &PoolSettings, now: Timestamp) -> Self {
        let reclaim_at = settings.reclaim.map(|reclaim| now + reclaim.after);
        Self { surplus_since: None, used: now, reclaim_at, warm: settings.warm_up == 0 }
    }

    /// Something was allocated or released: the pool is not quiet.
    pub(crate) fn used(&mut self, now: Timestamp, settings: &PoolSettings) {
        self.used = now;
        self.reclaim_at = settings.reclaim.map(|reclaim| now + reclaim.after);
    }

    /// The settings are new.
    pub(crate) fn resettle(&mut self, settings: &PoolSettings) {
        self.used(self.used, settings);
    }

    /// Whether surplus is to be released now, if it `can` go. It starts the pause before the next time.
    pub(crate) fn sheds(
        &mut self,
        surplus: bool,
        can: bool,
        now: Timestamp,
        settings: &PoolSettings,
    ) -> bool {
        if !surplus {
            self.surplus_since = None;
            return false;
        }
        let since = *self.surplus_since.get_or_insert(now);
        let due = can && now >= since + settings.release.interval;
        if due {
            self.surplus_since = Some(now);
        }
        due
    }

    /// Whether a batch is to be reclaimed now. It starts the pause before the next one.
    pub(crate) fn reclaims(&mut self, now: Timestamp, settings: &PoolSettings, random: &mut Random) -> bool {
        let Some(reclaim) = settings.reclaim.filter(|_| self.reclaim_at.is_some_and(|at| at <= now)) else {
            return false;
        };
        let pause = random.varied(reclaim.interval, reclaim.jitter_permille);
        // Jitter must not let one batch follow another without a pause.
        self.reclaim_at = Some(now + pause.max(Duration::from_millis(1)));
        true
    }

    /// When the next release is due. `idle` tells whether there is anything to reclaim.
    pub(crate) fn next(&self, idle: bool, now: Timestamp, settings: &PoolSettings) -> Option<Timestamp> {
        let surplus = self.surplus_since.map(|since| since + settings.release.interval);
        let reclaim = self.reclaim_at.filter(|_| idle);
        [surplus, reclaim].into_iter().flatten().filter(|at| *at > now).min()
    }

    /// Drops what does not decide the future: when the pool was used last is said by when it is reclaimed.
    #[cfg(test)]
    pub(crate) fn forget_past(&mut self) {
        self.used = Timestamp(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Reclaim, ReleasePace};
    use crate::testing::settings;

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn surplus_goes_after_it_lasted_and_then_once_per_pause() {
        let settings =
            PoolSettings { release: ReleasePace { interval: millis(100), quick: false }, ..settings() };
        let mut pace = Pace::new(&settings, Timestamp(0));
        assert!(!pace.sheds(true, true, Timestamp(10), &settings));
        assert_eq!(pace.next(true, Timestamp(10), &settings), Some(Timestamp(110)));
        assert!(!pace.sheds(false, true, Timestamp(60), &settings), "it did not last");
        assert!(!pace.sheds(true, true, Timestamp(61), &settings));
        assert!(pace.sheds(true, true, Timestamp(161), &settings));
        assert!(!pace.sheds(true, true, Timestamp(260), &settings));
        assert!(pace.sheds(true, true, Timestamp(261), &settings));
        assert!(!pace.sheds(true, false, Timestamp(400), &settings), "it is all in use or at rest");
        assert!(pace.sheds(true, true, Timestamp(401), &settings), "and has lasted meanwhile");
    }

    #[test]
    fn a_quiet_pool_shrinks_in_batches() {
        let reclaim = Reclaim { after: millis(1000), interval: millis(100), batch: 4, jitter_permille: 100 };
        let settings = PoolSettings { reclaim: Some(reclaim), ..settings() };
        let mut pace = Pace::new(&settings, Timestamp(0));
        let mut random = Random::new(1, Timestamp(0));
        pace.used(Timestamp(500), &settings);
        assert!(!pace.reclaims(Timestamp(1499), &settings, &mut random));
        assert_eq!(pace.next(true, Timestamp(1499), &settings), Some(Timestamp(1500)));
        assert_eq!(pace.next(false, Timestamp(1499), &settings), None);
        assert!(pace.reclaims(Timestamp(1500), &settings, &mut random));
        let next = pace.next(true, Timestamp(1500), &settings).unwrap();
        assert!((1590..=1610).contains(&next.0), "{next}");
        assert!(pace.reclaims(next, &settings, &mut random));
        pace.used(next, &settings);
        assert_eq!(pace.next(true, next, &settings), Some(next + millis(1000)));
    }
}
