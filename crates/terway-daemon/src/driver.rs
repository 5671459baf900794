//! The one thread that owns pool and ledger. It takes whatever lies in its inbox, lets the pool decide,
//! makes all changes of the batch durable in one transaction, and only then carries out the rest.
//!
//! A commit that fails means that memory and disk disagree: the pool is thrown away, whoever waits is
//! told, and a new pool is built from what the ledger holds.

mod fuse;
mod handle;
mod intents;
mod journal;
mod remembered;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use terway_pool::{
    Answer, Capacity, CloudAction, CloudAnswer, Effect, Event, Note, OperationId, Pool, PoolSettings,
    RequestId,
};
use terway_types::{
    CloudFailure, CloudFailureKind, Fault, FaultCode, HistoryEntry, IntentToken, LedgerChange, MacAddr,
    Timestamp,
};
use tokio::sync::{Notify, oneshot, watch};

pub use self::fuse::{Fuse, kill_self};
pub use self::handle::DriverHandle;
use self::intents::Intents;
pub use self::journal::Journal;
use self::remembered::Remembered;
use crate::clock::Clock;
use crate::events::Events;
use crate::metrics::Metrics;

/// Events decided on before they are made durable together.
const BATCH: usize = 256;
/// Longest sleep: the wall clock may jump.
const LONGEST_SLEEP: Duration = Duration::from_secs(5);
/// Pause between attempts to build a pool from a ledger that cannot be read.
const REBUILD_PAUSE: Duration = Duration::from_secs(1);

/// Names a cloud operation over rebuilds of the pool, each of which counts its operations from the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket {
    epoch: u64,
    operation: OperationId,
}

/// Whoever carries out cloud operations, and comes back with [`DriverHandle::done`].
pub trait Hands: Send {
    /// Starts an operation, on behalf of this intent if it is known; must not block.
    fn start(&mut self, ticket: Ticket, action: CloudAction, intent: Option<IntentToken>);
}

/// What the driver is made of.
pub struct Parts {
    /// The open ledger.
    pub ledger: Box<dyn Journal>,
    /// The pool's targets. The generation is replaced by one that was never used.
    pub settings: PoolSettings,
    /// The time.
    pub clock: Clock,
    /// Where latencies and counts go.
    pub metrics: Arc<Metrics>,
    /// Where events go.
    pub events: Arc<Events>,
    /// For crash tests: burns down with each effect.
    pub fuse: Fuse,
}

/// A reader of the pool.
type Look = Box<dyn FnOnce(&Pool, Timestamp) + Send>;

enum Message {
    Ask { request: RequestId, event: Event, reply: oneshot::Sender<Answer> },
    Tell(Event),
    Link { mac: MacAddr, present: bool },
    Done { ticket: Ticket, outcome: Result<CloudAnswer, CloudFailure> },
    Remember(HistoryEntry),
    Look(Look),
    Stop,
}

/// Why the driver ended.
enum End {
    Stopped,
    FuseBurnt,
}

struct Driver<H> {
    parts: Parts,
    hands: H,
    pool: Result<Pool, Fault>,
    /// When the pool is built again, if the last one could not even record what it began with.
    again: Option<Instant>,
    epoch: u64,
    links: BTreeSet<MacAddr>,
    intents: Intents,
    remembered: Remembered,
    waiting: HashMap<RequestId, oneshot::Sender<Answer>>,
    trouble: Arc<Notify>,
    revision: watch::Sender<u64>,
    capacity: watch::Sender<Capacity>,
}

/// Starts the driver's thread. It ends when the handle says stop, or when the fuse has burnt down.
pub fn start<H: Hands + 'static>(
    parts: Parts,
    hands: impl FnOnce(&DriverHandle) -> H,
) -> std::io::Result<DriverHandle> {
    let (inbox, messages) = mpsc::channel();
    let (revision, revisions) = watch::channel(0);
    let (capacity, capacities) = watch::channel(Capacity::default());
    let trouble = Arc::<Notify>::default();
    let handle = DriverHandle::new(inbox, revisions, capacities, Arc::clone(&trouble));
    let driver = Driver {
        parts,
        hands: hands(&handle),
        pool: Err(Fault::new(FaultCode::DaemonStarting, "the pool is being built")),
        again: None,
        epoch: 0,
        links: BTreeSet::new(),
        intents: Intents::default(),
        remembered: Remembered::default(),
        waiting: HashMap::new(),
        trouble,
        revision,
        capacity,
    };
    let thread = thread::Builder::new().name("driver".to_owned()).spawn(move || driver.run(&messages))?;
    handle.owns(thread);
    Ok(handle)
}

impl<H: Hands> Driver<H> {
    fn run(mut self, messages: &Receiver<Message>) {
        let mut going = self.rebuild();
        while going.is_ok() {
            going = self.turn(messages);
        }
        if let Err(End::FuseBurnt) = going {
            self.parts.fuse.blow();
            return;
        }
        let fault = Fault::new(FaultCode::DaemonUnreachable, "terwayd is shutting down")
            .remedy("none needed; the runtime tries again when it is back");
        self.fail_waiting(&fault);
    }

