//! What a person does by hand in the console, and what befalls hardware: changes that no call of the agent
//! asked for.

use std::collections::BTreeMap;

use terway_types::{EniId, InstanceId, SecurityGroupId, Timestamp, VSwitchId};

use super::eni::{EniKind, Status};
use super::refusal::Refusal;
use super::{InstanceState, World};
use crate::config::KeyState;

impl World {
    /// The ENI goes at once, whatever its state, and its link with it.
    pub fn delete_by_hand(&mut self, id: &EniId, now: Timestamp) -> Result<(), Refusal> {
        self.further(id)?;
        self.enis.change(id, now, |eni| {
            eni.status = Status::Deleting;
            eni.attachment = None;
            eni.due = now;
            eni.link_from = None;
        });
        Ok(())
    }

    /// The ENI leaves its instance at once.
    pub fn detach_by_hand(&mut self, id: &EniId, now: Timestamp) -> Result<(), Refusal> {
        let status = self.further(id)?;
        if !matches!(status, Status::Attaching | Status::InUse | Status::Detaching) {
            return Err(Refusal::EniState { eni: id.clone(), status });
        }
        self.enis.change(id, now, |eni| {
            eni.status = Status::Detaching;
            eni.due = now;
            eni.link_from = None;
        });
        Ok(())
    }

    /// The ENI gets other security groups, also none at all.
    pub fn regroup_by_hand(
        &mut self,
        id: &EniId,
        groups: &[SecurityGroupId],
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let home = self.known(id)?.vswitch.clone();
        let vpc = self.vswitches.get(&home).map(|home| home.vpc.as_str()).unwrap_or_default();
        self.check_groups(vpc, groups)?;
        self.enis.change(id, now, |eni| eni.security_groups = groups.to_vec());
        Ok(())
    }

    /// The ENI gets other tags.
    pub fn retag_by_hand(
        &mut self,
        id: &EniId,
        tags: BTreeMap<String, String>,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        self.known(id)?;
        self.enis.change(id, now, |eni| eni.tags = tags);
        Ok(())
    }

    /// The ENI's link vanishes from its node, or comes back, while the API says the same as before.
    pub fn set_cable(&mut self, id: &EniId, plugged: bool, now: Timestamp) -> Result<(), Refusal> {
        let eni = self.known(id)?;
        // A member has no link of its own.
        if eni.status != Status::InUse || eni.trunk().is_some() {
            return Err(Refusal::EniState { eni: id.clone(), status: eni.status });
        }
        self.enis.change(id, now, |eni| eni.link_from = plugged.then_some(now));
        Ok(())
    }

    /// The instance is started, stopped, or on its way. Its ENIs stay.
    pub fn set_instance_state(&mut self, id: &InstanceId, state: InstanceState) -> Result<(), Refusal> {
        let instance = self.instances.get_mut(id).ok_or_else(|| Refusal::NoInstance(id.clone()))?;
        instance.state = state;
        Ok(())
    }

    /// The instance is released: it is no more, and with it go its own ENI and those that are to go with it. The
    /// others are left behind, attached to nothing.
    pub fn release_instance(&mut self, id: &InstanceId, now: Timestamp) -> Result<(), Refusal> {
        self.instances.remove(id).ok_or_else(|| Refusal::NoInstance(id.clone()))?;
        for eni in self.enis.on(id).clone() {
            self.enis.change(&eni, now, |eni| {
                let goes = eni.kind == EniKind::Primary || eni.delete_on_release;
                eni.status = if goes { Status::Deleting } else { Status::Detaching };
                eni.attachment = eni.attachment.take().filter(|_| !goes);
                eni.due = now;
                eni.link_from = None;
            });
        }
        Ok(())
    }

    /// Others take addresses of a vSwitch or return them, until so many IPv4 addresses are free; `None`:
    /// there are no others.
    pub fn leave_free(&mut self, vswitch: &VSwitchId, free: Option<u32>) -> Result<(), Refusal> {
        let home = self.vswitches.get_mut(vswitch).ok_or_else(|| Refusal::NoVSwitch(vswitch.clone()))?;
        home.ipv4.leave_free(free.map(u128::from));
        Ok(())
    }

    /// Switches a key on or off, or ends the tokens handed out with it; says whether there is one.
    pub fn change_key(&mut self, id: &str, state: Option<KeyState>, rotate: bool) -> bool {
        let Some(key) = self.config.credentials.iter_mut().find(|key| key.access_key_id == id) else {
            return false;
        };
        key.state = state.unwrap_or(key.state);
        key.rotations += u32::from(rotate);
        true
    }

    /// The state of an ENI that is nobody's primary one.
    fn further(&self, id: &EniId) -> Result<Status, Refusal> {
        let eni = self.known(id)?;
        if eni.kind == EniKind::Primary { Err(Refusal::PrimaryEni(id.clone())) } else { Ok(eni.status) }
    }
}
