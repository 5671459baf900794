//! Drives a pool through a history: executes effects one by one, makes the world answer, crashes, and holds
//! everything seen against the invariants.

pub(crate) mod choices;
mod deeds;
mod demands;
mod effects;
mod essence;
mod invariants;
mod looks;
mod meddling;
mod outside;
mod rest;
mod tale;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use terway_types::{
    AttachmentKey, AttachmentRecord, CloudFailureKind as Kind, EniId, EniRecord, IntentToken, LedgerSnapshot,
    MacAddr, Timestamp,
};

pub(crate) use self::demands::Demand;
use self::looks::Scene;
pub(crate) use self::meddling::Meddling;
use super::cloud::RealCloud;
use super::past::Past;
use crate::testing::settings;
use crate::{
    Answer, Capacity, CloudAction, Effect, Event, OperationId, Pool, PoolSettings, PoolView, ReleasePace,
    RequestId,
};

/// Longest time a cloud call may land after its answer was lost, in milliseconds; less than `retry_max`.
pub(crate) const LATEST: u64 = 60;

/// How a cloud call ends.
#[derive(Clone, Debug)]
pub(crate) enum Fate {
    Done,
    Refused(Kind),
    /// Done, but the answer is lost.
    DoneUnheard,
    /// Lost on the way.
    Lost,
    /// The answer is lost and the call lands later.
    Late(u64),
    /// Done and told twice.
    Twice,
}

#[derive(Clone, Debug)]
struct Running {
    since: Timestamp,
    operation: OperationId,
    action: CloudAction,
}

#[derive(Clone, Debug)]
struct Ask {
    /// For which attachment; none for a collection.
    key: Option<AttachmentKey>,
    allocates: bool,
    /// Whether the asker still listens.
    heard: bool,
    /// Whether a release of the attachment was asked for since.
    outdated: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct World {
    now: Timestamp,
    settings: PoolSettings,
    pool: Pool,
    /// Effects handed out and not yet executed.
    queue: VecDeque<Effect>,
    enis: BTreeMap<IntentToken, EniRecord>,
    attachments: BTreeMap<AttachmentKey, AttachmentRecord>,
    pub(crate) cloud: RealCloud,
    running: Vec<Running>,
    /// Calls that land later; those of an earlier life are even answered, to the wrong life.
    late: Vec<(Timestamp, CloudAction, Option<OperationId>)>,
    /// Netdevs on their way to the node.
    arriving: Vec<(Timestamp, EniId)>,
    /// Netdevs in the host's namespace and inside pods.
    home: BTreeSet<MacAddr>,
    inside: BTreeMap<MacAddr, AttachmentKey>,
    /// What the link watcher has seen and not yet told, and answers to an earlier life.
    unseen: VecDeque<Event>,
    next_request: u64,
    /// Requests of this life without an answer.
    open: BTreeMap<RequestId, Ask>,
    /// What asker and runtime believe: this attachment holds this ENI.
    told: BTreeMap<AttachmentKey, IntentToken>,
    phases: BTreeMap<IntentToken, &'static str>,
    published: Option<Capacity>,
    pub(crate) cloud_calls: usize,
    /// Whether anybody looks at the cloud at all.
    watched: bool,
    /// Whether the last look was partial.
    partial: bool,
    /// Whether no effect waits while time passes, as where calls are taken for lost by the clock.
    punctual: bool,
    past: Past<Scene>,
    /// ENIs that the control plane made for claims.
    named: BTreeMap<u8, EniId>,
    /// ENIs that people have moved or deleted, and those of a lost ledger.
    meddled: BTreeSet<IntentToken>,
    lost: BTreeSet<IntentToken>,
    /// What operators were told.
    pub(crate) told_events: Vec<(&'static str, String)>,
    /// Answers in the order they were given.
    pub(crate) answers: Vec<(RequestId, Answer)>,
    /// Effects that may still be executed before the daemon dies.
    pub(crate) fuse: Option<usize>,
    /// How much time passes by itself while things happen.
    pub(crate) pace: Pace,
}

/// How much time passes by itself while things happen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// From death to the next life, in milliseconds.
    pub(crate) restart: u64,
    /// Netdevs of attached ENIs take their time, each another one.
    pub(crate) slow_links: bool,
    /// Longest time a cloud call may land after its answer was lost, in milliseconds; less than `retry_max`.
    pub(crate) latest: u64,
    /// Whether anybody may look at the cloud, so that its past decides something.
    pub(crate) looks: bool,
    /// Calls whose answer a dead daemon would have got land one after the other, instead of as late as may be.
    pub(crate) staggered: bool,
}

pub(crate) fn fast_settings() -> PoolSettings {
    PoolSettings {
        vswitches: vec!["vsw-a".into(), "vsw-b".into()],
        quarantine: Duration::from_millis(50),
        quarantine_max: Duration::from_millis(200),
        release: ReleasePace { interval: Duration::from_millis(40), quick: false },
        operation_timeout: Duration::from_millis(250),
        consistency: Duration::from_millis(40),
        link_timeout: Duration::from_millis(300),
        home_timeout: Duration::from_millis(200),
        retry_first: Duration::from_millis(10),
        retry_max: Duration::from_millis(100),
        ..settings()
    }
}

impl World {
    pub(crate) fn new(settings: PoolSettings, free: [u32; 2], slots: usize) -> Self {
        let now = Timestamp(1_000_000);
        let (pool, effects) = Pool::new(settings.clone(), LedgerSnapshot::default(), now);
        let cloud = RealCloud::new(slots, free);
        Self {
            now,
            settings,
            pool,
            queue: effects.into(),
            enis: BTreeMap::new(),
            attachments: BTreeMap::new(),
            cloud,
            running: Vec::new(),
            late: Vec::new(),
            arriving: Vec::new(),
            home: BTreeSet::new(),
            inside: BTreeMap::new(),
            unseen: VecDeque::new(),
            next_request: 0,
            open: BTreeMap::new(),
            told: BTreeMap::new(),
            phases: BTreeMap::new(),
            published: None,
            cloud_calls: 0,
            watched: false,
            partial: false,
            punctual: false,
            past: Past::default(),
            named: BTreeMap::new(),
            meddled: BTreeSet::new(),
            lost: BTreeSet::new(),
            told_events: Vec::new(),
            answers: Vec::new(),
            fuse: None,
            pace: Pace { restart: 1, latest: LATEST, slow_links: true, looks: true, staggered: true },
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.now
    }

    pub(crate) fn pool(&self) -> &Pool {
        &self.pool
    }

    pub(crate) fn view(&self) -> PoolView {
        self.pool.view(self.now)
    }

    /// The phases of all ENIs, as the ledger has them.
    pub(crate) fn ledger_phases(&self) -> Vec<&'static str> {
        self.enis.values().map(|eni| eni.phase.name()).collect()
    }

    pub(crate) fn told(&self) -> &BTreeMap<AttachmentKey, IntentToken> {
        &self.told
    }
}