    /// One batch.
    fn turn(&mut self, messages: &Receiver<Message>) -> Result<(), End> {
        let first = match messages.recv_timeout(self.sleep()) {
            Ok(message) => Some(message),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return Err(End::Stopped),
        };
        if self.pool.is_err() && self.again.is_none_or(|at| at <= Instant::now()) {
            self.rebuild()?;
        }
        let mut effects = Vec::new();
        let mut looks = Vec::new();
        let (mut handled, mut stopped) = (false, false);
        for message in first.into_iter().chain(messages.try_iter().take(BATCH)) {
            match message {
                Message::Stop => {
                    stopped = true;
                    break;
                }
                Message::Look(look) => looks.push(look),
                Message::Remember(entry) => self.remembered.add(entry),
                message => {
                    handled = true;
                    self.decide(message, &mut effects);
                }
            }
        }
        let due = self.pool.as_ref().ok().and_then(Pool::next_deadline);
        if due.is_some_and(|due| due <= (self.parts.clock)()) {
            handled = true;
            self.handle(Event::Tick, &mut effects);
        }
        self.carry_out(effects)?;
        if self.remembered.due_in().is_some_and(|wait| wait.is_zero() || stopped) {
            self.write_remembered();
        }
        if handled {
            // Also without effects: somebody may have joined the queue.
            self.revision.send_modify(|revision| *revision += 1);
        }
        for look in looks {
            self.show(look);
        }
        if stopped { Err(End::Stopped) } else { Ok(()) }
    }

    fn sleep(&self) -> Duration {
        let due = match &self.pool {
            Ok(pool) => pool
                .next_deadline()
                .map_or(LONGEST_SLEEP, |due| due.since((self.parts.clock)()).min(LONGEST_SLEEP)),
            Err(_) => self.again.map_or(REBUILD_PAUSE, |at| at.saturating_duration_since(Instant::now())),
        };
        self.remembered.due_in().map_or(due, |wait| due.min(wait))
    }

    fn decide(&mut self, message: Message, effects: &mut Vec<Effect>) {
        match message {
            Message::Ask { request, event, reply } => match &self.pool {
                Ok(_) => {
                    self.waiting.insert(request, reply);
                    self.handle(event, effects);
                }
                Err(fault) => drop(reply.send(Answer::Failed(fault.clone()))),
            },
            Message::Tell(Event::Reconfigure(settings)) => {
                let generation = self.parts.settings.generation;
                self.parts.settings = PoolSettings { generation, ..settings };
                self.handle(Event::Reconfigure(self.parts.settings.clone()), effects);
            }
            Message::Tell(event) => {
                if let Event::Cancel { request } = &event {
                    self.waiting.remove(request);
                }
                self.handle(event, effects);
            }
            Message::Link { mac, present: true } => {
                self.links.insert(mac);
                self.handle(Event::LinkUp { mac }, effects);
            }
            Message::Link { mac, present: false } => {
                self.links.remove(&mac);
                self.handle(Event::LinkGone { mac }, effects);
            }
            Message::Done { ticket, outcome } if ticket.epoch == self.epoch => {
                if outcome.as_ref().is_err_and(|failure| calls_for_a_look(&failure.kind)) {
                    self.trouble.notify_one();
                }
                self.handle(Event::CloudDone { operation: ticket.operation, outcome }, effects);
            }
            Message::Done { .. } | Message::Remember(_) | Message::Look(_) | Message::Stop => {}
        }
    }

    fn handle(&mut self, event: Event, effects: &mut Vec<Effect>) {
        if let Ok(pool) = &mut self.pool {
            effects.extend(pool.handle((self.parts.clock)(), event));
        }
    }

    /// Makes every change of the batch durable, then answers, then does the rest in order.
    fn carry_out(&mut self, effects: Vec<Effect>) -> Result<(), End> {
        if effects.is_empty() {
            return Ok(());
        }
        let persists: Vec<&[LedgerChange]> = effects
            .iter()
            .filter_map(|effect| match effect {
                Effect::Persist(changes) => Some(changes.as_slice()),
                _ => None,
            })
            .collect();
        let allowed = self.parts.fuse.burn(persists.len());
        let changes = persists[..allowed].concat();
        let last_breath = allowed < persists.len();
        if let Err(fault) = self.commit(&changes) {
            self.parts.events.note("PoolRebuilt", format!("the pool is built anew from the ledger: {fault}"));
            self.fail_waiting(&fault);
            // Built with the next message or soon: at once would go in circles on a full disk.
            self.pool = Err(fault);
            return Ok(());
        }
        if last_breath {
            return Err(End::FuseBurnt);
        }
        // Somebody waits for an answer, and nobody for the rest: whoever passes it on may need this very processor.
        let (answers, rest): (Vec<_>, Vec<_>) =
            effects.into_iter().partition(|effect| matches!(effect, Effect::Reply { .. }));
        if !answers.is_empty() {
            answers.into_iter().try_for_each(|effect| self.perform(effect))?;
            thread::yield_now();
        }
        rest.into_iter().try_for_each(|effect| self.perform(effect))
    }

