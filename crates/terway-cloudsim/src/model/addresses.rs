//! The calls that give an ENI addresses and prefixes and take them away, within the limits of its instance's
//! type.

use std::net::{IpAddr, Ipv4Addr};

use ipnetwork::IpNetwork;
use terway_types::{AddressCounts, AddressSet, EniId, Timestamp};

use super::World;
use super::eni::{Eni, IPV4_PREFIX_SIZE, Status};
use super::refusal::Refusal;
use super::tokens::Kept;

/// What an ENI may have while it is attached to nothing (`AssignPrivateIpAddresses`, `AssignIpv6Addresses`:
/// 49 besides the primary one, and 10).
const UNATTACHED: (u32, u32) = (50, 10);

/// What an ENI is to get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// So many, chosen by the cloud.
    Any(AddressCounts),
    /// These single addresses and prefixes.
    These(AddressSet),
}

/// A call that gives an ENI more addresses. Equal values under one token are one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assign {
    /// The ENI.
    pub eni: EniId,
    /// What it is to get.
    pub wanted: Wanted,
    /// The idempotency token.
    pub client_token: Option<String>,
}

impl World {
    /// Gives an ENI further addresses, at most `at_most` of those it wants: batches may succeed in part. The
    /// same token and parameters give the first call's answer again.
    pub fn assign(
        &mut self,
        request: &Assign,
        at_most: Option<u32>,
        now: Timestamp,
    ) -> Result<AddressSet, Refusal> {
        if let Some(token) = &request.client_token
            && let Some(kept) = self.tokens.find(token)
        {
            return match kept {
                Kept::Assign(first, given) if first == request => Ok(given.clone()),
                _ => Err(Refusal::TokenReused(token.clone())),
            };
        }
        let at_most = at_most.or(self.config.manners.partial_assign);
        let wanted = at_most.map_or_else(|| request.wanted.clone(), |most| request.wanted.first(most));
        let eni = self.settled(&request.eni, now)?;
        let vswitch = eni.vswitch.clone();
        self.check_room(eni, wanted.counts())?;
        self.check_address_quota(wanted.counts())?;
        let home = self.vswitches.get_mut(&vswitch).ok_or(Refusal::NoVSwitch(vswitch))?;
        let given = home.take(&wanted)?;
        self.change_addresses(&request.eni, now, |addresses| {
            addresses.ipv4.extend(&given.ipv4);
            addresses.ipv6.extend(&given.ipv6);
            addresses.prefixes.extend(&given.prefixes);
        });
        if let Some(token) = &request.client_token {
            self.tokens.keep(token.clone(), Kept::Assign(request.clone(), given.clone()));
        }
        Ok(given)
    }

    /// Takes addresses and prefixes off an ENI: all of them, or none if it does not have one.
    pub fn unassign(&mut self, id: &EniId, what: &AddressSet, now: Timestamp) -> Result<(), Refusal> {
        let eni = self.settled(id, now)?;
        if eni.primary_ipv4().is_some_and(|primary| what.ipv4.contains(&primary)) {
            return Err(Refusal::PrimaryAddress(id.clone()));
        }
        let vswitch = eni.vswitch.clone();
        let missing = what.singles().find(|address| !has(&eni.addresses, *address)).map(IpNetwork::from);
        let prefix = || what.prefixes.iter().find(|prefix| !eni.addresses.prefixes.contains(prefix)).copied();
        if let Some(address) = missing.or_else(prefix) {
            return Err(Refusal::NotAssigned { eni: id.clone(), address });
        }
        self.change_addresses(id, now, |addresses| {
            addresses.ipv4.retain(|address| !what.ipv4.contains(address));
            addresses.ipv6.retain(|address| !what.ipv6.contains(address));
            addresses.prefixes.retain(|prefix| !what.prefixes.contains(prefix));
        });
        if let Some(home) = self.vswitches.get_mut(&vswitch) {
            home.give_back(what);
        }
        Ok(())
    }

    /// An ENI in a state in which its addresses may change.
    fn settled(&self, id: &EniId, now: Timestamp) -> Result<&Eni, Refusal> {
        let eni = self.idle(id, now)?;
        if !matches!(eni.status, Status::Available | Status::InUse) {
            return Err(Refusal::EniState { eni: id.clone(), status: eni.status });
        }
        Ok(eni)
    }

