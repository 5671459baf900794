//! The pool's engine: takes one event, asks the rules of the other files, and hands out effects. What an
//! event means for one ENI is in `progress` and `cloud_work`, for requests in `requests` and `claims`.

use std::collections::BTreeMap;
use std::net::IpAddr;

use terway_types::{
    AttachmentKey, AttachmentRecord, EniPhase, EniRecord, Fault, FaultCode, IntentToken, LedgerSnapshot,
    MacAddr, Timestamp,
};

use crate::adoption::adopt;
use crate::books::{Books, EniNo};
use crate::effect::{Capacity, Effect, Note, OperationId};
use crate::eni::{Service, Work};
use crate::eni_life::{self, IllegalStep, Proof, Step};
use crate::event::Event;
use crate::holdings::Holdings;
use crate::inventory::Witnesses;
use crate::outbox::Outbox;
use crate::pace::Pace;
use crate::quarantine::extended;
use crate::random::Random;
use crate::routed::ranges;
use crate::settings::PoolSettings;
use crate::sharing::{Shared, sharing};
use crate::supply::Supply;
use crate::waiters::Waiters;
use crate::wishes::Wishes;

/// What a cloud operation was started for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Errand {
    pub(crate) eni: EniNo,
    /// The ENI's phase then, by its count.
    pub(crate) stint: u32,
}

/// The pool of ENIs.
///
/// Times come from the caller and should not run backwards within one life; a clock that does only makes the
/// pool wait longer.
#[derive(Clone, Debug)]
pub struct Pool {
    pub(crate) settings: PoolSettings,
    pub(crate) books: Books,
    pub(crate) holdings: Holdings,
    pub(crate) waiters: Waiters,
    pub(crate) wishes: Wishes,
    pub(crate) supply: Supply,
    /// Addresses of shared ENIs.
    pub(crate) shared: Shared,
    pub(crate) witnesses: Witnesses,
    pub(crate) pace: Pace,
    pub(crate) random: Random,
    pub(crate) operations: BTreeMap<OperationId, Errand>,
    pub(crate) next_operation: u64,
    /// Until then calls of the life before may still land.
    pub(crate) settled_from: Timestamp,
    /// Whether the node goes away.
    pub(crate) retired: bool,
    pub(crate) now: Timestamp,
    published: Option<Capacity>,
}

impl Pool {
    /// Rebuilds the pool from what is durable, and resumes whatever was under way. The effects are executed
    /// like those of an event.
    ///
    /// The pool knows no netdev yet: every NIC in the host's namespace must be told by [`Event::LinkUp`]
    /// before idle ENIs can be given.
    pub fn new(settings: PoolSettings, snapshot: LedgerSnapshot, now: Timestamp) -> (Self, Vec<Effect>) {
        let mut books = Books::default();
        let mut pool = Self {
            supply: Supply::new(&settings, now),
            shared: Shared::new(&settings),
            witnesses: Witnesses::new(settings.max_enis, now),
            wishes: Wishes::new(&settings, &mut books.classes),
            pace: Pace::new(&settings, now),
            settled_from: now + settings.retry_max,
            random: Random::new(settings.seed, now),
            settings,
            books,
            holdings: Holdings::default(),
            waiters: Waiters::default(),
            operations: BTreeMap::new(),
            // Operations of an engine that was thrown away must not be taken for ours, so numbers go by time.
            next_operation: now.0 << 20,
            retired: false,
            now,
            published: None,
        };
        let mut out = Outbox::default();
        adopt(&mut pool, snapshot, &mut out);
        pool.settle(&mut out);
        let effects = out.into_effects(&pool.books);
        (pool, effects)
    }

    /// Takes one event and answers with the effects; nothing of them before what is to be durable is.
    pub fn handle(&mut self, now: Timestamp, event: Event) -> Vec<Effect> {
        self.now = now;
        let mut out = Outbox::default();
        match event {
            Event::Allocate { request, key, pod, netns, wants, deadline } => {
                self.allocate(request, key, pod, netns, wants, deadline, &mut out);
            }
            Event::Cancel { request } => self.cancel(request, &mut out),
            Event::Release { request, key } => self.release(request, &key, &mut out),
            Event::Unclaim { claim, fate } => self.unclaim(&claim, fate, &mut out),
            Event::Collect { request, network, valid } => self.collect(request, &network, valid, &mut out),
            Event::CloudDone { operation, outcome } => self.cloud_done(operation, outcome, &mut out),
            Event::LinkUp { mac } => self.link_changed(mac, true, &mut out),
            Event::LinkGone { mac } => self.link_changed(mac, false, &mut out),
            Event::VSwitches(vswitches) => self.supply.seen(vswitches),
            Event::Mentioned { addresses } => self.mentioned(&addresses, &mut out),
            Event::Retire => self.retire(&mut out),
            Event::Reconfigure(settings) => self.reconfigure(settings, &mut out),
            Event::Inventory(inventory) => self.inventory(&inventory, &mut out),
            Event::Tick => {}
        }
        self.settle(&mut out);
        out.into_effects(&self.books)
    }

