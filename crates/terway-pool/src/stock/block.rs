//! One prefix of a shared ENI: which of its addresses are not idle, and which one is given next.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::IpNetwork;
use terway_types::{IpFamily, PrefixPhase, Timestamp};

use crate::stock::address_life::{Life, Trust};
use crate::stock::bitmap::Bitmap;

/// Usable addresses of a prefix at most: of a /80 of IPv6 the low 16 bits.
const LARGEST: u32 = 1 << 16;

/// An address out of a prefix that is not idle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) life: Life,
    pub(crate) since: Timestamp,
}

/// A prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) net: IpNetwork,
    pub(crate) phase: PrefixPhase,
    pub(crate) since: Timestamp,
    pub(crate) trust: Trust,
    taken: Bitmap,
    /// Where to look for the next one: behind the last one given, so that the longest forgotten comes first.
    next: u16,
    entries: BTreeMap<u16, Entry>,
}

impl Block {
    pub(crate) fn new(net: IpNetwork, phase: PrefixPhase, since: Timestamp) -> Self {
        let (trust, taken) = (Trust::Sure, Bitmap::default());
        Self { net, phase, since, trust, taken, next: 0, entries: BTreeMap::new() }
    }

    /// The same prefix as a subnet of its own, of which the first address (the network, or of IPv6 all routers of the
    /// subnet), the second (by custom the gateway) and of IPv4 the last (broadcast) are nobody's.
    pub(crate) fn into_subnet(mut self) -> Self {
        let last = self.size() - 1;
        let broadcast = Some(last).filter(|_| self.net.is_ipv4() && last + 1 < LARGEST);
        for offset in [0, 1].into_iter().chain(broadcast).filter(|offset| *offset <= last) {
            self.taken.take(u16::try_from(offset).unwrap_or(u16::MAX));
        }
        self
    }

    /// The same prefix, trusted like this.
    pub(crate) fn with(self, trust: Trust) -> Self {
        Self { trust, ..self }
    }

    pub(crate) fn family(&self) -> IpFamily {
        IpFamily::of(&self.net.network())
    }

    /// How many addresses it has that we use.
    pub(crate) fn size(&self) -> u32 {
        let width = if self.net.is_ipv4() { 32 } else { 128 };
        1u32.checked_shl(width - u32::from(self.net.prefix()))
            .filter(|size| (1..=LARGEST).contains(size))
            .unwrap_or(LARGEST)
    }

    /// How many addresses are not idle.
    pub(crate) fn taken(&self) -> u32 {
        self.taken.taken()
    }

    /// Whether all its addresses are idle or nobody's.
    pub(crate) fn is_idle(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many addresses can be given.
    pub(crate) fn free(&self) -> u32 {
        if self.gives() { self.size() - self.taken() } else { 0 }
    }

    /// How many addresses are idle and cannot be given until a look clears the prefix.
    pub(crate) fn held_back(&self) -> u32 {
        let suspect = self.phase == PrefixPhase::Ready && self.trust == Trust::Suspect;
        if suspect { self.size() - self.taken() } else { 0 }
    }

    fn gives(&self) -> bool {
        self.phase == PrefixPhase::Ready && self.trust == Trust::Sure
    }

    /// Whether an attachment holds one of its addresses.
    pub(crate) fn is_held(&self) -> bool {
        self.entries.values().any(|entry| entry.life == Life::InUse)
    }

    /// The address to be given next.
    pub(crate) fn pick(&self) -> Option<IpAddr> {
        if !self.gives() {
            return None;
        }
        self.taken.next_free(self.next, self.size()).map(|offset| self.address(offset))
    }

    pub(crate) fn entry(&self, address: IpAddr) -> Option<Entry> {
        self.entries.get(&self.offset(address)?).copied()
    }

    /// All addresses that are not idle.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (IpAddr, Entry)> + '_ {
        self.entries.iter().map(|(offset, entry)| (self.address(*offset), *entry))
    }

