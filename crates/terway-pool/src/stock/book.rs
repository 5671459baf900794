//! All shared ENIs with their addresses, and the indexes that keep decisions flat. ENIs are interned as small
//! numbers. An ENI is changed only through [`Stock::edit`], so the indexes cannot go stale; every change of an
//! address or prefix writes its record.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnetwork::IpNetwork;
use terway_types::{
    AddressRecord, AddressSet, Addresses, AttachmentKey, IntentToken, PrefixPhase, PrefixRecord, Timestamp,
    VSwitchId,
};

use crate::outbox::Outbox;
use crate::settings::EniPolicy;
use crate::stock::address_life::{IllegalStep, Life, Step, prefix_may};
use crate::stock::block::{Block, Entry};
use crate::stock::numbers::Totals;
use crate::stock::shelf::{Job, Shelf, Slot, Stage, Work};

/// An ENI, as a small number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct EniNo(u32);

/// Failures in a row after which a call that is to be repeated does not count as supply any more.
const PATIENCE: u32 = 3;

/// What the settings say about sharing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rules {
    /// Attachments get an address of each family.
    pub(crate) dual: bool,
    /// Addresses, or prefixes and the primary address, that an ENI takes per family.
    pub(crate) per_eni: u32,
    /// Addresses come in prefixes.
    pub(crate) prefixes: bool,
    /// Addresses or prefixes per family and call.
    pub(crate) batch: u32,
    pub(crate) policy: EniPolicy,
}

/// What became of a record that was read from the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Adopted {
    Yes,
    /// Its ENI is not there.
    NoEni,
    /// It overlaps with another one, or is beyond what we use of its prefix.
    Misplaced,
}

/// What an ENI's entries in the indexes depend on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Marks {
    totals: Totals,
    /// Can give a pair; how many are in use.
    gives: Option<u32>,
    /// Can be asked for more; whether halves are missing, and how full it is.
    takes: Option<(bool, u32)>,
    /// Has pairs to take off; how many are in use.
    spares: Option<u32>,
    /// Nobody uses it; how many pairs it has.
    unused: Option<u32>,
    /// Said to be gone, and nobody uses it.
    lost: bool,
    /// Has prefixes that take nobody new and are empty.
    leftover: bool,
    due: Option<Timestamp>,
}

impl Marks {
    fn of(shelf: &Shelf, rules: &Rules) -> Self {
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
            Stage::Open | Stage::Closed => {}
        }
        let slots = shelf.heads(terway_types::IpFamily::V4).slots;
        Self {
            totals,
            gives: (serves && pairs.idle > 0).then_some(in_use),
            takes: (free && pairs.room > 0).then(|| (shelf.is_lopsided(rules), slots)),
            spares: (free && spare > 0).then_some(in_use),
            unused: (free && unused).then_some(pairs.idle),
            lost: shelf.lost && matches!(shelf.stage, Stage::Open | Stage::Opening) && unused,
            leftover: free && shelf.empty_blocks(PrefixPhase::Frozen).next().is_some(),
            due: shelf.due(),
        }
    }
}

/// All shared ENIs.
#[derive(Clone, Debug)]
pub(crate) struct Stock {
    pub(crate) rules: Rules,
    next: u32,
    shelves: BTreeMap<EniNo, Shelf>,
    by_token: BTreeMap<IntentToken, EniNo>,
    singles: BTreeMap<IpAddr, EniNo>,
    /// By first address; none overlaps another.
    prefixes: BTreeMap<IpAddr, (IpNetwork, EniNo)>,
    resting: BTreeSet<(Timestamp, IpAddr)>,
    gives: BTreeSet<(u32, EniNo)>,
    takes: BTreeMap<VSwitchId, BTreeSet<(bool, u32, EniNo)>>,
    spares: BTreeSet<(u32, EniNo)>,
    unused: BTreeSet<(u32, EniNo)>,
    lost: BTreeSet<EniNo>,
    leftover: BTreeSet<EniNo>,
    due: BTreeSet<(Timestamp, EniNo)>,
    totals: Totals,
    /// What ENIs that serve or come can take besides, per vSwitch.
    rooms: BTreeMap<VSwitchId, u32>,
}

