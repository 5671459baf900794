//! A cloud whose ENIs have many addresses: vSwitches with few of them, limits per ENI that may be lower than told,
//! answers that bring less than was asked for, tokens that give the same again.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::{IpNetwork, Ipv4Network, Ipv6Network};
use terway_types::{
    AddressCounts, AddressSet, Addresses, CloudFailure, CloudFailureKind as Kind, EniId, Gateways,
    IntentToken, MacAddr, Subnets, VSwitchId,
};

use crate::histories::cloud::failure;
use crate::{CloudAction, CloudAnswer, CloudEni};

/// An ENI as it really is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RealEni {
    pub(super) id: EniId,
    pub(super) mac: MacAddr,
    pub(super) vswitch: VSwitchId,
    pub(super) attached: bool,
    pub(super) primary: Addresses,
    pub(super) has: AddressSet,
}

impl RealEni {
    fn slots(&self) -> (usize, usize) {
        let v6_prefixes = self.has.prefixes.iter().filter(|net| net.is_ipv6()).count();
        let v4_prefixes = self.has.prefixes.len() - v6_prefixes;
        (self.has.ipv4.len() + v4_prefixes, self.has.ipv6.len() + v6_prefixes)
    }

    /// As a sorted set.
    pub(super) fn sorted(&self) -> AddressSet {
        let mut set = self.has.clone();
        set.ipv4.sort_unstable();
        set.ipv6.sort_unstable();
        set.prefixes.sort_unstable();
        set
    }
}

/// The cloud.
#[derive(Clone, Debug, Default)]
pub(super) struct SharedCloud {
    pub(super) enis: BTreeMap<IntentToken, RealEni>,
    spent: BTreeSet<IntentToken>,
    made: u16,
    /// What ENIs had that a person deleted: not given again, for the pool believes still that it has them, and
    /// refuses them elsewhere until it knows better.
    tombs: Vec<AddressSet>,
    /// What assign tokens gave.
    given: BTreeMap<IntentToken, (AddressCounts, AddressSet)>,
    /// Addresses of both families left per vSwitch; a prefix takes one like an address, for brevity.
    pub(super) free: BTreeMap<VSwitchId, u32>,
    /// ENIs the instance carries at most.
    pub(super) slots: usize,
    /// What an ENI really takes per family.
    pub(super) per_eni: usize,
}

impl SharedCloud {
    pub(super) fn new(slots: usize, per_eni: usize, free: [u32; 2]) -> Self {
        let [a, b] = free;
        let free = BTreeMap::from([("vsw-a".into(), a), ("vsw-b".into(), b)]);
        Self { free, slots, per_eni, ..Self::default() }
    }

    pub(super) fn by_id(&mut self, id: &EniId) -> Option<&mut RealEni> {
        self.enis.values_mut().find(|eni| eni.id == *id)
    }

    /// Whether a definite refusal of this action would be a lie.
    pub(super) fn is_made(&self, action: &CloudAction) -> bool {
        match action {
            CloudAction::Create { token, .. } => self.enis.contains_key(token),
            CloudAction::Assign { token, .. } => self.given.contains_key(token),
            _ => false,
        }
    }

    /// Drops what nobody will ask for again.
    pub(super) fn forget_past(&mut self, mentioned: impl Fn(&IntentToken) -> bool) {
        self.made = 0;
        self.spent.retain(&mentioned);
        self.given.retain(|token, _| mentioned(token));
    }

    pub(super) fn is_spent(&self, token: &IntentToken) -> bool {
        self.spent.contains(token)
    }

    /// Somebody deletes an ENI by hand.
    pub(super) fn vanish(&mut self, index: usize) -> Option<IntentToken> {
        let token = self.enis.keys().nth(index % self.enis.len().max(1))?.clone();
        self.tombs.push(self.enis.get(&token)?.has.clone());
        self.delete(&token);
        Some(token)
    }

    /// Somebody takes an address or a prefix off an ENI by hand, but no primary one. Tells what.
    pub(super) fn take_off(&mut self, index: usize) -> Option<IpNetwork> {
        let count = self.enis.len().max(1);
        let (_, real) = self.enis.iter_mut().nth(index % count)?;
        let mut gone = AddressSet::default();
        let net: IpNetwork =
            if let Some(v4) = real.has.ipv4.iter().position(|v4| real.primary.v4 != Some(*v4)) {
                gone.ipv4.push(real.has.ipv4.remove(v4));
                IpAddr::V4(gone.ipv4[0]).into()
            } else {
                gone.prefixes.push(real.has.prefixes.pop()?);
                gone.prefixes[0]
            };
        *self.free.entry(real.vswitch.clone()).or_default() += 1;
        self.tombs.push(gone);
        Some(net)
    }

