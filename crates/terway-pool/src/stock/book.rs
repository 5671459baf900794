//! All shared ENIs with their addresses. ENIs are interned as small numbers. An ENI is changed only through
//! [`Stock::edit`], so the index cannot go stale; every change of an address or prefix writes its record. How
//! addresses come and go is in `contents`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnetwork::IpNetwork;
use terway_types::{
    AddressRecord, Addresses, AttachmentKey, IntentToken, PrefixPhase, PrefixRecord, Timestamp, VSwitchId,
};

use crate::outbox::Outbox;
use crate::settings::EniPolicy;
use crate::stock::address_life::{IllegalStep, Life, Step, prefix_may};
#[cfg(test)]
use crate::stock::block::Block;
use crate::stock::block::Entry;
use crate::stock::index::{Index, Marks};
use crate::stock::numbers::Totals;
use crate::stock::shelf::Shelf;

/// An ENI, as a small number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct EniNo(u32);

impl EniNo {
    pub(super) const LAST: Self = Self(u32::MAX);
}

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
    /// Prefixes are subnets of their own, in which some addresses are nobody's.
    pub(crate) subnets: bool,
}

/// All shared ENIs.
#[derive(Clone, Debug)]
pub(crate) struct Stock {
    pub(crate) rules: Rules,
    next: u32,
    shelves: BTreeMap<EniNo, Shelf>,
    by_token: BTreeMap<IntentToken, EniNo>,
    pub(super) singles: BTreeMap<IpAddr, EniNo>,
    /// By first address; none overlaps another.
    pub(super) prefixes: BTreeMap<IpAddr, (IpNetwork, EniNo)>,
    resting: BTreeSet<(Timestamp, IpAddr)>,
    index: Index,
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
            index: Index::default(),
        }
    }

    // ------------------------------------------------------------------ what there is

    pub(crate) fn totals(&self) -> &Totals {
        self.index.totals()
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

    pub(super) fn prefix_around(&self, address: IpAddr) -> Option<(IpNetwork, EniNo)> {
        let (_, &(net, no)) = self.prefixes.range(..=address).next_back()?;
        net.contains(address).then_some((net, no))
    }

    /// Addresses that ENIs of this vSwitch can take besides, in pairs.
    pub(crate) fn room_in(&self, vswitch: &VSwitchId) -> u32 {
        self.index.room_in(vswitch)
    }

    /// vSwitches in which ENIs can take more.
    pub(crate) fn roomy(&self) -> impl Iterator<Item = &VSwitchId> {
        self.index.roomy()
    }

    // ------------------------------------------------------------------ who is next

    /// The ENI that gives the next pair.
    pub(crate) fn giver(&self) -> Option<EniNo> {
        self.index.giver(self.rules.policy)
    }

    /// The ENI to be asked for more: one with halves missing before all others, then the fullest. ENIs of vSwitches
    /// for which `aside` is true are passed over.
    pub(crate) fn taker(&self, aside: impl Fn(&VSwitchId) -> bool) -> Option<EniNo> {
        self.index.taker(aside)
    }

    /// The ENI from which surplus pairs are taken: the last one that would give them.
    pub(crate) fn sparer(&self) -> Option<EniNo> {
        self.index.sparer(self.rules.policy)
    }

    /// An ENI with addresses whose other half is missing.
    pub(crate) fn odd(&self) -> Option<EniNo> {
        self.index.odd()
    }

    /// The largest ENI that nobody uses and that has at most this many pairs.
    pub(crate) fn unused(&self, at_most: u32) -> Option<EniNo> {
        self.index.unused(at_most)
    }

    /// An ENI that the cloud says is gone and that nobody uses.
    pub(crate) fn lost(&self) -> Option<EniNo> {
        self.index.lost()
    }

    /// An ENI with prefixes that take nobody new and are empty.
    pub(crate) fn leftover(&self) -> Option<EniNo> {
        self.index.leftover()
    }

    /// The ENIs with something due by now.
    pub(crate) fn overdue(&self, now: Timestamp) -> Vec<EniNo> {
        self.index.overdue(now)
    }

    /// Addresses whose rest is over by now.
    pub(crate) fn rested(&self, now: Timestamp) -> Vec<IpAddr> {
        self.resting.iter().take_while(|(until, _)| *until <= now).map(|(_, address)| *address).collect()
    }

    /// When the next thing is due.
    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        let rested = self.resting.first().map(|(at, _)| *at);
        self.index.next_due().into_iter().chain(rested).min()
    }

    // ------------------------------------------------------------------ ENIs

    pub(crate) fn insert(&mut self, shelf: Shelf) -> EniNo {
        let no = EniNo(self.next);
        self.next += 1;
        self.by_token.insert(shelf.token.clone(), no);
        let marks = Marks::of(&shelf, &self.rules);
        self.index.insert(no, shelf.vswitch(), &marks);
        self.shelves.insert(no, shelf);
        no
    }

    /// Changes an ENI. Unknown numbers change nothing.
    pub(crate) fn edit<T>(&mut self, no: EniNo, change: impl FnOnce(&mut Shelf) -> T) -> Option<T> {
        let shelf = self.shelves.get_mut(&no)?;
        let before = Marks::of(shelf, &self.rules);
        let result = change(shelf);
        let after = Marks::of(shelf, &self.rules);
        if before != after {
            self.index.remove(no, shelf.vswitch(), &before);
            self.index.insert(no, shelf.vswitch(), &after);
        }
        Some(result)
    }

    /// The cloud made an ENI in this vSwitch.
    pub(crate) fn place(&mut self, no: EniNo, vswitch: VSwitchId) {
        let Some(shelf) = self.shelves.get_mut(&no) else { return };
        let marks = Marks::of(shelf, &self.rules);
        self.index.remove(no, shelf.vswitch(), &marks);
        shelf.place(vswitch);
        self.index.insert(no, shelf.vswitch(), &marks);
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
        self.index.remove(no, shelf.vswitch(), &Marks::of(&shelf, &self.rules));
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
        self.rules = rules;
        self.index = Index::default();
        for (no, shelf) in &self.shelves {
            self.index.insert(*no, shelf.vswitch(), &Marks::of(shelf, &self.rules));
        }
    }

    // ------------------------------------------------------------------ addresses

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

    // ------------------------------------------------------------------ records and rests

    pub(super) fn rest(&mut self, address: IpAddr, life: Life) {
        if let Life::Resting { until } = life {
            self.resting.insert((until, address));
        }
    }

    pub(super) fn unrest(&mut self, address: IpAddr, life: Life) {
        if let Life::Resting { until } = life {
            self.resting.remove(&(until, address));
        }
    }

    /// An idle address out of a prefix has no record.
    pub(super) fn write(&self, no: EniNo, address: IpAddr, holder: Option<&AttachmentKey>, out: &mut Outbox) {
        let Some(shelf) = self.get(no) else { return };
        let Some(entry) = shelf.entry(address) else { return };
        if entry.life == Life::Idle && !shelf.is_single(address) {
            return out.remove_address(address);
        }
        let Some(phase) = entry.life.phase(holder) else { return };
        out.put_address(AddressRecord { address, eni: shelf.token.clone(), phase, since: entry.since });
    }

    pub(super) fn write_prefix(&self, no: EniNo, net: IpNetwork, out: &mut Outbox) {
        let Some(shelf) = self.get(no) else { return };
        let Some(block) = shelf.blocks().iter().find(|block| block.net == net) else { return };
        let (eni, phase, since) = (shelf.token.clone(), block.phase, block.since);
        out.put_prefix(PrefixRecord { prefix: net, eni, phase, since });
    }

    /// Drops what does not decide the future: the indexes, and of the times of changes all but their order. Looks ask
    /// how long before them something changed, if that is `recent`.
    #[cfg(test)]
    pub(crate) fn forget_past(&mut self, recent: Option<Timestamp>) {
        let fresh = Self::new(self.rules);
        let shelves = std::mem::take(&mut self.shelves);
        let times: BTreeSet<_> = shelves.values().flat_map(Shelf::slots).map(|slot| slot.since).collect();
        *self = Self { shelves, ..fresh };
        let rank = |since| Timestamp(times.range(..since).count() as u64);
        let past = |since| recent.is_none_or(|recent| since < recent);
        self.shelves.values_mut().for_each(|shelf| shelf.forget_past(past, rank));
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
                copy.add_block(Block::new(block.net, block.phase, block.since).with(block.trust));
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
            fresh.index.insert(*no, shelf.vswitch(), &Marks::of(&copy, &self.rules));
            fresh.by_token.insert(shelf.token.clone(), *no);
        }
        assert!(self.singles.keys().all(|single| !nets.iter().any(|net| net.contains(*single))));
        assert_eq!(fresh.singles, self.singles);
        assert_eq!(fresh.prefixes, self.prefixes);
        assert_eq!(fresh.resting, self.resting);
        assert_eq!(fresh.by_token, self.by_token);
        assert_eq!(fresh.index, self.index);
    }
}