    /// When the pool wants a [`Event::Tick`] at the latest. Always later than the last event's time.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let supply = self.supply.reopens(self.now);
        let shrinking = if sharing(&self.settings).is_some() { None } else { self.next_shrinking() };
        let due = [self.books.next_due(), self.waiters.next_deadline(), supply, shrinking];
        due.into_iter().chain([self.next_shared()]).flatten().min()
    }

    /// What one attachment holds.
    pub fn attachment(&self, key: &AttachmentKey) -> Option<(&AttachmentRecord, &EniRecord)> {
        let attachment = self.holdings.get(key)?;
        Some((attachment, self.record_of(attachment)?))
    }

    /// Every attachment and what it holds, sorted by key.
    pub fn attachments(&self) -> impl Iterator<Item = (&AttachmentRecord, &EniRecord)> {
        self.holdings.iter().filter_map(|held| Some((held, self.record_of(held)?)))
    }

    /// Whether addresses of a shared ENI are in use.
    pub fn is_shared(&self, eni: &IntentToken) -> bool {
        self.shared.stock.of(eni).is_some_and(|shelf| shelf.in_use() > 0)
    }

    /// Every ENI of ours.
    pub fn enis(&self) -> impl Iterator<Item = &EniRecord> {
        self.books.iter().map(|(_, eni)| &eni.record)
    }

    fn record_of(&self, held: &AttachmentRecord) -> Option<&EniRecord> {
        Some(&self.books.get(self.books.by_token(&held.eni)?)?.record)
    }

    /// ENIs of ours that the node can carry: what those of others leave.
    pub(crate) fn limit(&self) -> u32 {
        self.settings.max_enis
    }

    /// What time brings, then supply and demand. Runs after every event.
    fn settle(&mut self, out: &mut Outbox) {
        // First of all: for somebody whose time is up nothing is asked of the cloud.
        self.expire(out);
        for eni in self.books.overdue(self.now) {
            self.advance(eni, out);
        }
        self.lapse(out);
        self.end_rests(out);
        self.meet_demand(out);
        let capacity = self.capacity(self.now);
        if self.published.replace(capacity) != Some(capacity) {
            out.push(Effect::Publish(capacity));
        }
    }

    fn meet_demand(&mut self, out: &mut Outbox) {
        let Some(sharing) = sharing(&self.settings) else {
            self.serve(out);
            self.balance(out);
            return self.shrink(out);
        };
        self.keep_ranges(out);
        self.serve_shared(out);
        if !self.retired && ranges(&self.settings).is_none() {
            self.provide_claims(out);
            self.balance_shared(sharing, out);
        }
    }

    fn link_changed(&mut self, mac: MacAddr, present: bool, out: &mut Outbox) {
        let Some(eni) = self.books.set_link(mac, present) else { return };
        let now = self.now;
        self.books.edit(eni, &self.settings, |eni| {
            if eni.link != present {
                eni.awaited = now;
            }
            eni.link = present;
            eni.strayed &= !present;
        });
        self.follow_if_shared(eni, out);
        self.advance(eni, out);
    }

    /// Lets what rests rest longer while somebody still speaks of it.
    fn mentioned(&mut self, addresses: &[IpAddr], out: &mut Outbox) {
        self.mention_addresses(addresses, out);
        for address in addresses {
            let Some(number) = self.books.by_address(*address) else { continue };
            let Some(eni) = self.books.get(number) else { continue };
            let EniPhase::Quarantined { until } = eni.record.phase else { continue };
            let longer = extended(until, eni.record.since, self.now, &self.settings);
            if longer > until {
                let phase = EniPhase::Quarantined { until: longer };
                self.books.edit(number, &self.settings, |eni| eni.record.phase = phase);
                out.put_eni(number);
            }
        }
    }

    /// The node goes away: whatever nobody holds goes, the rest as it is released.
    fn retire(&mut self, out: &mut Outbox) {
        self.retired = true;
        for waiter in self.waiters.drain() {
            for (request, _) in &waiter.requests {
                out.reply(*request, crate::Answer::Failed(retiring(&waiter.key)));
            }
        }
        for eni in self.books.numbers() {
            self.advance(eni, out);
        }
    }

    fn reconfigure(&mut self, settings: PoolSettings, out: &mut Outbox) {
        let max_enis = self.witnesses.limited(settings.max_enis);
        self.settings = self.keep_mode(PoolSettings { max_enis, ..settings }, out);
        self.wishes.resettle(&self.settings, &mut self.books.classes);
        self.books.resettle(&self.settings);
        self.supply.reopen();
        self.pace.resettle(&self.settings);
        self.resettle_shared(out);
    }

    /// Changes an ENI's phase, by the table only. Tells whether it did.
    pub(crate) fn step(&mut self, number: EniNo, step: Step, out: &mut Outbox) -> bool {
        let Some(eni) = self.books.get(number) else { return false };
        let from = eni.record.phase.name();
        if step == Step::Detach && eni.service == Service::Lent {
            return self.defect(number, &IllegalStep::lent(&step), out);
        }
        let phase = match eni_life::next(&eni.record.phase, step) {
            Ok(phase) => phase,
            Err(illegal) => return self.defect(number, &illegal, out),
        };
        let (token, id) = (eni.record.token.clone(), eni.record.id.clone());
        out.note(Note::Phase { token, eni: id, from, to: phase.name() });
        self.call_off(number);
        let now = self.now;
        self.books.edit(number, &self.settings, |eni| eni.enter(phase, now));
        out.put_eni(number);
        self.follow_if_shared(number, out);
        true
    }

    /// Takes an ENI out of the ledger, on proof only. Tells whether it did.
    pub(crate) fn forget(&mut self, number: EniNo, proof: Proof, out: &mut Outbox) -> bool {
        let Some(eni) = self.books.get(number) else { return false };
        let from = eni.record.phase.name();
        if let Err(illegal) = eni_life::forget(&eni.record.phase, proof) {
            return self.defect(number, &illegal, out);
        }
        self.call_off(number);
        let Some(eni) = self.books.remove(number, &self.settings) else { return false };
        let (token, id) = (eni.record.token, eni.record.id);
        if let Some(claim) = &eni.record.claim {
            self.waiters.claim_changed(&claim.id, self.books.by_claim(&claim.id).is_some());
        }
        self.follow(&token, out);
        self.witnesses.forgot(self.now);
        out.remove_eni(number, token.clone());
        out.note(Note::Phase { token, eni: id, from, to: "gone" });
        true
    }

    /// Drops what does not decide the future, so that pools that will behave alike look alike. No look that is
    /// yet to be told began before `oldest_look`; `None`: nobody looks at all.
    #[cfg(test)]
    pub(crate) fn forget_past(&mut self, oldest_look: Option<Timestamp>) {
        (self.next_operation, self.random) = (0, Random::new(0, Timestamp(0)));
        for errand in self.operations.values_mut() {
            let current = self.books.get(errand.eni).is_some_and(|eni| eni.stint == errand.stint);
            errand.stint = u32::from(current);
        }
        let recent = oldest_look.map(|oldest| oldest - self.settings.consistency);
        self.books.forget_past(self.now, recent);
        self.holdings.forget_past();
        self.waiters.forget_past();
        self.supply.forget_past(self.now, &self.settings);
        self.witnesses.forget_past(oldest_look);
        self.pace.forget_past();
        self.shared.stock.forget_past(recent);
        if self.settled_from <= self.now {
            self.settled_from = Timestamp(0);
        }
    }

    /// Nobody listens any more to what was asked for an ENI's phase.
    fn call_off(&mut self, number: EniNo) {
        let Some(eni) = self.books.get(number) else { return };
        if let Work::Running { operation, .. } = eni.work {
            self.operations.remove(&operation);
        }
        for operation in &eni.overdue {
            self.operations.remove(operation);
        }
    }

    fn defect(&self, number: EniNo, illegal: &IllegalStep, out: &mut Outbox) -> bool {
        debug_assert!(false, "{number:?}: {illegal} at {}", self.now);
        let fault = Fault::new(FaultCode::Internal, illegal.to_string());
        if let Some(eni) = self.books.get(number) {
            out.note(Note::Failure { token: eni.record.token.clone(), fault });
        }
        false
    }
}

/// The answer to whoever asks a node that goes away.
pub(crate) fn retiring(key: &AttachmentKey) -> Fault {
    Fault::new(FaultCode::NodeRetiring, format!("no ENI for {key}: the node is being taken out of service"))
}
