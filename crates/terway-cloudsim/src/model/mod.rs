//! The cloud as a pure state machine: VPC, vSwitches, instances, ENIs. Calls change it at a given `now`;
//! what must happen in the kernel leaves as [`FabricAction`]s, and comes back as the outcome.

mod addresses;
mod attach;
mod console;
mod create;
mod eni;
mod mint;
mod pool;
mod refusal;
mod registry;
pub(crate) mod reserved;
mod tasks;
mod tokens;
mod validate;
mod view;
mod vswitch;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};
use terway_types::{AddressSet, EniId, InstanceId, MacAddr, SecurityGroupId, Timestamp, VSwitchId};

pub(crate) use addresses::ipv4s_of;
pub use addresses::{Assign, Wanted};
pub use create::CreateEni;
pub use eni::{Attachment, Eni, EniKind, Link, Status};
pub(crate) use mint::MAC_PREFIX;
pub use refusal::Refusal;
pub use tasks::{Goal, Progress};
pub use view::{By, Lag, View};
pub use vswitch::VSwitch;

use crate::config::{Config, ConfigError, InstanceTypeConfig, Latency, Quota, RouteConfig};
use crate::faults::FaultKind;
use crate::manners::Manners;
use crate::spread::{Dice, Spread};
use eni::{NEVER, Step};
use mint::Mint;
use registry::Registry;
use tasks::Tasks;
use tokens::Tokens;

/// What the fabric must do. Actions on one ENI must be done in the order they come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FabricAction {
    /// Make the ENI's link in its instance.
    Plug(Nic),
    /// Take the ENI's link away, wherever its other end is.
    Unplug(EniId),
    /// Let the ENI's link send from the addresses it has now.
    Guard(Nic),
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
    /// What it may send from; the primary IPv4 address is the first.
    pub addresses: AddressSet,
    /// Whether it is the instance's own, configured at boot.
    pub primary: bool,
    /// What the VPC's route table leads to it, which it may send from too.
    pub routes: Vec<IpNetwork>,
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
    /// Whether it runs.
    pub state: InstanceState,
}

/// Whether an instance runs. Serialised for the control socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InstanceState {
    /// It does.
    #[default]
    Running,
    /// It does not.
    Stopped,
    /// It is on its way up: ENIs neither come nor go.
    Starting,
    /// It is on its way down: ENIs neither come nor go.
    Stopping,
}

/// The whole cloud.
#[derive(Clone, Debug)]
pub struct World {
    config: Config,
    vswitches: BTreeMap<VSwitchId, VSwitch>,
    /// Each with its VPC.
    security_groups: BTreeMap<SecurityGroupId, String>,
    instances: BTreeMap<InstanceId, Instance>,
    enis: Registry,
    tokens: Tokens,
    tasks: Tasks,
    mint: Mint,
    dice: Dice,
    outbox: Vec<FabricAction>,
}

impl World {
    /// The world as described, with every instance booted and its primary ENI wanted in the fabric.
    pub fn from_config(config: Config, now: Timestamp) -> Result<Self, ConfigError> {
        validate::check(&config)?;
        let here = std::iter::once((&config.vpc.id, &config.vswitches, &config.security_groups));
        let elsewhere = config.other_vpcs.iter().map(|vpc| (&vpc.id, &vpc.vswitches, &vpc.security_groups));
        let (mut vswitches, mut security_groups) = (BTreeMap::new(), BTreeMap::new());
        for (vpc, homes, groups) in here.chain(elsewhere) {
            let homes =
                homes.iter().map(|home| (VSwitchId(home.id.clone()), VSwitch::new(config.cloud, vpc, home)));
            vswitches.extend(homes);
            security_groups.extend(groups.iter().map(|id| (SecurityGroupId(id.clone()), vpc.clone())));
        }
        let mut world = Self {
            vswitches,
            security_groups,
            instances: BTreeMap::new(),
            enis: Registry::default(),
            tokens: Tokens::default(),
            tasks: Tasks::default(),
            mint: Mint::new(config.cloud),
            dice: Dice::new(config.seed),
            outbox: Vec::new(),
            config,
        };
        for described in world.config.instances.clone() {
            world.boot(&described, now)?;
        }
        world.set_manners(world.config.manners.clone());
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

    /// Changes how badly the cloud behaves from now on.
    pub fn set_manners(&mut self, manners: Manners) {
        self.enis.keep_past(manners.memory());
        self.config.manners = manners;
    }

    /// How long the answer to a call of an action takes this time; `None`: there is none.
    pub fn answer_time(&mut self, action: &str) -> Option<Duration> {
        let spread = Manners::of(&self.config.manners.answer_ms, action).copied();
        spread.unwrap_or(Spread::Fixed(0)).draw(&mut self.dice)
    }

    /// What goes wrong with a call of an action this time, if it is one of those.
    pub fn mishap(&mut self, action: &str) -> Option<FaultKind> {
        let mishap = Manners::of(&self.config.manners.mishaps, action)?;
        (self.dice.roll() * 100.0 < f64::from(mishap.percent)).then(|| mishap.kind.clone())
    }

    /// How far API readers' sight lags behind.
    pub fn lag(&self) -> Lag {
        self.config.manners.lag()
    }

    /// Changes the account's limits. ENIs beyond a lowered limit stay.
    pub fn set_quota(&mut self, quota: Quota) {
        self.config.quota = quota;
    }

    /// All ENIs, by id.
    pub fn enis(&self) -> impl Iterator<Item = &Eni> {
        self.enis.iter()
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
        let mut enis: Vec<&Eni> = self.enis.on(instance).iter().filter_map(|id| self.enis.get(id)).collect();
        enis.sort_by_key(|eni| eni.attachment.as_ref().map(|attachment| attachment.device_index));
        enis
    }

    /// The instance that speaks with this address, by its own ENI or a further one.
    pub fn instance_at(&self, address: IpAddr) -> Option<&Instance> {
        self.instance(self.enis.with_address(address)?.instance()?)
    }

    /// How many times an ENI was looked at so far: what calls cost, on whatever machine.
    pub fn looked_at(&self) -> u64 {
        self.enis.looked_at()
    }

    /// A request id that was not given before.
    pub fn request_id(&mut self) -> String {
        self.mint.request_id()
    }

    /// Lets everything happen that is due at `now`.
    pub fn advance(&mut self, now: Timestamp) {
        while let Some((_, id)) = self.enis.next_due().filter(|(at, _)| *at <= now).cloned() {
            match self.enis.change(&id, now, |eni| eni.step(now)).flatten() {
                Some(Step::Plug) => self.outbox.extend(self.nic(&id).map(FabricAction::Plug)),
                Some(Step::Unplug) => self.outbox.push(FabricAction::Unplug(id.clone())),
                Some(Step::Gone) => self.forget(&id, now),
                Some(Step::Moved) | None => {}
            }
            self.settle_task(&id, now);
        }
    }

    /// The next time at which [`World::advance`] may do something by itself.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.enis.next_due().map(|(at, _)| *at)
    }

