//! The budget of cloud calls: one token bucket per action, so that a storm on one node cannot use up
//! what the whole account shares. A bucket holds about one second's worth; an answer that says
//! "throttled" closes it for a growing while.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::random::{self, Random};

/// Calls per minute of actions without an entry of their own; they share one bucket.
const DEFAULT_PER_MINUTE: u32 = 500;

/// Calls per minute and action, as the existing implementation limits itself.
const PER_MINUTE: &[(&str, u32)] = &[
    ("AttachNetworkInterface", 500),
    ("CreateNetworkInterface", 500),
    ("DeleteNetworkInterface", 500),
    ("DescribeNetworkInterfaces", 800),
    ("DescribeNetworkInterfaceAttribute", 2000),
    ("DetachNetworkInterface", 400),
    ("AssignPrivateIpAddresses", 400),
    ("UnassignPrivateIpAddresses", 400),
    ("AssignIpv6Addresses", 400),
    ("UnassignIpv6Addresses", 400),
    ("DescribeInstanceTypes", 400),
    ("DescribeVSwitches", 300),
];

/// How long an action rests after the cloud called it too frequent.
const REST: Backoff =
    Backoff { first: Duration::from_secs(1), factor: 2.0, max: Duration::from_secs(30), jitter: 0.3 };

/// Waits from here on are worth a line in the log.
const LONG_WAIT: Duration = Duration::from_secs(5);

/// A token bucket, kept as the time at which it would be full again. Time is whatever `now` counts from.
#[derive(Clone, Debug)]
pub struct Bucket {
    interval: Duration,
    depth: Duration,
    full_at: Duration,
    throttled: u32,
}

impl Bucket {
    /// A full bucket for `per_minute` (at least 1) calls, holding one second's worth.
    pub fn new(per_minute: u32) -> Self {
        let burst = (per_minute / 60).max(1);
        let interval = Duration::from_mins(1) / per_minute.max(1);
        Self { interval, depth: interval * burst, full_at: Duration::ZERO, throttled: 0 }
    }

    /// Takes a token, or says how long to wait for one.
    pub fn take(&mut self, now: Duration) -> Result<(), Duration> {
        let full_at = self.full_at.max(now) + self.interval;
        match full_at.checked_sub(now + self.depth) {
            Some(wait) if !wait.is_zero() => Err(wait),
            _ => {
                self.full_at = full_at;
                Ok(())
            }
        }
    }

    /// The cloud called a call too frequent: closes the bucket for a while, longer each time in a row.
    pub fn throttled(&mut self, now: Duration, random: f64) {
        self.throttled = self.throttled.saturating_add(1);
        let rest = REST.delay(self.throttled, random);
        self.full_at = self.full_at.max(now + self.depth + rest.saturating_sub(self.interval));
    }

    /// The cloud took a call: the next throttling counts as the first.
    pub fn accepted(&mut self) {
        self.throttled = 0;
    }
}

/// A limit that cannot work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("rate_limit of {action} is 0 calls per minute; give at least 1, or remove the entry")]
pub struct BudgetError {
    /// The action.
    pub action: String,
}

/// The calls a process may make. Share one per process.
#[derive(Debug)]
pub struct Budget {
    origin: Instant,
    random: Random,
    lanes: BTreeMap<String, Lane>,
    rest: Lane,
}

#[derive(Debug)]
struct Lane {
    /// Whoever holds it is next: first come, first served.
    turn: tokio::sync::Mutex<()>,
    bucket: Mutex<Bucket>,
}

impl Lane {
    fn new(per_minute: u32) -> Self {
        Self { turn: tokio::sync::Mutex::new(()), bucket: Mutex::new(Bucket::new(per_minute)) }
    }

    fn bucket(&self) -> MutexGuard<'_, Bucket> {
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self::build(&BTreeMap::new())
    }
}

