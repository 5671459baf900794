//! The end of every history: faults stop, and everything must come to rest.

use std::time::Duration;

use terway_types::EniPhase;

use super::{Fate, World};
use crate::Event;

impl World {
    /// Everything under way succeeds and time passes, until the pool has nothing more to do for a while.
    pub(crate) fn settle_for(&mut self, millis: u64) {
        let end = self.now + Duration::from_millis(millis);
        while self.now < end {
            self.flow();
            self.wait(1);
        }
        self.flow();
    }

    /// Everything under way succeeds, once.
    pub(crate) fn flow(&mut self) {
        self.execute(usize::MAX);
        let mut answers = 0;
        while !self.running.is_empty() {
            answers += 1;
            assert!(answers < 1_000, "calls without pause: {:?}", self.running);
            self.answer(0, Fate::Done);
            self.execute(usize::MAX);
        }
        self.see_links();
        self.execute(usize::MAX);
    }

    /// Faults stop and time passes: everything must come to rest, with nothing lost and nothing left over.
    pub(crate) fn come_to_rest(&mut self) {
        self.cloud.free.values_mut().for_each(|free| *free = 100);
        self.cloud.slots = 100;
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
        for step in 0..2_000 {
            if self.watched && step % 20 == 0 {
                self.look(0, 0);
            }
            self.flow();
            while let Some(mac) =
                self.inside.iter().find(|(_, key)| !self.told.contains_key(key)).map(|(mac, _)| *mac)
            {
                self.inside.remove(&mac);
                self.home.insert(mac);
                self.unseen.push_back(Event::LinkUp { mac });
            }
            let busy = !(self.queue.is_empty() && self.running.is_empty() && self.unseen.is_empty());
            let next = self.late.iter().map(|(at, ..)| *at).chain(self.arriving.iter().map(|(at, _)| *at));
            match next.chain(self.pool.next_deadline()).min() {
                _ if busy => {}
                Some(at) => self.wait(at.since(self.now).as_millis().try_into().unwrap()),
                None => return,
            }
        }
        panic!("no rest: {:#?}", self.pool.view(self.now));
    }

    pub(crate) fn check_rest(&self) {
        let (tally, settings) = (self.pool.books.tally(), &self.settings);
        let unanswered: Vec<_> = self.open.iter().filter(|(_, ask)| ask.heard).collect();
        assert!(unanswered.is_empty(), "{unanswered:?}");
        for (token, real) in &self.cloud.enis {
            let known = self.enis.get(token);
            assert!(known.is_some() || real.elsewhere || real.named, "{token} is in no ledger");
            let right = known.is_none_or(|eni| eni.security_groups == real.groups);
            assert!(right || !real.attached, "{known:?} {real:?}");
        }
        assert!(
            self.told.keys().eq(self.attachments.keys()),
            "told {:?}, held {:?}",
            self.told,
            self.attachments
        );
        for eni in self.enis.values() {
            let at_home = eni.mac.is_some_and(|mac| self.home.contains(&mac));
            let real = self.cloud.enis.get(&eni.token);
            let well = match eni.phase {
                _ if !real.is_some_and(|real| real.attached) => {
                    matches!(eni.phase, EniPhase::InUse(_) | EniPhase::Kept)
                }
                EniPhase::Ready => at_home,
                EniPhase::InUse(_) => true,
                EniPhase::Quarantined { .. } => !at_home,
                _ => false,
            };
            assert!(well, "{eni:?}");
        }
        let gone = tally.held + tally.strayed;
        let limit = settings.max_enis.saturating_sub(self.pool.foreign_enis());
        if self.watched {
            // The node's marks are not on what the control plane made: unless a claim speaks of it, it is foreign.
            let named = self
                .cloud
                .enis
                .iter()
                .filter(|(token, real)| real.named && real.attached && !self.enis.contains_key(*token));
            assert_eq!(self.pool.foreign_enis() as usize, self.cloud.foreign.len() + named.count());
        }
        let room = limit.saturating_sub(gone);
        if self.pool.retired {
            let strayed = |eni: &terway_types::EniRecord| matches!(eni.phase, EniPhase::Quarantined { .. });
            let stays = |eni| matches!(eni, EniPhase::InUse(_) | EniPhase::Kept);
            assert!(self.enis.values().all(|eni| stays(eni.phase.clone()) || strayed(eni)), "{tally}");
            return;
        }
        assert!(tally.idle >= settings.min_idle.min(room), "{tally}, room {room}");
        assert!(tally.idle <= settings.max_idle, "{tally}");
        assert!(tally.total() <= limit || tally.idle == 0, "{tally}");
        let later = self.published.expect("published at least once").later;
        assert_eq!(later, room.max(tally.idle));
    }
}
