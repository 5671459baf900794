//! The calls that move ENIs and end them, each with the vendor's preconditions in the vendor's order: the
//! object exists, its state allows it, the limits allow it.

use std::collections::BTreeSet;

use terway_types::{AddressCounts, EniId, InstanceId, SecurityGroupId, Timestamp};

use super::addresses::check_slots;
use super::eni::{Attachment, Eni, EniKind, NEVER, Status};
use super::refusal::Refusal;
use super::{Instance, InstanceState, World};

/// VLANs of members: 1 to 4094.
const VLANS: std::ops::RangeInclusive<u32> = 1..=4094;

impl World {
    /// Starts to attach an Available ENI, to a trunk if one is given.
    pub fn attach_eni(
        &mut self,
        id: &EniId,
        instance: &InstanceId,
        trunk: Option<&EniId>,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let eni = self.idle(id, now)?;
        let target = self.instances.get(instance).ok_or_else(|| Refusal::NoInstance(instance.clone()))?;
        if eni.status != Status::Available {
            return Err(Refusal::EniState { eni: id.clone(), status: eni.status });
        }
        if matches!(target.state, InstanceState::Starting | InstanceState::Stopping) {
            return Err(Refusal::InstanceState(instance.clone()));
        }
        if trunk.is_some() && eni.kind != EniKind::Secondary {
            return Err(Refusal::EniType { eni: id.clone(), kind: eni.kind.name() });
        }
        self.check_fit(eni, target)?;
        let device_index = match trunk {
            Some(trunk) => self.free_vlan(target, trunk)?,
            None => self.free_slot(target)?,
        };
        let latency = self.config.latency_ms;
        let in_use_at = self.after(now, latency.attach);
        let link_at = match trunk {
            // A member has no link of its own: it is a VLAN of the trunk's.
            Some(_) => None,
            None if latency.link_after_in_use => Some(self.after(in_use_at, latency.link)),
            None => match self.after(now, latency.link) {
                NEVER => Some(NEVER),
                at => Some(at.min(in_use_at)),
            },
        };
        let attachment = Attachment { instance: instance.clone(), device_index, trunk: trunk.cloned() };
        self.enis.change(id, now, |eni| {
            if attachment.trunk.is_some() {
                eni.kind = EniKind::Member;
            }
            eni.status = Status::Attaching;
            eni.attachment = Some(attachment);
            eni.due = in_use_at;
            eni.link_from = link_at;
        });
        Ok(())
    }

    /// Starts to detach an InUse ENI. One that is being detached from this instance already is a success. A member
    /// is taken off the trunk that is named.
    pub fn detach_eni(
        &mut self,
        id: &EniId,
        instance: &InstanceId,
        trunk: Option<&EniId>,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let eni = self.idle(id, now)?;
        if !self.instances.contains_key(instance) {
            return Err(Refusal::NoInstance(instance.clone()));
        }
        if eni.kind == EniKind::Primary {
            return Err(Refusal::PrimaryEni(id.clone()));
        }
        let carries = || self.enis_of(instance).iter().any(|other| other.trunk() == Some(id));
        if !matches!(eni.status, Status::InUse | Status::Detaching) || eni.kind == EniKind::Trunk && carries()
        {
            return Err(Refusal::EniState { eni: id.clone(), status: eni.status });
        }
        if eni.instance() != Some(instance) || eni.trunk() != trunk {
            return Err(Refusal::NotAttachedThere { eni: id.clone(), instance: instance.clone() });
        }
        if eni.status == Status::InUse {
            if self.config.manners.detach_refused {
                return Err(Refusal::EniState { eni: id.clone(), status: eni.status });
            }
            let due = self.after(now, self.config.latency_ms.detach);
            self.enis.change(id, now, |eni| {
                eni.status = Status::Detaching;
                eni.due = due;
                eni.link_from = None;
            });
        }
        Ok(())
    }

    /// Starts to delete an Available ENI.
    pub fn delete_eni(&mut self, id: &EniId, now: Timestamp) -> Result<(), Refusal> {
        let eni = self.idle(id, now)?;
        if eni.kind == EniKind::Primary {
            return Err(Refusal::PrimaryEni(id.clone()));
        }
        if eni.status != Status::Available {
            return Err(Refusal::EniState { eni: id.clone(), status: eni.status });
        }
        let due = self.after(now, self.config.latency_ms.delete);
        self.enis.change(id, now, |eni| {
            eni.status = Status::Deleting;
            eni.due = due;
        });
        Ok(())
    }

