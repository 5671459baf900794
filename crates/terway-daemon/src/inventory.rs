//! Looking at all ENIs and telling the pool: what the cloud lists for this instance and with this node's marks,
//! what the metadata service lists, and how many addresses the vSwitches have left. At start, now and then, after
//! trouble, and by hand; never faster than the cloud's reads are worth.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use terway_cloud::{Cloud, Metadata};
use terway_pool::{Event, Inventory, Place, Pool, SeenEni, VSwitchSeen};
use terway_types::{EniId, Fault, FaultCode, IntentToken, Timestamp};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};

use crate::clock::Clock;
use crate::driver::DriverHandle;
use crate::live::Live;
use crate::metrics::Metrics;
use crate::seen::Eyes;
use crate::subnets::SubnetBook;
use crate::targets::CONSISTENCY;

/// Pause after a look that failed, doubled with each further one up to the last.
const RETRY: (Duration, Duration) = (Duration::from_secs(5), Duration::from_mins(2));
/// Reads may be this stale: a difference is looked at again after it, as the second proof.
const SECOND_LOOK: Duration = CONSISTENCY.saturating_add(MARGIN);
/// How much later than it must be a second look is, so that it is late enough by any clock.
const MARGIN: Duration = Duration::from_secs(1);

/// What one look brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// When it began.
    pub began: Timestamp,
    /// How long it took.
    pub took: Duration,
    /// ENIs the cloud showed, or why it did not.
    pub cloud: Result<Seen, Fault>,
    /// NICs the metadata service listed, or why it did not.
    pub metadata: Result<usize, Fault>,
}

/// What the cloud showed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// All ENIs.
    pub enis: usize,
    /// Those of others on this instance, besides its primary one.
    pub foreign: BTreeSet<EniId>,
    /// Those with this node's marks that the ledger does not know.
    pub orphans: BTreeSet<EniId>,
    /// Those the ledger knows and the cloud does not show.
    pub missing: BTreeSet<EniId>,
    /// When the pool wants another look, to be sure of what this one showed.
    pub again: Option<Timestamp>,
}

/// Everything a look needs.
#[derive(Debug)]
pub struct Witness {
    /// The cloud.
    pub cloud: Arc<dyn Cloud>,
    /// The node's metadata service.
    pub metadata: Arc<dyn Metadata>,
    /// Who is told.
    pub driver: DriverHandle,
    /// CIDRs of vSwitches.
    pub subnets: Arc<SubnetBook>,
    /// This node's marks.
    pub marks: BTreeMap<String, String>,
    /// Settings and facts as they are now.
    pub live: watch::Receiver<Arc<Live>>,
    /// Where counts go.
    pub metrics: Arc<Metrics>,
    /// The time.
    pub clock: Clock,
    /// Shortest time between looks that nobody asked for by hand.
    pub apart: Duration,
}

/// Asks for a look. Clones ask the same witness.
#[derive(Clone, Debug)]
pub struct Inspector {
    requests: mpsc::Sender<oneshot::Sender<Look>>,
    last: watch::Receiver<Option<Look>>,
}

impl Inspector {
    /// Has a look taken now, and waits for what it brings.
    pub async fn look(&self) -> Result<Look, Fault> {
        let (reply, look) = oneshot::channel();
        let gone = || Fault::new(FaultCode::DaemonUnreachable, "terwayd is shutting down");
        self.requests.send(reply).await.map_err(|_| gone())?;
        look.await.map_err(|_| gone())
    }

    /// What the last look brought.
    pub fn last(&self) -> Option<Look> {
        self.last.borrow().clone()
    }
}

impl Witness {
    /// Starts looking, until the driver or the runtime ends.
    pub fn start(self) -> Inspector {
        let (requests, asked) = mpsc::channel(8);
        let (told, last) = watch::channel(None);
        tokio::spawn(self.keep(asked, told));
        Inspector { requests, last }
    }

    async fn keep(self, mut asked: mpsc::Receiver<oneshot::Sender<Look>>, told: watch::Sender<Option<Look>>) {
        let mut schedule = Schedule::new(self.apart);
        let mut replies = Vec::new();
        while !self.driver.ended() {
            let look = self.look().await;
            let period = self.live.borrow().settings.inventory;
            let jitter = period.map_or(Duration::ZERO, |period| spread(period, look.began));
            schedule.looked(&look, period.map(|period| period + jitter));
            told.send_replace(Some(look.clone()));
            for reply in replies.drain(..) {
                let _: Result<(), Look> = oneshot::Sender::send(reply, look.clone());
            }
            loop {
                tokio::select! {
                    () = sleep_until(schedule.due) => break,
                    () = self.driver.trouble() => schedule.trouble(),
                    Some(reply) = asked.recv() => {
                        replies.push(reply);
                        break;
                    }
                }
            }
            while let Ok(reply) = asked.try_recv() {
                replies.push(reply);
            }
        }
    }

