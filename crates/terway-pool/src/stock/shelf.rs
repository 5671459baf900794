//! The addresses of one shared ENI, and what is being asked of the cloud for it.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use terway_types::{
    AddressCounts, AddressSet, Addresses, IntentToken, IpFamily, PrefixPhase, Timestamp, VSwitchId,
};

use crate::effect::OperationId;
use crate::stock::address_life::{IllegalStep, Item, Life, Step, Trust, next};
use crate::stock::block::{Block, Entry};
use crate::stock::book::Rules;
use crate::stock::numbers::{Heads, PREFIX_V4, PREFIX_V6, Pairs, addresses};

/// How far the ENI is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Being made; its addresses are not known.
    Creating,
    /// Made; not on the node yet.
    Opening,
    /// Its addresses can be given.
    Open,
    /// Attachments hold addresses of it, but its netdev is lost: it gives none until that is back.
    Away,
    /// It leaves, or serves for something else.
    Closed,
}

/// What the cloud is asked for, or about to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Job {
    /// Those in `asked`.
    Assign,
    /// Those in phase `Unassigning`.
    Unassign,
}

/// The cloud's part in a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// Not asked yet.
    Open,
    /// Under way; taken for lost then.
    Running { operation: OperationId, until: Timestamp },
    /// Failed; to be tried again then.
    Retry(Timestamp),
}

/// A single address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) address: IpAddr,
    /// It came with the ENI and leaves with it.
    pub(crate) primary: bool,
    pub(crate) life: Life,
    pub(crate) since: Timestamp,
    pub(crate) trust: Trust,
}

/// A limit that the cloud taught us, lower than the one we were told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Learned {
    pub(crate) v4: Option<u32>,
    pub(crate) v6: Option<u32>,
    /// When to try again whether it still holds.
    pub(crate) until: Option<Timestamp>,
}

/// One ENI.
#[derive(Clone, Debug)]
pub(crate) struct Shelf {
    pub(crate) token: IntentToken,
    vswitch: VSwitchId,
    pub(crate) stage: Stage,
    /// The cloud said that it is gone: it gives no more.
    pub(crate) lost: bool,
    /// What its creation or its assign intent asks for.
    pub(crate) asked: AddressCounts,
    pub(crate) work: Work,
    /// Failed calls in a row.
    pub(crate) failures: u32,
    /// Whether a call of this job may have worked, or may still work, without our hearing of it.
    pub(crate) doubt: bool,
    /// Whether the cloud has refused it since the last doubt.
    pub(crate) refused: bool,
    /// Asked for nothing new before this time.
    pub(crate) paused: Option<Timestamp>,
    pub(crate) learned: Learned,
    /// When something was last taken off it, as far as this life knows.
    pub(crate) taken_off: Timestamp,
    slots: Vec<Slot>,
    blocks: Vec<Block>,
    v4: Heads,
    v6: Heads,
}

impl Shelf {
    pub(crate) fn new(token: IntentToken, vswitch: VSwitchId, stage: Stage, asked: AddressCounts) -> Self {
        Self {
            token,
            vswitch,
            stage,
            lost: false,
            asked,
            work: Work::Open,
            failures: 0,
            doubt: false,
            refused: false,
            paused: None,
            learned: Learned::default(),
            taken_off: Timestamp(0),
            slots: Vec::new(),
            blocks: Vec::new(),
            v4: Heads::default(),
            v6: Heads::default(),
        }
    }

    pub(crate) fn vswitch(&self) -> &VSwitchId {
        &self.vswitch
    }

    pub(super) fn place(&mut self, vswitch: VSwitchId) {
        self.vswitch = vswitch;
    }

    pub(crate) fn heads(&self, family: IpFamily) -> Heads {
        match family {
            IpFamily::V4 => self.v4,
            IpFamily::V6 => self.v6,
        }
    }

    pub(crate) fn slots(&self) -> &[Slot] {
        &self.slots
    }

    pub(crate) fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// How many attachments use it, as far as its addresses tell.
    pub(crate) fn in_use(&self) -> u32 {
        self.v4.in_use.max(self.v6.in_use)
    }

    pub(crate) fn resting(&self) -> u32 {
        self.v4.resting.max(self.v6.resting)
    }

    /// What is being asked of the cloud. One thing at a time: a cloud refuses two operations on one ENI.
    pub(crate) fn job(&self) -> Option<Job> {
        let unassigning = || {
            self.v4.unassigning + self.v6.unassigning > 0
                || self.blocks.iter().any(|block| block.phase == PrefixPhase::Unassigning)
        };
        match self.stage {
            Stage::Creating | Stage::Closed => None,
            _ if !self.asked.is_empty() => Some(Job::Assign),
            _ => unassigning().then_some(Job::Unassign),
        }
    }

