//! The free and taken addresses of one CIDR. Both families count in `u128`; the lowest free address is
//! given first, so a released one comes back at once: stale state on a node shows as early as possible.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

/// The addresses of one CIDR that may be given to ENIs.
#[derive(Clone, Debug)]
pub(super) struct AddressPool {
    first: u128,
    last: u128,
    /// What is taken, as ranges from first to last that neither touch nor overlap.
    taken: BTreeMap<u128, u128>,
    taken_count: u128,
    /// How many of the free ones belong to others, who do not show in this world.
    others: u128,
}

impl AddressPool {
    /// All of these addresses are free.
    pub(super) fn of(range: RangeInclusive<u128>) -> Self {
        let (first, last) = range.into_inner();
        Self { first, last, taken: BTreeMap::new(), taken_count: 0, others: 0 }
    }

    /// How many are free.
    pub(super) fn free(&self) -> u128 {
        (self.last - self.first + 1).saturating_sub(self.taken_count + self.others)
    }

    /// Lets others come or go until this many are free; `None` sends all others away.
    pub(super) fn leave_free(&mut self, free: Option<u128>) {
        self.others = 0;
        self.others = free.map_or(0, |free| self.free().saturating_sub(free));
    }

    /// The lowest `count` free addresses, or nothing at all if there are fewer.
    pub(super) fn take(&mut self, count: usize) -> Option<Vec<u128>> {
        if self.free() < count as u128 {
            return None;
        }
        (0..count).map(|_| self.take_block(1)).collect()
    }

    /// The lowest free block of `size` addresses that begins at a multiple of `size`; its first address.
    pub(super) fn take_block(&mut self, size: u128) -> Option<u128> {
        let align = |address: u128| address.next_multiple_of(size);
        let mut start = align(self.first);
        for (from, to) in &self.taken {
            if start + size <= *from {
                break;
            }
            start = start.max(align(to + 1));
        }
        let fits = self.free() >= size && start + size - 1 <= self.last;
        fits.then(|| {
            self.mark(start, start + size - 1);
            start
        })
    }

    /// Takes these blocks of `size` addresses, until one is not free or not of this CIDR.
    pub(super) fn take_these(&mut self, starts: &[u128], size: u128) -> Option<()> {
        starts.iter().try_for_each(|start| {
            let end = start + size - 1;
            let possible = *start >= self.first && end <= self.last && self.is_free(*start, end);
            (possible && self.free() >= size && start % size == 0).then(|| self.mark(*start, end))
        })
    }

    /// Gives a block back that was taken.
    pub(super) fn give_back(&mut self, start: u128, size: u128) {
        let end = start + size - 1;
        let range = self.taken.range(..=start).next_back().map(|(from, to)| (*from, *to));
        let Some((from, to)) = range.filter(|(_, to)| end <= *to) else {
            debug_assert!(false, "an address is given back once");
            return;
        };
        self.taken.remove(&from);
        if from < start {
            self.taken.insert(from, start - 1);
        }
        if end < to {
            self.taken.insert(end + 1, to);
        }
        self.taken_count -= size;
    }

    fn is_free(&self, start: u128, end: u128) -> bool {
        self.taken.range(..=end).next_back().is_none_or(|(_, to)| *to < start)
    }

    /// Takes a free range, and joins it with its neighbours.
    fn mark(&mut self, mut from: u128, mut to: u128) {
        self.taken_count += to - from + 1;
        if let Some((before, _)) = self.taken.range(..from).next_back().filter(|(_, end)| **end + 1 == from) {
            from = *before;
        }
        if let Some(end) = self.taken.remove(&(to + 1)) {
            to = end;
        }
        self.taken.insert(from, to);
    }
}

/// The number of an IPv4 address as an address again.
pub(super) fn to_v4(number: u128) -> Ipv4Addr {
    #[expect(clippy::cast_possible_truncation, reason = "IPv4 pools are made of u32 bounds")]
    Ipv4Addr::from(number as u32)
}

/// The number of an IPv6 address as an address again.
pub(super) fn to_v6(number: u128) -> Ipv6Addr {
    Ipv6Addr::from(number)
}

/// An IPv4 address as the pool counts it.
pub(super) fn of_v4(address: Ipv4Addr) -> u128 {
    u128::from(u32::from(address))
}

#[cfg(test)]
mod tests {
    use super::super::reserved::{givable_v4, givable_v6};
    use super::*;
    use crate::config::Vendor;

    fn v4(cidr: &str) -> AddressPool {
        AddressPool::of(givable_v4(Vendor::Aliyun, cidr.parse().unwrap()))
    }

    #[test]
    fn reserved_addresses_are_never_given() {
        let mut pool = v4("10.0.0.0/28");
        assert_eq!(pool.free(), 12);
        let all: Vec<_> = pool.take(12).unwrap().into_iter().map(to_v4).collect();
        assert_eq!(all[0], Ipv4Addr::new(10, 0, 0, 1));
        assert_eq!(all[11], Ipv4Addr::new(10, 0, 0, 12));
        assert_eq!(pool.take(1), None);
    }

    #[test]
    fn too_many_at_once_takes_none() {
        let mut pool = v4("10.0.0.0/29");
        assert_eq!(pool.take(5), None);
        assert_eq!(pool.free(), 4);
    }

    #[test]
    fn a_wide_ipv6_range_works() {
        let mut pool = AddressPool::of(givable_v6("fd00:1::/64".parse().unwrap()));
        assert_eq!(pool.take(2).unwrap().into_iter().map(to_v6).next_back(), "fd00:1::2".parse().ok());
        let prefix = pool.take_block(1 << 48).map(to_v6);
        assert_eq!(prefix, "fd00:1:0:0:1::".parse().ok());
    }

    #[test]
    fn what_comes_back_is_given_next() {
        let mut pool = v4("10.0.0.0/24");
        let given = pool.take(20).unwrap();
        let block = pool.take_block(16).unwrap();
        assert_eq!(to_v4(block), Ipv4Addr::new(10, 0, 0, 32));
        assert_eq!(pool.free(), 252 - 36);
        pool.give_back(given[7], 1);
        assert_eq!(pool.take(2).unwrap(), [given[7], given[19] + 1]);
        pool.give_back(block, 16);
        assert_eq!(pool.take_these(&[block + 3], 1), Some(()));
        assert_eq!(pool.take_these(&[block + 3], 1), None);
        assert_eq!(pool.take_these(&[block], 16), None);
        assert_eq!(pool.take_block(16), Some(block + 16));
        assert_eq!(pool.free(), 252 - 21 - 1 - 16);
    }

    #[test]
    fn others_leave_little_and_go_again() {
        let mut pool = v4("10.0.0.0/24");
        let given = pool.take(2).unwrap();
        pool.leave_free(Some(1));
        assert_eq!((pool.free(), pool.take(2)), (1, None));
        assert!(pool.take(1).is_some());
        pool.give_back(given[0], 1);
        assert_eq!(pool.free(), 1);
        pool.leave_free(None);
        assert_eq!(pool.free(), 250);
    }
}