    async fn look(&self) -> Look {
        let start = Instant::now();
        let began = (self.clock)();
        let (cloud, metadata, ()) =
            tokio::join!(self.ask_cloud(began), self.ask_metadata(began), self.count());
        self.metrics.looked("cloud", cloud.is_ok());
        self.metrics.looked("metadata", metadata.is_ok());
        let look = Look { began, took: start.elapsed(), cloud, metadata };
        match &look.cloud {
            Ok(seen) => tracing::debug!(?seen, "looked at all ENIs"),
            Err(fault) => tracing::warn!(%fault, "could not look at all ENIs"),
        }
        look
    }

    async fn ask_cloud(&self, began: Timestamp) -> Result<Seen, Fault> {
        let live = Arc::clone(&self.live.borrow());
        let identity = &live.facts.identity;
        let eyes = Eyes {
            instance: &identity.id,
            primary: identity.primary_mac,
            marks: &self.marks,
            filter: &live.settings.eni_tag_filter,
            subnets: &self.subnets,
        };
        let seen = eyes.look(&*self.cloud).await.map_err(|failure| terway_cloud::fault(&failure))?;
        let known = self.driver.look(known).await?;
        let brought = compare(&seen, &known);
        self.metrics.inventory(began, brought.foreign.len(), brought.orphans.len());
        self.driver.tell(Event::Inventory(Inventory::Cloud { began, enis: seen }));
        let again = self.driver.look(|pool, _| pool.wants_look()).await?;
        Ok(Seen { again, ..brought })
    }

    async fn ask_metadata(&self, began: Timestamp) -> Result<usize, Fault> {
        let macs = self.metadata.macs().await.map_err(|failure| terway_cloud::fault(&failure))?;
        let count = macs.len();
        self.driver.tell(Event::Inventory(Inventory::Metadata { began, macs }));
        Ok(count)
    }

    /// Also where it fails nothing is lost: exhausted vSwitches show by themselves.
    async fn count(&self) {
        let live = Arc::clone(&self.live.borrow());
        let ids: Vec<_> = live.facts.vswitches.iter().map(|vswitch| vswitch.id.clone()).collect();
        if let Ok(found) = self.cloud.describe_vswitches(&ids).await {
            let seen = found
                .into_iter()
                .map(|vswitch| VSwitchSeen { id: vswitch.id, free_ipv4: vswitch.free_ipv4 })
                .collect();
            self.driver.tell(Event::VSwitches(seen));
        }
    }
}

/// When to look next.
#[derive(Debug)]
struct Schedule {
    apart: Duration,
    due: Instant,
    last: Instant,
    failures: u32,
    /// Looks in a row that trouble asked for, and whether the next one is of those.
    troubles: (u32, bool),
    /// The difference that was seen last; one that stays is not news.
    difference: Option<Seen>,
}

impl Schedule {
    fn new(apart: Duration) -> Self {
        let now = Instant::now();
        Self { apart, due: now, last: now, failures: 0, troubles: (0, false), difference: None }
    }

    /// After a look: soon where it failed, once more where it showed something new or the pool wants to be sure of
    /// something, else after the period.
    fn looked(&mut self, look: &Look, period: Option<Duration>) {
        self.last = Instant::now();
        let (troubles, asked) = self.troubles;
        self.troubles = (if asked { troubles.saturating_add(1) } else { 0 }, false);
        let usual = period.unwrap_or(Duration::from_hours(24 * 365));
        let pause = match &look.cloud {
            Err(_) => {
                self.failures = self.failures.saturating_add(1);
                doubled(RETRY.0, self.failures - 1).min(usual)
            }
            Ok(seen) => {
                self.failures = 0;
                let difference = Seen { enis: 0, again: None, ..seen.clone() };
                let news = self.difference.replace(difference.clone()).unwrap_or_default() != difference;
                let second = if news { SECOND_LOOK.min(usual) } else { usual };
                let wanted = |at: Timestamp| (at.since(look.began) + MARGIN).max(self.apart);
                seen.again.map_or(second, |at| second.min(wanted(at)))
            }
        };
        self.due = self.last + pause;
    }

    /// Something went wrong: as soon as the pace allows, which is slower while it goes on.
    fn trouble(&mut self) {
        self.troubles.1 = true;
        self.due = self.due.min(self.last + doubled(self.apart, self.troubles.0));
    }
}

fn doubled(pause: Duration, times: u32) -> Duration {
    pause.saturating_mul(2u32.saturating_pow(times)).min(RETRY.1.max(pause))
}