    /// When the passing of time alone changes something.
    pub(crate) fn due(&self) -> Option<Timestamp> {
        let work = match self.work {
            Work::Running { until: at, .. } | Work::Retry(at) if self.job().is_some() => Some(at),
            _ => None,
        };
        [work, self.paused, self.learned.until].into_iter().flatten().min()
    }

    /// Its numbers in pairs.
    pub(crate) fn pairs(&self, rules: &Rules) -> Pairs {
        let (asked_v4, asked_v6) = addresses(self.asked);
        let sums = |heads: Heads, asked: u32, asked_slots: u32, learned: Option<u32>, size: u32| {
            let limit = learned.unwrap_or(rules.per_eni).min(rules.per_eni);
            let room = limit.saturating_sub(heads.slots + asked_slots).saturating_mul(size);
            let usable = heads.idle + heads.resting;
            let coming = usable.saturating_add(asked);
            [heads.idle, usable, coming, coming.saturating_add(room)]
        };
        let (size_v4, size_v6) = if rules.prefixes { (PREFIX_V4, PREFIX_V6) } else { (1, 1) };
        let slots_v4 = self.asked.ipv4 + self.asked.ipv4_prefixes;
        let slots_v6 = self.asked.ipv6 + self.asked.ipv6_prefixes;
        Pairs::of(
            sums(self.v4, asked_v4, slots_v4, self.learned.v4, size_v4),
            sums(self.v6, asked_v6, slots_v6, self.learned.v6, size_v6),
            rules.dual,
        )
    }

    /// Whether one family has addresses that lack their other half.
    pub(crate) fn is_lopsided(&self, rules: &Rules) -> bool {
        let all = |heads: Heads| heads.idle + heads.resting + heads.in_use;
        rules.dual && !rules.prefixes && all(self.v4) != all(self.v6)
    }

    /// Idle single addresses of each family whose other half is missing, and that could be taken off. Where addresses
    /// come in prefixes, a prefix has the other half.
    fn odd(&self, rules: &Rules) -> [u32; 2] {
        let usable = |heads: Heads| heads.idle + heads.resting;
        match (rules.dual, rules.prefixes) {
            (false, _) => [0, self.v6.loose],
            (true, true) => [0, 0],
            (true, false) => [
                usable(self.v4).saturating_sub(usable(self.v6)).min(self.v4.loose),
                usable(self.v6).saturating_sub(usable(self.v4)).min(self.v6.loose),
            ],
        }
    }

    /// Whether it has addresses that serve nobody without their other half.
    pub(crate) fn has_odd(&self, rules: &Rules) -> bool {
        rules.batch > 0 && self.odd(rules) != [0, 0]
    }

    /// Addresses to be taken off by one call because their other half is missing.
    pub(crate) fn odd_ones(&self, rules: &Rules) -> Vec<IpAddr> {
        let [v4, v6] = self.odd(rules).map(|count| count.min(rules.batch) as usize);
        let first = |family, count| self.longest_idle(family).into_iter().take(count);
        first(IpFamily::V4, v4).chain(first(IpFamily::V6, v6)).collect()
    }

    /// Pairs that could be taken off now.
    pub(crate) fn spare(&self, rules: &Rules) -> u32 {
        let singles = if rules.dual { self.v4.loose.min(self.v6.loose) } else { self.v4.loose };
        singles + self.empty_blocks(PrefixPhase::Ready).map(Block::size).sum::<u32>()
    }

    /// Prefixes in this phase that nobody uses. A ready one of IPv6 serves as long as the ENI does.
    pub(crate) fn empty_blocks(&self, phase: PrefixPhase) -> impl Iterator<Item = &Block> {
        self.blocks.iter().filter(move |block| {
            let leaves = block.family() == IpFamily::V4 || phase == PrefixPhase::Frozen;
            leaves && block.phase == phase && block.taken() == 0 && block.trust == Trust::Sure
        })
    }

    /// Idle single addresses that can be taken off, those that rested longest first.
    pub(crate) fn longest_idle(&self, family: IpFamily) -> Vec<IpAddr> {
        let mut idle: Vec<_> = self.idle(family).filter(|slot| !slot.primary).collect();
        idle.sort_unstable_by_key(|slot| (slot.since, slot.address));
        idle.into_iter().map(|slot| slot.address).collect()
    }

