//! One step of a history: what random histories choose by chance and the exhaustive search one after the other.

use super::world::{Demand, Fate, Meddling, World};
use crate::{ClaimFate, PoolSettings};

/// What may happen next.
#[derive(Clone, Debug)]
pub(crate) enum Deed {
    Allocate(u8, u64),
    Release(u8),
    Cancel(usize),
    Collect(u8),
    Execute(usize),
    Answer(usize, Fate),
    SeeLinks,
    SeeNext,
    Land(usize),
    Vanish(usize),
    Enter(u8),
    Leave(usize),
    LoseNetdev(usize),
    Wait(u64),
    Flow,
    Crash,
    Reconfigure(Box<PoolSettings>),
    /// How stale, and what it leaves out.
    Look(u64, u8),
    LookAtMetadata(u64),
    Meddle(usize, Meddling),
    LoseLedger,
    Demand(u8, Demand, u64),
    Unclaim(u8, ClaimFate),
    Retire,
    TimeOut,
    Mention(usize),
}

impl World {
    pub(crate) fn enact(&mut self, deed: Deed) {
        match deed {
            Deed::Allocate(key, patience) => self.allocate(key, patience),
            Deed::Release(key) => self.release(key),
            Deed::Cancel(index) => self.cancel(index),
            Deed::Collect(keep) => self.collect(keep),
            Deed::Execute(count) => self.execute(count),
            Deed::Answer(index, fate) => self.answer(index, fate),
            Deed::SeeLinks => self.see_links(),
            Deed::SeeNext => self.see_next(),
            Deed::Land(index) => self.land(index),
            Deed::Vanish(index) => self.vanish(index),
            Deed::Enter(key) => self.enter(key),
            Deed::Leave(index) => self.leave(index),
            Deed::LoseNetdev(index) => self.lose_netdev(index),
            Deed::Wait(millis) => self.wait(millis),
            Deed::Flow => self.flow(),
            Deed::Crash => self.crash(),
            Deed::Reconfigure(settings) => self.reconfigure(*settings),
            Deed::Look(stale, hide) => self.look(stale, hide),
            Deed::LookAtMetadata(stale) => self.look_at_metadata(stale),
            Deed::Meddle(index, what) => self.meddle(index, what),
            Deed::LoseLedger => self.lose_ledger(),
            Deed::Demand(key, demand, patience) => self.demand(key, demand, patience),
            Deed::Unclaim(claim, fate) => self.unclaim(claim, fate),
            Deed::Retire => self.retire(),
            Deed::TimeOut => self.time_out(),
            Deed::Mention(index) => self.mention(index),
        }
    }
}
