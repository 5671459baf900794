//! Drives a pool of addresses through a history: executes effects one by one, makes the world answer, crashes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use ipnetwork::IpNetwork;
use terway_types::{
    AddressPhase, AddressRecord, Addresses, AttachmentKey, AttachmentRecord, CloudFailureKind as Kind, EniId,
    EniRecord, IntentToken, LedgerChange, LedgerSnapshot, MacAddr, PodRef, PrefixRecord, Timestamp,
};

use super::cloud::{RealEni, SharedCloud};
use crate::histories::cloud::failure;
use crate::histories::past::Past;
use crate::histories::world::{Fate, LATEST};
use crate::stock::Stage;
use crate::testing::key;
use crate::{
    Answer, Capacity, CloudAction, CloudAnswer, Effect, Event, Note, OperationId, Pool, PoolSettings,
    RequestId, Wants,
};

#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) key: Option<AttachmentKey>,
    pub(super) allocates: bool,
    pub(super) heard: bool,
    pub(super) outdated: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(super) now: Timestamp,
    pub(super) settings: PoolSettings,
    pub(super) pool: Pool,
    pub(super) queue: VecDeque<Effect>,
    pub(super) enis: BTreeMap<IntentToken, EniRecord>,
    pub(super) attachments: BTreeMap<AttachmentKey, AttachmentRecord>,
    pub(super) addresses: BTreeMap<IpAddr, AddressRecord>,
    pub(super) prefixes: BTreeMap<IpNetwork, PrefixRecord>,
    pub(super) cloud: SharedCloud,
    pub(super) running: Vec<(OperationId, CloudAction)>,
    pub(super) late: Vec<(Timestamp, CloudAction, Option<OperationId>)>,
    pub(super) arriving: Vec<(Timestamp, EniId)>,
    pub(super) home: BTreeSet<MacAddr>,
    pub(super) unseen: VecDeque<Event>,
    pub(super) next_request: u64,
    pub(super) open: BTreeMap<RequestId, Ask>,
    /// What asker and runtime believe: this attachment holds these addresses.
    pub(super) told: BTreeMap<AttachmentKey, (IntentToken, Addresses)>,
    /// ENIs that a person deleted or detached, and those of a lost ledger.
    pub(super) vanished: BTreeSet<IntentToken>,
    pub(super) lost: BTreeSet<IntentToken>,
    /// Addresses and prefixes that a person took off.
    pub(super) taken_off: Vec<IpNetwork>,
    /// Whether anybody looks at the cloud at all.
    pub(super) watched: bool,
    /// Whether the last look was partial.
    pub(super) partial: bool,
    pub(super) past: Past<BTreeMap<IntentToken, RealEni>>,
    pub(super) phases: BTreeMap<IntentToken, &'static str>,
    pub(super) published: Option<Capacity>,
    /// Cloud calls by name.
    pub(super) calls: BTreeMap<&'static str, u32>,
    pub(super) answers: Vec<(RequestId, Answer)>,
    pub(super) events: Vec<&'static str>,
}

impl World {
    pub(super) fn new(settings: PoolSettings, free: [u32; 2], slots: usize, per_eni: usize) -> Self {
        let now = Timestamp(1_000);
        let (pool, effects) = Pool::new(settings.clone(), LedgerSnapshot::default(), now);
        Self {
            now,
            settings,
            pool,
            queue: effects.into(),
            enis: BTreeMap::new(),
            attachments: BTreeMap::new(),
            addresses: BTreeMap::new(),
            prefixes: BTreeMap::new(),
            cloud: SharedCloud::new(slots, per_eni, free),
            running: Vec::new(),
            late: Vec::new(),
            arriving: Vec::new(),
            home: BTreeSet::new(),
            unseen: VecDeque::new(),
            next_request: 0,
            open: BTreeMap::new(),
            told: BTreeMap::new(),
            vanished: BTreeSet::new(),
            lost: BTreeSet::new(),
            taken_off: Vec::new(),
            watched: false,
            partial: false,
            past: Past::default(),
            phases: BTreeMap::new(),
            published: None,
            calls: BTreeMap::new(),
            answers: Vec::new(),
            events: Vec::new(),
        }
    }

    pub(super) fn view(&self) -> crate::PoolView {
        self.pool.view(self.now)
    }

    // ------------------------------------------------------------------ what may happen

    pub(super) fn allocate(&mut self, number: u8, patience: u64) {
        let request = self.ask(Some(key(number)), true);
        let deadline = self.now + Duration::from_millis(patience);
        let (pod, netns, wants) = (PodRef::default(), "/ns".to_owned(), Wants::default());
        self.event(Event::Allocate { request, key: key(number), pod, netns, wants, deadline });
    }

    pub(super) fn release(&mut self, number: u8) {
        self.told.remove(&key(number));
        for ask in self.open.values_mut() {
            ask.outdated |= ask.key == Some(key(number));
        }
        let request = self.ask(Some(key(number)), false);
        self.event(Event::Release { request, key: key(number) });
    }