    /// Replaces an ENI's security groups.
    pub fn set_security_groups(
        &mut self,
        id: &EniId,
        groups: &[SecurityGroupId],
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let home = self.idle(id, now)?.vswitch.clone();
        let vpc = self.vswitches.get(&home).map(|home| home.vpc.as_str()).unwrap_or_default();
        self.check_groups(vpc, groups)?;
        self.enis.change(id, now, |eni| eni.security_groups = groups.to_vec());
        Ok(())
    }

    /// Decides whether an ENI goes with its instance.
    pub fn set_delete_on_release(&mut self, id: &EniId, on: bool, now: Timestamp) -> Result<(), Refusal> {
        self.known(id)?;
        self.enis.change(id, now, |eni| eni.delete_on_release = on);
        Ok(())
    }

    /// Changes name and description where they are given.
    pub fn rename(&mut self, id: &EniId, name: Option<&str>, description: Option<&str>, now: Timestamp) {
        if name.is_none() && description.is_none() {
            return;
        }
        self.enis.change(id, now, |eni| {
            name.map(str::to_owned).into_iter().for_each(|name| eni.name = name);
            description.map(str::to_owned).into_iter().for_each(|text| eni.description = text);
        });
    }

    /// An ENI that exists, or the refusal that says it does not.
    pub fn known(&self, id: &EniId) -> Result<&Eni, Refusal> {
        self.enis.get(id).ok_or_else(|| Refusal::NoEni(id.clone()))
    }

    /// An ENI that exists, with no task running on it.
    pub(super) fn idle(&self, id: &EniId, now: Timestamp) -> Result<&Eni, Refusal> {
        let eni = self.known(id)?;
        if eni.is_busy(now) { Err(Refusal::Busy(id.clone())) } else { Ok(eni) }
    }

    /// VPC, zone and address counts must fit the instance.
    fn check_fit(&self, eni: &Eni, target: &Instance) -> Result<(), Refusal> {
        let home = self.vswitches.get(&eni.vswitch).ok_or_else(|| Refusal::NoVSwitch(eni.vswitch.clone()))?;
        let (eni_vpc, instance_vpc) = (home.vpc.clone(), self.config.vpc.id.clone());
        if eni_vpc != instance_vpc {
            return Err(Refusal::VpcMismatch { eni: eni.id.clone(), eni_vpc, instance_vpc });
        }
        let eni_zone = home.zone.clone();
        if eni_zone != target.zone {
            let instance_zone = target.zone.clone();
            return Err(Refusal::ZoneMismatch { eni: eni.id.clone(), eni_zone, instance_zone });
        }
        let kind = &target.instance_type;
        if eni.kind == EniKind::Trunk && kind.members == 0 {
            return Err(Refusal::NoTrunks(target.id.clone()));
        }
        let (v4, v6) = eni.slots();
        check_slots(&eni.id, (v4, kind.ipv4_per_eni), (v6, kind.ipv6_per_eni), AddressCounts::default())
    }

    /// The lowest free slot of an instance. ENIs on their way in or out hold theirs.
    fn free_slot(&self, target: &Instance) -> Result<u32, Refusal> {
        let limit = target.instance_type.enis;
        let held = self.indices(target, |eni| eni.trunk().is_none());
        (0..limit)
            .find(|slot| !held.contains(slot))
            .ok_or_else(|| Refusal::EniPerInstance { instance: target.id.clone(), limit })
    }

    /// The lowest free VLAN of a trunk.
    fn free_vlan(&self, target: &Instance, trunk: &EniId) -> Result<u32, Refusal> {
        let carrier = self.known(trunk)?;
        if carrier.kind != EniKind::Trunk || carrier.instance() != Some(&target.id) {
            return Err(Refusal::NotAttachedThere { eni: trunk.clone(), instance: target.id.clone() });
        }
        let limit = target.instance_type.members;
        let held = self.indices(target, |eni| eni.trunk() == Some(trunk));
        let full = || Refusal::EniPerInstance { instance: target.id.clone(), limit };
        if self.indices(target, |eni| eni.trunk().is_some()).len() >= limit as usize {
            return Err(full());
        }
        VLANS.into_iter().find(|vlan| !held.contains(vlan)).ok_or_else(full)
    }

    fn indices(&self, target: &Instance, of: impl Fn(&Eni) -> bool) -> BTreeSet<u32> {
        let enis = self.enis_of(&target.id).into_iter().filter(|eni| of(eni));
        enis.filter_map(|eni| eni.attachment.as_ref().map(|attachment| attachment.device_index)).collect()
    }
}
