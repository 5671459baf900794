//! What people do behind the pool's back, and the loss of the ledger.

use terway_types::{EniId, IntentToken, LedgerSnapshot, MacAddr};

use super::World;
use crate::testing::key;
use crate::{Event, Pool};

/// Whoever uses a netdev of which the ledger has lost the attachment.
pub(crate) const GHOST: u8 = 99;

/// What somebody does to an ENI by hand.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Meddling {
    Delete,
    Detach,
    /// To another instance.
    Move,
    /// Off the other instance.
    Return,
    Attach,
    Regroup,
    ForeignComes,
    ForeignGoes,
}

impl World {
    pub(crate) fn meddle(&mut self, index: usize, what: Meddling) {
        self.watched = true;
        let now = self.now;
        if let Meddling::ForeignComes = what {
            let number = u8::try_from(index).unwrap();
            if self.cloud.used() < self.cloud.slots {
                let id = EniId(format!("eni-foreign-{number}"));
                self.cloud.foreign.insert(id, MacAddr([6, 0, 0, 0, 0, number]));
            }
            return self.happen();
        }
        if let Meddling::ForeignGoes = what {
            self.cloud.foreign.pop_first();
            return self.happen();
        }
        let Some((token, real)) = self.cloud.enis.iter().nth(index % self.cloud.enis.len().max(1)) else {
            return;
        };
        let (token, mac, used) = (token.clone(), real.mac, self.cloud.used());
        let free_slot = used < self.cloud.slots;
        let Some(real) = self.cloud.enis.get_mut(&token) else { return };
        match what {
            Meddling::Attach if !real.attached && !real.elsewhere && free_slot => {
                real.attached = true;
                self.arriving.push((now, real.id.clone()));
            }
            Meddling::Return if real.elsewhere => real.elsewhere = false,
            Meddling::Move => (real.attached, real.elsewhere) = (false, true),
            Meddling::Detach if real.attached => real.attached = false,
            Meddling::Regroup => real.groups = vec!["sg-9".into()],
            Meddling::Delete => self.cloud.vanish(&token),
            _ => return,
        }
        if !self.cloud.enis.get(&token).is_some_and(|real| real.attached) {
            self.inside.remove(&mac);
            if self.home.remove(&mac) {
                self.unseen.push_back(Event::LinkGone { mac });
            }
        }
        self.meddled.insert(token);
        self.happen();
    }

    /// The daemon dies and its ledger is lost. Pods go on; calls that were under way land before it starts again.
    pub(crate) fn lose_ledger(&mut self) {
        self.watched = true;
        self.crash();
        self.queue.clear();
        for (_, action, _) in std::mem::take(&mut self.late) {
            let _ = self.act(&action);
        }
        self.enis.clear();
        self.attachments.clear();
        self.told.clear();
        self.phases.clear();
        self.inside.values_mut().for_each(|user| *user = key(GHOST));
        self.lost.extend(self.cloud.enis.keys().cloned());
        let (pool, effects) = Pool::new(self.settings.clone(), LedgerSnapshot::default(), self.now);
        self.pool = pool;
        self.take(effects);
        self.unseen = self.home.iter().map(|&mac| Event::LinkUp { mac }).collect();
    }

    /// Whether the ledger may lawfully not know this ENI, or know it somewhere else.
    pub(crate) fn is_astray(&self, token: &IntentToken) -> bool {
        self.meddled.contains(token) || self.lost.contains(token)
    }
}
