//! The cloud as a pure state machine: VPC, vSwitches, instances, ENIs. Calls change it at a given `now`;
//! what must happen in the kernel leaves as [`FabricAction`]s, and comes back as the outcome.

mod calls;
mod eni;
mod mint;
mod pool;
mod refusal;
mod validate;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use terway_types::{EniId, InstanceId, MacAddr, SecurityGroupId, Subnets, Timestamp, VSwitchId};

pub use calls::CreateEni;
pub use eni::{Attachment, Eni, EniKind, Link, Status};
pub(crate) use mint::MAC_PREFIX;
pub use refusal::Refusal;

use crate::config::{Config, ConfigError, InstanceTypeConfig, Latency, Quota};
use eni::Step;
use mint::Mint;
use pool::AddressPool;

/// What the fabric must do. Actions on one ENI must be done in the order they come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FabricAction {
    /// Make the ENI's link in its instance.
    Plug(Nic),
    /// Take the ENI's link away, wherever its other end is.
    Unplug(EniId),
}

/// An ENI as the fabric sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nic {
    /// The ENI.
    pub eni: EniId,
    /// The instance it belongs to.
    pub instance: InstanceId,
    /// Its vSwitch.
    pub vswitch: VSwitchId,
    /// Its hardware address.
    pub mac: MacAddr,
    /// The IPv4 addresses it may send from, the primary one first.
    pub ipv4: Vec<Ipv4Addr>,
    /// The IPv6 addresses it may send from.
    pub ipv6: Vec<Ipv6Addr>,
    /// Whether it is the instance's own, configured at boot.
    pub primary: bool,
}

/// A vSwitch and its free addresses.
#[derive(Clone, Debug)]
pub struct VSwitch {
    /// Its id.
    pub id: VSwitchId,
    /// Its zone.
    pub zone: String,
    /// Its ranges.
    pub subnets: Subnets,
    ipv4: AddressPool,
    ipv6: Option<AddressPool>,
}

impl VSwitch {
    /// Free IPv4 addresses.
    pub fn free_ipv4(&self) -> u128 {
        self.ipv4.free()
    }
}

/// A node.
#[derive(Clone, Debug)]
pub struct Instance {
    /// Its id.
    pub id: InstanceId,
    /// What it can carry.
    pub instance_type: InstanceTypeConfig,
    /// The vSwitch of its primary ENI.
    pub vswitch: VSwitchId,
    /// Its zone.
    pub zone: String,
    /// Its own ENI.
    pub primary: EniId,
}

/// The whole cloud.
#[derive(Clone, Debug)]
pub struct World {
    config: Config,
    vswitches: BTreeMap<VSwitchId, VSwitch>,
    security_groups: BTreeSet<SecurityGroupId>,
    instances: BTreeMap<InstanceId, Instance>,
    enis: BTreeMap<EniId, Eni>,
    /// What each idempotency token was used for, and the answer.
    tokens: BTreeMap<String, (CreateEni, Eni)>,
    mint: Mint,
    outbox: Vec<FabricAction>,
}

impl World {
    /// The world as described, with every instance booted and its primary ENI wanted in the fabric.
    pub fn from_config(config: Config, now: Timestamp) -> Result<Self, ConfigError> {
        validate::check(&config)?;
        let vswitches = config.vswitches.iter().map(|described| {
            let vswitch = VSwitch {
                id: VSwitchId(described.id.clone()),
                zone: described.zone.clone(),
                subnets: Subnets::new(Some(described.ipv4), described.ipv6),
                ipv4: AddressPool::v4(described.ipv4),
                ipv6: described.ipv6.map(AddressPool::v6),
            };
            (vswitch.id.clone(), vswitch)
        });
        let mut world = Self {
            vswitches: vswitches.collect(),
            security_groups: config.security_groups.iter().cloned().map(SecurityGroupId).collect(),
            instances: BTreeMap::new(),
            enis: BTreeMap::new(),
            tokens: BTreeMap::new(),
            mint: Mint::default(),
            outbox: Vec::new(),
            config,
        };
        for described in world.config.instances.clone() {
            world.boot(&described, now)?;
        }
        Ok(world)
    }

    /// The description the world was made from, with latency and quota as they are now.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Changes how long things take from now on.
    pub fn set_latency(&mut self, latency: Latency) {
        self.config.latency_ms = latency;
    }

    /// Changes the account's limits. ENIs beyond a lowered limit stay.
    pub fn set_quota(&mut self, quota: Quota) {
        self.config.quota = quota;
    }

    /// All ENIs, by id.
    pub fn enis(&self) -> impl Iterator<Item = &Eni> {
        self.enis.values()
    }

    /// All vSwitches, by id.
    pub fn vswitches(&self) -> impl Iterator<Item = &VSwitch> {
        self.vswitches.values()
    }

