//! All ENIs, with an index for every question that is asked often: what is due, who is on an instance, who
//! has a tag or an address. Every change goes through [`Registry::change`], so the indexes never lag.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use ipnetwork::IpNetwork;
use terway_types::{EniId, InstanceId, Timestamp, VSwitchId};

use super::eni::{Eni, EniKind};

const NONE: &BTreeSet<EniId> = &BTreeSet::new();

/// What an ENI was before a change; `before` is `None` where it was not.
#[derive(Clone, Debug)]
pub(super) struct Past {
    pub(super) at: Timestamp,
    pub(super) id: EniId,
    pub(super) before: Option<Eni>,
}

/// The ENIs of the cloud.
#[derive(Clone, Debug, Default)]
pub(super) struct Registry {
    enis: BTreeMap<EniId, Eni>,
    due: BTreeSet<(Timestamp, EniId)>,
    by_instance: BTreeMap<InstanceId, BTreeSet<EniId>>,
    by_vswitch: BTreeMap<VSwitchId, BTreeSet<EniId>>,
    by_tag: BTreeMap<String, BTreeMap<String, BTreeSet<EniId>>>,
    by_address: BTreeMap<IpAddr, EniId>,
    by_prefix: BTreeMap<IpNetwork, EniId>,
    /// ENIs that are nobody's primary one.
    further: usize,
    ipv4_count: usize,
    past: VecDeque<Past>,
    /// How long changes are remembered. Zero: not at all.
    memory: Duration,
    looked_at: Cell<u64>,
}

impl Registry {
    pub(super) fn get(&self, id: &EniId) -> Option<&Eni> {
        self.looked_at.set(self.looked_at.get() + 1);
        self.enis.get(id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Eni> {
        self.enis.values().inspect(|_| self.looked_at.set(self.looked_at.get() + 1))
    }

    /// The ENIs on an instance, on their way to it or from it.
    pub(super) fn on(&self, instance: &InstanceId) -> &BTreeSet<EniId> {
        self.by_instance.get(instance).unwrap_or(NONE)
    }

    pub(super) fn of_vswitch(&self, vswitch: &VSwitchId) -> &BTreeSet<EniId> {
        self.by_vswitch.get(vswitch).unwrap_or(NONE)
    }

    /// The ENIs with this tag.
    pub(super) fn tagged(&self, key: &str, value: &str) -> &BTreeSet<EniId> {
        self.by_tag.get(key).and_then(|values| values.get(value)).unwrap_or(NONE)
    }

    /// The ENI that has an address, by itself or in a prefix.
    pub(super) fn with_address(&self, address: IpAddr) -> Option<&Eni> {
        let prefix = || self.by_prefix.get(&super::addresses::prefix_around(address)?);
        self.get(self.by_address.get(&address).or_else(prefix)?)
    }

    /// ENIs that are nobody's primary one.
    pub(super) fn further(&self) -> usize {
        self.further
    }

    /// IPv4 addresses that ENIs have, those of prefixes too.
    pub(super) fn ipv4_count(&self) -> usize {
        self.ipv4_count
    }

    /// The next time something is due.
    pub(super) fn next_due(&self) -> Option<&(Timestamp, EniId)> {
        self.due.first()
    }

    pub(super) fn insert(&mut self, eni: Eni, now: Timestamp) {
        self.remember(&eni.id, None, now);
        self.index(&eni, true);
        self.enis.insert(eni.id.clone(), eni);
    }

    pub(super) fn remove(&mut self, id: &EniId, now: Timestamp) -> Option<Eni> {
        let eni = self.enis.remove(id)?;
        self.index(&eni, false);
        self.remember(id, Some(&eni), now);
        Some(eni)
    }

    /// Changes an ENI; what the change says is handed on. `None`: no such ENI.
    pub(super) fn change<T>(
        &mut self,
        id: &EniId,
        now: Timestamp,
        change: impl FnOnce(&mut Eni) -> T,
    ) -> Option<T> {
        self.looked_at.set(self.looked_at.get() + 1);
        let mut eni = self.enis.remove(id)?;
        self.index(&eni, false);
        self.remember(id, Some(&eni), now);
        let outcome = change(&mut eni);
        self.index(&eni, true);
        self.enis.insert(id.clone(), eni);
        Some(outcome)
    }

    /// From now on changes are remembered for so long.
    pub(super) fn keep_past(&mut self, memory: Duration) {
        self.memory = memory;
        if memory.is_zero() {
            self.past.clear();
        }
    }

    /// The changes that are remembered, oldest first.
    pub(super) fn past(&self) -> impl DoubleEndedIterator<Item = &Past> {
        self.past.iter()
    }

    /// How many times an ENI was looked at: what a call costs, whatever the machine.
    pub(super) fn looked_at(&self) -> u64 {
        self.looked_at.get()
    }

    fn remember(&mut self, id: &EniId, before: Option<&Eni>, now: Timestamp) {
        if self.memory.is_zero() {
            return;
        }
        let memory = self.memory;
        while self.past.front().is_some_and(|past| now.since(past.at) > memory) {
            self.past.pop_front();
        }
        self.past.push_back(Past { at: now, id: id.clone(), before: before.cloned() });
    }

    /// Enters an ENI into every index, or takes it out.
    fn index(&mut self, eni: &Eni, enter: bool) {
        let id = &eni.id;
        if let Some(wake) = eni.wake() {
            let entry = (wake, id.clone());
            let _ = if enter { self.due.insert(entry) } else { self.due.remove(&entry) };
        }
        if let Some(instance) = eni.instance() {
            put(&mut self.by_instance, instance, id, enter);
        }
        put(&mut self.by_vswitch, &eni.vswitch, id, enter);
        for (key, value) in &eni.tags {
            put(self.by_tag.entry(key.clone()).or_default(), value, id, enter);
        }
        for address in eni.addresses.singles() {
            put_one(&mut self.by_address, &address, id, enter);
        }
        for prefix in &eni.addresses.prefixes {
            put_one(&mut self.by_prefix, prefix, id, enter);
        }
        let (further, ipv4) = (usize::from(eni.kind != EniKind::Primary), eni.ipv4_held());
        if enter {
            self.further += further;
            self.ipv4_count += ipv4;
        } else {
            self.further -= further;
            self.ipv4_count -= ipv4;
        }
    }
}

fn put<K: Ord + Clone>(index: &mut BTreeMap<K, BTreeSet<EniId>>, key: &K, id: &EniId, enter: bool) {
    if enter {
        index.entry(key.clone()).or_default().insert(id.clone());
    } else if let Some(ids) = index.get_mut(key) {
        ids.remove(id);
        if ids.is_empty() {
            index.remove(key);
        }
    }
}

fn put_one<K: Ord + Clone>(index: &mut BTreeMap<K, EniId>, key: &K, id: &EniId, enter: bool) {
    if enter {
        index.insert(key.clone(), id.clone());
    } else {
        index.remove(key);
    }
}
