//! One step of a history: what random histories choose by chance and the exhaustive search one after the other.

use super::world::{Fate, World};
use crate::PoolSettings;

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
    Enter(u8),
    Leave(usize),
    LoseNetdev(usize),
    Wait(u64),
    Flow,
    Crash,
    Reconfigure(Box<PoolSettings>),
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
            Deed::Enter(key) => self.enter(key),
            Deed::Leave(index) => self.leave(index),
            Deed::LoseNetdev(index) => self.lose_netdev(index),
            Deed::Wait(millis) => self.wait(millis),
            Deed::Flow => self.flow(),
            Deed::Crash => self.crash(),
            Deed::Reconfigure(settings) => self.reconfigure(*settings),
        }
    }
}