    pub(super) fn cancel(&mut self, index: usize) {
        let len = self.open.len().max(1);
        let Some((&request, ask)) = self.open.iter_mut().nth(index % len) else { return };
        if ask.allocates {
            ask.heard = false;
            self.event(Event::Cancel { request });
            // If the answer is not on its way, it must never come.
            let answers = |effect: &Effect| matches!(effect, Effect::Reply { request: answered, .. } if *answered == request);
            if !self.queue.iter().any(answers) {
                self.open.remove(&request);
            }
        }
    }

    pub(super) fn collect(&mut self, keep: u8) {
        self.told
            .retain(|key, _| key.container.as_str().bytes().last().is_some_and(|c| keep >> (c % 8) & 1 == 1));
        self.collect_told();
    }

    pub(super) fn collect_told(&mut self) {
        let adding = self.open.values().filter(|ask| ask.allocates && ask.heard && !ask.outdated);
        let valid = self.told.keys().cloned().chain(adding.filter_map(|ask| ask.key.clone())).collect();
        let request = self.ask(None, false);
        self.event(Event::Collect { request, network: key(0).network, valid });
    }

    pub(super) fn mention(&mut self, index: usize) {
        let len = self.addresses.len().max(1);
        let addresses = self.addresses.keys().skip(index % len).take(3).copied().collect();
        self.event(Event::Mentioned { addresses });
    }

    pub(super) fn wait(&mut self, millis: u64) {
        self.now = self.now + Duration::from_millis(millis);
        self.happen();
        if self.pool.next_deadline().is_some_and(|at| at <= self.now) {
            self.event(Event::Tick);
        }
    }

    pub(super) fn snapshot(&self) -> LedgerSnapshot {
        LedgerSnapshot {
            enis: self.enis.values().cloned().collect(),
            attachments: self.attachments.values().cloned().collect(),
            addresses: self.addresses.values().cloned().collect(),
            prefixes: self.prefixes.values().cloned().collect(),
        }
    }

    /// The daemon dies between two effects and starts again.
    pub(super) fn crash(&mut self) {
        self.queue.clear();
        self.open.clear();
        self.unseen.clear();
        for (index, (operation, action)) in self.running.drain(..).enumerate() {
            let at = self.now + Duration::from_millis(index as u64 * 20 % LATEST);
            self.late.push((at, action, Some(operation)));
        }
        self.now = self.now + Duration::from_millis(1);
        self.happen();
        let answers: Vec<_> =
            self.unseen.drain(..).filter(|event| matches!(event, Event::CloudDone { .. })).collect();
        self.phases = self.enis.iter().map(|(token, eni)| (token.clone(), eni.phase.name())).collect();
        self.published = None;
        let (pool, effects) = Pool::new(self.settings.clone(), self.snapshot(), self.now);
        self.pool = pool;
        self.queue.extend(effects);
        self.check_engine("start");
        self.unseen = self.home.iter().map(|&mac| Event::LinkUp { mac }).chain(answers).collect();
    }

    pub(super) fn reconfigure(&mut self, settings: PoolSettings) {
        self.settings = settings.clone();
        self.event(Event::Reconfigure(settings));
    }

    pub(super) fn lose_netdev(&mut self, index: usize) {
        let Some(&mac) = self.home.iter().nth(index % self.home.len().max(1)) else { return };
        self.home.remove(&mac);
        self.unseen.push_back(Event::LinkGone { mac });
    }

    /// A person deletes an ENI in the console, in use or not.
    pub(super) fn vanish(&mut self, index: usize) {
        let macs: BTreeMap<_, _> =
            self.cloud.enis.iter().map(|(token, real)| (token.clone(), real.mac)).collect();
        let Some(token) = self.cloud.vanish(index) else { return };
        if self.home.remove(&macs[&token]) {
            self.unseen.push_back(Event::LinkGone { mac: macs[&token] });
        }
        self.vanished.insert(token);
        self.happen();
    }

    /// A late call lands now, and not as late as it might.
    pub(super) fn land(&mut self, index: usize) {
        if let Some((at, ..)) = self.late.get_mut(index) {
            *at = self.now;
            self.happen();
        }
    }

    pub(super) fn see_links(&mut self) {
        while let Some(event) = self.unseen.pop_front() {
            self.event(event);
        }
    }

    pub(super) fn execute(&mut self, count: usize) {
        for _ in 0..count {
            let Some(effect) = self.queue.pop_front() else { return };
            self.perform(effect);
        }
    }

