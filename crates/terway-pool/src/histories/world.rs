//! Drives a pool through a history: executes effects one by one, makes the world answer, crashes, and holds
//! everything seen against the invariants.

mod invariants;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use terway_types::{
    AttachmentKey, AttachmentRecord, CloudFailureKind as Kind, EniId, EniPhase, EniRecord, IntentToken,
    LedgerChange, LedgerSnapshot, MacAddr, PodRef, Timestamp,
};

use super::cloud::{RealCloud, failure};
use crate::testing::{key, settings};
use crate::{
    Answer, Capacity, CloudAction, Effect, Event, Note, OperationId, Pool, PoolSettings, PoolView, RequestId,
    Wants,
};

/// Longest time a cloud call may land after its answer was lost, in milliseconds; less than `retry_max`.
pub(super) const LATEST: u64 = 60;

/// How a cloud call ends.
#[derive(Clone, Debug)]
pub(super) enum Fate {
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

#[derive(Debug)]
struct Running {
    operation: OperationId,
    action: CloudAction,
}

#[derive(Debug)]
struct Ask {
    /// For which attachment; none for a collection.
    key: Option<AttachmentKey>,
    allocates: bool,
    /// Whether the asker still listens.
    heard: bool,
    /// Whether a release of the attachment was asked for since.
    outdated: bool,
}

#[derive(Debug)]
pub(super) struct World {
    now: Timestamp,
    settings: PoolSettings,
    pool: Pool,
    /// Effects handed out and not yet executed.
    queue: VecDeque<Effect>,
    enis: BTreeMap<IntentToken, EniRecord>,
    attachments: BTreeMap<AttachmentKey, AttachmentRecord>,
    pub(super) cloud: RealCloud,
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
    pub(super) cloud_calls: usize,
    /// Answers in the order they were given.
    pub(super) answers: Vec<(RequestId, Answer)>,
    /// Effects that may still be executed before the daemon dies.
    pub(super) fuse: Option<usize>,
}

pub(super) fn fast_settings() -> PoolSettings {
    PoolSettings {
        vswitches: vec!["vsw-a".into(), "vsw-b".into()],
        quarantine: Duration::from_millis(50),
        link_timeout: Duration::from_millis(300),
        home_timeout: Duration::from_millis(200),
        retry_first: Duration::from_millis(10),
        retry_max: Duration::from_millis(100),
        ..settings()
    }
}

impl World {
    pub(super) fn new(settings: PoolSettings, free: [u32; 2], slots: usize) -> Self {
        let now = Timestamp(1_000);
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
            answers: Vec::new(),
            fuse: None,
        }
    }

    pub(super) fn pool(&self) -> &Pool {
        &self.pool
    }

    pub(super) fn view(&self) -> PoolView {
        self.pool.view(self.now)
    }

