//! The pool's engine: takes one event, asks the rules of the other files, and hands out effects. What an
//! event means for one ENI is in `progress` and `cloud_work`, for requests in `requests`.

use std::collections::BTreeMap;

use terway_types::{
    AttachmentKey, AttachmentRecord, EniRecord, Fault, FaultCode, IntentToken, LedgerSnapshot, MacAddr,
    Timestamp,
};

use crate::adoption::adopt;
use crate::books::Books;
use crate::capacity::capacity;
use crate::effect::{Capacity, Effect, Note, OperationId};
use crate::eni::Service;
use crate::eni_life::{self, IllegalStep, Proof, Step};
use crate::event::Event;
use crate::holdings::Holdings;
use crate::inventory::Witnesses;
use crate::outbox::Outbox;
use crate::settings::PoolSettings;
use crate::sharing::{Shared, sharing};
use crate::supply::Supply;
use crate::waiters::Waiters;

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
    pub(crate) supply: Supply,
    /// Addresses of shared ENIs.
    pub(crate) shared: Shared,
    pub(crate) witnesses: Witnesses,
    pub(crate) operations: BTreeMap<OperationId, IntentToken>,
    pub(crate) next_operation: u64,
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
        let mut pool = Self {
            supply: Supply::new(&settings, now),
            shared: Shared::new(&settings, now),
            witnesses: Witnesses::new(settings.max_enis, now),
            settings,
            books: Books::default(),
            holdings: Holdings::default(),
            waiters: Waiters::default(),
            operations: BTreeMap::new(),
            // Operations of an engine that was thrown away must not be taken for ours, so numbers go by time.
            next_operation: now.0 << 20,
            now,
            published: None,
        };
        let mut out = Outbox::default();
        adopt(&mut pool, snapshot, &mut out);
        pool.settle(&mut out);
        (pool, out.into_effects())
    }

    /// Takes one event and answers with the effects, to be executed in order.
    pub fn handle(&mut self, now: Timestamp, event: Event) -> Vec<Effect> {
        self.now = now;
        let mut out = Outbox::default();
        match event {
            Event::Allocate { request, key, pod, netns, deadline, wants: _ } => {
                self.allocate(request, key, pod, netns, deadline, &mut out);
            }
            Event::Cancel { request } => self.cancel(request, &mut out),
            Event::Release { request, key } => self.release(request, &key, &mut out),
            Event::Collect { request, network, valid } => self.collect(request, &network, valid, &mut out),
            Event::CloudDone { operation, outcome } => self.cloud_done(operation, outcome, &mut out),
            Event::LinkUp { mac } => self.link_changed(mac, true, &mut out),
            Event::LinkGone { mac } => self.link_changed(mac, false, &mut out),
            Event::Reconfigure(settings) => self.reconfigure(settings, &mut out),
            Event::Mentioned { addresses } => self.mention_addresses(&addresses, &mut out),
            Event::Inventory(inventory) => self.inventory(&inventory, &mut out),
            Event::Unclaim { .. } | Event::VSwitches(_) | Event::Retire | Event::Tick => {}
        }
        self.settle(&mut out);
        out.into_effects()
    }

    /// When the pool wants a [`Event::Tick`] at the latest. Always later than the last event's time.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let supply = self.supply.reopens(self.now, &self.settings);
        let due = [self.books.next_due(), self.waiters.next_deadline(), supply, self.next_shared()];
        due.into_iter().flatten().min()
    }

    /// What one attachment holds.
    pub fn attachment(&self, key: &AttachmentKey) -> Option<(&AttachmentRecord, &EniRecord)> {
        let attachment = self.holdings.get(key)?;
        Some((attachment, &self.books.get(&attachment.eni)?.record))
    }

    /// Every attachment and what it holds, sorted by key.
    pub fn attachments(&self) -> impl Iterator<Item = (&AttachmentRecord, &EniRecord)> {
        self.holdings.iter().filter_map(|held| Some((held, &self.books.get(&held.eni)?.record)))
    }

    /// What time brings, then supply and demand. Runs after every event.
    fn settle(&mut self, out: &mut Outbox) {
        for token in self.books.overdue(self.now) {
            self.advance(&token, out);
        }
        self.lapse(out);
        self.end_rests(out);
        self.expire(out);
        if let Some(sharing) = sharing(&self.settings) {
            self.serve_shared(out);
            self.balance_shared(sharing, out);
        } else {
            self.serve(out);
            self.balance(out);
        }
        let capacity = self.capacity(self.now);
        if self.published.replace(capacity) != Some(capacity) {
            out.push(Effect::Publish(capacity));
        }
    }

    /// How many more pods can be served.
    pub(crate) fn capacity(&self, now: Timestamp) -> Capacity {
        let can_create = self.supply.vswitch(now, &self.settings).is_some();
        if sharing(&self.settings).is_some() {
            return self.shared_capacity(can_create);
        }
        capacity(self.books.tally(), can_create, &self.settings)
    }

    fn link_changed(&mut self, mac: MacAddr, present: bool, out: &mut Outbox) {
        let Some(token) = self.books.set_link(mac, present) else { return };
        let now = self.now;
        self.books.edit(&token, &self.settings, |eni| {
            if eni.link != present {
                eni.awaited = now;
            }
            eni.link = present;
            eni.strayed &= !present;
        });
        self.follow(&token, out);
        self.advance(&token, out);
    }

    fn reconfigure(&mut self, settings: PoolSettings, out: &mut Outbox) {
        let max_enis = self.witnesses.limited(settings.max_enis);
        self.settings = self.keep_mode(PoolSettings { max_enis, ..settings }, out);
        self.books.resettle(&self.settings);
        self.supply.reopen();
        self.resettle_shared(out);
    }

    /// Changes an ENI's phase, by the table only. Tells whether it did.
    pub(crate) fn step(&mut self, token: &IntentToken, step: Step, out: &mut Outbox) -> bool {
        let Some(eni) = self.books.get(token) else { return false };
        let from = eni.record.phase.name();
        if step == Step::Detach && eni.service == Service::Lent {
            return self.defect(token, &IllegalStep::lent(&step), out);
        }
        let phase = match eni_life::next(&eni.record.phase, step) {
            Ok(phase) => phase,
            Err(illegal) => return self.defect(token, &illegal, out),
        };
        let note = Note::Phase { token: token.clone(), eni: eni.record.id.clone(), from, to: phase.name() };
        let now = self.now;
        self.books.edit(token, &self.settings, |eni| {
            eni.enter(phase, now);
            out.put_eni(&eni.record);
        });
        self.follow(token, out);
        out.note(note);
        true
    }

    /// Takes an ENI out of the ledger, on proof only. Tells whether it did.
    pub(crate) fn forget(&mut self, token: &IntentToken, proof: Proof, out: &mut Outbox) -> bool {
        let Some(eni) = self.books.get(token) else { return false };
        let from = eni.record.phase.name();
        if let Err(illegal) = eni_life::forget(&eni.record.phase, proof) {
            return self.defect(token, &illegal, out);
        }
        let eni = eni.record.id.clone();
        self.books.remove(token, &self.settings);
        self.follow(token, out);
        self.witnesses.forgot(self.now);
        out.remove_eni(token);
        out.note(Note::Phase { token: token.clone(), eni, from, to: "gone" });
        true
    }

    fn defect(&self, token: &IntentToken, illegal: &IllegalStep, out: &mut Outbox) -> bool {
        debug_assert!(false, "{token}: {illegal} at {}", self.now);
        let fault = Fault::new(FaultCode::Internal, illegal.to_string());
        out.note(Note::Failure { token: token.clone(), fault });
        false
    }
}