    fn commit(&mut self, changes: &[LedgerChange]) -> Result<(), Fault> {
        if changes.is_empty() {
            return Ok(());
        }
        let start = Instant::now();
        let outcome = match self.remembered.waiting() {
            [] => self.parts.ledger.commit(changes),
            waiting => self.parts.ledger.commit(&[changes, waiting].concat()),
        };
        self.parts.metrics.commit(start.elapsed(), outcome.is_ok());
        match &outcome {
            Ok(()) => {
                for change in changes {
                    self.intents.learn(change);
                }
                self.remembered.written();
            }
            Err(_) => self.remembered.refused(),
        }
        outcome
    }

    /// History alone: where it cannot be written, nothing that matters is lost.
    fn write_remembered(&mut self) {
        match self.parts.ledger.commit(self.remembered.waiting()) {
            Ok(()) => self.remembered.written(),
            Err(fault) => {
                tracing::warn!(%fault, "history cannot be written yet");
                self.remembered.refused();
            }
        }
    }

    fn perform(&mut self, effect: Effect) -> Result<(), End> {
        if matches!(effect, Effect::Cloud { .. } | Effect::Reply { .. }) && self.parts.fuse.burn(1) == 0 {
            return Err(End::FuseBurnt);
        }
        match effect {
            Effect::Persist(_) => {}
            Effect::Cloud { operation, action } => {
                let intent = self.intents.behind(&action);
                self.hands.start(Ticket { epoch: self.epoch, operation }, action, intent);
            }
            Effect::Reply { request, answer } => {
                if let Some(reply) = self.waiting.remove(&request) {
                    // The asker may have gone; its turn then ends with a cancellation.
                    let _ = reply.send(answer);
                }
            }
            Effect::Publish(capacity) => drop(self.capacity.send_replace(capacity)),
            Effect::Note(note) => self.tell(&note),
        }
        Ok(())
    }

    /// Shows the pool; where nothing can be recorded, one as the ledger has it, which does nothing: pods stay what they are.
    fn show(&mut self, look: Look) {
        let now = (self.parts.clock)();
        if let Ok(pool) = &self.pool {
            look(pool, now);
        } else if let Ok(snapshot) = self.parts.ledger.snapshot() {
            look(&Pool::new(self.parts.settings.clone(), snapshot, now).0, now);
        }
    }

    /// Builds the pool anew. One that has something to record at once fails on a full disk before anybody asks, so the next
    /// one comes after a pause.
    fn rebuild(&mut self) -> Result<(), End> {
        let built = self.build();
        self.again = self.pool.is_err().then(|| Instant::now() + REBUILD_PAUSE);
        built
    }

    /// Builds the pool from the ledger and tells it which NICs are at home.
    fn build(&mut self) -> Result<(), End> {
        let now = (self.parts.clock)();
        let snapshot = match self.parts.ledger.snapshot() {
            Ok(snapshot) => snapshot,
            Err(fault) => {
                tracing::error!(%fault, "cannot build the pool");
                self.pool = Err(fault);
                return Ok(());
            }
        };
        self.epoch += 1;
        self.intents = Intents::of(&snapshot);
        if self.epoch > 1 {
            // Whatever the pool before had been shown is forgotten.
            self.trouble.notify_one();
        }
        // Tokens must never repeat, not even when the clock was set back or the pool is built twice a millisecond.
        self.parts.settings.generation = now.0.max(self.parts.settings.generation + 1);
        let (pool, mut effects) = Pool::new(self.parts.settings.clone(), snapshot, now);
        self.pool = Ok(pool);
        for mac in self.links.clone() {
            self.handle(Event::LinkUp { mac }, &mut effects);
        }
        self.carry_out(effects)
    }

    fn tell(&self, note: &Note) {
        match note {
            Note::Phase { token, eni, from, to } => {
                let eni = eni.as_ref().map(ToString::to_string).unwrap_or_default();
                tracing::info!(%token, eni, from, to, "ENI changed its phase");
            }
            Note::Event { reason, message } => self.parts.events.note(reason, message),
            Note::Failure { token, fault } => {
                self.parts.metrics.failure(fault.code);
                tracing::warn!(%token, %fault, "cloud operation failed");
            }
        }
    }

    fn fail_waiting(&mut self, fault: &Fault) {
        for (_, reply) in self.waiting.drain() {
            let _ = reply.send(Answer::Failed(fault.clone()));
        }
    }
}

/// Failures after which the books and the cloud may differ.
fn calls_for_a_look(kind: &CloudFailureKind) -> bool {
    use CloudFailureKind::{Ambiguous, Conflict, Gone, InvalidState, Quota, SubnetExhausted};
    matches!(kind, Ambiguous | Conflict | Gone | InvalidState | Quota { .. } | SubnetExhausted)
}