    /// Somebody gives an ENI an address by hand.
    pub(super) fn add(&mut self, index: usize, one: AddressCounts) {
        let Some((token, real)) = self.enis.iter().nth(index % self.enis.len().max(1)) else { return };
        let (token, vswitch) = (token.clone(), real.vswitch.clone());
        let added = self.draw(&vswitch, one, [9, 9]);
        if let Some(real) = self.enis.get_mut(&token) {
            real.has.ipv4.extend(added.ipv4);
            real.has.ipv6.extend(added.ipv6);
        }
    }

    /// Does what is asked, as an honest cloud: repeated calls change nothing.
    pub(super) fn act(&mut self, action: &CloudAction) -> Result<CloudAnswer, CloudFailure> {
        match action {
            CloudAction::Create { token, vswitch, counts, .. } => self.create(token, vswitch, *counts),
            CloudAction::Attach { eni } => {
                let full = self.enis.values().filter(|eni| eni.attached).count() >= self.slots;
                let real = self.by_id(eni).ok_or_else(|| failure(Kind::Gone))?;
                if !real.attached && full {
                    return Err(failure(Kind::Quota { which: "EniPerInstance".to_owned(), limit: None }));
                }
                real.attached = true;
                Ok(CloudAnswer::Attached)
            }
            CloudAction::Detach { eni } => {
                if let Some(real) = self.by_id(eni) {
                    real.attached = false;
                }
                Ok(CloudAnswer::Detached)
            }
            CloudAction::Delete { eni } => {
                let found = self.enis.iter().find(|(_, real)| real.id == *eni);
                match found.map(|(token, real)| (token.clone(), real.attached)) {
                    Some((_, true)) => return Err(failure(Kind::InvalidState)),
                    Some((token, false)) => self.delete(&token),
                    None => {}
                }
                Ok(CloudAnswer::Deleted)
            }
            CloudAction::Assign { eni, token, counts } => self.assign(eni, token, *counts),
            CloudAction::Unassign { eni, addresses } => self.unassign(eni, addresses),
            _ => Err(failure(Kind::Invalid)),
        }
    }

    fn create(
        &mut self,
        token: &IntentToken,
        vswitch: &VSwitchId,
        counts: AddressCounts,
    ) -> Result<CloudAnswer, CloudFailure> {
        if !self.enis.contains_key(token) {
            if self.spent.contains(token) {
                return Err(failure(Kind::Conflict));
            }
            let wanted = counts.ipv4 + counts.ipv6 + counts.ipv4_prefixes + counts.ipv6_prefixes;
            if self.free.get(vswitch).is_none_or(|free| *free < wanted) {
                return Err(failure(Kind::SubnetExhausted));
            }
            let slots = |singles: u32, prefixes: u32| (singles + prefixes) as usize > self.per_eni;
            if slots(counts.ipv4, counts.ipv4_prefixes) || slots(counts.ipv6, counts.ipv6_prefixes) {
                // Real clouds refuse it; this one is told its true limit only after a create.
                self.per_eni = ((counts.ipv4 + counts.ipv4_prefixes) as usize).max(self.per_eni);
            }
            self.made += 1;
            let [high, low] = self.made.to_be_bytes();
            let id = EniId(format!("eni-{}", self.made));
            let real = RealEni {
                id: id.clone(),
                mac: MacAddr([2, 0, 0, 0, high, low]),
                vswitch: vswitch.clone(),
                attached: false,
                primary: Addresses::default(),
                has: AddressSet::default(),
            };
            self.enis.insert(token.clone(), real);
            let has = self.draw(vswitch, counts, [99, 99]);
            if let Some(real) = self.by_id(&id) {
                real.primary = Addresses::new(has.ipv4.first().copied(), has.ipv6.first().copied());
                real.has = has;
            }
        }
        let real = &self.enis[token];
        Ok(CloudAnswer::Created(CloudEni {
            id: real.id.clone(),
            mac: real.mac,
            vswitch: real.vswitch.clone(),
            security_groups: vec!["sg-1".into()],
            addresses: real.primary,
            assigned: real.has.clone(),
            subnets: Subnets::default(),
            gateways: Gateways::default(),
            attached: real.attached,
        }))
    }

