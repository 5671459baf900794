//! The budget of cloud calls: one token bucket per action, so that a storm on one node cannot use up
//! what the whole account shares, and a limit on calls at the same time. A bucket holds about one second's
//! worth; an answer that says "throttled" closes it for a growing while and slows it down.

mod bucket;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

pub use self::bucket::Bucket;
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
    // Those of Lingjun nodes.
    ("CreateElasticNetworkInterface", 1200),
    ("DeleteElasticNetworkInterface", 1200),
    ("AttachElasticNetworkInterface", 300),
    ("DetachElasticNetworkInterface", 300),
    ("ListElasticNetworkInterfaces", 6000),
    ("GetNodeInfoForPod", 6000),
    // Tencent Cloud's; the others have the same names there.
    ("AssociateNetworkInterfaceSecurityGroups", 400),
    ("DescribeNetworkInterfaceLimit", 300),
    ("DescribeVpcTaskResult", 800),
];

/// Calls at the same time, unless told otherwise.
const PARALLEL: usize = 16;

/// Waits from here on are worth a line in the log.
const LONG_WAIT: Duration = Duration::from_secs(5);

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
    /// Calls that may still begin before others have ended.
    parallel: Arc<Semaphore>,
}

/// The right to make one call. Held until the call has ended.
#[must_use = "the call must be made while it is held"]
#[derive(Debug)]
pub struct Permit {
    _place: Option<OwnedSemaphorePermit>,
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
            parallel: Arc::new(Semaphore::new(PARALLEL)),
        }
    }

    /// With so many calls at the same time (at least 1) in place of 16.
    #[must_use]
    pub fn with_parallel(mut self, calls: usize) -> Self {
        self.parallel = Arc::new(Semaphore::new(calls.max(1)));
        self
    }

    /// Waits until the action may be called. Callers of one action are served in order, and so are those
    /// who wait for others' calls to end.
    pub async fn acquire(&self, action: &str) -> Permit {
        self.take_token(action).await;
        // After the token: who waits for a slow action must not keep others out.
        Permit { _place: Arc::clone(&self.parallel).acquire_owned().await.ok() }
    }

    async fn take_token(&self, action: &str) {
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
            drop(budget.acquire("CreateNetworkInterface").await);
        }
        assert!((SECOND * 3..SECOND * 4).contains(&start.elapsed()), "{:?}", start.elapsed());
        let later = Instant::now();
        drop(budget.acquire("AttachNetworkInterface").await);
        drop(budget.acquire("SomethingUnknown").await);
        assert_eq!(later.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn waiters_are_served_in_order() {
        let budget = Budget::new(&BTreeMap::from([(String::new(), 60)])).unwrap();
        let order = Mutex::new(Vec::new());
        let turn = async |name: u32| {
            drop(budget.acquire("Unknown").await);
            order.lock().unwrap().push(name);
        };
        tokio::join!(turn(1), turn(2), turn(3), turn(4));
        assert_eq!(*order.lock().unwrap(), [1, 2, 3, 4]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_throttled_action_rests() {
        let budget = Budget::default();
        drop(budget.acquire("DetachNetworkInterface").await);
        budget.throttled("DetachNetworkInterface");
        let start = Instant::now();
        drop(budget.acquire("DetachNetworkInterface").await);
        assert!((Duration::from_millis(700)..=SECOND).contains(&start.elapsed()), "{:?}", start.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn only_so_many_calls_at_the_same_time() {
        let budget = Budget::default().with_parallel(2);
        let first = budget.acquire("DescribeVSwitches").await;
        let _second = budget.acquire("AttachNetworkInterface").await;
        let third = budget.acquire("DetachNetworkInterface");
        tokio::pin!(third);
        let wait = tokio::time::timeout(SECOND, &mut third).await;
        assert!(wait.is_err(), "two are under way");
        drop(first);
        drop(tokio::time::timeout(SECOND, third).await.unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn a_throttled_action_keeps_no_place_while_it_waits() {
        let budget = Budget::default().with_parallel(1);
        budget.throttled("AttachNetworkInterface");
        let start = Instant::now();
        let attach = async { drop(budget.acquire("AttachNetworkInterface").await) };
        let describe = async {
            drop(budget.acquire("DescribeNetworkInterfaces").await);
            start.elapsed()
        };
        let ((), describe) = tokio::join!(attach, describe);
        assert_eq!(describe, Duration::ZERO);
        assert!(start.elapsed() >= Duration::from_millis(700));
    }
}
