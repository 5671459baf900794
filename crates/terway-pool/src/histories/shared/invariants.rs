//! What must hold for addresses: after every effect on disk, after every event in memory, and once the world is at
//! rest.

use std::collections::{BTreeMap, BTreeSet};

use terway_types::{AddressPhase, AddressSet, EniPhase, PrefixPhase};

use super::world::World;
use crate::eni::Service;
use crate::sharing::sharing;
use crate::{Answer, CloudAction, Effect, Event, RequestId};

impl World {
    /// One owner per address, pairs from one ENI, every address on an ENI that is there.
    pub(super) fn check_ledger(&self) {
        for record in self.addresses.values() {
            assert!(self.enis.contains_key(&record.eni), "{record:?} without its ENI");
            let around = self.prefixes.values().find(|prefix| prefix.prefix.contains(record.address));
            if let Some(prefix) = around {
                assert_eq!(prefix.eni, record.eni, "{record:?} in {prefix:?}");
                assert_ne!(record.phase, AddressPhase::Idle, "{record:?} needs no record");
                assert_ne!(prefix.phase, PrefixPhase::Unassigning, "{record:?} in {prefix:?}");
            }
            if let AddressPhase::InUse(key) = &record.phase {
                let held = &self.attachments[key];
                assert_eq!(held.eni, record.eni);
                assert!(
                    held.addresses.iter().any(|address| address == record.address),
                    "{held:?} {record:?}"
                );
            }
        }
        for held in self.attachments.values() {
            assert!(held.addresses.v4.is_some(), "{held:?}");
            for address in held.addresses.iter() {
                let record = &self.addresses[&address];
                assert_eq!((&record.eni, &record.phase), (&held.eni, &AddressPhase::InUse(held.key.clone())));
            }
            assert_eq!(self.enis[&held.eni].phase, EniPhase::Ready, "{held:?}");
        }
        for (key, (token, addresses)) in &self.told {
            let held = self.attachments.get(key).unwrap_or_else(|| panic!("{key} lost its addresses"));
            assert_eq!((&held.eni, &held.addresses), (token, addresses), "{key} was moved");
            if self.vanished.contains(token) {
                continue;
            }
            let real = &self.cloud.enis[token];
            assert!(real.attached, "the ENI of {key} was detached");
            for address in addresses.iter() {
                let single = real.has.singles().any(|own| own == address);
                let within = real.has.prefixes.iter().any(|net| net.contains(address));
                assert!(
                    single || within || self.is_taken_off(address),
                    "{address} of {key} is not on its ENI"
                );
            }
        }
        for token in self.cloud.enis.keys() {
            let known = self.enis.contains_key(token) || self.is_astray(token);
            assert!(known, "{token} is in the cloud and not in the ledger");
        }
    }