    fn assign(
        &mut self,
        eni: &EniId,
        token: &IntentToken,
        counts: AddressCounts,
    ) -> Result<CloudAnswer, CloudFailure> {
        if let Some((amount, added)) = self.given.get(token) {
            assert_eq!(*amount, counts, "{token} asks for another amount");
            return Ok(CloudAnswer::Assigned { added: added.clone(), short: None });
        }
        let per_eni = self.per_eni;
        let real = self.by_id(eni).ok_or_else(|| failure(Kind::Gone))?;
        let ((v4, v6), vswitch) = (real.slots(), real.vswitch.clone());
        let room = [per_eni.saturating_sub(v4), per_eni.saturating_sub(v6)];
        let added = self.draw(&vswitch, counts, room);
        let wanted = counts.ipv4 + counts.ipv6 + counts.ipv4_prefixes + counts.ipv6_prefixes;
        let came = added.ipv4.len() + added.ipv6.len() + added.prefixes.len();
        let full = |name: &str| failure(Kind::Quota { which: name.to_owned(), limit: None });
        let short = if came == wanted as usize {
            None
        } else if (counts.ipv4 + counts.ipv4_prefixes) as usize > room[0] {
            Some(full("Ipv4CountExceeded"))
        } else if (counts.ipv6 + counts.ipv6_prefixes) as usize > room[1] {
            Some(full("Ipv6CountExceeded"))
        } else {
            Some(failure(Kind::SubnetExhausted))
        };
        match short {
            Some(failure) if came == 0 => Err(failure),
            short => {
                if let Some(real) = self.by_id(eni) {
                    real.has.ipv4.extend(&added.ipv4);
                    real.has.ipv6.extend(&added.ipv6);
                    real.has.prefixes.extend(&added.prefixes);
                }
                self.given.insert(token.clone(), (counts, added.clone()));
                Ok(CloudAnswer::Assigned { added, short })
            }
        }
    }

    fn unassign(&mut self, eni: &EniId, gone: &AddressSet) -> Result<CloudAnswer, CloudFailure> {
        let Some(real) = self.by_id(eni) else { return Ok(CloudAnswer::Unassigned) };
        if gone.ipv4.iter().any(|v4| real.primary.v4 == Some(*v4)) {
            return Err(failure(Kind::Invalid));
        }
        let before = real.has.clone();
        real.has.ipv4.retain(|v4| !gone.ipv4.contains(v4));
        real.has.ipv6.retain(|v6| !gone.ipv6.contains(v6));
        real.has.prefixes.retain(|net| !gone.prefixes.contains(net));
        let count = |set: &AddressSet| set.ipv4.len() + set.ipv6.len() + set.prefixes.len();
        let (freed, vswitch) = (count(&before) - count(&real.has), real.vswitch.clone());
        *self.free.entry(vswitch).or_default() += u32::try_from(freed).unwrap();
        Ok(CloudAnswer::Unassigned)
    }

    fn delete(&mut self, token: &IntentToken) {
        let Some(real) = self.enis.remove(token) else { return };
        let freed = real.has.ipv4.len() + real.has.ipv6.len() + real.has.prefixes.len();
        *self.free.entry(real.vswitch).or_default() += u32::try_from(freed).unwrap();
        self.spent.insert(token.clone());
    }

    /// The lowest free addresses and prefixes of a vSwitch, so that freed ones come again soon.
    fn draw(&mut self, vswitch: &VSwitchId, counts: AddressCounts, room: [usize; 2]) -> AddressSet {
        let subnet = vswitch.as_str().bytes().last().unwrap_or(0);
        let used: Vec<_> = self.enis.values().map(|real| &real.has).chain(&self.tombs).collect();
        let v4 = |n: u16| Ipv4Addr::from([10, subnet, n.to_be_bytes()[0], n.to_be_bytes()[1]]);
        let v6 = |n: u16| Ipv6Addr::from([0xfd00, u16::from(subnet), 0, 0, 0, 0, 0, n]);
        let net4 = |n: u16| IpNetwork::V4(Ipv4Network::new(v4(0x8000 + n * 16), 28).unwrap());
        let net6 = |n: u16| {
            let first = Ipv6Addr::from([0xfd01, u16::from(subnet), 0, 0, n, 0, 0, 0]);
            IpNetwork::V6(Ipv6Network::new(first, 80).unwrap())
        };
        let free = self.free.get(vswitch).copied().unwrap_or(0) as usize;
        let (mut left, [mut room4, mut room6]) = (free, room);
        let mut fits = |count: u32, room: &mut usize| {
            let fits = (count as usize).min(left).min(*room);
            (left, *room) = (left - fits, *room - fits);
            fits
        };
        let new4 = (1..).map(v4).filter(|v4| !used.iter().any(|has| has.ipv4.contains(v4)));
        let new6 = (1..).map(v6).filter(|v6| !used.iter().any(|has| has.ipv6.contains(v6)));
        let fresh = |net: &IpNetwork| !used.iter().any(|has| has.prefixes.contains(net));
        let mut set = AddressSet {
            ipv4: new4.take(fits(counts.ipv4, &mut room4)).collect(),
            ipv6: new6.take(fits(counts.ipv6, &mut room6)).collect(),
            prefixes: (0..).map(net4).filter(fresh).take(fits(counts.ipv4_prefixes, &mut room4)).collect(),
        };
        set.prefixes.extend((0..).map(net6).filter(fresh).take(fits(counts.ipv6_prefixes, &mut room6)));
        if let Some(free) = self.free.get_mut(vswitch) {
            *free = u32::try_from(left).unwrap();
        }
        set
    }
}
