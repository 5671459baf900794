//! Which ENI is next: for giving, for being asked, for being emptied. Kept in step with every change of an ENI, so
//! that no decision walks over all of them.

use std::collections::{BTreeMap, BTreeSet};

use terway_types::{IpFamily, PrefixPhase, Timestamp, VSwitchId};

use crate::settings::EniPolicy;
use crate::stock::book::{EniNo, Rules};
use crate::stock::numbers::Totals;
use crate::stock::shelf::{Job, Shelf, Stage, Work};

/// Failures in a row after which a call that is to be repeated does not count as supply any more.
const PATIENCE: u32 = 3;

/// What an ENI's entries in the index depend on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Marks {
    totals: Totals,
    /// Can give a pair; how many are in use.
    gives: Option<u32>,
    /// Can be asked for more; whether halves are missing, and how full it is.
    takes: Option<(bool, u32)>,
    /// Has pairs to take off; how many are in use.
    spares: Option<u32>,
    /// Has addresses whose other half is missing.
    odd: bool,
    /// Nobody uses it; how many pairs it has.
    unused: Option<u32>,
    /// Said to be gone, and nobody uses it.
    lost: bool,
    /// Has prefixes that take nobody new and are empty.
    leftover: bool,
    due: Option<Timestamp>,
}

impl Marks {
    pub(super) fn of(shelf: &Shelf, rules: &Rules) -> Self {
        let pairs = shelf.pairs(rules);
        let job = shelf.job();
        // A call that fails again and again is not waited for: others are asked.
        let trying = shelf.failures < PATIENCE || !matches!(shelf.work, Work::Retry(_));
        let serves = shelf.stage == Stage::Open && !shelf.lost;
        let free = serves && job.is_none() && shelf.paused.is_none();
        let (in_use, spare) = (shelf.in_use(), shelf.spare(rules));
        let unused = in_use == 0 && shelf.resting() == 0;
        let mut totals = Totals { in_use, ..Totals::default() };
        match shelf.stage {
            Stage::Creating | Stage::Opening => {
                totals.coming = pairs.idle + pairs.resting + pairs.coming;
                totals.later = pairs.room;
                totals.enis = 1;
            }
            Stage::Open if serves => {
                (totals.idle, totals.resting, totals.enis) = (pairs.idle, pairs.resting, 1);
                if job == Some(Job::Assign) && trying {
                    (totals.coming, totals.later) = (pairs.coming, pairs.room);
                } else {
                    totals.room = pairs.room;
                }
            }
            Stage::Open | Stage::Away | Stage::Closed => {}
        }
        Self {
            totals,
            gives: (serves && pairs.idle > 0).then_some(in_use),
            takes: (free && pairs.room > 0)
                .then(|| (shelf.is_lopsided(rules), shelf.heads(IpFamily::V4).slots)),
            spares: (free && spare > 0).then_some(in_use),
            odd: free && shelf.has_odd(rules),
            unused: (free && unused).then_some(pairs.idle),
            lost: shelf.lost && matches!(shelf.stage, Stage::Open | Stage::Opening) && unused,
            leftover: free && shelf.empty_blocks(PrefixPhase::Frozen).next().is_some(),
            due: shelf.due(),
        }
    }

    fn room(&self) -> u32 {
        self.totals.room.saturating_add(self.totals.later)
    }
}

/// The index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Index {
    totals: Totals,
    gives: BTreeSet<(u32, EniNo)>,
    takes: BTreeMap<VSwitchId, BTreeSet<(bool, u32, EniNo)>>,
    spares: BTreeSet<(u32, EniNo)>,
    odd: BTreeSet<EniNo>,
    unused: BTreeSet<(u32, EniNo)>,
    lost: BTreeSet<EniNo>,
    leftover: BTreeSet<EniNo>,
    due: BTreeSet<(Timestamp, EniNo)>,
    /// What ENIs that serve or come can take besides, per vSwitch.
    rooms: BTreeMap<VSwitchId, u32>,
}

impl Index {
    pub(super) fn totals(&self) -> &Totals {
        &self.totals
    }

    pub(super) fn room_in(&self, vswitch: &VSwitchId) -> u32 {
        self.rooms.get(vswitch).copied().unwrap_or(0)
    }

