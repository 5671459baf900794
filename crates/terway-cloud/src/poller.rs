//! One watch over all ENIs on their way. However many operations wait, each round asks the cloud once
//! for all their ENIs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use terway_types::{CloudFailure, CloudFailureKind as Kind, EniId};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use crate::backoff::Backoff;
use crate::cloud::{Cloud, CloudResult, EniDescription, EniFilter};
use crate::error::failure;
pub use crate::goal::Goal;
use crate::goal::{ACTION, Wait};
use crate::random;

/// How often the cloud is asked. A wait is looked at again after a quarter of its age, within bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatchPace {
    /// The shortest time between looks, and before the first.
    pub shortest: Duration,
    /// The longest time between looks.
    pub longest: Duration,
    /// How far apart two looks must be to confirm that an ENI is absent.
    pub apart: Duration,
    /// How old the cloud's answers may be. An ENI that still is as it was before a call so long after it has not
    /// been moved by it.
    pub stale: Duration,
}

impl Default for WatchPace {
    fn default() -> Self {
        Self {
            shortest: Duration::from_millis(500),
            longest: Duration::from_secs(5),
            apart: Duration::from_secs(1),
            stale: Duration::from_secs(30),
        }
    }
}

/// The pause after rounds that failed.
const RETRY: Backoff =
    Backoff { first: Duration::from_secs(1), factor: 2.0, max: Duration::from_secs(15), jitter: 0.3 };

/// Waits for ENIs to reach a state. Clones share one watch, which ends with the last of them.
#[derive(Clone, Debug)]
pub struct EniWatch {
    inbox: mpsc::UnboundedSender<Request>,
}

#[derive(Debug)]
struct Request {
    eni: EniId,
    goal: Goal,
    deadline: Duration,
    reply: oneshot::Sender<CloudResult<Option<EniDescription>>>,
}

impl EniWatch {
    /// Starts a watch at the usual pace. Must be called inside a tokio runtime.
    pub fn new(cloud: Arc<dyn Cloud>) -> Self {
        Self::with_pace(cloud, WatchPace::default())
    }

    /// Starts a watch. Must be called inside a tokio runtime.
    pub fn with_pace(cloud: Arc<dyn Cloud>, pace: WatchPace) -> Self {
        let (inbox, requests) = mpsc::unbounded_channel();
        tokio::spawn(Round { cloud, pace, waiting: Vec::new(), failures: 0 }.run(requests));
        Self { inbox }
    }

    /// Waits until the ENI has reached the goal, and returns it as it is then; `None` for [`Goal::Gone`].
    ///
    /// Fails with `Gone` when the ENI turns out to be absent, `InvalidState` when it goes another way, and
    /// at once when looking is denied. When the time is up: `Ambiguous`, or `Throttled` or `Transient` if
    /// that is why the last look failed. There is a look at the deadline, so the wait may last as long as
    /// that call.
    pub async fn until(
        &self,
        eni: &EniId,
        goal: Goal,
        deadline: Duration,
    ) -> CloudResult<Option<EniDescription>> {
        let (reply, outcome) = oneshot::channel();
        // Only a watch whose runtime is shutting down refuses or drops a request.
        let ended = || failure(Kind::Ambiguous, ACTION, format!("the watch over {eni} ended early"));
        self.inbox.send(Request { eni: eni.clone(), goal, deadline, reply }).map_err(|_| ended())?;
        outcome.await.map_err(|_| ended())?
    }
}

#[derive(Debug)]
struct Waiting {
    wait: Wait,
    began: Instant,
    deadline: Instant,
    /// When to look at it next.
    due: Instant,
    reply: oneshot::Sender<CloudResult<Option<EniDescription>>>,
}

impl Waiting {
    fn is_over(&self, now: Instant) -> bool {
        now >= self.deadline
    }

    fn expired(&self, now: Instant) -> CloudFailure {
        self.wait.expired(now, now.duration_since(self.began))
    }
}