    pub(super) fn answer(&mut self, index: usize, fate: Fate) {
        if self.running.is_empty() {
            return;
        }
        let (operation, action) = self.running.swap_remove(index % self.running.len());
        let unheard = Err(failure(Kind::Ambiguous));
        let times = if matches!(fate, Fate::Twice) { 2 } else { 1 };
        let outcome = match fate {
            Fate::Done | Fate::Twice => self.act(&action),
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

    /// An assign call is answered with addresses of other ENIs besides its own.
    pub(super) fn lie(&mut self, index: usize) {
        let assigns = |(_, action): &(OperationId, CloudAction)| matches!(action, CloudAction::Assign { .. });
        let Some(at) = self.running.iter().position(assigns) else { return };
        let (operation, action) = self.running.swap_remove(at);
        let mut outcome = self.act(&action);
        let CloudAction::Assign { eni, .. } = &action else { return };
        if let Ok(CloudAnswer::Assigned { added, .. }) = &mut outcome {
            // Of an ENI that leaves, or of an address that is being taken off, it would be the truth in the end.
            let stays = |record: &&AddressRecord| {
                let shelf = self.pool.shared.stock.of(&record.eni);
                let serves = shelf.is_some_and(|shelf| shelf.stage != Stage::Closed && !shelf.lost);
                serves
                    && record.phase != AddressPhase::Unassigning
                    && self.enis[&record.eni].id.as_ref() != Some(eni)
            };
            let foreign: Vec<_> =
                self.addresses.values().filter(stays).map(|record| record.address).collect();
            let foreign: Vec<_> = foreign.into_iter().filter_map(v4).collect();
            added.ipv4.extend(foreign.get(index % foreign.len().max(1)));
        }
        self.event(Event::CloudDone { operation, outcome });
    }

    pub(super) fn settle_for(&mut self, millis: u64) {
        let end = self.now + Duration::from_millis(millis);
        while self.now < end {
            self.flow();
            self.wait(1);
        }
        self.flow();
    }

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

    pub(super) fn event(&mut self, event: Event) {
        let what = format!("{event:?}");
        let effects = self.pool.handle(self.now, event);
        let persists = effects.iter().filter(|effect| matches!(effect, Effect::Persist(_))).count();
        let first = matches!(effects.first(), Some(Effect::Persist(_)));
        assert!(persists == usize::from(first), "changes are one, and first: {effects:?}");
        self.queue.extend(effects);
        self.check_engine(&what);
    }

    /// What lands by itself by now: late calls, netdevs.
    pub(super) fn happen(&mut self) {
        let now = self.now;
        let enis = &self.cloud.enis;
        self.past.note(|scene| scene == enis, || enis.clone(), now, self.settings.consistency);
        for (_, action, operation) in self.late.extract_if(.., |(at, ..)| *at <= now).collect::<Vec<_>>() {
            let outcome = self.act(&action);
            self.unseen.extend(operation.map(|operation| Event::CloudDone { operation, outcome }));
        }
        for (_, id) in self.arriving.extract_if(.., |(at, _)| *at <= now).collect::<Vec<_>>() {
            if let Some(real) = self.cloud.by_id(&id).filter(|real| real.attached)
                && self.home.insert(real.mac)
            {
                self.unseen.push_back(Event::LinkUp { mac: real.mac });
            }
        }
    }

    pub(super) fn act(&mut self, action: &CloudAction) -> Result<CloudAnswer, terway_types::CloudFailure> {
        let before = match action {
            CloudAction::Attach { eni } | CloudAction::Detach { eni } => {
                self.cloud.by_id(eni).map(|real| (real.attached, real.mac))
            }
            _ => None,
        };
        let answer = self.cloud.act(action);
        match (action, before) {
            (CloudAction::Attach { eni }, Some((false, mac))) if answer.is_ok() => {
                let delay = u64::from(mac.0[5]) * 37 % 100;
                self.arriving.push((self.now + Duration::from_millis(delay), eni.clone()));
            }
            (CloudAction::Detach { eni }, Some((true, mac))) => {
                let user = self.told.iter().find(|(_, (token, _))| self.enis[token].id.as_ref() == Some(eni));
                assert!(user.is_none(), "{eni} is taken away from {user:?}");
                if self.home.remove(&mac) {
                    self.unseen.push_back(Event::LinkGone { mac });
                }
            }
            _ => {}
        }
        self.happen();
        answer
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
                let name = self.check_intent(&action);
                *self.calls.entry(name).or_default() += 1;
                self.running.push((operation, action));
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
            Effect::Note(Note::Event { reason, .. }) => self.events.push(reason),
            Effect::Note(Note::Failure { fault, .. }) => {
                assert!(fault.code != terway_types::FaultCode::Internal, "{fault}");
            }
        }
    }

    fn persist(&mut self, change: LedgerChange) {
        match change {
            LedgerChange::PutEni(eni) => {
                self.enis.insert(eni.token.clone(), eni);
            }
            LedgerChange::RemoveEni(token) => {
                let exists = self.cloud.enis.contains_key(&token);
                assert!(!exists || self.vanished.contains(&token), "{token} is forgotten but exists");
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
            LedgerChange::PutAddress(record) => {
                self.addresses.insert(record.address, record);
            }
            LedgerChange::RemoveAddress(address) => {
                self.addresses.remove(&address);
            }
            LedgerChange::PutPrefix(record) => {
                self.prefixes.insert(record.prefix, record);
            }
            LedgerChange::RemovePrefix(prefix) => {
                self.prefixes.remove(&prefix);
            }
            LedgerChange::Remember(_) => {}
        }
    }
}

fn v4(address: IpAddr) -> Option<std::net::Ipv4Addr> {
    match address {
        IpAddr::V4(v4) => Some(v4),
        IpAddr::V6(_) => None,
    }
}
