//! What readers see: the ENIs as they are, or as the cloud's replicas still tell them - from a while ago,
//! with deleted ones still there and new ones not yet.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use terway_types::{EniId, InstanceId, Timestamp, VSwitchId};

use super::World;
use super::eni::Eni;

/// How far what readers see is from what is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lag {
    /// Everything is seen as it was so long ago.
    pub stale: Duration,
    /// A deleted ENI is still seen for so long.
    pub linger: Duration,
    /// A new ENI is not seen for so long.
    pub missing: Duration,
}

/// Which ENIs a reader asks for; the index that finds them.
#[derive(Clone, Copy, Debug)]
pub enum By<'q> {
    /// These.
    Ids(&'q [EniId]),
    /// Those of an instance.
    Instance(&'q InstanceId),
    /// Those with a tag.
    Tag(&'q str, &'q str),
    /// Those of a vSwitch.
    VSwitch(&'q VSwitchId),
    /// All.
    All,
}

/// The ENIs as a reader sees them.
#[derive(Debug)]
pub struct View<'a> {
    world: &'a World,
    /// What is seen in place of what is.
    overlaid: BTreeMap<&'a EniId, Option<&'a Eni>>,
}

impl World {
    /// What a reader sees at `now`.
    pub fn seen(&self, lag: Lag, now: Timestamp) -> View<'_> {
        let mut overlaid = BTreeMap::new();
        let within = |past: Timestamp, window: Duration| now.since(past) < window;
        let mut touched = BTreeSet::new();
        for past in self.enis.past().rev() {
            let is_last = touched.insert(&past.id);
            if within(past.at, lag.stale) {
                overlaid.insert(&past.id, past.before.as_ref());
                continue;
            }
            let deleted = is_last && self.enis.get(&past.id).is_none();
            if deleted && within(past.at, lag.linger) {
                overlaid.entry(&past.id).or_insert(past.before.as_ref());
            }
            if past.before.is_none() && within(past.at, lag.missing) {
                overlaid.insert(&past.id, None);
            }
        }
        View { world: self, overlaid }
    }
}

impl<'a> View<'a> {
    /// One ENI.
    pub fn eni(&self, id: &EniId) -> Option<&'a Eni> {
        match self.overlaid.get(id) {
            Some(seen) => *seen,
            None => self.world.enis.get(id),
        }
    }

    /// The ENIs an index names, by id. Those seen otherwise than they are may be among them without
    /// belonging there: callers filter.
    pub fn candidates(&self, by: By<'_>) -> Vec<&'a Eni> {
        let enis = &self.world.enis;
        let named = match by {
            By::Ids(ids) => {
                let ids: BTreeSet<&EniId> = ids.iter().collect();
                return ids.into_iter().filter_map(|id| self.eni(id)).collect();
            }
            By::Instance(instance) => enis.on(instance),
            By::Tag(key, value) => enis.tagged(key, value),
            By::VSwitch(vswitch) => enis.of_vswitch(vswitch),
            By::All if self.overlaid.is_empty() => return enis.iter().collect(),
            By::All => {
                let all = enis.iter().map(|eni| &eni.id).chain(self.overlaid.keys().copied());
                let ids: BTreeSet<&EniId> = all.collect();
                return ids.into_iter().filter_map(|id| self.eni(id)).collect();
            }
        };
        let ids: BTreeSet<&EniId> = named.iter().chain(self.overlaid.keys().copied()).collect();
        ids.into_iter().filter_map(|id| self.eni(id)).collect()
    }

    /// The ENIs on an instance, by slot.
    pub fn enis_of(&self, instance: &InstanceId) -> Vec<&'a Eni> {
        let mut enis = self.candidates(By::Instance(instance));
        enis.retain(|eni| eni.instance() == Some(instance));
        enis.sort_by_key(|eni| eni.attachment.as_ref().map(|attachment| attachment.device_index));
        enis
    }

    /// How many ENIs an index names.
    pub fn breadth(&self, by: By<'_>) -> usize {
        match by {
            By::Ids(ids) => ids.len(),
            By::Instance(instance) => self.world.enis.on(instance).len(),
            By::Tag(key, value) => self.world.enis.tagged(key, value).len(),
            By::VSwitch(vswitch) => self.world.enis.of_vswitch(vswitch).len(),
            By::All => usize::MAX,
        }
    }
}