    /// The address to be given next: the single one that rested longest, else one of the fullest prefix, so that
    /// other prefixes become empty and can go.
    pub(crate) fn pick(&self, family: IpFamily) -> Option<IpAddr> {
        let single = self.idle(family).min_by_key(|slot| (slot.since, slot.address)).map(|slot| slot.address);
        single.or_else(|| {
            let blocks = self.blocks.iter().filter(|block| block.family() == family && block.free() > 0);
            blocks.min_by_key(|block| (block.free(), block.net)).and_then(Block::pick)
        })
    }

    fn idle(&self, family: IpFamily) -> impl Iterator<Item = &Slot> {
        let idle = |slot: &&Slot| slot.life == Life::Idle && slot.trust == Trust::Sure;
        self.slots.iter().filter(move |slot| idle(slot) && IpFamily::of(&slot.address) == family)
    }

    /// A pair, or the only half if the node has one family.
    pub(crate) fn pick_pair(&self, dual: bool) -> Option<Addresses> {
        let Some(IpAddr::V4(v4)) = self.pick(IpFamily::V4) else { return None };
        let v6 = match self.pick(IpFamily::V6) {
            Some(IpAddr::V6(v6)) if dual => Some(v6),
            _ if dual => return None,
            _ => None,
        };
        Some(Addresses::new(Some(v4), v6))
    }

    /// Everything that is being taken off.
    pub(crate) fn unassigning(&self) -> AddressSet {
        let mut set = AddressSet::default();
        for slot in self.slots.iter().filter(|slot| slot.life == Life::Unassigning) {
            match slot.address {
                IpAddr::V4(v4) => set.ipv4.push(v4),
                IpAddr::V6(v6) => set.ipv6.push(v6),
            }
        }
        let blocks = self.blocks.iter().filter(|block| block.phase == PrefixPhase::Unassigning);
        set.prefixes.extend(blocks.map(|block| block.net));
        set.ipv4.sort_unstable();
        set.ipv6.sort_unstable();
        set.prefixes.sort_unstable();
        set
    }

    /// Where an address is in its life, and since when. Idle ones of prefixes are as old as their prefix.
    pub(crate) fn entry(&self, address: IpAddr) -> Option<Entry> {
        if let Some(slot) = self.slots.iter().find(|slot| slot.address == address) {
            return Some(Entry { life: slot.life, since: slot.since });
        }
        let block = self.blocks.iter().find(|block| block.net.contains(address))?;
        Some(block.entry(address).unwrap_or(Entry { life: Life::Idle, since: block.since }))
    }

    /// Whether an address of its own record, not out of a prefix.
    pub(crate) fn is_single(&self, address: IpAddr) -> bool {
        self.slots.iter().any(|slot| slot.address == address)
    }

    pub(crate) fn add(&mut self, slot: Slot) {
        // Few come at a time, and few come at all: room for exactly these.
        self.slots.reserve_exact(1);
        self.slots.push(slot);
        let heads = self.heads_mut(IpFamily::of(&slot.address));
        heads.slots += 1;
        heads.count(slot.life, slot.trust, slot.primary, 1);
    }

    pub(crate) fn drop_single(&mut self, address: IpAddr) -> Option<Slot> {
        let index = self.slots.iter().position(|slot| slot.address == address)?;
        let slot = self.slots.swap_remove(index);
        let heads = self.heads_mut(IpFamily::of(&address));
        heads.slots -= 1;
        heads.count(slot.life, slot.trust, slot.primary, -1);
        Some(slot)
    }

    pub(crate) fn add_block(&mut self, block: Block) {
        let (family, free, held_back) = (block.family(), block.free(), block.held_back());
        self.blocks.push(block);
        let heads = self.heads_mut(family);
        heads.slots += 1;
        heads.idle += free;
        heads.resting += held_back;
    }

    pub(crate) fn drop_block(&mut self, net: IpNetwork) -> Option<Block> {
        let index = self.blocks.iter().position(|block| block.net == net)?;
        let block = self.blocks.swap_remove(index);
        let heads = self.heads_mut(block.family());
        heads.slots -= 1;
        heads.idle -= block.free();
        heads.resting -= block.held_back();
        for (_, entry) in block.entries() {
            heads.count(entry.life, Trust::Sure, true, -1);
        }
        Some(block)
    }

    /// Changes a prefix's phase. The caller has asked the table.
    pub(crate) fn set_block(&mut self, net: IpNetwork, phase: PrefixPhase, now: Timestamp) {
        self.change_block(net, |block| (block.phase, block.since) = (phase, now));
    }