impl Stock {
    pub(crate) fn new(rules: Rules) -> Self {
        Self {
            rules,
            next: 0,
            shelves: BTreeMap::new(),
            by_token: BTreeMap::new(),
            singles: BTreeMap::new(),
            prefixes: BTreeMap::new(),
            resting: BTreeSet::new(),
            gives: BTreeSet::new(),
            takes: BTreeMap::new(),
            spares: BTreeSet::new(),
            unused: BTreeSet::new(),
            lost: BTreeSet::new(),
            leftover: BTreeSet::new(),
            due: BTreeSet::new(),
            totals: Totals::default(),
            rooms: BTreeMap::new(),
        }
    }

    // ------------------------------------------------------------------ what there is

    pub(crate) fn totals(&self) -> &Totals {
        &self.totals
    }

    pub(crate) fn number(&self, token: &IntentToken) -> Option<EniNo> {
        self.by_token.get(token).copied()
    }

    pub(crate) fn get(&self, no: EniNo) -> Option<&Shelf> {
        self.shelves.get(&no)
    }

    pub(crate) fn of(&self, token: &IntentToken) -> Option<&Shelf> {
        self.get(self.number(token)?)
    }

    /// All ENIs.
    pub(crate) fn shelves(&self) -> impl Iterator<Item = &Shelf> {
        self.shelves.values()
    }

    /// All prefixes, with where each is in its life.
    pub(crate) fn prefixes(&self) -> Vec<(IpNetwork, PrefixPhase)> {
        self.shelves().flat_map(|shelf| shelf.blocks().iter().map(|block| (block.net, block.phase))).collect()
    }

    /// The ENI that has this address, as a single one or in a prefix.
    pub(crate) fn owner(&self, address: IpAddr) -> Option<EniNo> {
        self.singles.get(&address).copied().or_else(|| self.prefix_around(address).map(|(_, no)| no))
    }

    fn prefix_around(&self, address: IpAddr) -> Option<(IpNetwork, EniNo)> {
        let (_, &(net, no)) = self.prefixes.range(..=address).next_back()?;
        net.contains(address).then_some((net, no))
    }

    /// Addresses that ENIs of this vSwitch can take besides, in pairs.
    pub(crate) fn room_in(&self, vswitch: &VSwitchId) -> u32 {
        self.rooms.get(vswitch).copied().unwrap_or(0)
    }

    /// vSwitches in which ENIs can take more.
    pub(crate) fn roomy(&self) -> impl Iterator<Item = &VSwitchId> {
        self.rooms.keys()
    }

    // ------------------------------------------------------------------ who is next

    /// The ENI that gives the next pair.
    pub(crate) fn giver(&self) -> Option<EniNo> {
        let next = match self.rules.policy {
            EniPolicy::MostIps => self.gives.last(),
            EniPolicy::LeastIps => self.gives.first(),
        };
        next.map(|(_, no)| *no)
    }

    /// The ENI to be asked for more: one with halves missing before all others, then the fullest. ENIs of vSwitches
    /// for which `aside` is true are passed over.
    pub(crate) fn taker(&self, aside: impl Fn(&VSwitchId) -> bool) -> Option<EniNo> {
        let open = self.takes.iter().filter(|(vswitch, _)| !aside(vswitch));
        open.filter_map(|(_, shelves)| shelves.last()).max().map(|(_, _, no)| *no)
    }

    /// The ENI from which surplus pairs are taken: the last one that would give them.
    pub(crate) fn sparer(&self) -> Option<EniNo> {
        let next = match self.rules.policy {
            EniPolicy::MostIps => self.spares.first(),
            EniPolicy::LeastIps => self.spares.last(),
        };
        next.map(|(_, no)| *no)
    }

    /// The largest ENI that nobody uses and that has at most this many pairs.
    pub(crate) fn unused(&self, at_most: u32) -> Option<EniNo> {
        self.unused.range(..=(at_most, EniNo(u32::MAX))).next_back().map(|(_, no)| *no)
    }

    /// An ENI that the cloud says is gone and that nobody uses.
    pub(crate) fn lost(&self) -> Option<EniNo> {
        self.lost.first().copied()
    }

    /// An ENI with prefixes that take nobody new and are empty.
    pub(crate) fn leftover(&self) -> Option<EniNo> {
        self.leftover.first().copied()
    }

