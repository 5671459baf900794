//! The free and taken addresses of one CIDR. Both families count in `u128`; the lowest free address is
//! given first, so a released one comes back at once: stale state on a node shows as early as possible.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};

use ipnetwork::{Ipv4Network, Ipv6Network};

/// Addresses the cloud keeps at the end of an IPv4 CIDR: gateway, two of its own, broadcast.
const RESERVED_V4: u128 = 3;
/// Addresses the cloud keeps at the end of an IPv6 CIDR.
const RESERVED_V6: u128 = 9;

/// The addresses of one CIDR that may be given to ENIs.
#[derive(Clone, Debug)]
pub(super) struct AddressPool {
    first: u128,
    last: u128,
    taken: BTreeSet<u128>,
}

impl AddressPool {
    pub(super) fn v4(cidr: Ipv4Network) -> Self {
        let network = u128::from(u32::from(cidr.network()));
        let broadcast = u128::from(u32::from(cidr.broadcast()));
        Self { first: network + 1, last: broadcast - RESERVED_V4, taken: BTreeSet::new() }
    }

    pub(super) fn v6(cidr: Ipv6Network) -> Self {
        let network = u128::from(cidr.network());
        let end = u128::from(cidr.broadcast());
        Self { first: network + 1, last: end - RESERVED_V6, taken: BTreeSet::new() }
    }

    /// How many are free.
    pub(super) fn free(&self) -> u128 {
        self.last - self.first + 1 - self.taken.len() as u128
    }

    /// The lowest `count` free addresses, or nothing at all if there are fewer.
    pub(super) fn take(&mut self, count: usize) -> Option<Vec<u128>> {
        if self.free() < count as u128 {
            return None;
        }
        let chosen: Vec<u128> = (self.first..=self.last)
            .filter(|candidate| !self.taken.contains(candidate))
            .take(count)
            .collect();
        self.taken.extend(&chosen);
        Some(chosen)
    }

    pub(super) fn give_back(&mut self, address: u128) {
        let was_taken = self.taken.remove(&address);
        debug_assert!(was_taken, "an address is given back once");
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
    use super::*;

    #[test]
    fn reserved_addresses_are_never_given() {
        let mut pool = AddressPool::v4("10.0.0.0/28".parse().unwrap());
        assert_eq!(pool.free(), 12);
        let all: Vec<_> = pool.take(12).unwrap().into_iter().map(to_v4).collect();
        assert_eq!(all[0], Ipv4Addr::new(10, 0, 0, 1));
        assert_eq!(all[11], Ipv4Addr::new(10, 0, 0, 12));
        assert_eq!(pool.take(1), None);
    }

    #[test]
    fn too_many_at_once_takes_none() {
        let mut pool = AddressPool::v4("10.0.0.0/29".parse().unwrap());
        assert_eq!(pool.take(5), None);
        assert_eq!(pool.free(), 4);
    }

    #[test]
    fn a_wide_ipv6_range_works() {
        let mut pool = AddressPool::v6("fd00:1::/64".parse().unwrap());
        assert_eq!(pool.take(2).unwrap().into_iter().map(to_v6).next_back(), "fd00:1::2".parse().ok());
    }
}