impl Budget {
    /// The built-in limits, with these (`rate_limit` of the configuration: action -> calls per minute)
    /// in their place. The empty name stands for all actions without a limit of their own.
    pub fn new(per_minute: &BTreeMap<String, u32>) -> Result<Self, BudgetError> {
        match per_minute.iter().find(|(_, calls)| **calls == 0) {
            Some((action, _)) => Err(BudgetError { action: action.clone() }),
            None => Ok(Self::build(per_minute)),
        }
    }

    fn build(overrides: &BTreeMap<String, u32>) -> Self {
        let mut limits: BTreeMap<String, u32> =
            PER_MINUTE.iter().map(|(action, calls)| ((*action).to_owned(), *calls)).collect();
        limits.insert(String::new(), DEFAULT_PER_MINUTE);
        limits.extend(overrides.clone());
        let rest = limits.remove("").unwrap_or(DEFAULT_PER_MINUTE);
        Self {
            origin: Instant::now(),
            random: random::fraction,
            lanes: limits.into_iter().map(|(action, calls)| (action, Lane::new(calls))).collect(),
            rest: Lane::new(rest),
        }
    }

    /// Waits until the action may be called. Callers of one action are served in order.
    pub async fn acquire(&self, action: &str) {
        let lane = self.lane(action);
        let _turn = lane.turn.lock().await;
        loop {
            let taken = lane.bucket().take(self.origin.elapsed());
            let Err(wait) = taken else { return };
            if wait >= LONG_WAIT {
                tracing::warn!(
                    action,
                    wait_seconds = wait.as_secs(),
                    "the rate budget holds back a cloud call"
                );
            }
            tokio::time::sleep(wait).await;
        }
    }

    /// Tells the budget that the cloud throttled a call of the action.
    pub fn throttled(&self, action: &str) {
        self.lane(action).bucket().throttled(self.origin.elapsed(), (self.random)());
    }

    /// Tells the budget that the cloud took a call of the action.
    pub fn accepted(&self, action: &str) {
        self.lane(action).bucket().accepted();
    }

    fn lane(&self, action: &str) -> &Lane {
        self.lanes.get(action).unwrap_or(&self.rest)
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

    #[test]
    fn no_minute_exceeds_limit_and_burst() {
        let mut bucket = Bucket::new(120);
        let taken = (0..60_000).filter(|ms| bucket.take(Duration::from_millis(*ms)).is_ok()).count();
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
    fn a_limit_of_zero_is_refused() {
        let error = Budget::new(&BTreeMap::from([("DescribeVSwitches".to_owned(), 0)])).unwrap_err();
        assert_eq!(
            error.to_string(),
            "rate_limit of DescribeVSwitches is 0 calls per minute; give at least 1, or remove the entry"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn calls_of_one_action_are_spread_and_others_are_not_held() {
        let budget = Budget::new(&BTreeMap::from([("CreateNetworkInterface".to_owned(), 60)])).unwrap();
        let start = Instant::now();
        for _ in 0..4 {
            budget.acquire("CreateNetworkInterface").await;
        }
        assert!((SECOND * 3..SECOND * 4).contains(&start.elapsed()), "{:?}", start.elapsed());
        let later = Instant::now();
        budget.acquire("AttachNetworkInterface").await;
        budget.acquire("SomethingUnknown").await;
        assert_eq!(later.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn waiters_are_served_in_order() {
        let budget = Budget::new(&BTreeMap::from([(String::new(), 60)])).unwrap();
        let order = Mutex::new(Vec::new());
        let turn = async |name: u32| {
            budget.acquire("Unknown").await;
            order.lock().unwrap().push(name);
        };
        tokio::join!(turn(1), turn(2), turn(3), turn(4));
        assert_eq!(*order.lock().unwrap(), [1, 2, 3, 4]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_throttled_action_rests() {
        let budget = Budget::default();
        budget.acquire("DetachNetworkInterface").await;
        budget.throttled("DetachNetworkInterface");
        let start = Instant::now();
        budget.acquire("DetachNetworkInterface").await;
        assert!((Duration::from_millis(700)..=SECOND).contains(&start.elapsed()), "{:?}", start.elapsed());
    }
}
