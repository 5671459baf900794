//! What may happen to a pool: those who ask, the daemon's death, netdevs that move, calls that end.

use std::collections::BTreeMap;
use std::time::Duration;

use terway_types::{AttachmentKey, CloudFailureKind as Kind, LedgerSnapshot};

use super::{Ask, Fate, Running, World};
use crate::histories::cloud::failure;
use crate::testing::key;
use crate::{Effect, Event, Pool, PoolSettings, RequestId};

impl World {
    pub(crate) fn release(&mut self, number: u8) {
        self.told.remove(&key(number));
        for ask in self.open.values_mut() {
            ask.outdated |= ask.key == Some(key(number));
        }
        let request = self.ask(Some(key(number)), false);
        self.event(Event::Release { request, key: key(number) });
    }

    /// The asker of an open request goes away.
    pub(crate) fn cancel(&mut self, index: usize) {
        let Some((&request, ask)) = pick_mut(&mut self.open, index) else { return };
        if ask.allocates {
            ask.heard = false;
            self.event(Event::Cancel { request });
            self.drop_ask(request);
        }
    }

    /// Nobody waits for this answer any more; if it is not on its way, it must never come.
    pub(crate) fn drop_ask(&mut self, request: RequestId) {
        let answers = |effect: &Effect| matches!(effect, Effect::Reply { request: answered, .. } if *answered == request);
        if !self.queue.iter().any(answers) {
            self.open.remove(&request);
        }
    }

    /// The runtime says that only some of what it knows is valid.
    pub(crate) fn collect(&mut self, keep: u8) {
        self.told
            .retain(|key, _| key.container.as_str().bytes().last().is_some_and(|c| keep >> (c % 8) & 1 == 1));
        self.collect_told();
    }

    /// Valid is what holds something and what is being added, as the CNI specification demands for GC.
    pub(crate) fn collect_told(&mut self) {
        let adding = self.open.values().filter(|ask| ask.allocates && ask.heard && !ask.outdated);
        let valid = self.told.keys().rev().cloned().chain(adding.filter_map(|ask| ask.key.clone())).collect();
        let request = self.ask(None, false);
        self.event(Event::Collect { request, network: key(0).network, valid });
    }

    pub(crate) fn wait(&mut self, millis: u64) {
        if self.punctual {
            self.execute(usize::MAX);
        }
        self.now = self.now + Duration::from_millis(millis);
        self.land_overdue();
        self.happen();
        if self.pool.next_deadline().is_some_and(|at| at <= self.now) {
            self.event(Event::Tick);
        }
    }

    /// The daemon dies between two effects and starts again.
    pub(crate) fn crash(&mut self) {
        self.queue.clear();
        self.open.clear();
        self.unseen.clear();
        for (index, running) in self.running.drain(..).enumerate() {
            let after =
                if self.pace.staggered { index as u64 * 20 % self.pace.latest } else { self.pace.latest };
            let at = self.now + Duration::from_millis(after);
            self.late.push((at, running.action, Some(running.operation)));
        }
        self.now = self.now + Duration::from_millis(self.pace.restart);
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

    pub(crate) fn reconfigure(&mut self, settings: PoolSettings) {
        self.settings = settings.clone();
        self.event(Event::Reconfigure(settings));
    }

    /// A pod takes its netdev.
    pub(crate) fn enter(&mut self, number: u8) {
        let Some(real) = self.told.get(&key(number)).and_then(|token| self.cloud.enis.get(token)) else {
            return;
        };
        if self.home.remove(&real.mac) {
            self.inside.insert(real.mac, key(number));
            self.unseen.push_back(Event::LinkGone { mac: real.mac });
        }
    }

    /// A netdev comes home from a pod.
    pub(crate) fn leave(&mut self, index: usize) {
        let Some((&mac, _)) = pick_mut(&mut self.inside, index) else { return };
        self.inside.remove(&mac);
        self.home.insert(mac);
        self.unseen.push_back(Event::LinkUp { mac });
    }

    /// A netdev vanishes for good though its ENI stays attached.
    pub(crate) fn lose_netdev(&mut self, index: usize) {
        let Some(&mac) = self.home.iter().nth(index % self.home.len().max(1)) else { return };
        self.home.remove(&mac);
        self.unseen.push_back(Event::LinkGone { mac });
    }

    pub(crate) fn see_links(&mut self) {
        while let Some(event) = self.unseen.pop_front() {
            self.event(event);
        }
    }

    /// The first thing seen and not yet told is told.
    pub(crate) fn see_next(&mut self) {
        if let Some(event) = self.unseen.pop_front() {
            self.event(event);
        }
    }

    /// A late call lands now, and not as late as it might.
    pub(crate) fn land(&mut self, index: usize) {
        if let Some((at, ..)) = self.late.get_mut(index) {
            *at = self.now;
            self.happen();
        }
    }

    /// A late call never lands.
    pub(crate) fn vanish(&mut self, index: usize) {
        self.late.remove(index);
    }

    /// Nobody is there any more to hear the answers on their way.
    pub(crate) fn go_deaf(&mut self) {
        for effect in &self.queue {
            if let Effect::Reply { request, .. } = effect
                && let Some(ask) = self.open.get_mut(request).filter(|ask| ask.allocates)
            {
                ask.heard = false;
            }
        }
    }

    pub(crate) fn answer(&mut self, index: usize, fate: Fate) {
        if self.running.is_empty() {
            return;
        }
        let Running { operation, action, .. } = self.running.swap_remove(index % self.running.len());
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
                self.late.push((self.now + Duration::from_millis(after.min(self.pace.latest)), action, None));
                unheard
            }
        };
        for _ in 0..times {
            self.event(Event::CloudDone { operation, outcome: outcome.clone() });
        }
    }

    /// A call works, and its answer is still on its way.
    pub(crate) fn work_silently(&mut self, index: usize) {
        let action = self.running[index].action.clone();
        let _ = self.act(&action);
    }

    /// Somebody still speaks of the addresses of an ENI.
    pub(crate) fn mention(&mut self, index: usize) {
        let eni = self.enis.values().nth(index % self.enis.len().max(1));
        let addresses = eni.map(|eni| eni.addresses.iter().collect()).unwrap_or_default();
        self.event(Event::Mentioned { addresses });
    }

    pub(crate) fn ask(&mut self, key: Option<AttachmentKey>, allocates: bool) -> RequestId {
        self.next_request += 1;
        let request = RequestId(self.next_request);
        self.open.insert(request, Ask { key, allocates, heard: true, outdated: false });
        request
    }
}

fn pick_mut<K, V>(map: &mut BTreeMap<K, V>, index: usize) -> Option<(&K, &mut V)> {
    let len = map.len().max(1);
    map.iter_mut().nth(index % len)
}