    /// Notes what looks make of an address or a prefix. Tells what they made of it before, if the ENI has it.
    pub(crate) fn trust(&mut self, item: Item, trust: Trust) -> Option<Trust> {
        let address = match item {
            Item::Prefix(net) => {
                return self.change_block(net, |block| std::mem::replace(&mut block.trust, trust));
            }
            Item::Address(address) => address,
        };
        let slot = self.slots.iter_mut().find(|slot| slot.address == address)?;
        let before = *slot;
        slot.trust = trust;
        let after = *slot;
        let heads = self.heads_mut(IpFamily::of(&address));
        heads.count(before.life, before.trust, before.primary, -1);
        heads.count(after.life, after.trust, after.primary, 1);
        Some(before.trust)
    }

    fn change_block<T>(&mut self, net: IpNetwork, change: impl FnOnce(&mut Block) -> T) -> Option<T> {
        let block = self.blocks.iter_mut().find(|block| block.net == net)?;
        let (family, free, held_back) = (block.family(), block.free(), block.held_back());
        let result = change(block);
        let (now_free, now_held_back) = (block.free(), block.held_back());
        let heads = self.heads_mut(family);
        heads.idle = heads.idle + now_free - free;
        heads.resting = heads.resting + now_held_back - held_back;
        Some(result)
    }

    /// One step of an address, by the table. `None` if it is none of ours.
    pub(crate) fn step(
        &mut self,
        address: IpAddr,
        step: Step,
        now: Timestamp,
    ) -> Option<Result<Entry, IllegalStep>> {
        let before = self.entry(address)?;
        let life = match next(before.life, step) {
            Ok(life) => life,
            Err(illegal) => return Some(Err(illegal)),
        };
        // A rest that is prolonged began when it began.
        let since = if matches!(step, Step::Mention { .. }) { before.since } else { now };
        let entry = Entry { life, since };
        self.set(address, entry).then_some(Ok(entry))
    }

    /// Notes where an address is in its life. Tells whether the ENI has it.
    pub(crate) fn set(&mut self, address: IpAddr, entry: Entry) -> bool {
        let family = IpFamily::of(&address);
        if let Some(slot) = self.slots.iter_mut().find(|slot| slot.address == address) {
            let (before, primary, trust) = (slot.life, slot.primary, slot.trust);
            (slot.life, slot.since) = (entry.life, entry.since);
            let heads = self.heads_mut(family);
            heads.count(before, trust, primary, -1);
            heads.count(entry.life, trust, primary, 1);
            return true;
        }
        let Some(block) = self.blocks.iter().find(|block| block.net.contains(address)) else {
            return false;
        };
        let (net, before) = (block.net, block.entry(address));
        if self.change_block(net, |block| block.set(address, entry)) != Some(true) {
            return false;
        }
        let heads = self.heads_mut(family);
        if let Some(before) = before {
            heads.count(before.life, Trust::Sure, true, -1);
        }
        if entry.life != Life::Idle {
            heads.count(entry.life, Trust::Sure, true, 1);
        }
        true
    }

    /// Drops when it was changed, but not in which order.
    #[cfg(test)]
    pub(super) fn forget_past(
        &mut self,
        past: impl Fn(Timestamp) -> bool,
        rank: impl Fn(Timestamp) -> Timestamp,
    ) {
        if past(self.taken_off) {
            self.taken_off = Timestamp(0);
        }
        let old = self.slots.iter_mut().filter(|slot| past(slot.since));
        old.for_each(|slot| slot.since = rank(slot.since));
    }

    /// The same ENI without its addresses.
    #[cfg(test)]
    pub(crate) fn emptied(&self) -> Self {
        let (slots, blocks) = (Vec::new(), Vec::new());
        Self { slots, blocks, v4: Heads::default(), v6: Heads::default(), ..self.clone() }
    }

    fn heads_mut(&mut self, family: IpFamily) -> &mut Heads {
        match family {
            IpFamily::V4 => &mut self.v4,
            IpFamily::V6 => &mut self.v6,
        }
    }
}

impl Heads {
    /// What one look missed counts like what rests: most of it comes back by itself.
    fn count(&mut self, life: Life, trust: Trust, fixed: bool, by: i32) {
        let heads = match life {
            Life::Idle if trust == Trust::Contradicted => return,
            Life::Idle if trust == Trust::Suspect => &mut self.resting,
            Life::Idle => {
                if !fixed {
                    self.loose = self.loose.saturating_add_signed(by);
                }
                &mut self.idle
            }
            Life::InUse => &mut self.in_use,
            Life::Resting { .. } => &mut self.resting,
            Life::Unassigning => &mut self.unassigning,
        };
        *heads = heads.saturating_add_signed(by);
    }
}