    /// The intent of a cloud call is on disk before the call. Tells the call's name.
    pub(super) fn check_intent(&self, action: &CloudAction) -> &'static str {
        let by_id = |id| {
            let found = self.enis.values().find(|eni| eni.id.as_ref() == Some(id));
            found.unwrap_or_else(|| panic!("{action:?} without an ENI"))
        };
        let (name, wanted, eni) = match action {
            CloudAction::Create { token, counts, .. } => {
                assert_eq!(self.enis[token].counts, *counts);
                ("create", "Creating", &self.enis[token])
            }
            CloudAction::Attach { eni } => ("attach", "Attaching", by_id(eni)),
            CloudAction::Detach { eni } => ("detach", "Detaching", by_id(eni)),
            CloudAction::Delete { eni } => ("delete", "Deleting", by_id(eni)),
            CloudAction::Assign { eni, token, counts } => {
                let intent =
                    by_id(eni).assigning.clone().unwrap_or_else(|| panic!("{action:?} without intent"));
                assert_eq!((&intent.token, &intent.counts), (token, counts));
                let batch = sharing(&self.settings).unwrap().assign_batch.max(4);
                assert!(counts.ipv4.max(counts.ipv6) <= batch.max(10), "{counts:?} at once");
                ("assign", "Ready", by_id(eni))
            }
            CloudAction::Unassign { eni, addresses } => {
                self.check_unassign(addresses);
                ("unassign", "Ready", by_id(eni))
            }
            CloudAction::Find { .. } | CloudAction::Regroup { .. } => panic!("{action:?} is of no use here"),
        };
        assert_eq!(eni.phase.name(), wanted, "{action:?}");
        name
    }

    fn check_unassign(&self, gone: &AddressSet) {
        assert_ne!(*gone, AddressSet::default(), "nothing to take off");
        for address in gone.singles() {
            assert_eq!(self.addresses[&address].phase, AddressPhase::Unassigning);
            let holder = self.told.iter().find(|(_, (_, held))| held.iter().any(|own| own == address));
            assert!(holder.is_none(), "{address} is taken from {holder:?}");
        }
        for net in &gone.prefixes {
            assert_eq!(self.prefixes[net].phase, PrefixPhase::Unassigning);
            assert!(!self.addresses.keys().any(|address| net.contains(*address)), "{net} is in use");
        }
    }

    pub(super) fn check_engine(&self, event: &str) {
        let (pool, settings) = (&self.pool, &self.settings);
        pool.books.check(settings);
        pool.shared.stock.check();
        let deadline = pool.next_deadline();
        assert!(deadline.is_none_or(|at| at > self.now), "{deadline:?} at {} after {event}", self.now);
        let totals = pool.shared.stock.totals();
        assert!(totals.idle == 0 || pool.waiters.is_empty(), "idle pairs and waiters after {event}");
        for (_, eni) in pool.books.iter() {
            let shelf = pool.shared.stock.of(&eni.record.token).expect("every ENI is shared");
            assert_eq!(eni.service == Service::Lent, shelf.in_use() > 0, "{eni:?} after {event}");
            assert!(eni.service != Service::Whole);
        }
        self.check_no_request_is_lost();
    }

    fn check_no_request_is_lost(&self) {
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

    pub(super) fn reply(&mut self, request: RequestId, answer: Answer) {
        self.answers.push((request, answer.clone()));
        let ask = self.open.remove(&request).unwrap_or_else(|| panic!("{request:?} answered twice"));
        match answer {
            Answer::Allocated(grant) => {
                let key = ask.key.expect("an allocation");
                let durable = self.attachments.get(&key).expect("told only what is durable");
                assert_eq!((&durable.eni, durable.addresses), (&grant.eni.token, grant.addresses));
                assert!(grant.eni.id.is_some() && grant.eni.mac.is_some());
                if !ask.heard {
                    return self.event(Event::Cancel { request });
                }
                if ask.outdated {
                    return;
                }
                let shares = |(_, held): &(_, terway_types::Addresses)| {
                    held.iter().any(|address| grant.addresses.iter().any(|own| own == address))
                };
                let other = self.told.iter().find(|(other, held)| **other != key && shares(held));
                assert!(other.is_none(), "{:?} belongs to {other:?} and {key}", grant.addresses);
                let now = (grant.eni.token, grant.addresses);
                if let Some(before) = self.told.insert(key.clone(), now.clone()) {
                    assert_eq!(before, now, "{key} was told two pairs");
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

    // ------------------------------------------------------------------ the end

    /// Faults stop and time passes: everything must come to rest, with nothing lost and nothing left over.
    pub(super) fn come_to_rest(&mut self) {
        self.cloud.free.values_mut().for_each(|free| *free = 1000);
        (self.cloud.slots, self.cloud.per_eni) = (100, 100);
        self.execute(usize::MAX);
        self.collect_told();
        self.calm_down();
        if self.watched {
            for _ in 0..3 {
                self.look_twice();
                self.calm_down();
            }
        }
        self.check_rest();
    }

    fn calm_down(&mut self) {
        for step in 0..3_000 {
            if self.watched && step % 20 == 0 {
                self.look(0, 0);
            }
            self.flow();
            let busy = !(self.queue.is_empty() && self.running.is_empty() && self.unseen.is_empty());
            let next = self.late.iter().map(|(at, ..)| *at).chain(self.arriving.iter().map(|(at, _)| *at));
            match next.chain(self.pool.next_deadline()).min() {
                _ if busy => {}
                Some(at) => self.wait(at.since(self.now).as_millis().try_into().unwrap()),
                None => return,
            }
        }
        panic!("no rest: {:#?} {:#?}", self.pool.view(self.now), self.pool.shared);
    }

    pub(super) fn check_rest(&self) {
        let unanswered: Vec<_> = self.open.iter().filter(|(_, ask)| ask.heard).collect();
        assert!(unanswered.is_empty(), "{unanswered:?}");
        assert!(self.told.keys().eq(self.attachments.keys()), "told {:?}", self.told);
        let known = self
            .enis
            .keys()
            .filter(|token| self.cloud.enis.contains_key(*token) || !self.vanished.contains(*token));
        assert!(known.eq(self.cloud.enis.keys()), "ENIs of ledger and cloud differ");
        let mut books: BTreeMap<_, AddressSet> = BTreeMap::new();
        for record in self.addresses.values() {
            assert!(!matches!(record.phase, AddressPhase::Unassigning | AddressPhase::Quarantined { .. }));
            let out_of_prefix = self.prefixes.keys().any(|net| net.contains(record.address));
            let held = matches!(record.phase, AddressPhase::InUse(_));
            if held && self.is_taken_off(record.address) {
                continue;
            }
            let set = books.entry(record.eni.clone()).or_default();
            match record.address {
                std::net::IpAddr::V4(v4) if !out_of_prefix => set.ipv4.push(v4),
                std::net::IpAddr::V6(v6) if !out_of_prefix => set.ipv6.push(v6),
                _ => {}
            }
        }
        for record in self.prefixes.values() {
            assert_ne!(record.phase, PrefixPhase::Unassigning);
            let held = self.addresses.keys().any(|address| record.prefix.contains(*address));
            if held && self.taken_off.contains(&record.prefix) {
                continue;
            }
            books.entry(record.eni.clone()).or_default().prefixes.push(record.prefix);
        }
        for (token, eni) in &self.enis {
            let Some(real) = self.cloud.enis.get(token) else { continue };
            let (own, real) = (books.remove(token).unwrap_or_default(), real);
            assert_eq!(own, real.sorted(), "addresses of {token} in ledger and cloud");
            assert_eq!((&eni.phase, &eni.assigning), (&EniPhase::Ready, &None));
            let lent = self.attachments.values().any(|held| held.eni == *token);
            assert!(lent || self.home.contains(&real.mac), "{eni:?} without its netdev");
        }
        self.check_marks();
    }

    fn check_marks(&self) {
        let (pool, settings) = (&self.pool, &self.settings);
        let (totals, tally) = (pool.shared.stock.totals(), pool.books.tally());
        let capacity = self.published.expect("published at least once");
        assert_eq!(capacity.now, totals.idle);
        assert!(
            totals.idle >= settings.min_idle || capacity.later == capacity.now,
            "{totals:?} {tally}, {capacity:?}"
        );
        assert!(!pool.can_shed_surplus(), "{totals:?} {tally}");
        assert!(
            tally.total() <= settings.max_enis || pool.shared.stock.unused(u32::MAX).is_none(),
            "{tally}"
        );
    }
}