    /// Notes where an address is in its life. Tells whether the address is one of those we use.
    pub(crate) fn set(&mut self, address: IpAddr, entry: Entry) -> bool {
        let Some(offset) = self.offset(address) else { return false };
        if entry.life == Life::Idle {
            self.taken.free(offset);
            self.entries.remove(&offset);
            return true;
        }
        if self.taken.take(offset) {
            self.next = if u32::from(offset) + 1 < self.size() { offset + 1 } else { 0 };
        }
        self.entries.insert(offset, entry);
        true
    }

    fn address(&self, offset: u16) -> IpAddr {
        match self.net.network() {
            IpAddr::V4(net) => Ipv4Addr::from(u32::from(net) | u32::from(offset)).into(),
            IpAddr::V6(net) => Ipv6Addr::from(u128::from(net) | u128::from(offset)).into(),
        }
    }

    fn offset(&self, address: IpAddr) -> Option<u16> {
        let offset = match (self.net.network(), address) {
            (IpAddr::V4(net), IpAddr::V4(address)) => {
                u128::from(u32::from(address).checked_sub(u32::from(net))?)
            }
            (IpAddr::V6(net), IpAddr::V6(address)) => u128::from(address).checked_sub(u128::from(net))?,
            _ => return None,
        };
        u16::try_from(offset).ok().filter(|offset| u32::from(*offset) < self.size())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(net: &str) -> Block {
        Block::new(net.parse().unwrap(), PrefixPhase::Ready, Timestamp(1))
    }

    fn entry(life: Life) -> Entry {
        Entry { life, since: Timestamp(2) }
    }

    #[test]
    fn all_sixteen_of_a_28_are_used_and_a_freed_one_comes_last() {
        let mut block = block("10.0.0.16/28");
        let mut given = Vec::new();
        for _ in 0..3 {
            let address = block.pick().unwrap();
            block.set(address, entry(Life::InUse));
            given.push(address.to_string());
        }
        assert_eq!(given, ["10.0.0.16", "10.0.0.17", "10.0.0.18"]);
        block.set("10.0.0.17".parse().unwrap(), entry(Life::Idle));
        while let Some(address) = block.pick() {
            assert_eq!(block.free(), 16 - block.taken());
            block.set(address, entry(Life::InUse));
            given.push(address.to_string());
        }
        assert_eq!(given.len(), 17);
        assert_eq!(given.last().unwrap(), "10.0.0.17", "the one freed last");
        assert!(given.contains(&"10.0.0.31".to_owned()));
    }

    #[test]
    fn of_an_80_the_low_sixteen_bits_are_used() {
        let mut block = block("fd00:0:0:0:1::/80");
        assert_eq!(block.size(), 65_536);
        let beyond = "fd00::1:0:1:0".parse().unwrap();
        assert!(!block.set(beyond, entry(Life::InUse)));
        let last = "fd00::1:0:0:ffff".parse().unwrap();
        assert!(block.set(last, entry(Life::InUse)));
        assert_eq!(block.entry(last), Some(entry(Life::InUse)));
        assert_eq!(block.pick(), Some("fd00::1:0:0:0".parse().unwrap()));
        assert_eq!(block.entries().count(), 1);
    }

    #[test]
    fn only_a_ready_prefix_gives() {
        let mut block = block("10.0.0.16/28");
        for phase in [PrefixPhase::Frozen, PrefixPhase::Unassigning] {
            block.phase = phase;
            assert_eq!((block.pick(), block.free()), (None, 0));
        }
    }

    #[test]
    fn tiny_and_huge_prefixes_have_a_size() {
        for (net, size) in [
            ("10.0.0.1/32", 1),
            ("10.0.0.0/8", 65_536),
            ("10.0.0.0/16", 65_536),
            ("fd00::/64", 65_536),
            ("fd00::/127", 2),
        ] {
            assert_eq!(block(net).size(), size, "{net}");
        }
    }
}
