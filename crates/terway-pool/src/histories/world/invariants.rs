//! What must hold: after every effect on disk, after every event in memory, and once the world is at rest.

use std::collections::BTreeSet;

use terway_types::{EniId, EniPhase, EniRecord};

use super::World;
use crate::{CloudAction, Effect, Event};

impl World {
    /// One owner per ENI, one ENI per attachment, on disk.
    pub(super) fn check_ledger(&self) {
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
            assert!(self.cloud.enis[token].attached, "the ENI of {key} was detached");
        }
        for token in self.cloud.enis.keys() {
            assert!(self.enis.contains_key(token), "{token} is in the cloud and not in the ledger");
        }
    }

    /// The intent of a cloud call is on disk before the call.
    pub(super) fn check_intent(&self, action: &CloudAction) {
        let (wanted, eni) = match action {
            CloudAction::Create { token, .. } => ("Creating", self.enis.get(token)),
            CloudAction::Attach { eni } => ("Attaching", self.durable(eni)),
            CloudAction::Detach { eni } => ("Detaching", self.durable(eni)),
            CloudAction::Delete { eni } => ("Deleting", self.durable(eni)),
            _ => panic!("{action:?} belongs to no exclusive pool without claims"),
        };
        let eni = eni.unwrap_or_else(|| panic!("{action:?} without an intent"));
        assert_eq!(eni.phase.name(), wanted, "{action:?}");
    }

    fn durable(&self, id: &EniId) -> Option<&EniRecord> {
        self.enis.values().find(|eni| eni.id.as_ref() == Some(id))
    }

    pub(super) fn check_engine(&self, enis_before: usize, event: &str) {
        let (pool, settings) = (&self.pool, &self.settings);
        pool.books.check(settings);
        let tally = pool.books.tally();
        if tally.total() as usize > enis_before {
            assert!(tally.total() <= settings.max_enis, "{tally} after {event}");
            assert!(tally.coming <= settings.parallel, "{tally} after {event}");
        }
        let deadline = pool.next_deadline();
        assert!(deadline.is_none_or(|at| at > self.now), "{deadline:?} at {} after {event}", self.now);
        let held: Vec<_> = pool.attachments().collect();
        assert_eq!(held.len(), tally.held as usize);
        assert!(held.iter().all(|(held, eni)| eni.phase == EniPhase::InUse(held.key.clone())));
        assert!(tally.idle == 0 || pool.waiters.len() == 0, "idle ENIs and waiters after {event}");
        self.check_no_request_is_lost();
    }

    pub(super) fn check_no_request_is_lost(&self) {
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

    // ------------------------------------------------------------------ the end

    /// Faults stop and time passes: everything must come to rest, with nothing lost and nothing left over.
    pub(in crate::histories) fn come_to_rest(&mut self) {
        self.cloud.free.values_mut().for_each(|free| *free = 100);
        self.cloud.slots = 100;
        self.execute(usize::MAX);
        self.collect_told();
        for _ in 0..2_000 {
            self.flow();
            while let Some(mac) =
                self.inside.iter().find(|(_, key)| !self.told.contains_key(key)).map(|(mac, _)| *mac)
            {
                self.inside.remove(&mac);
                self.home.insert(mac);
                self.unseen.push_back(Event::LinkUp { mac });
            }
            let busy = !(self.queue.is_empty() && self.running.is_empty() && self.unseen.is_empty());
            let next = self.late.iter().map(|(at, ..)| *at).chain(self.arriving.iter().map(|(at, _)| *at));
            match next.chain(self.pool.next_deadline()).min() {
                _ if busy => {}
                Some(at) => self.wait(at.since(self.now).as_millis().try_into().unwrap()),
                None => return self.check_rest(),
            }
        }
        panic!("no rest: {:#?}", self.pool.view(self.now));
    }

    pub(super) fn check_rest(&self) {
        let (tally, settings) = (self.pool.books.tally(), &self.settings);
        let unanswered: Vec<_> = self.open.iter().filter(|(_, ask)| ask.heard).collect();
        assert!(unanswered.is_empty(), "{unanswered:?}");
        assert!(self.enis.keys().eq(self.cloud.enis.keys()), "books of ledger and cloud differ");
        assert!(
            self.told.keys().eq(self.attachments.keys()),
            "told {:?}, held {:?}",
            self.told,
            self.attachments
        );
        for eni in self.enis.values() {
            let at_home = eni.mac.is_some_and(|mac| self.home.contains(&mac));
            let well = match eni.phase {
                EniPhase::Ready => at_home,
                EniPhase::InUse(_) => true,
                EniPhase::Quarantined { .. } => !at_home,
                _ => false,
            };
            assert!(well, "{eni:?}");
        }
        let gone = tally.held + tally.strayed;
        let room = settings.max_enis.saturating_sub(gone);
        assert!(tally.idle >= settings.min_idle.min(room), "{tally}, room {room}");
        assert!(tally.idle <= settings.max_idle, "{tally}");
        assert!(tally.total() <= settings.max_enis || tally.idle == 0, "{tally}");
        let later = self.published.expect("published at least once").later;
        assert_eq!(later, room.max(tally.idle));
    }
}