    /// Hands over what the fabric must do, in order.
    pub fn take_actions(&mut self) -> Vec<FabricAction> {
        std::mem::take(&mut self.outbox)
    }

    /// The fabric has made the link.
    pub fn plugged(&mut self, id: &EniId, now: Timestamp) {
        self.set_link(id, Link::Plugging, Link::Present, now);
    }

    /// The fabric has taken the link away.
    pub fn unplugged(&mut self, id: &EniId, now: Timestamp) {
        self.set_link(id, Link::Unplugging, Link::Absent, now);
    }

    /// The link vanished although nobody unplugged it: its namespace died with it inside. While the ENI
    /// stays attached it comes back at once, as a physical NIC returns to the initial namespace.
    pub fn link_lost(&mut self, id: &EniId, now: Timestamp) {
        self.set_link(id, Link::Present, Link::Absent, now);
    }

    /// The fabric cannot make the link: the instance does not answer. A secondary ENI falls back to
    /// Available, as the vendor's does.
    pub fn plug_failed(&mut self, id: &EniId, now: Timestamp) {
        self.set_link(id, Link::Plugging, Link::Absent, now);
        self.enis.change(id, now, |eni| {
            eni.link_from = None;
            let attached = matches!(eni.status, Status::Attaching | Status::InUse);
            if eni.kind != EniKind::Primary && attached {
                eni.status = Status::Detaching;
                eni.due = now;
            }
        });
    }

    fn set_link(&mut self, id: &EniId, from: Link, to: Link, now: Timestamp) {
        if self.enis.get(id).is_some_and(|eni| eni.link == from) {
            self.enis.change(id, now, |eni| eni.link = to);
        }
    }

    /// The fabric learns of changed addresses, if there is a link they may leave by.
    fn tell_guard(&mut self, id: &EniId) {
        if self.enis.get(id).is_some_and(|eni| matches!(eni.link, Link::Plugging | Link::Present)) {
            self.outbox.extend(self.nic(id).map(FabricAction::Guard));
        }
    }

    fn nic(&self, id: &EniId) -> Option<Nic> {
        let eni = self.enis.get(id)?;
        let (instance, primary) = (eni.instance()?.clone(), eni.kind == EniKind::Primary);
        let leads_here = |route: &&RouteConfig| primary && route.instance == instance.as_str();
        let routes =
            self.config.vpc.routes.iter().filter(leads_here).map(|route| route.destination).collect();
        Some(Nic {
            eni: eni.id.clone(),
            instance,
            vswitch: eni.vswitch.clone(),
            mac: eni.mac,
            addresses: eni.addresses.clone(),
            primary,
            routes,
        })
    }

    fn forget(&mut self, id: &EniId, now: Timestamp) {
        let Some(eni) = self.enis.remove(id, now) else { return };
        if let Some(vswitch) = self.vswitches.get_mut(&eni.vswitch) {
            vswitch.give_back(&eni.addresses);
        }
    }

    /// The time at which something ends that takes so long.
    fn after(&mut self, now: Timestamp, spread: Spread) -> Timestamp {
        if now == NEVER {
            return NEVER;
        }
        spread.draw(&mut self.dice).map_or(NEVER, |time| now + time)
    }
}

#[cfg(test)]
mod tests;