#[derive(Debug)]
struct Round {
    cloud: Arc<dyn Cloud>,
    pace: WatchPace,
    waiting: Vec<Waiting>,
    /// Failed rounds in a row.
    failures: u32,
}

impl Round {
    async fn run(mut self, mut requests: mpsc::UnboundedReceiver<Request>) {
        loop {
            let due = self.waiting.iter().map(|waiting| waiting.due).min();
            let request = match due {
                Some(due) => timeout_at(due, requests.recv()).await,
                None => Ok(requests.recv().await),
            };
            match request {
                Ok(Some(request)) => self.admit(request),
                Ok(None) => return,
                Err(_due) => self.look().await,
            }
        }
    }

    fn admit(&mut self, request: Request) {
        let began = Instant::now();
        let deadline = began + request.deadline;
        self.waiting.push(Waiting {
            wait: Wait::new(request.eni, request.goal, self.pace, began),
            began,
            deadline,
            due: (began + self.pace.shortest).min(deadline),
            reply: request.reply,
        });
    }

    /// One round: one call for everything waited for.
    async fn look(&mut self) {
        self.waiting.retain(|waiting| !waiting.reply.is_closed());
        let ids: BTreeSet<_> = self.waiting.iter().map(|waiting| waiting.wait.eni.clone()).collect();
        if ids.is_empty() {
            return;
        }
        let looked = Instant::now();
        let filter = EniFilter { ids: ids.into_iter().collect(), ..EniFilter::default() };
        match self.cloud.describe_enis(&filter).await {
            Ok(found) => self.judge(looked, found),
            Err(failure) => self.endure(&failure),
        }
    }

    fn judge(&mut self, looked: Instant, found: Vec<EniDescription>) {
        self.failures = 0;
        let found: BTreeMap<_, _> = found.into_iter().map(|eni| (eni.id.clone(), eni)).collect();
        let now = Instant::now();
        for mut waiting in std::mem::take(&mut self.waiting) {
            match waiting.wait.look(looked, found.get(&waiting.wait.eni)) {
                Some(verdict) => answer(waiting, verdict),
                None if waiting.is_over(looked) => {
                    let failure = waiting.expired(looked);
                    answer(waiting, Err(failure));
                }
                None => {
                    let pause = (now.duration_since(waiting.began) / 4)
                        .clamp(self.pace.shortest, self.pace.longest.max(self.pace.shortest));
                    waiting.due = (now + pause).min(waiting.deadline);
                    self.waiting.push(waiting);
                }
            }
        }
    }

    /// A round failed. What may pass is borne until the deadline; what will not ends all waits.
    fn endure(&mut self, failure: &CloudFailure) {
        self.failures = self.failures.saturating_add(1);
        let pause = RETRY.delay(self.failures, random::fraction());
        let hopeless = matches!(failure.kind, Kind::Denied | Kind::ClockSkew);
        let now = Instant::now();
        for mut waiting in std::mem::take(&mut self.waiting) {
            if hopeless {
                answer(waiting, Err(failure.clone()));
            } else if waiting.is_over(now) {
                let message = format!("{}: {}", waiting.expired(now).message, failure.message);
                // That a look was refused says nothing about the operation whose end it was to show.
                let kind = match &failure.kind {
                    passing @ (Kind::Throttled | Kind::Transient) => passing.clone(),
                    _ => Kind::Ambiguous,
                };
                answer(waiting, Err(CloudFailure { kind, message, ..failure.clone() }));
            } else {
                waiting.due = (now + pause).min(waiting.deadline);
                self.waiting.push(waiting);
            }
        }
    }
}

fn answer(waiting: Waiting, verdict: CloudResult<Option<EniDescription>>) {
    // Whoever asked may have left meanwhile, which is all right.
    let _ = waiting.reply.send(verdict);
}

#[cfg(test)]
mod tests;
