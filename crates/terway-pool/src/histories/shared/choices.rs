//! Everything that may happen next in a small world of shared addresses, each with its price: what is no part of a
//! quiet life costs one fault. Nobody looks at the cloud there.

use std::time::Duration;

use terway_types::{CloudFailureKind as Kind, IntentToken, Timestamp};

use super::Deed;
use super::world::World;
use crate::exhaustive::canonical::canonical;
use crate::exhaustive::search::Explored;
use crate::histories::world::Fate;
use crate::histories::world::choices::{After, GRAIN, Step};
use crate::random::Random;
use crate::stock::Work as AddressWork;
use crate::testing::key;
use crate::{CloudAction, Effect, PoolSettings};

/// What the search chooses from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scope {
    /// Attachments.
    pub(crate) keys: u8,
    /// How long askers wait, in milliseconds.
    pub(crate) patience: u64,
}

/// A world with one vSwitch of a few addresses, on an instance that carries one ENI.
pub(crate) fn start(settings: PoolSettings, free: u32, per_eni: usize) -> World {
    let mut world = World::new(settings, [free, 0], 1, per_eni);
    world.execute(usize::MAX);
    world
}

impl Explored for World {
    type Deed = Deed;
    type Scope = Scope;

    fn deeds(&self, scope: Scope) -> Vec<(Deed, u32)> {
        let mut deeds = vec![(Deed::Crash, 1)];
        self.askers_may(scope, &mut deeds);
        // Whoever watches netdevs lags behind by two moves at most.
        if self.unseen.len() < 2 {
            self.cloud_may(&mut deeds);
        }
        if !self.unseen.is_empty() {
            deeds.push((Deed::SeeLinks, 0));
        }
        if let Some(millis) = self.next_instant().filter(|_| self.unseen.len() < 2) {
            deeds.push((Deed::Wait(millis), 0));
        }
        deeds
    }

    fn lucks(&self, _deed: &Deed) -> u64 {
        1
    }

    fn begin(&mut self, deed: &Deed, luck: u64) {
        self.pool.random = Random::new(luck, Timestamp(0));
        super::enact(self, deed.clone());
    }

    fn afters(&self, _scope: Scope) -> Vec<(After, u32)> {
        let mut afters = vec![(After::Run, 0)];
        let mut before: Option<&Effect> = None;
        for (index, effect) in self.queue.iter().enumerate() {
            // Death after words for people is like death before them.
            if !matches!(before, Some(Effect::Note(_) | Effect::Publish(_))) {
                afters.push((After::Die(index), 1));
            }
            before = Some(effect);
        }
        afters
    }

    fn finish(&mut self, after: After) {
        if let After::Die(effects) = after {
            self.execute(effects);
            self.crash();
        }
        self.execute(usize::MAX);
    }

    fn spelt(&self) -> String {
        canonical(&format!("{:?}", self.essence()), self.now)
    }

    fn come_to_rest(&mut self) {
        World::come_to_rest(self);
    }

    fn describe(&self, step: &Step<Deed>) -> String {
        let running = self.running.iter().map(|(_, action)| action).collect::<Vec<_>>();
        format!("{:?}, then {:?}; running {running:?}", step.deed, step.after)
    }

    fn situation(&self) -> String {
        format!("at {}: {:?}, told {:?}", self.now, self.addresses, self.told)
    }
}

impl World {
    fn askers_may(&self, scope: Scope, deeds: &mut Vec<(Deed, u32)>) {
        for number in 0..scope.keys {
            let key = key(number);
            let asks = |ask: &super::world::Ask| ask.allocates && ask.heard && ask.key.as_ref() == Some(&key);
            let (holds, asking) = (self.told.contains_key(&key), self.open.values().any(asks));
            if holds || asking || self.attachments.contains_key(&key) {
                deeds.push((Deed::Release(number), 0));
            }
            if !asking {
                deeds.push((Deed::Allocate(number, scope.patience), u32::from(holds)));
            }
        }
        let waiting = self.open.values().enumerate().filter(|(_, ask)| ask.allocates && ask.heard);
        deeds.extend(waiting.map(|(index, _)| (Deed::Cancel(index), 0)));
    }

