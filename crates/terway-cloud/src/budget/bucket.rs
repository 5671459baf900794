//! The token bucket of one action, which adapts to what the cloud takes. Pure: the time comes in.

use std::time::Duration;

use crate::backoff::Backoff;

/// How long an action rests after the cloud called it too frequent.
const REST: Backoff =
    Backoff { first: Duration::from_secs(1), factor: 2.0, max: Duration::from_secs(30), jitter: 0.3 };

/// The most that throttling slows an action down: to a sixteenth of its limit.
const MOST_HALVINGS: u32 = 4;

/// How long after a throttling, or after a step back towards its limit, an action's rate doubles again.
const EASE: Duration = Duration::from_mins(1);

/// A token bucket, kept as the time at which it would be full again. Time is whatever `now` counts from.
#[derive(Clone, Debug)]
pub struct Bucket {
    /// Between calls at the full rate.
    interval: Duration,
    burst: u32,
    full_at: Duration,
    /// Throttled answers in a row.
    throttled: u32,
    /// How often the rate is halved now.
    halvings: u32,
    /// Since when it is halved so often.
    since: Duration,
}

impl Bucket {
    /// A full bucket for `per_minute` (at least 1) calls, holding one second's worth.
    pub fn new(per_minute: u32) -> Self {
        Self {
            interval: Duration::from_mins(1) / per_minute.max(1),
            burst: (per_minute / 60).max(1),
            full_at: Duration::ZERO,
            throttled: 0,
            halvings: 0,
            since: Duration::ZERO,
        }
    }

    /// Takes a token, or says how long to wait for one.
    pub fn take(&mut self, now: Duration) -> Result<(), Duration> {
        self.ease(now);
        let full_at = self.full_at.max(now) + self.pace();
        match full_at.checked_sub(now + self.depth()) {
            Some(wait) if !wait.is_zero() => Err(wait),
            _ => {
                self.full_at = full_at;
                Ok(())
            }
        }
    }

    /// The cloud called a call too frequent: closes the bucket for a while, longer each time in a row, and
    /// halves its rate. `random` lies in `0.0..1.0`.
    pub fn throttled(&mut self, now: Duration, random: f64) {
        self.ease(now);
        // Calls that were under way together are throttled together, and that is one message.
        if self.halvings == 0 || now >= self.since + self.pace() {
            self.halvings = (self.halvings + 1).min(MOST_HALVINGS);
        }
        self.since = now;
        self.throttled = self.throttled.saturating_add(1);
        let rest = REST.delay(self.throttled, random);
        self.full_at = self.full_at.max(now + self.depth() + rest.saturating_sub(self.pace()));
    }

    /// The cloud took a call: the next throttling counts as the first in a row.
    pub fn accepted(&mut self) {
        self.throttled = 0;
    }

    /// The time between calls as things are.
    pub fn pace(&self) -> Duration {
        self.interval * (1 << self.halvings)
    }

    fn depth(&self) -> Duration {
        self.pace() * self.burst
    }

    fn ease(&mut self, now: Duration) {
        while self.halvings > 0 && now >= self.since + EASE {
            self.halvings -= 1;
            self.since += EASE;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_bucket_holds_one_second_and_refills_evenly() {
        let mut bucket = Bucket::new(300);
        let taken = (0..20).take_while(|_| bucket.take(Duration::ZERO).is_ok()).count();
        assert_eq!(taken, 5);
        assert_eq!(bucket.take(Duration::ZERO), Err(Duration::from_millis(200)));
        assert_eq!(bucket.take(Duration::from_millis(150)), Err(Duration::from_millis(50)));
        assert_eq!(bucket.take(Duration::from_millis(200)), Ok(()));
        let taken = (0..20).take_while(|_| bucket.take(SECOND * 60).is_ok()).count();
        assert_eq!(taken, 5, "an idle minute does not save up more than the burst");
    }

    #[test]
    fn a_slow_bucket_still_gives_one() {
        let mut bucket = Bucket::new(1);
        assert_eq!(bucket.take(SECOND), Ok(()));
        assert_eq!(bucket.take(SECOND * 2), Err(SECOND * 59));
    }

    /// So many calls a caller gets through who asks every millisecond of a span.
    fn taken(bucket: &mut Bucket, from: u64, to: u64) -> usize {
        (from * 1000..to * 1000).filter(|ms| bucket.take(Duration::from_millis(*ms)).is_ok()).count()
    }

    #[test]
    fn no_minute_exceeds_limit_and_burst() {
        let taken = taken(&mut Bucket::new(120), 0, 60);
        assert!((120..=122).contains(&taken), "{taken}");
    }

    #[test]
    fn throttling_closes_the_bucket_longer_each_time() {
        let mut bucket = Bucket::new(600);
        bucket.throttled(SECOND, 0.0);
        assert_eq!(bucket.take(SECOND), Err(SECOND));
        assert_eq!(bucket.take(SECOND * 2), Ok(()));
        bucket.throttled(SECOND * 2, 0.0);
        assert_eq!(bucket.take(SECOND * 2), Err(SECOND * 2));
        bucket.accepted();
        bucket.throttled(SECOND * 10, 0.0);
        assert_eq!(bucket.take(SECOND * 10), Err(SECOND));
    }

    #[test]
    fn throttling_halves_the_rate_which_comes_back_minute_by_minute() {
        let mut bucket = Bucket::new(600);
        let pace = |bucket: &Bucket| bucket.pace().as_millis();
        bucket.throttled(SECOND * 100, 0.0);
        assert_eq!(pace(&bucket), 200);
        bucket.throttled(SECOND * 100, 0.0);
        assert_eq!(pace(&bucket), 200, "calls under way together are throttled together");
        for n in 1..10 {
            bucket.throttled(SECOND * (100 + 10 * n), 0.0);
        }
        assert_eq!(pace(&bucket), 1600, "a sixteenth at most");
        bucket.accepted();
        let per_minute: Vec<_> =
            (0..5).map(|minute| taken(&mut bucket, 190 + 60 * minute, 250 + 60 * minute)).collect();
        assert!(per_minute[0] < 45, "{per_minute:?}");
        assert!(per_minute.is_sorted(), "{per_minute:?}");
        assert!(per_minute[2] < 200 && per_minute[3] < 350, "not all at once: {per_minute:?}");
        assert!((590..=620).contains(&per_minute[4]), "{per_minute:?}");
    }
}
