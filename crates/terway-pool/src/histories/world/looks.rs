//! Looks at the cloud and at the node's metadata: late, stale, partial; never more stale than the settings allow.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use terway_types::{AddressSet, EniId, EniPhase, Gateways, IntentToken, MacAddr, Subnets};

use super::World;
use crate::histories::cloud::{RealEni, addresses_of};
use crate::{Event, Inventory, Place, SeenEni};

/// What a look can show.
#[derive(Clone, Debug)]
pub(crate) struct Scene {
    enis: BTreeMap<IntentToken, RealEni>,
    foreign: BTreeMap<EniId, MacAddr>,
}

impl World {
    /// Notes what the cloud looks like at the end of this moment.
    pub(crate) fn note_scene(&mut self) {
        let (enis, foreign) = (&self.cloud.enis, &self.cloud.foreign);
        let same = |scene: &Scene| scene.enis == *enis && scene.foreign == *foreign;
        let scene = || Scene { enis: enis.clone(), foreign: foreign.clone() };
        self.past.note(same, scene, self.now, self.settings.consistency);
    }

    /// Somebody looks at the cloud; the pool hears of it later. The read is `stale` by so much, and leaves out
    /// those ENIs that `hide` has a bit for; but a read after a partial one is complete and fresh.
    pub(crate) fn look(&mut self, stale: u64, hide: u8) {
        self.watched = true;
        let (stale, hide) = if self.partial { (0, 0) } else { (stale, hide) };
        self.partial = hide != 0;
        let Some(scene) = self.scene(stale) else { return };
        let others = scene.foreign.iter().map(|(id, mac)| foreign(id, *mac));
        let ours = scene.enis.iter().map(|(token, real)| seen(token, real));
        let shown = ours.chain(others).zip(0u32..).filter(|(_, index)| hide >> (index % 8) & 1 == 0);
        let enis = shown.map(|(seen, _)| seen).collect();
        self.unseen.push_back(Event::Inventory(Inventory::Cloud { began: self.now, enis }));
    }

    /// Somebody looks at the metadata.
    pub(crate) fn look_at_metadata(&mut self, stale: u64) {
        self.watched = true;
        let Some(scene) = self.scene(stale) else { return };
        let ours = scene.enis.values().filter(|real| real.attached).map(|real| real.mac);
        let macs = ours.chain(scene.foreign.values().copied()).chain([MacAddr([2; 6])]).collect();
        self.unseen.push_back(Event::Inventory(Inventory::Metadata { began: self.now, macs }));
    }

    fn scene(&self, stale: u64) -> Option<&Scene> {
        let most = u64::try_from(self.settings.consistency.as_millis()).unwrap() - 1;
        self.past.at(self.now - Duration::from_millis(stale.min(most)))
    }

    /// Enough complete looks for everything that they can settle.
    pub(crate) fn look_twice(&mut self) {
        for _ in 0..3 {
            self.look(0, 0);
            self.flow();
            self.wait(u64::try_from(self.settings.consistency.as_millis()).unwrap() + 1);
            self.flow();
        }
    }

    /// Idle ENIs that the pool does not trust at the moment. One that waits for its netdev is no such: the netdev
    /// speaks for it.
    pub(crate) fn suspects(&self) -> BTreeSet<IntentToken> {
        let idle = |phase: &EniPhase| matches!(phase, EniPhase::Ready | EniPhase::Quarantined { .. });
        let suspects = self
            .pool
            .books
            .iter()
            .map(|(_, eni)| eni)
            .filter(|eni| eni.flags.suspect && idle(&eni.record.phase));
        suspects.map(|eni| eni.record.token.clone()).collect()
    }
}

fn seen(token: &IntentToken, real: &RealEni) -> SeenEni {
    SeenEni {
        id: real.id.clone(),
        token: (!real.named).then(|| token.clone()),
        ours: !real.named,
        primary: false,
        mac: real.mac,
        vswitch: real.vswitch.clone(),
        security_groups: real.groups.clone(),
        addresses: addresses_of(real.mac),
        assigned: AddressSet::default(),
        subnets: Subnets::default(),
        gateways: Gateways::default(),
        place: match (real.attached, real.elsewhere) {
            (true, _) => Place::Here,
            (false, true) => Place::Elsewhere,
            (false, false) => Place::Nowhere,
        },
    }
}

fn foreign(id: &EniId, mac: MacAddr) -> SeenEni {
    let mut seen = crate::reconcile::testing::seen("foreign", Place::Here);
    (seen.id, seen.mac, seen.token, seen.ours) = (id.clone(), mac, None, false);
    seen
}
