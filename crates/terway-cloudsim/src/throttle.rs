//! Token buckets: how often actions may be called.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use terway_types::Timestamp;

/// How often an action may be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// Calls per minute in the long run; 0 refuses all.
    pub per_minute: u32,
    /// Calls at once after a pause; at least 1.
    #[serde(default = "one")]
    pub burst: u32,
}

fn one() -> u32 {
    1
}

/// The buckets of all actions. Each is kept as the time at which it is full again (the virtual scheduling
/// form of a leaky bucket), in microseconds.
#[derive(Debug, Default)]
pub(crate) struct Throttle(BTreeMap<String, u64>);

impl Throttle {
    /// Takes a token for a call of the action; says whether there was one.
    pub(crate) fn admits(&mut self, action: &str, rate: Rate, now: Timestamp) -> bool {
        let Some(cost) = 60_000_000_u64.checked_div(u64::from(rate.per_minute)) else { return false };
        let now = now.0.saturating_mul(1000);
        let full_at = self.0.get(action).copied().unwrap_or_default().max(now) + cost;
        let admitted = full_at <= now + cost * u64::from(rate.burst.max(1));
        if admitted {
            self.0.insert(action.to_owned(), full_at);
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_the_rate() {
        let rate = Rate { per_minute: 60, burst: 3 };
        let mut throttle = Throttle::default();
        let mut admitted = |ms: u64| throttle.admits("A", rate, Timestamp(1_000_000 + ms));
        assert_eq!([admitted(0), admitted(0), admitted(0), admitted(0)], [true, true, true, false]);
        assert_eq!([admitted(999), admitted(1000), admitted(1001)], [false, true, false]);
        assert_eq!(
            [admitted(9000), admitted(9000), admitted(9000), admitted(9000)],
            [true, true, true, false]
        );
    }

    #[test]
    fn buckets_are_apart_and_zero_is_none() {
        let rate = Rate { per_minute: 1, burst: 1 };
        let mut throttle = Throttle::default();
        assert!(throttle.admits("A", rate, Timestamp(0)));
        assert!(throttle.admits("B", rate, Timestamp(0)));
        assert!(!throttle.admits("A", rate, Timestamp(59_999)));
        assert!(!throttle.admits("C", Rate { per_minute: 0, burst: 9 }, Timestamp(0)));
    }
}
