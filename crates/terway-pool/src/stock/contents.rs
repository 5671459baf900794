//! What is on shared ENIs: how addresses and prefixes come to them, from the cloud or from the ledger, and how they
//! leave. Two ENIs never have the same address.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnetwork::IpNetwork;
use terway_types::{AddressRecord, AddressSet, Addresses, PrefixPhase, PrefixRecord, Timestamp};

use crate::outbox::Outbox;
use crate::stock::address_life::{Item, Life, Trust};
use crate::stock::block::{Block, Entry};
use crate::stock::book::{EniNo, Stock};
use crate::stock::shelf::{Shelf, Slot, Stage};

/// What became of a record that was read from the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Adopted {
    Yes,
    /// Its ENI is not there.
    NoEni,
    /// It overlaps with another one, or is beyond what we use of its prefix.
    Misplaced,
}

impl Stock {
    /// Puts what the cloud gave an ENI on it. What it has already is passed over; what belongs to another ENI, or
    /// overlaps with anything, is refused and returned. A prefix that is to rest is suspect until a later look.
    pub(crate) fn fill(
        &mut self,
        no: EniNo,
        added: &AddressSet,
        primary: Addresses,
        life: Life,
        now: Timestamp,
        out: &mut Outbox,
    ) -> Vec<IpNetwork> {
        let mut refused = Vec::new();
        let singles = primary.iter().chain(added.singles());
        for address in singles {
            match self.owner(address) {
                Some(owner) if owner == no => {}
                Some(_) if !self.make_way(address.into(), now, out) => refused.push(address.into()),
                _ => {
                    let is_primary = primary.iter().any(|primary| primary == address);
                    let trust = Trust::Sure;
                    self.add_single(no, Slot { address, primary: is_primary, life, since: now, trust });
                    self.write(no, address, None, out);
                }
            }
        }
        for &net in &added.prefixes {
            match self.overlapped(net) {
                Some((same, owner)) if owner == no && same == Some(net) => {}
                Some(_) if !self.make_way(net, now, out) => refused.push(net),
                _ => {
                    let phase = if self.rules.prefixes { PrefixPhase::Ready } else { PrefixPhase::Frozen };
                    let trust = if life == Life::Idle { Trust::Sure } else { Trust::Suspect };
                    self.add_block(no, self.block(net, phase, now).with(trust));
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
    fn make_way(&mut self, net: IpNetwork, now: Timestamp, out: &mut Outbox) -> bool {
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
            self.drop_single(no, address, now, out);
        }
        for net in nets {
            self.drop_block(net, now, out);
        }
        true
    }

    fn drop_single(&mut self, no: EniNo, address: IpAddr, now: Timestamp, out: &mut Outbox) {
        self.singles.remove(&address);
        let dropped = self.edit(no, |shelf| {
            shelf.taken_off = now;
            shelf.drop_single(address)
        });
        if let Some(slot) = dropped.flatten() {
            self.unrest(address, slot.life);
        }
        out.remove_address(address);
    }

    fn drop_block(&mut self, net: IpNetwork, now: Timestamp, out: &mut Outbox) {
        let Some((_, no)) = self.prefixes.remove(&net.network()) else { return };
        let dropped = self.edit(no, |shelf| {
            shelf.taken_off = now;
            shelf.drop_block(net)
        });
        for (address, entry) in dropped.flatten().iter().flat_map(Block::entries) {
            self.unrest(address, entry.life);
            out.remove_address(address);
        }
        out.remove_prefix(net);
    }

    /// Forgets what looks have proven to be off its ENI, unless somebody holds it.
    pub(crate) fn lose(&mut self, no: EniNo, item: Item, now: Timestamp, out: &mut Outbox) {
        let Some(shelf) = self.get(no) else { return };
        match item {
            Item::Address(address) if shelf.is_single(address) => {
                if shelf.entry(address).is_some_and(|entry| entry.life != Life::InUse) {
                    self.drop_single(no, address, now, out);
                }
            }
            Item::Prefix(net) if shelf.blocks().iter().any(|block| block.net == net && !block.is_held()) => {
                self.drop_block(net, now, out);
            }
            Item::Address(_) | Item::Prefix(_) => {}
        }
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

    fn block(&self, net: IpNetwork, phase: PrefixPhase, since: Timestamp) -> Block {
        let block = Block::new(net, phase, since);
        if self.rules.subnets { block.into_subnet() } else { block }
    }

    fn add_block(&mut self, no: EniNo, block: Block) {
        self.prefixes.insert(block.net.network(), (block.net, no));
        self.edit(no, |shelf| shelf.add_block(block));
    }

    /// Forgets what is off its ENI by the cloud's word and a later look.
    pub(crate) fn unassigned(&mut self, no: EniNo, now: Timestamp, out: &mut Outbox) {
        let Some(gone) = self.get(no).map(Shelf::unassigning) else { return };
        for address in gone.singles() {
            self.drop_single(no, address, now, out);
        }
        for net in gone.prefixes {
            self.drop_block(net, now, out);
        }
    }

    // ------------------------------------------------------------------ from the ledger

    /// Takes over a prefix. Before its addresses.
    pub(crate) fn adopt_prefix(&mut self, record: &PrefixRecord) -> Adopted {
        let Some(no) = self.number(&record.eni) else { return Adopted::NoEni };
        if self.overlapped(record.prefix).is_some() {
            return Adopted::Misplaced;
        }
        self.add_block(no, self.block(record.prefix, record.phase, record.since));
        Adopted::Yes
    }

    /// Takes over an address, into its prefix if it is out of one.
    pub(crate) fn adopt(&mut self, record: &AddressRecord, primary: bool) -> Adopted {
        let Some(no) = self.number(&record.eni) else { return Adopted::NoEni };
        let (address, since, life) = (record.address, record.since, Life::of(&record.phase));
        match self.owner(address) {
            None => self.add_single(no, Slot { address, primary, life, since, trust: Trust::Sure }),
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
}