    /// The ENIs with something due by now.
    pub(crate) fn overdue(&self, now: Timestamp) -> Vec<EniNo> {
        self.due.iter().take_while(|(at, _)| *at <= now).map(|(_, no)| *no).collect()
    }

    /// Addresses whose rest is over by now.
    pub(crate) fn rested(&self, now: Timestamp) -> Vec<IpAddr> {
        self.resting.iter().take_while(|(until, _)| *until <= now).map(|(_, address)| *address).collect()
    }

    /// When the next thing is due.
    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        let rested = self.resting.first().map(|(at, _)| *at);
        self.due.first().map(|(at, _)| *at).into_iter().chain(rested).min()
    }

    // ------------------------------------------------------------------ ENIs

    pub(crate) fn insert(&mut self, shelf: Shelf) -> EniNo {
        let no = EniNo(self.next);
        self.next += 1;
        self.by_token.insert(shelf.token.clone(), no);
        let marks = Marks::of(&shelf, &self.rules);
        self.mark(no, &shelf.vswitch, &marks);
        self.shelves.insert(no, shelf);
        no
    }

    /// Changes an ENI. Unknown numbers change nothing.
    pub(crate) fn edit<T>(&mut self, no: EniNo, change: impl FnOnce(&mut Shelf) -> T) -> Option<T> {
        let shelf = self.shelves.get_mut(&no)?;
        let (before, vswitch) = (Marks::of(shelf, &self.rules), shelf.vswitch.clone());
        let result = change(shelf);
        let (after, moved) = (Marks::of(shelf, &self.rules), shelf.vswitch.clone());
        if before != after || vswitch != moved {
            self.unmark(no, &vswitch, &before);
            self.mark(no, &moved, &after);
        }
        Some(result)
    }

    /// Changes every ENI.
    pub(crate) fn each(&mut self, change: impl Fn(&mut Shelf)) {
        for no in self.shelves.keys().copied().collect::<Vec<_>>() {
            self.edit(no, &change);
        }
    }

    /// Forgets an ENI with everything on it. Its records go too.
    pub(crate) fn remove(&mut self, token: &IntentToken, out: &mut Outbox) {
        let Some(no) = self.by_token.remove(token) else { return };
        let Some(shelf) = self.shelves.remove(&no) else { return };
        self.unmark(no, &shelf.vswitch, &Marks::of(&shelf, &self.rules));
        for slot in shelf.slots() {
            self.singles.remove(&slot.address);
            self.unrest(slot.address, slot.life);
            out.remove_address(slot.address);
        }
        for block in shelf.blocks() {
            self.prefixes.remove(&block.net.network());
            for (address, entry) in block.entries() {
                self.unrest(address, entry.life);
                out.remove_address(address);
            }
            out.remove_prefix(block.net);
        }
    }

    /// Works out everything that depends on the settings again.
    pub(crate) fn resettle(&mut self, rules: Rules) {
        let shelves = std::mem::take(&mut self.shelves);
        for (no, shelf) in &shelves {
            self.unmark(*no, &shelf.vswitch, &Marks::of(shelf, &self.rules));
        }
        self.rules = rules;
        for (no, shelf) in &shelves {
            self.mark(*no, &shelf.vswitch, &Marks::of(shelf, &self.rules));
        }
        self.shelves = shelves;
    }

    // ------------------------------------------------------------------ addresses

    /// Puts what the cloud gave an ENI on it, idle. What it has already is passed over; what belongs to another
    /// ENI, or overlaps with anything, is refused and returned.
    pub(crate) fn fill(
        &mut self,
        no: EniNo,
        added: &AddressSet,
        primary: Addresses,
        now: Timestamp,
        out: &mut Outbox,
    ) -> Vec<IpNetwork> {
        let mut refused = Vec::new();
        let singles = primary.iter().chain(added.singles());
        for address in singles {
            match self.owner(address) {
                Some(owner) if owner == no => {}
                Some(_) if !self.make_way(address.into(), out) => refused.push(address.into()),
                _ => {
                    let is_primary = primary.iter().any(|primary| primary == address);
                    self.add_single(no, Slot { address, primary: is_primary, life: Life::Idle, since: now });
                    self.write(no, address, None, out);
                }
            }
        }
        for &net in &added.prefixes {
            match self.overlapped(net) {
                Some((same, owner)) if owner == no && same == Some(net) => {}
                Some(_) if !self.make_way(net, out) => refused.push(net),
                _ => {
                    let phase = if self.rules.prefixes { PrefixPhase::Ready } else { PrefixPhase::Frozen };
                    self.add_block(no, Block::new(net, phase, now));
                    self.write_prefix(no, net, out);
                }
            }
        }
        refused.sort_unstable();
        refused
    }

    /// Forgets what other ENIs have of this address or prefix, if all of it was being taken off them or they are
    /// leaving, and nobody has used it lately: the cloud, giving it elsewhere, says that this worked, though its
    /// answer to us was lost. Tells whether the way is clear.
    fn make_way(&mut self, net: IpNetwork, out: &mut Outbox) -> bool {
        let within = net.network()..=net.broadcast();
        let around = self.prefix_around(net.network()).map(|(net, _)| net);
        let inside = self.prefixes.range(within.clone()).map(|(_, (net, _))| *net);
        let nets: BTreeSet<_> = around.into_iter().chain(inside).collect();
        let singles: Vec<_> = self.singles.range(within).map(|(address, no)| (*address, *no)).collect();
        let leaves = |no: EniNo| self.get(no).is_some_and(|shelf| shelf.lost || shelf.stage == Stage::Closed);
        let single_yields = |&(address, no): &(IpAddr, EniNo)| {
            let life = self.get(no).and_then(|shelf| shelf.entry(address)).map(|entry| entry.life);
            life == Some(Life::Unassigning) || (life == Some(Life::Idle) && leaves(no))
        };
        let block_yields = |net: &IpNetwork| {
            let Some(&(_, no)) = self.prefixes.get(&net.network()) else { return false };
            let block = self.get(no).and_then(|shelf| shelf.blocks().iter().find(|block| block.net == *net));
            let off = |block: &Block| block.phase == PrefixPhase::Unassigning || leaves(no);
            block.is_some_and(|block| block.taken() == 0 && off(block))
        };
        if !(singles.iter().all(single_yields) && nets.iter().all(block_yields)) {
            return false;
        }
        for (address, no) in singles {
            self.drop_single(no, address, out);
        }
        for net in nets {
            self.drop_block(net, out);
        }
        true
    }

    fn drop_single(&mut self, no: EniNo, address: IpAddr, out: &mut Outbox) {
        self.singles.remove(&address);
        self.edit(no, |shelf| shelf.drop_single(address));
        out.remove_address(address);
    }

    fn drop_block(&mut self, net: IpNetwork, out: &mut Outbox) {
        let Some((_, no)) = self.prefixes.remove(&net.network()) else { return };
        self.edit(no, |shelf| shelf.drop_block(net));
        out.remove_prefix(net);
    }

    /// Who has something of this prefix, and as which prefix.
    fn overlapped(&self, net: IpNetwork) -> Option<(Option<IpNetwork>, EniNo)> {
        let within = net.network()..=net.broadcast();
        let around = self.prefix_around(net.network());
        let inside = || self.prefixes.range(within.clone()).next().map(|(_, found)| *found);
        let single = || self.singles.range(within.clone()).next().map(|(_, no)| (None, *no));
        around.or_else(inside).map(|(net, no)| (Some(net), no)).or_else(single)
    }

    fn add_single(&mut self, no: EniNo, slot: Slot) {
        self.singles.insert(slot.address, no);
        self.rest(slot.address, slot.life);
        self.edit(no, |shelf| shelf.add(slot));
    }

    fn add_block(&mut self, no: EniNo, block: Block) {
        self.prefixes.insert(block.net.network(), (block.net, no));
        self.edit(no, |shelf| shelf.add_block(block));
    }

    /// Gives an attachment a pair, or the only half if the node has one family.
    pub(crate) fn take(
        &mut self,
        key: &AttachmentKey,
        now: Timestamp,
        out: &mut Outbox,
    ) -> Option<(EniNo, Addresses)> {
        let no = self.giver()?;
        let addresses = self.get(no)?.pick_pair(self.rules.dual)?;
        for address in addresses.iter() {
            let given = self.step(address, Step::Give, Some(key), now, out);
            debug_assert_eq!(given, Ok(true), "{address}");
        }
        Some((no, addresses))
    }

    /// Takes one step in an address's life. Tells whether the address is there.
    pub(crate) fn step(
        &mut self,
        address: IpAddr,
        step: Step,
        holder: Option<&AttachmentKey>,
        now: Timestamp,
        out: &mut Outbox,
    ) -> Result<bool, IllegalStep> {
        let Some(no) = self.owner(address) else { return Ok(false) };
        let Some(before) = self.get(no).and_then(|shelf| shelf.entry(address)) else { return Ok(false) };
        let Some(after) = self.edit(no, |shelf| shelf.step(address, step, now)).flatten().transpose()? else {
            return Ok(false);
        };
        self.unrest(address, before.life);
        self.rest(address, after.life);
        self.write(no, address, holder, out);
        Ok(true)
    }

    /// Lets an address that is still mentioned rest on, up to the bound.
    pub(crate) fn mention(
        &mut self,
        address: IpAddr,
        rest: std::time::Duration,
        longest: std::time::Duration,
        now: Timestamp,
        out: &mut Outbox,
    ) {
        let entry = self.owner(address).and_then(|no| self.get(no)?.entry(address));
        let Some(Entry { life: Life::Resting { until }, since }) = entry else { return };
        let later = (now + rest).min(since + longest);
        if later > until {
            // The phase allows it; it was looked at just now.
            let _ = self.step(address, Step::Mention { until: later }, None, now, out);
        }
    }

    /// Changes a prefix's phase, by the table. Tells whether it did.
    pub(crate) fn set_prefix(
        &mut self,
        net: IpNetwork,
        phase: PrefixPhase,
        now: Timestamp,
        out: &mut Outbox,
    ) -> bool {
        let Some(&(known, no)) = self.prefixes.get(&net.network()) else { return false };
        let block = self.get(no).and_then(|shelf| shelf.blocks().iter().find(|block| block.net == net));
        if known != net || !block.is_some_and(|block| prefix_may(block.phase, phase, block.taken() == 0)) {
            return false;
        }
        self.edit(no, |shelf| shelf.set_block(net, phase, now));
        self.write_prefix(no, net, out);
        true
    }

    /// Forgets what is off its ENI by the cloud's word and a later look.
    pub(crate) fn unassigned(&mut self, no: EniNo, out: &mut Outbox) {
        let Some(gone) = self.get(no).map(Shelf::unassigning) else { return };
        for address in gone.singles() {
            self.drop_single(no, address, out);
        }
        for net in gone.prefixes {
            self.drop_block(net, out);
        }
    }

    // ------------------------------------------------------------------ from the ledger

    /// Takes over a prefix. Before its addresses.
    pub(crate) fn adopt_prefix(&mut self, record: &PrefixRecord) -> Adopted {
        let Some(no) = self.number(&record.eni) else { return Adopted::NoEni };
        if self.overlapped(record.prefix).is_some() {
            return Adopted::Misplaced;
        }
        self.add_block(no, Block::new(record.prefix, record.phase, record.since));
        Adopted::Yes
    }

    /// Takes over an address, into its prefix if it is out of one.
    pub(crate) fn adopt(&mut self, record: &AddressRecord, primary: bool) -> Adopted {
        let Some(no) = self.number(&record.eni) else { return Adopted::NoEni };
        let (address, since, life) = (record.address, record.since, Life::of(&record.phase));
        match self.owner(address) {
            None => self.add_single(no, Slot { address, primary, life, since }),
            Some(owner) if owner == no && !self.singles.contains_key(&address) => {
                if self.edit(no, |shelf| shelf.set(address, Entry { life, since })) != Some(true) {
                    return Adopted::Misplaced;
                }
                self.rest(address, life);
            }
            Some(_) => return Adopted::Misplaced,
        }
        Adopted::Yes
    }

    // ------------------------------------------------------------------ indexes

    fn rest(&mut self, address: IpAddr, life: Life) {
        if let Life::Resting { until } = life {
            self.resting.insert((until, address));
        }
    }

    fn unrest(&mut self, address: IpAddr, life: Life) {
        if let Life::Resting { until } = life {
            self.resting.remove(&(until, address));
        }
    }

    /// An idle address out of a prefix has no record.
    fn write(&self, no: EniNo, address: IpAddr, holder: Option<&AttachmentKey>, out: &mut Outbox) {
        let Some(shelf) = self.get(no) else { return };
        let Some(entry) = shelf.entry(address) else { return };
        if entry.life == Life::Idle && !shelf.is_single(address) {
            return out.remove_address(address);
        }
        let Some(phase) = entry.life.phase(holder) else { return };
        out.put_address(AddressRecord { address, eni: shelf.token.clone(), phase, since: entry.since });
    }

    fn write_prefix(&self, no: EniNo, net: IpNetwork, out: &mut Outbox) {
        let Some(shelf) = self.get(no) else { return };
        let Some(block) = shelf.blocks().iter().find(|block| block.net == net) else { return };
        let (eni, phase, since) = (shelf.token.clone(), block.phase, block.since);
        out.put_prefix(PrefixRecord { prefix: net, eni, phase, since });
    }

    fn mark(&mut self, no: EniNo, vswitch: &VSwitchId, marks: &Marks) {
        self.totals.add(marks.totals);
        let room = marks.totals.room.saturating_add(marks.totals.later);
        if room > 0 {
            let sum = self.rooms.entry(vswitch.clone()).or_default();
            *sum = sum.saturating_add(room);
        }
        if let Some(in_use) = marks.gives {
            self.gives.insert((in_use, no));
        }
        if let Some((halves, slots)) = marks.takes {
            self.takes.entry(vswitch.clone()).or_default().insert((halves, slots, no));
        }
        if let Some(in_use) = marks.spares {
            self.spares.insert((in_use, no));
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

    fn unmark(&mut self, no: EniNo, vswitch: &VSwitchId, marks: &Marks) {
        self.totals.take(marks.totals);
        let room = marks.totals.room.saturating_add(marks.totals.later);
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
        if let Some(pairs) = marks.unused {
            self.unused.remove(&(pairs, no));
        }
        self.lost.remove(&no);
        self.leftover.remove(&no);
        if let Some(at) = marks.due {
            self.due.remove(&(at, no));
        }
    }

    /// Whether indexes and numbers say what a full look at every address says.
    #[cfg(test)]
    pub(crate) fn check(&self) {
        let mut fresh = Self::new(self.rules);
        fresh.next = self.next;
        let mut nets: Vec<IpNetwork> = Vec::new();
        for (no, shelf) in &self.shelves {
            let mut copy = shelf.emptied();
            shelf.slots().iter().for_each(|slot| copy.add(*slot));
            for block in shelf.blocks() {
                copy.add_block(Block::new(block.net, block.phase, block.since));
                for (address, entry) in block.entries() {
                    assert!(copy.set(address, entry));
                    fresh.rest(address, entry.life);
                }
                assert!(nets.iter().all(|net| !net.contains(block.net.network())), "{} overlaps", block.net);
                nets.push(block.net);
                fresh.prefixes.insert(block.net.network(), (block.net, *no));
            }
            for slot in shelf.slots() {
                fresh.rest(slot.address, slot.life);
                assert_eq!(fresh.singles.insert(slot.address, *no), None, "{} twice", slot.address);
            }
            assert_eq!(Marks::of(&copy, &self.rules), Marks::of(shelf, &self.rules), "{}", shelf.token);
            fresh.mark(*no, &shelf.vswitch, &Marks::of(&copy, &self.rules));
            fresh.by_token.insert(shelf.token.clone(), *no);
        }
        assert!(self.singles.keys().all(|single| !nets.iter().any(|net| net.contains(*single))));
        assert_eq!(fresh.totals, self.totals);
        assert_eq!(fresh.singles, self.singles);
        assert_eq!(fresh.prefixes, self.prefixes);
        assert_eq!(fresh.resting, self.resting);
        assert_eq!((&fresh.gives, &fresh.takes), (&self.gives, &self.takes));
        assert_eq!((&fresh.spares, &fresh.unused), (&self.spares, &self.unused));
        assert_eq!((&fresh.lost, &fresh.leftover, &fresh.due), (&self.lost, &self.leftover, &self.due));
        assert_eq!((&fresh.by_token, &fresh.rooms), (&self.by_token, &self.rooms));
    }
}