    /// One vSwitch.
    pub fn vswitch(&self, id: &VSwitchId) -> Option<&VSwitch> {
        self.vswitches.get(id)
    }

    /// All instances, by id.
    pub fn instances(&self) -> impl Iterator<Item = &Instance> {
        self.instances.values()
    }

    /// One instance.
    pub fn instance(&self, id: &InstanceId) -> Option<&Instance> {
        self.instances.get(id)
    }

    /// One ENI.
    pub fn eni(&self, id: &EniId) -> Option<&Eni> {
        self.enis.get(id)
    }

    /// The ENIs of an instance in the order of their slots, with those on their way.
    pub fn enis_of(&self, instance: &InstanceId) -> Vec<&Eni> {
        let mut enis: Vec<&Eni> = self.enis().filter(|eni| eni.instance() == Some(instance)).collect();
        enis.sort_by_key(|eni| eni.attachment.as_ref().map(|attachment| attachment.device_index));
        enis
    }

    /// The instance that speaks with this address, by its own ENI or a further one.
    pub fn instance_at(&self, address: IpAddr) -> Option<&Instance> {
        let owner = self.enis().find(|eni| match address {
            IpAddr::V4(v4) => eni.ipv4.contains(&v4),
            IpAddr::V6(v6) => eni.ipv6.contains(&v6),
        })?;
        self.instance(owner.instance()?)
    }

    /// A request id that was not given before.
    pub fn request_id(&mut self) -> String {
        self.mint.request_id()
    }

    /// Lets everything happen that is due at `now`.
    pub fn advance(&mut self, now: Timestamp) {
        let ids: Vec<EniId> = self.enis.keys().cloned().collect();
        for id in ids {
            while let Some(step) = self.enis.get_mut(&id).and_then(|eni| eni.step(now)) {
                match step {
                    Step::Moved => {}
                    Step::Plug => self.outbox.extend(self.nic(&id).map(FabricAction::Plug)),
                    Step::Unplug => self.outbox.push(FabricAction::Unplug(id.clone())),
                    Step::Gone => self.forget(&id),
                }
            }
        }
    }

    /// The next time after `now` at which [`World::advance`] may do something by itself.
    pub fn next_deadline(&self, now: Timestamp) -> Option<Timestamp> {
        self.enis().filter_map(|eni| eni.next_deadline(now)).min()
    }

    /// Hands over what the fabric must do, in order.
    pub fn take_actions(&mut self) -> Vec<FabricAction> {
        std::mem::take(&mut self.outbox)
    }

    /// The fabric has made the link.
    pub fn plugged(&mut self, id: &EniId) {
        self.set_link(id, Link::Plugging, Link::Present);
    }

    /// The fabric has taken the link away.
    pub fn unplugged(&mut self, id: &EniId) {
        self.set_link(id, Link::Unplugging, Link::Absent);
    }

    /// The link vanished although nobody unplugged it: its namespace died with it inside. While the ENI
    /// stays attached it comes back at once, as a physical NIC returns to the initial namespace.
    pub fn link_lost(&mut self, id: &EniId) {
        self.set_link(id, Link::Present, Link::Absent);
    }

    /// The fabric cannot make the link: the instance does not answer. A secondary ENI falls back to
    /// Available, as the vendor's does.
    pub fn plug_failed(&mut self, id: &EniId, now: Timestamp) {
        self.set_link(id, Link::Plugging, Link::Absent);
        let Some(eni) = self.enis.get_mut(id) else { return };
        eni.link_from = None;
        if eni.kind == EniKind::Secondary && matches!(eni.status, Status::Attaching | Status::InUse) {
            eni.status = Status::Detaching;
            eni.due = now;
        }
    }

    fn set_link(&mut self, id: &EniId, from: Link, to: Link) {
        if let Some(eni) = self.enis.get_mut(id)
            && eni.link == from
        {
            eni.link = to;
        }
    }

    fn nic(&self, id: &EniId) -> Option<Nic> {
        let eni = self.enis.get(id)?;
        Some(Nic {
            eni: eni.id.clone(),
            instance: eni.instance()?.clone(),
            vswitch: eni.vswitch.clone(),
            mac: eni.mac,
            ipv4: eni.ipv4.clone(),
            ipv6: eni.ipv6.clone(),
            primary: eni.kind == EniKind::Primary,
        })
    }

    fn forget(&mut self, id: &EniId) {
        let Some(eni) = self.enis.remove(id) else { return };
        let Some(vswitch) = self.vswitches.get_mut(&eni.vswitch) else { return };
        for address in eni.ipv4 {
            vswitch.ipv4.give_back(pool::of_v4(address));
        }
        if let Some(pool) = vswitch.ipv6.as_mut() {
            eni.ipv6.into_iter().for_each(|address| pool.give_back(u128::from(address)));
        }
    }
}

#[cfg(test)]
mod tests;