    pub(super) fn roomy(&self) -> impl Iterator<Item = &VSwitchId> {
        self.rooms.keys()
    }

    pub(super) fn giver(&self, policy: EniPolicy) -> Option<EniNo> {
        let next = match policy {
            EniPolicy::MostIps => self.gives.last(),
            EniPolicy::LeastIps => self.gives.first(),
        };
        next.map(|(_, no)| *no)
    }

    pub(super) fn taker(&self, aside: impl Fn(&VSwitchId) -> bool) -> Option<EniNo> {
        let open = self.takes.iter().filter(|(vswitch, _)| !aside(vswitch));
        open.filter_map(|(_, shelves)| shelves.last()).max().map(|(_, _, no)| *no)
    }

    pub(super) fn sparer(&self, policy: EniPolicy) -> Option<EniNo> {
        let next = match policy {
            EniPolicy::MostIps => self.spares.first(),
            EniPolicy::LeastIps => self.spares.last(),
        };
        next.map(|(_, no)| *no)
    }

    pub(super) fn odd(&self) -> Option<EniNo> {
        self.odd.first().copied()
    }

    pub(super) fn unused(&self, at_most: u32) -> Option<EniNo> {
        self.unused.range(..=(at_most, EniNo::LAST)).next_back().map(|(_, no)| *no)
    }

    pub(super) fn lost(&self) -> Option<EniNo> {
        self.lost.first().copied()
    }

    pub(super) fn leftover(&self) -> Option<EniNo> {
        self.leftover.first().copied()
    }

    pub(super) fn overdue(&self, now: Timestamp) -> Vec<EniNo> {
        self.due.iter().take_while(|(at, _)| *at <= now).map(|(_, no)| *no).collect()
    }

    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.due.first().map(|(at, _)| *at)
    }

    pub(super) fn insert(&mut self, no: EniNo, vswitch: &VSwitchId, marks: &Marks) {
        self.totals.add(marks.totals);
        let room = marks.room();
        if room > 0 {
            match self.rooms.get_mut(vswitch) {
                Some(sum) => *sum = sum.saturating_add(room),
                None => _ = self.rooms.insert(vswitch.clone(), room),
            }
        }
        if let Some(in_use) = marks.gives {
            self.gives.insert((in_use, no));
        }
        if let Some((halves, slots)) = marks.takes {
            match self.takes.get_mut(vswitch) {
                Some(shelves) => _ = shelves.insert((halves, slots, no)),
                None => _ = self.takes.insert(vswitch.clone(), BTreeSet::from([(halves, slots, no)])),
            }
        }
        if let Some(in_use) = marks.spares {
            self.spares.insert((in_use, no));
        }
        if marks.odd {
            self.odd.insert(no);
        }
        if let Some(pairs) = marks.unused {
            self.unused.insert((pairs, no));
        }
        if marks.lost {
            self.lost.insert(no);
        }
        if marks.leftover {
            self.leftover.insert(no);
        }
        if let Some(at) = marks.due {
            self.due.insert((at, no));
        }
    }

    pub(super) fn remove(&mut self, no: EniNo, vswitch: &VSwitchId, marks: &Marks) {
        self.totals.take(marks.totals);
        let room = marks.room();
        if let Some(sum) = self.rooms.get_mut(vswitch).filter(|_| room > 0) {
            *sum = sum.saturating_sub(room);
            if *sum == 0 {
                self.rooms.remove(vswitch);
            }
        }
        if let Some(in_use) = marks.gives {
            self.gives.remove(&(in_use, no));
        }
        if let Some((halves, slots)) = marks.takes
            && let Some(shelves) = self.takes.get_mut(vswitch)
        {
            shelves.remove(&(halves, slots, no));
            if shelves.is_empty() {
                self.takes.remove(vswitch);
            }
        }
        if let Some(in_use) = marks.spares {
            self.spares.remove(&(in_use, no));
        }
        if marks.odd {
            self.odd.remove(&no);
        }
        if let Some(pairs) = marks.unused {
            self.unused.remove(&(pairs, no));
        }
        if marks.lost {
            self.lost.remove(&no);
        }
        if marks.leftover {
            self.leftover.remove(&no);
        }
        if let Some(at) = marks.due {
            self.due.remove(&(at, no));
        }
    }
}
