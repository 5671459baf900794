//! How long to pause after a failure: exponential, capped, and spread by chance so that the nodes of a
//! cluster do not come back in step.

use std::time::Duration;

/// A schedule of pauses.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    /// The pause after the first failure, before the spread.
    pub first: Duration,
    /// By how much each further failure lengthens it; at least 1.
    pub factor: f64,
    /// The longest pause.
    pub max: Duration,
    /// The share of a pause that chance may take off, 0 to 1.
    pub jitter: f64,
}

impl Backoff {
    /// The pause after so many failures in a row (1 = the first). `random` lies in `0.0..1.0`.
    pub fn delay(&self, failures: u32, random: f64) -> Duration {
        let steps = i32::try_from(failures.saturating_sub(1)).unwrap_or(i32::MAX);
        let full = (self.first.as_secs_f64() * self.factor.powi(steps)).min(self.max.as_secs_f64());
        Duration::from_secs_f64(full * (1.0 - self.jitter * random))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff =
        Backoff { first: Duration::from_secs(1), factor: 2.0, max: Duration::from_secs(30), jitter: 0.5 };

    #[test]
    fn grows_to_the_cap_and_stays() {
        let delays: Vec<_> = (1..=7).map(|n| BACKOFF.delay(n, 0.0).as_secs()).collect();
        assert_eq!(delays, [1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(BACKOFF.delay(u32::MAX, 0.0), Duration::from_secs(30));
        assert_eq!(BACKOFF.delay(0, 0.0), Duration::from_secs(1));
    }

    #[test]
    fn chance_only_shortens() {
        assert_eq!(BACKOFF.delay(3, 0.5), Duration::from_secs(3));
        assert!(BACKOFF.delay(9, 0.999) >= Duration::from_secs(15));
    }
}