/// Up to a tenth, so that nodes that started together do not ask together.
fn spread(period: Duration, began: Timestamp) -> Duration {
    let thousandths = u32::try_from(began.0 % 1000).unwrap_or_default();
    period / 10 * thousandths / 1000
}

/// The ids and tokens of the books.
fn known(pool: &Pool, now: Timestamp) -> (BTreeSet<EniId>, BTreeSet<IntentToken>) {
    let enis = pool.view(now).enis;
    let tokens = enis.iter().map(|eni| eni.record.token.clone()).collect();
    (enis.into_iter().filter_map(|eni| eni.record.id).collect(), tokens)
}

fn compare(seen: &[SeenEni], (ids, tokens): &(BTreeSet<EniId>, BTreeSet<IntentToken>)) -> Seen {
    let is_known = |eni: &SeenEni| {
        ids.contains(&eni.id) || eni.token.as_ref().is_some_and(|token| tokens.contains(token))
    };
    let unknown = || seen.iter().filter(|eni| !eni.primary && !is_known(eni));
    let visible: BTreeSet<_> = seen.iter().map(|eni| &eni.id).collect();
    Seen {
        enis: seen.len(),
        foreign: unknown()
            .filter(|eni| !eni.ours && eni.place == Place::Here)
            .map(|eni| eni.id.clone())
            .collect(),
        orphans: unknown().filter(|eni| eni.ours).map(|eni| eni.id.clone()).collect(),
        missing: ids.iter().filter(|id| !visible.contains(id)).cloned().collect(),
        again: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(orphans: &[&str], failed: bool) -> Look {
        let orphans = orphans.iter().map(|id| EniId::from(*id)).collect();
        let cloud = if failed {
            Err(Fault::new(FaultCode::CloudUnavailable, "away"))
        } else {
            Ok(Seen { enis: 3, orphans, ..Seen::default() })
        };
        Look { began: Timestamp(0), took: Duration::ZERO, cloud, metadata: Ok(1) }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_new_is_looked_at_twice_and_what_stays_is_not() {
        let period = Duration::from_mins(10);
        let mut schedule = Schedule::new(Duration::from_secs(5));
        let mut pause = |look: &Look| {
            schedule.looked(look, Some(period));
            schedule.due - Instant::now()
        };
        assert_eq!(pause(&look(&[], false)), period);
        assert_eq!(pause(&look(&["eni-1"], false)), SECOND_LOOK);
        assert_eq!(pause(&look(&["eni-1"], false)), period);
        assert_eq!(pause(&look(&[], false)), SECOND_LOOK);
        assert_eq!(pause(&look(&[], true)), Duration::from_secs(5));
        assert_eq!(pause(&look(&[], true)), Duration::from_secs(10));
        for _ in 0..100 {
            pause(&look(&[], true));
        }
        assert_eq!(pause(&look(&[], true)), RETRY.1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_pool_is_not_sure_of_is_looked_at_again_when_it_wants() {
        let (apart, period) = (Duration::from_secs(5), Duration::from_mins(10));
        let mut schedule = Schedule::new(apart);
        let mut pause = |again| {
            let seen = Seen { again, ..Seen::default() };
            schedule.looked(&Look { cloud: Ok(seen), ..look(&[], false) }, Some(period));
            schedule.due - Instant::now()
        };
        assert_eq!(pause(None), period);
        assert_eq!(pause(Some(Timestamp(20_000))), Duration::from_secs(21));
        assert_eq!(pause(Some(Timestamp(20_000))), Duration::from_secs(21), "it still wants it");
        assert_eq!(pause(Some(Timestamp(1))), apart, "not faster than looks are worth");
    }

    #[tokio::test(start_paused = true)]
    async fn trouble_comes_forward_and_keeps_its_distance() {
        let mut schedule = Schedule::new(Duration::from_secs(5));
        schedule.looked(&look(&[], false), None);
        schedule.trouble();
        schedule.trouble();
        assert_eq!(schedule.due - Instant::now(), Duration::from_secs(5));
        let mut pauses = Vec::new();
        for _ in 0..8 {
            schedule.looked(&look(&[], false), None);
            schedule.trouble();
            pauses.push((schedule.due - Instant::now()).as_secs());
        }
        assert_eq!(pauses, [10, 20, 40, 80, 120, 120, 120, 120], "what goes on is looked at less and less");
        schedule.looked(&look(&[], false), None);
        schedule.looked(&look(&[], false), None);
        schedule.trouble();
        assert_eq!(schedule.due - Instant::now(), Duration::from_secs(5), "and anew after a quiet look");
    }
}