    fn change_addresses(&mut self, id: &EniId, now: Timestamp, change: impl FnOnce(&mut AddressSet)) {
        let busy_until = self.after(now, self.config.latency_ms.assign);
        self.enis.change(id, now, |eni| {
            change(&mut eni.addresses);
            eni.busy_until = busy_until;
        });
        self.tell_guard(id);
    }

    /// The ENI's addresses must fit its instance's type, or the general limits where it has no instance.
    pub(super) fn check_room(&self, eni: &Eni, more: AddressCounts) -> Result<(), Refusal> {
        let kind =
            eni.instance().and_then(|id| self.instances.get(id)).map(|instance| &instance.instance_type);
        let (most_v4, most_v6) = kind.map_or(UNATTACHED, |kind| (kind.ipv4_per_eni, kind.ipv6_per_eni));
        let (v4, v6) = eni.slots();
        check_slots(&eni.id, (v4, most_v4), (v6, most_v6), more)
    }

    pub(super) fn check_address_quota(&self, more: AddressCounts) -> Result<(), Refusal> {
        let limit = self.config.quota.private_ipv4;
        if self.enis.ipv4_count() + ipv4_of(more) > limit as usize {
            return Err(Refusal::AddressQuota(limit));
        }
        Ok(())
    }
}

/// How many IPv4 addresses these are, those of prefixes too.
pub(super) fn ipv4_of(counts: AddressCounts) -> usize {
    counts.ipv4 as usize + IPV4_PREFIX_SIZE * counts.ipv4_prefixes as usize
}

/// What is there and its limit, per family, with what is to come.
pub(super) fn check_slots(
    eni: &EniId,
    v4: (usize, u32),
    v6: (usize, u32),
    more: AddressCounts,
) -> Result<(), Refusal> {
    let count = v4.0 + (more.ipv4 + more.ipv4_prefixes) as usize;
    if count > v4.1 as usize {
        return Err(Refusal::Ipv4PerEni { eni: eni.clone(), count, limit: v4.1 });
    }
    let count = v6.0 + (more.ipv6 + more.ipv6_prefixes) as usize;
    if count > v6.1 as usize {
        return Err(Refusal::Ipv6PerEni { eni: eni.clone(), count, limit: v6.1 });
    }
    Ok(())
}

impl Wanted {
    /// How many of each.
    pub fn counts(&self) -> AddressCounts {
        match self {
            Self::Any(counts) => *counts,
            Self::These(set) => {
                let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
                let v4 = set.prefixes.iter().filter(|prefix| prefix.is_ipv4()).count();
                AddressCounts {
                    ipv4: count(set.ipv4.len()),
                    ipv6: count(set.ipv6.len()),
                    ipv4_prefixes: count(v4),
                    ipv6_prefixes: count(set.prefixes.len() - v4),
                }
            }
        }
    }

    /// At most so many of each kind.
    fn first(&self, most: u32) -> Self {
        match self {
            Self::Any(counts) => Self::Any(AddressCounts {
                ipv4: counts.ipv4.min(most),
                ipv6: counts.ipv6.min(most),
                ipv4_prefixes: counts.ipv4_prefixes.min(most),
                ipv6_prefixes: counts.ipv6_prefixes.min(most),
            }),
            Self::These(set) => {
                let mut set = set.clone();
                set.ipv4.truncate(most as usize);
                set.ipv6.truncate(most as usize);
                set.prefixes.truncate(most as usize);
                Self::These(set)
            }
        }
    }
}

/// The prefix an address would belong to.
pub(super) fn prefix_around(address: IpAddr) -> Option<IpNetwork> {
    let length = if address.is_ipv4() { 28 } else { 80 };
    let around = IpNetwork::new(address, length).ok()?;
    IpNetwork::new(around.network(), length).ok()
}

/// The IPv4 addresses of a prefix.
pub(crate) fn ipv4s_of(prefix: &IpNetwork) -> Vec<Ipv4Addr> {
    match prefix {
        IpNetwork::V4(net) => net.iter().collect(),
        IpNetwork::V6(_) => Vec::new(),
    }
}

fn has(set: &AddressSet, address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => set.ipv4.contains(&v4),
        IpAddr::V6(v6) => set.ipv6.contains(&v6),
    }
}