    fn cloud_may(&self, deeds: &mut Vec<(Deed, u32)>) {
        for (index, (_, action)) in self.running.iter().enumerate() {
            deeds.push((Deed::Answer(index, Fate::Done), 0));
            let fates = [Fate::DoneUnheard, Fate::Lost, Fate::Late(GRAIN), Fate::Twice];
            let refusals = [Kind::Throttled, Kind::SubnetExhausted, Kind::Gone];
            let can_be_gone =
                |kind: &Kind| *kind != Kind::Gone || matches!(action, CloudAction::Detach { .. });
            let refusals = refusals.into_iter().filter(can_be_gone).map(Fate::Refused);
            deeds.extend(fates.into_iter().chain(refusals).map(|fate| (Deed::Answer(index, fate), 1)));
        }
        for index in 0..self.late.len() {
            deeds.push((Deed::Land(index), 0));
            deeds.push((Deed::Fade(index), 0));
        }
    }

    /// Milliseconds until something happens by itself. No call takes so long that the pool takes it for lost.
    fn next_instant(&self) -> Option<u64> {
        let late = self.late.iter().map(|(at, ..)| *at);
        let arriving = self.arriving.iter().map(|(at, _)| *at);
        let next = self.pool.next_deadline().into_iter().chain(late).chain(arriving).min()?;
        let millis = u64::try_from(next.since(self.now).as_millis()).ok()?.next_multiple_of(GRAIN);
        let then = self.now + Duration::from_millis(millis);
        let patient = self.limits().all(|until| then < until);
        patient.then_some(millis)
    }

    /// When the pool takes calls for lost.
    fn limits(&self) -> impl Iterator<Item = Timestamp> + '_ {
        let of_enis = self.pool.books.iter().filter_map(|(_, eni)| match eni.work {
            crate::eni::Work::Running { until, .. } => Some(until),
            _ => None,
        });
        let of_addresses = self.pool.shared.stock.shelves().filter_map(|shelf| match shelf.work {
            AddressWork::Running { until, .. } => Some(until),
            _ => None,
        });
        of_enis.chain(of_addresses)
    }

    /// A copy without history, and without what follows from the rest.
    fn essence(&self) -> Self {
        let mut bare = self.clone();
        bare.pool.forget_past(None);
        bare.past = <_>::default();
        for settings in [&mut bare.settings, &mut bare.pool.settings] {
            (settings.vswitches, settings.security_groups) = <_>::default();
        }
        (bare.calls, bare.answers, bare.events, bare.phases) = <_>::default();
        bare.next_request = 0;
        // What the ledger says like the pool is said already.
        bare.enis.retain(|token, record| self.pool.books.of(token).is_none_or(|eni| eni.record != *record));
        bare.attachments.retain(|key, record| self.pool.holdings.get(key) != Some(record));
        let stock = &self.pool.shared.stock;
        bare.addresses.retain(|address, record| {
            let entry = stock.of(&record.eni).and_then(|shelf| shelf.entry(*address));
            entry.is_none_or(|entry| entry.since != record.since)
        });
        let mut mentioned: Vec<&IntentToken> = Vec::new();
        for action in self.late.iter().map(|(_, action, _)| action).chain(self.running.iter().map(|(_, a)| a))
        {
            if let CloudAction::Create { token, .. } | CloudAction::Assign { token, .. } = action {
                mentioned.push(token);
            }
        }
        mentioned.extend(self.enis.values().filter_map(|eni| Some(&eni.assigning.as_ref()?.token)));
        bare.cloud.forget_past(|token| mentioned.contains(&token));
        bare
    }
}