    /// The phases of all ENIs, as the ledger has them.
    pub(super) fn ledger_phases(&self) -> Vec<&'static str> {
        self.enis.values().map(|eni| eni.phase.name()).collect()
    }

    pub(super) fn told(&self) -> &BTreeMap<AttachmentKey, IntentToken> {
        &self.told
    }

    // ------------------------------------------------------------------ what may happen

    pub(super) fn allocate(&mut self, number: u8, patience: u64) {
        let request = self.ask(Some(key(number)), true);
        let deadline = self.now + Duration::from_millis(patience);
        let (pod, netns) = (PodRef::default(), "/ns".to_owned());
        self.event(Event::Allocate {
            request,
            key: key(number),
            pod,
            netns,
            wants: Wants::default(),
            deadline,
        });
    }

    pub(super) fn release(&mut self, number: u8) {
        self.told.remove(&key(number));
        for ask in self.open.values_mut() {
            ask.outdated |= ask.key == Some(key(number));
        }
        let request = self.ask(Some(key(number)), false);
        self.event(Event::Release { request, key: key(number) });
    }

    /// The asker of an open request goes away.
    pub(super) fn cancel(&mut self, index: usize) {
        let Some((&request, ask)) = pick_mut(&mut self.open, index) else { return };
        if ask.allocates {
            ask.heard = false;
            self.event(Event::Cancel { request });
        }
    }

    /// The runtime says that only some of what it knows is valid.
    pub(super) fn collect(&mut self, keep: u8) {
        self.told
            .retain(|key, _| key.container.as_str().bytes().last().is_some_and(|c| keep >> (c % 8) & 1 == 1));
        self.collect_told();
    }

    /// Valid is what holds something and what is being added, as the CNI specification demands for GC.
    fn collect_told(&mut self) {
        let adding = self.open.values().filter(|ask| ask.allocates && ask.heard && !ask.outdated);
        let valid = self.told.keys().rev().cloned().chain(adding.filter_map(|ask| ask.key.clone())).collect();
        let request = self.ask(None, false);
        self.event(Event::Collect { request, network: key(0).network, valid });
    }

    pub(super) fn wait(&mut self, millis: u64) {
        self.now = self.now + Duration::from_millis(millis);
        self.happen();
        if self.pool.next_deadline().is_some_and(|at| at <= self.now) {
            self.event(Event::Tick);
        }
    }

    /// The daemon dies between two effects and starts again.
    pub(super) fn crash(&mut self) {
        self.queue.clear();
        self.open.clear();
        self.unseen.clear();
        for (index, running) in self.running.drain(..).enumerate() {
            let at = self.now + Duration::from_millis(index as u64 * 20 % LATEST);
            self.late.push((at, running.action, Some(running.operation)));
        }
        self.now = self.now + Duration::from_millis(1);
        self.happen();
        let answers: Vec<_> =
            self.unseen.drain(..).filter(|event| matches!(event, Event::CloudDone { .. })).collect();
        let snapshot = LedgerSnapshot {
            enis: self.enis.values().cloned().collect(),
            attachments: self.attachments.values().cloned().collect(),
            ..LedgerSnapshot::default()
        };
        self.phases = self.enis.iter().map(|(token, eni)| (token.clone(), eni.phase.name())).collect();
        self.published = None;
        let (pool, effects) = Pool::new(self.settings.clone(), snapshot, self.now);
        self.pool = pool;
        self.take(effects);
        self.unseen = self.home.iter().map(|&mac| Event::LinkUp { mac }).chain(answers).collect();
    }

    pub(super) fn reconfigure(&mut self, settings: PoolSettings) {
        self.settings = settings.clone();
        self.event(Event::Reconfigure(settings));
    }

    /// A pod takes its netdev.
    pub(super) fn enter(&mut self, number: u8) {
        let Some(real) = self.told.get(&key(number)).and_then(|token| self.cloud.enis.get(token)) else {
            return;
        };
        if self.home.remove(&real.mac) {
            self.inside.insert(real.mac, key(number));
            self.unseen.push_back(Event::LinkGone { mac: real.mac });
        }
    }

    /// A netdev comes home from a pod.
    pub(super) fn leave(&mut self, index: usize) {
        let Some((&mac, _)) = pick_mut(&mut self.inside, index) else { return };
        self.inside.remove(&mac);
        self.home.insert(mac);
        self.unseen.push_back(Event::LinkUp { mac });
    }

    /// A netdev vanishes for good though its ENI stays attached.
    pub(super) fn lose_netdev(&mut self, index: usize) {
        let Some(&mac) = self.home.iter().nth(index % self.home.len().max(1)) else { return };
        self.home.remove(&mac);
        self.unseen.push_back(Event::LinkGone { mac });
    }

    pub(super) fn see_links(&mut self) {
        while let Some(event) = self.unseen.pop_front() {
            self.event(event);
        }
    }

    pub(super) fn execute(&mut self, count: usize) {
        for _ in 0..count {
            let Some(effect) = self.queue.pop_front() else { return };
            match &mut self.fuse {
                Some(0) => {
                    self.fuse = None;
                    return self.crash();
                }
                Some(left) => *left -= 1,
                None => {}
            }
            self.perform(effect);
        }
    }

    pub(super) fn answer(&mut self, index: usize, fate: Fate) {
        if self.running.is_empty() {
            return;
        }
        let Running { operation, action } = self.running.swap_remove(index % self.running.len());
        let unheard = Err(failure(Kind::Ambiguous));
        let mut times = 1;
        let outcome = match fate {
            Fate::Done => self.act(&action),
            Fate::Twice => {
                times = 2;
                self.act(&action)
            }
            // An honest cloud does not refuse to make what it has made: the token finds it.
            Fate::Refused(_) if self.cloud.is_made(&action) => self.act(&action),
            Fate::Refused(kind) => Err(failure(kind)),
            Fate::DoneUnheard => self.act(&action).and(unheard),
            Fate::Lost => unheard,
            Fate::Late(after) => {
                self.late.push((self.now + Duration::from_millis(after.min(LATEST)), action, None));
                unheard
            }
        };
        for _ in 0..times {
            self.event(Event::CloudDone { operation, outcome: outcome.clone() });
        }
    }

    /// Everything under way succeeds and time passes, until the pool has nothing more to do for a while.
    pub(super) fn settle_for(&mut self, millis: u64) {
        let end = self.now + Duration::from_millis(millis);
        while self.now < end {
            self.flow();
            self.wait(1);
        }
        self.flow();
    }

    /// Everything under way succeeds, once.
    pub(super) fn flow(&mut self) {
        self.execute(usize::MAX);
        while !self.running.is_empty() {
            self.answer(0, Fate::Done);
            self.execute(usize::MAX);
        }
        self.see_links();
        self.execute(usize::MAX);
    }

    // ------------------------------------------------------------------ how it is driven

    fn ask(&mut self, key: Option<AttachmentKey>, allocates: bool) -> RequestId {
        self.next_request += 1;
        let request = RequestId(self.next_request);
        self.open.insert(request, Ask { key, allocates, heard: true, outdated: false });
        request
    }

    /// What lands by itself by now: late calls, netdevs.
    fn happen(&mut self) {
        let now = self.now;
        for (_, action, operation) in self.late.extract_if(.., |(at, ..)| *at <= now).collect::<Vec<_>>() {
            let outcome = self.act(&action);
            self.unseen.extend(operation.map(|operation| Event::CloudDone { operation, outcome }));
        }
        for (_, id) in self.arriving.extract_if(.., |(at, _)| *at <= now).collect::<Vec<_>>() {
            if let Some(real) = self.cloud.by_id(&id).filter(|real| real.attached)
                && !self.inside.contains_key(&real.mac)
                && self.home.insert(real.mac)
            {
                self.unseen.push_back(Event::LinkUp { mac: real.mac });
            }
        }
    }

    fn act(&mut self, action: &CloudAction) -> Result<crate::CloudAnswer, terway_types::CloudFailure> {
        let attached = |cloud: &mut RealCloud, id| cloud.by_id(id).map(|real| (real.attached, real.mac));
        let answer = match action {
            CloudAction::Attach { eni } => {
                let before = attached(&mut self.cloud, eni);
                let answer = self.cloud.act(action);
                if before.is_some_and(|(was, _)| !was) && answer.is_ok() {
                    let delay = u64::from(before.map_or(0, |(_, mac)| mac.0[5])) * 37 % 100;
                    self.arriving.push((self.now + Duration::from_millis(delay), eni.clone()));
                }
                answer
            }
            CloudAction::Detach { eni } => {
                let before = attached(&mut self.cloud, eni);
                if let Some((true, mac)) = before {
                    let user = self.told.iter().find(|(_, token)| self.cloud.enis[*token].mac == mac);
                    assert!(user.is_none(), "{eni} is taken away from {user:?}");
                    self.inside.remove(&mac);
                    if self.home.remove(&mac) {
                        self.unseen.push_back(Event::LinkGone { mac });
                    }
                }
                self.cloud.act(action)
            }
            _ => self.cloud.act(action),
        };
        self.happen();
        answer
    }

    fn event(&mut self, event: Event) {
        let before = self.pool.view(self.now).enis.len();
        let what = format!("{event:?}");
        let effects = self.pool.handle(self.now, event);
        self.take(effects);
        self.check_engine(before, &what);
    }

    fn take(&mut self, effects: Vec<Effect>) {
        let persists = effects.iter().filter(|effect| matches!(effect, Effect::Persist(_))).count();
        let first = matches!(effects.first(), Some(Effect::Persist(_)));
        assert!(persists == usize::from(first), "changes are one, and first: {effects:?}");
        self.queue.extend(effects);
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Persist(changes) => {
                for change in changes {
                    self.persist(change);
                }
                self.check_ledger();
            }
            Effect::Cloud { operation, action } => {
                self.check_intent(&action);
                self.cloud_calls += 1;
                self.running.push(Running { operation, action });
            }
            Effect::Reply { request, answer } => self.reply(request, answer),
            Effect::Publish(capacity) => {
                assert_ne!(self.published, Some(capacity), "published without a change");
                self.published = Some(capacity);
            }
            Effect::Note(Note::Phase { token, from, to, .. }) => {
                let before = self.phases.insert(token.clone(), to).unwrap_or("");
                assert_eq!(before, from, "{token}");
                if to == "gone" {
                    self.phases.remove(&token);
                }
            }
            Effect::Note(Note::Failure { .. } | Note::Event { .. }) => {}
        }
    }

    fn persist(&mut self, change: LedgerChange) {
        match change {
            LedgerChange::PutEni(eni) => {
                self.enis.insert(eni.token.clone(), eni);
            }
            LedgerChange::RemoveEni(token) => {
                // No leak: what leaves the ledger is not in the cloud, and no call is out that could make it.
                assert!(!self.cloud.enis.contains_key(&token), "{token} is forgotten but exists");
                let makes = |action: &CloudAction| matches!(action, CloudAction::Create { token: t, .. } if *t == token);
                let to_come = self.late.iter().any(|(_, action, _)| makes(action));
                assert!(!to_come || self.cloud.is_spent(&token), "{token} may still be made");
                self.enis.remove(&token);
            }
            LedgerChange::PutAttachment(attachment) => {
                self.attachments.insert(attachment.key.clone(), attachment);
            }
            LedgerChange::RemoveAttachment(key) => {
                self.attachments.remove(&key);
            }
            _ => {}
        }
    }

    fn reply(&mut self, request: RequestId, answer: Answer) {
        self.answers.push((request, answer.clone()));
        let ask = self.open.remove(&request).unwrap_or_else(|| panic!("{request:?} answered twice"));
        match answer {
            Answer::Allocated(grant) => {
                let eni = grant.eni;
                let key = ask.key.expect("an allocation");
                let durable = self.attachments.get(&key).expect("told only what is durable");
                assert_eq!(durable.eni, eni.token);
                assert_eq!(self.enis[&eni.token].phase, EniPhase::InUse(key.clone()));
                assert_eq!(eni.phase, EniPhase::InUse(key.clone()));
                assert!(eni.id.is_some() && eni.mac.is_some());
                if !ask.heard {
                    self.event(Event::Cancel { request });
                } else if !ask.outdated {
                    let other = self.told.iter().find(|(k, token)| **token == eni.token && **k != key);
                    assert!(other.is_none(), "{} belongs to {other:?} and {key}", eni.token);
                    if let Some(before) = self.told.insert(key.clone(), eni.token.clone()) {
                        assert_eq!(before, eni.token, "{key} was told two ENIs");
                    }
                }
            }
            Answer::Failed(fault) => {
                assert!(ask.allocates, "only allocations fail: {fault}");
                assert!(!fault.to_string().contains("not found"));
            }
            Answer::Released(_) => {
                assert!(!ask.key.is_some_and(|key| self.attachments.contains_key(&key)));
            }
            Answer::Collected(released) => {
                assert!(released.iter().all(|key| !self.attachments.contains_key(key)));
            }
        }
    }
}

fn pick_mut<K, V>(map: &mut BTreeMap<K, V>, index: usize) -> Option<(&K, &mut V)> {
    let len = map.len().max(1);
    map.iter_mut().nth(index % len)
}
