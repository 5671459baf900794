//! What must hold after every effect on disk and after every event in memory.

use std::collections::BTreeSet;

use terway_types::{EniId, EniPhase, EniRecord, IntentToken};

use super::World;
use crate::{CloudAction, Effect, Event};

impl World {
    /// One owner per ENI, one ENI per attachment, on disk.
    pub(crate) fn check_ledger(&self) {
        for (key, attachment) in &self.attachments {
            assert_eq!(self.enis[&attachment.eni].phase, EniPhase::InUse(key.clone()));
        }
        for eni in self.enis.values() {
            if let EniPhase::InUse(key) = &eni.phase {
                assert_eq!(self.attachments[key].eni, eni.token);
            }
        }
        for (key, token) in &self.told {
            assert_eq!(self.attachments.get(key).map(|held| &held.eni), Some(token), "{key} lost its ENI");
            let attached = self.cloud.enis.get(token).is_some_and(|real| real.attached);
            assert!(attached || self.meddled.contains(token), "the ENI of {key} was detached");
        }
        for (token, real) in &self.cloud.enis {
            let known = self.enis.contains_key(token) || self.is_astray(token) || real.named;
            assert!(known, "{token} is in the cloud and not in the ledger");
        }
    }

    /// The intent of a cloud call is on disk before the call.
    pub(crate) fn check_intent(&self, action: &CloudAction) {
        let (wanted, eni) = match action {
            CloudAction::Create { token, .. } => ("Creating", self.enis.get(token)),
            CloudAction::Attach { eni } => ("Attaching", self.durable(eni)),
            CloudAction::Detach { eni } => ("Detaching", self.durable(eni)),
            CloudAction::Delete { eni } => ("Deleting", self.durable(eni)),
            CloudAction::Regroup { eni, .. } => ("Regrouping", self.durable(eni)),
            CloudAction::Find { eni } => {
                let eni = self.durable(eni);
                let sought = eni.is_some_and(|eni| eni.phase == EniPhase::Creating);
                (if sought { "Creating" } else { "Kept" }, eni)
            }
            _ => panic!("{action:?} belongs to no exclusive pool"),
        };
        let eni = eni.unwrap_or_else(|| panic!("{action:?} without an intent"));
        assert_eq!(eni.phase.name(), wanted, "{action:?}");
    }

    fn durable(&self, id: &EniId) -> Option<&EniRecord> {
        self.enis.values().find(|eni| eni.id.as_ref() == Some(id))
    }

    pub(crate) fn check_engine(&self, enis_before: u32, event: &Event) {
        let (pool, settings) = (&self.pool, &self.settings);
        pool.books.check(settings);
        pool.waiters.check(|claim| pool.books.by_claim(claim).is_some());
        let tally = pool.books.tally();
        // What is ours is adopted even beyond the limit, and what was kept for a claim leaves beyond it.
        if tally.total() > enis_before && !matches!(event, Event::Inventory(_) | Event::Unclaim { .. }) {
            assert!(tally.total() <= pool.limit(), "{tally} after {event:?}");
            assert!(tally.coming <= settings.parallel, "{tally} after {event:?}");
        }
        let deadline = pool.next_deadline();
        assert!(deadline.is_none_or(|at| at > self.now), "{deadline:?} at {} after {event:?}", self.now);
        let held: Vec<_> = pool.attachments().collect();
        assert_eq!(held.len(), tally.held as usize);
        assert!(held.iter().all(|(held, eni)| eni.phase == EniPhase::InUse(held.key.clone())));
        for line in pool.waiters.lines() {
            let idle: usize =
                pool.wishes.get(line.wish).classes().map(|class| pool.books.idle(class).len()).sum();
            assert!(idle == 0, "{idle} idle ENIs and {line:?} after {event:?}");
        }
        self.check_no_request_is_lost();
    }

    /// What the cloud did not show as it should be is given to nobody, unless a further look has cleared it.
    pub(crate) fn check_suspects(&self, before: &BTreeSet<IntentToken>, looked: bool, event: &Event) {
        for token in before.iter().filter(|_| !looked) {
            let Some(eni) = self.pool.books.of(token) else { continue };
            let given = matches!(eni.record.phase, EniPhase::InUse(_)) && eni.record.since == self.now;
            assert!(!given || eni.flags.suspect, "{token} is given though suspect: {event:?}");
        }
    }

    pub(crate) fn check_no_request_is_lost(&self) {
        let answered = self.queue.iter().filter_map(|effect| match effect {
            Effect::Reply { request, .. } => Some(*request),
            _ => None,
        });
        let waiting = self.pool.waiters.iter().flat_map(|waiter| waiter.requests.iter().map(|(id, _)| *id));
        let known: BTreeSet<_> = answered.chain(waiting).collect();
        for (request, ask) in &self.open {
            assert!(!ask.heard || known.contains(request), "{request:?} is neither waiting nor answered");
        }
    }
}
