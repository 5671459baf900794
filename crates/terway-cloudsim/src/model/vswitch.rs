//! A vSwitch: addresses and prefixes out of it to ENIs and back, all that a call wants or none.

use std::net::Ipv4Addr;

use ipnetwork::{IpNetwork, Ipv4Network, Ipv6Network};
use terway_types::{AddressCounts, AddressSet, Gateways, Subnets, VSwitchId};

use super::addresses::{Wanted, ipv4_of};
use super::eni::IPV4_PREFIX_SIZE;
use super::pool::{self, AddressPool};
use super::refusal::Refusal;
use super::reserved;
use crate::config::{VSwitchConfig, Vendor};

/// How many addresses an IPv6 prefix has: it is a /80.
const IPV6_PREFIX_SIZE: u128 = 1 << 48;

/// A vSwitch and its free addresses.
#[derive(Clone, Debug)]
pub struct VSwitch {
    /// Its id.
    pub id: VSwitchId,
    /// Its zone.
    pub zone: String,
    /// Its VPC.
    pub vpc: String,
    /// Its ranges.
    pub subnets: Subnets,
    /// Its gateways.
    pub gateways: Gateways,
    pub(super) ipv4: AddressPool,
    pub(super) ipv6: Option<AddressPool>,
}

impl VSwitch {
    /// As described, with all addresses free.
    pub(super) fn new(vendor: Vendor, vpc: &str, described: &VSwitchConfig) -> Self {
        let subnets = Subnets::new(Some(described.ipv4), described.ipv6);
        let mut ipv4 = AddressPool::of(reserved::givable_v4(vendor, described.ipv4));
        if let Some(gateway) = described.gateway {
            // One outside of what may be given needs no keeping.
            let _ = ipv4.take_these(&[pool::of_v4(gateway)], 1);
        }
        Self {
            vpc: vpc.to_owned(),
            id: VSwitchId(described.id.clone()),
            zone: described.zone.clone(),
            subnets,
            gateways: reserved::gateways(vendor, described),
            ipv4,
            ipv6: described.ipv6.map(|cidr| AddressPool::of(reserved::givable_v6(cidr))),
        }
    }

    /// Free IPv4 addresses.
    pub fn free_ipv4(&self) -> u128 {
        self.ipv4.free()
    }

    /// Takes the addresses of a new ENI, of which the first may be chosen.
    pub(super) fn take_first(
        &mut self,
        first: Option<Ipv4Addr>,
        counts: AddressCounts,
    ) -> Result<AddressSet, Refusal> {
        let Some(first) = first else { return self.take(&Wanted::Any(counts)) };
        let chosen = AddressSet { ipv4: vec![first], ..AddressSet::default() };
        self.take(&Wanted::These(chosen.clone()))?;
        let rest = AddressCounts { ipv4: counts.ipv4.saturating_sub(1), ..counts };
        match self.take(&Wanted::Any(rest)) {
            Ok(rest) => Ok(AddressSet { ipv4: [chosen.ipv4, rest.ipv4].concat(), ..rest }),
            Err(refusal) => {
                self.give_back(&chosen);
                Err(refusal)
            }
        }
    }

    /// Takes all wanted addresses or none.
    pub(super) fn take(&mut self, wanted: &Wanted) -> Result<AddressSet, Refusal> {
        let counts = wanted.counts();
        if self.ipv6.is_none() && (counts.ipv6 > 0 || counts.ipv6_prefixes > 0) {
            return Err(Refusal::NoIpv6(self.id.clone()));
        }
        let ipv4_wanted = ipv4_of(counts);
        let (id, free) = (self.id.clone(), self.ipv4.free());
        let exhausted = move || Refusal::SubnetExhausted { vswitch: id, free, wanted: ipv4_wanted };
        let enough_v6 = self.ipv6.as_ref().is_none_or(|pool| pool.free() >= u128::from(counts.ipv6));
        if free < ipv4_wanted as u128 || !enough_v6 {
            return Err(exhausted());
        }
        // So many single addresses are there. Blocks and chosen ones may still fail halfway.
        let chosen = matches!(wanted, Wanted::These(_));
        let risky = chosen || counts.ipv4_prefixes > 0 || counts.ipv6_prefixes > 0;
        let before = risky.then(|| (self.ipv4.clone(), self.ipv6.clone()));
        let taken = match wanted {
            Wanted::Any(counts) => self.take_any(*counts),
            Wanted::These(set) => self.take_these(set),
        };
        if taken.is_none()
            && let Some(before) = before
        {
            (self.ipv4, self.ipv6) = before;
        }
        match taken {
            None if chosen => Err(Refusal::AddressTaken(self.id.clone())),
            taken => taken.ok_or_else(exhausted),
        }
    }

    fn take_any(&mut self, counts: AddressCounts) -> Option<AddressSet> {
        let ipv4 = self.ipv4.take(counts.ipv4 as usize)?.into_iter().map(pool::to_v4).collect();
        let mut set = AddressSet { ipv4, ..AddressSet::default() };
        for _ in 0..counts.ipv4_prefixes {
            let start = pool::to_v4(self.ipv4.take_block(IPV4_PREFIX_SIZE as u128)?);
            set.prefixes.push(IpNetwork::V4(Ipv4Network::new(start, 28).ok()?));
        }
        let Some(v6) = self.ipv6.as_mut() else { return Some(set) };
        set.ipv6 = v6.take(counts.ipv6 as usize)?.into_iter().map(pool::to_v6).collect();
        for _ in 0..counts.ipv6_prefixes {
            let start = pool::to_v6(v6.take_block(IPV6_PREFIX_SIZE)?);
            set.prefixes.push(IpNetwork::V6(Ipv6Network::new(start, 80).ok()?));
        }
        Some(set)
    }

    fn take_these(&mut self, set: &AddressSet) -> Option<AddressSet> {
        let v4: Vec<u128> = set.ipv4.iter().map(|address| pool::of_v4(*address)).collect();
        self.ipv4.take_these(&v4, 1)?;
        let v6: Vec<u128> = set.ipv6.iter().copied().map(u128::from).collect();
        if let Some(pool) = self.ipv6.as_mut() {
            pool.take_these(&v6, 1)?;
        }
        for prefix in &set.prefixes {
            match prefix {
                IpNetwork::V4(net) => {
                    self.ipv4.take_these(&[pool::of_v4(net.network())], IPV4_PREFIX_SIZE as u128)?;
                }
                IpNetwork::V6(net) => {
                    self.ipv6.as_mut()?.take_these(&[u128::from(net.network())], IPV6_PREFIX_SIZE)?;
                }
            }
        }
        Some(set.clone())
    }

    pub(super) fn give_back(&mut self, set: &AddressSet) {
        set.ipv4.iter().for_each(|address| self.ipv4.give_back(pool::of_v4(*address), 1));
        for prefix in &set.prefixes {
            if let IpNetwork::V4(net) = prefix {
                self.ipv4.give_back(pool::of_v4(net.network()), IPV4_PREFIX_SIZE as u128);
            }
        }
        let Some(pool) = self.ipv6.as_mut() else { return };
        set.ipv6.iter().for_each(|address| pool.give_back(u128::from(*address), 1));
        for prefix in &set.prefixes {
            if let IpNetwork::V6(net) = prefix {
                pool.give_back(u128::from(net.network()), IPV6_PREFIX_SIZE);
            }
        }
    }
}
