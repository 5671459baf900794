//! Looks at the cloud, and what people do to addresses behind the pool's back.

use std::net::IpAddr;
use std::time::Duration;

use terway_types::{AddressCounts, Gateways, IntentToken, LedgerSnapshot, Subnets};

use super::cloud::RealEni;
use super::world::World;
use crate::{Event, Inventory, Place, Pool, SeenEni};

/// What somebody does by hand.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Meddling {
    /// An ENI is deleted.
    Delete,
    /// An ENI is detached.
    Detach,
    /// An ENI loses an address or a prefix.
    TakeOff,
    /// An ENI gets an address.
    Add,
    /// An ENI gets an IPv6 address.
    AddV6,
}

impl World {
    /// Somebody looks at the cloud; the pool hears of it later. The read is `stale` by so much, and leaves out
    /// those ENIs that `hide` has a bit for; but a read after a partial one is complete and fresh.
    pub(super) fn look(&mut self, stale: u64, hide: u8) {
        self.watched = true;
        let (stale, hide) = if self.partial { (0, 0) } else { (stale, hide) };
        self.partial = hide != 0;
        let most = u64::try_from(self.settings.consistency.as_millis()).unwrap() - 1;
        let Some(scene) = self.past.at(self.now - Duration::from_millis(stale.min(most))) else { return };
        let shown = scene.iter().zip(0u32..).filter(|(_, index)| hide >> (index % 8) & 1 == 0);
        let enis = shown.map(|((token, real), _)| seen(token, real)).collect();
        self.unseen.push_back(Event::Inventory(Inventory::Cloud { began: self.now, enis }));
    }

    /// Enough complete looks for everything that they can settle.
    pub(super) fn look_twice(&mut self) {
        for _ in 0..3 {
            self.look(0, 0);
            self.flow();
            self.wait(u64::try_from(self.settings.consistency.as_millis()).unwrap() + 1);
            self.flow();
        }
    }

    pub(super) fn meddle(&mut self, index: usize, what: Meddling) {
        self.watched = true;
        match what {
            Meddling::Delete => self.vanish(index),
            Meddling::Detach => self.detach_by_hand(index),
            Meddling::TakeOff => self.taken_off.extend(self.cloud.take_off(index)),
            Meddling::Add => self.cloud.add(index, AddressCounts { ipv4: 1, ..AddressCounts::default() }),
            Meddling::AddV6 => self.cloud.add(index, AddressCounts { ipv6: 1, ..AddressCounts::default() }),
        }
        self.happen();
    }

    fn detach_by_hand(&mut self, index: usize) {
        let count = self.cloud.enis.len().max(1);
        let Some((token, real)) = self.cloud.enis.iter_mut().nth(index % count) else { return };
        real.attached = false;
        let (token, mac) = (token.clone(), real.mac);
        self.vanished.insert(token);
        if self.home.remove(&mac) {
            self.unseen.push_back(Event::LinkGone { mac });
        }
    }

    /// The daemon dies and its ledger is lost, and the pods with it; calls that were under way land before it starts
    /// again.
    pub(super) fn lose_ledger(&mut self) {
        self.watched = true;
        self.crash();
        self.queue.clear();
        for (_, action, _) in std::mem::take(&mut self.late) {
            let _ = self.act(&action);
        }
        self.enis.clear();
        self.attachments.clear();
        self.addresses.clear();
        self.prefixes.clear();
        self.told.clear();
        self.phases.clear();
        self.lost.extend(self.cloud.enis.keys().cloned());
        let (pool, effects) = Pool::new(self.settings.clone(), LedgerSnapshot::default(), self.now);
        self.pool = pool;
        self.queue.extend(effects);
        self.unseen = self.home.iter().map(|&mac| Event::LinkUp { mac }).collect();
    }

    /// Whether the ledger may lawfully not know this ENI.
    pub(super) fn is_astray(&self, token: &IntentToken) -> bool {
        self.vanished.contains(token) || self.lost.contains(token)
    }

    /// Whether a person took this address off its ENI.
    pub(super) fn is_taken_off(&self, address: IpAddr) -> bool {
        self.taken_off.iter().any(|net| net.contains(address))
    }
}

fn seen(token: &IntentToken, real: &RealEni) -> SeenEni {
    SeenEni {
        id: real.id.clone(),
        token: Some(token.clone()),
        ours: true,
        primary: false,
        mac: real.mac,
        vswitch: real.vswitch.clone(),
        security_groups: vec!["sg-1".into()],
        addresses: real.primary,
        assigned: real.sorted(),
        subnets: Subnets::default(),
        gateways: Gateways::default(),
        place: if real.attached { Place::Here } else { Place::Nowhere },
    }
}
