//! The calls that change ENIs, each with the vendor's preconditions in the vendor's order: the object
//! exists, its state allows it, the limits allow it.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use terway_types::{EniId, InstanceId, SecurityGroupId, Timestamp, VSwitchId};

use super::eni::{Attachment, Eni, EniKind, Link, Status};
use super::refusal::Refusal;
use super::{Instance, VSwitch, World, pool};
use crate::config::{ConfigError, InstanceConfig};

/// What a new ENI should be. Equal values under one token are one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateEni {
    /// Where its addresses come from.
    pub vswitch: VSwitchId,
    /// At least one.
    pub security_groups: Vec<SecurityGroupId>,
    /// IPv4 addresses besides the primary one.
    pub secondary_ipv4: usize,
    /// IPv6 addresses.
    pub ipv6: usize,
    /// Tags.
    pub tags: BTreeMap<String, String>,
    /// Free text.
    pub description: String,
    /// The idempotency token.
    pub client_token: Option<String>,
}

impl World {
    /// Makes an ENI. The same token and parameters give the first call's answer again, also when the ENI
    /// is gone by now.
    pub fn create_eni(&mut self, request: &CreateEni, now: Timestamp) -> Result<Eni, Refusal> {
        if let Some(token) = &request.client_token
            && let Some((first, answer)) = self.tokens.get(token)
        {
            let same = first == request;
            let current = self.enis.get(&answer.id).unwrap_or(answer);
            return if same { Ok(current.clone()) } else { Err(Refusal::TokenReused(token.clone())) };
        }
        if let Some(unknown) = request.security_groups.iter().find(|id| !self.security_groups.contains(id)) {
            return Err(Refusal::NoSecurityGroup(unknown.clone()));
        }
        let quota = self.config.quota.enis;
        let secondaries = self.enis().filter(|eni| eni.kind == EniKind::Secondary).count();
        let vswitch = self
            .vswitches
            .get_mut(&request.vswitch)
            .ok_or_else(|| Refusal::NoVSwitch(request.vswitch.clone()))?;
        if secondaries >= quota as usize {
            return Err(Refusal::EniQuota(quota));
        }
        let (ipv4, ipv6) = take_addresses(vswitch, 1 + request.secondary_ipv4, request.ipv6)?;
        let (id, mac) = self.mint.eni();
        let eni = Eni {
            id: id.clone(),
            kind: EniKind::Secondary,
            mac,
            vswitch: request.vswitch.clone(),
            security_groups: request.security_groups.clone(),
            ipv4,
            ipv6,
            tags: request.tags.clone(),
            description: request.description.clone(),
            client_token: request.client_token.clone(),
            created: now,
            status: Status::Creating,
            attachment: None,
            link: Link::Absent,
            due: now + Duration::from_millis(self.config.latency_ms.create),
            link_from: None,
        };
        self.enis.insert(id, eni.clone());
        if let Some(token) = &request.client_token {
            self.tokens.insert(token.clone(), (request.clone(), eni.clone()));
        }
        Ok(eni)
    }

    /// Starts to attach an Available ENI.
    pub fn attach_eni(&mut self, id: &EniId, instance: &InstanceId, now: Timestamp) -> Result<(), Refusal> {
        let latency = self.config.latency_ms;
        let eni = self.known(id)?;
        let target = self.instances.get(instance).ok_or_else(|| Refusal::NoInstance(instance.clone()))?;
        if eni.status != Status::Available {
            return Err(Refusal::EniState { eni: id.clone(), status: eni.status });
        }
        self.check_fit(eni, target)?;
        let device_index = self.free_slot(target)?;
        let in_use_at = now + Duration::from_millis(latency.attach);
        let link_at = if latency.link_after_in_use {
            in_use_at + Duration::from_millis(latency.link)
        } else {
            now + Duration::from_millis(latency.link.min(latency.attach))
        };
        let attachment = Attachment { instance: instance.clone(), device_index };
        self.change(id, |eni| {
            eni.status = Status::Attaching;
            eni.attachment = Some(attachment);
            eni.due = in_use_at;
            eni.link_from = Some(link_at);
        });
        Ok(())
    }

    /// Starts to detach an InUse ENI. One that is being detached from this instance already is a success.
    pub fn detach_eni(&mut self, id: &EniId, instance: &InstanceId, now: Timestamp) -> Result<(), Refusal> {
        let eni = self.known(id)?;
        if !self.instances.contains_key(instance) {
            return Err(Refusal::NoInstance(instance.clone()));
        }
        if eni.kind == EniKind::Primary {
            return Err(Refusal::PrimaryEni(id.clone()));
        }
        if !matches!(eni.status, Status::InUse | Status::Detaching) {
            return Err(Refusal::EniState { eni: id.clone(), status: eni.status });
        }
        if eni.instance() != Some(instance) {
            return Err(Refusal::NotAttachedThere { eni: id.clone(), instance: instance.clone() });
        }
        if eni.status == Status::InUse {
            let due = now + Duration::from_millis(self.config.latency_ms.detach);
            self.change(id, |eni| {
                eni.status = Status::Detaching;
                eni.due = due;
                eni.link_from = None;
            });
        }
        Ok(())
    }

    /// Starts to delete an Available ENI.
    pub fn delete_eni(&mut self, id: &EniId, now: Timestamp) -> Result<(), Refusal> {
        let eni = self.known(id)?;
        if eni.kind == EniKind::Primary {
            return Err(Refusal::PrimaryEni(id.clone()));
        }
        if eni.status != Status::Available {
            return Err(Refusal::EniState { eni: id.clone(), status: eni.status });
        }
        let due = now + Duration::from_millis(self.config.latency_ms.delete);
        self.change(id, |eni| {
            eni.status = Status::Deleting;
            eni.due = due;
        });
        Ok(())
    }

    /// What a person does by hand in the console: the ENI goes at once, whatever its state, and its link
    /// with it.
    pub fn delete_by_hand(&mut self, id: &EniId, now: Timestamp) -> Result<(), Refusal> {
        if self.known(id)?.kind == EniKind::Primary {
            return Err(Refusal::PrimaryEni(id.clone()));
        }
        self.change(id, |eni| {
            eni.status = Status::Deleting;
            eni.attachment = None;
            eni.due = now;
            eni.link_from = None;
        });
        Ok(())
    }

    /// An instance comes up with its primary ENI attached.
    pub(super) fn boot(&mut self, described: &InstanceConfig, now: Timestamp) -> Result<(), ConfigError> {
        let wrong = |what: String| ConfigError::Inconsistent(format!("instance {}: {what}", described.id));
        let instance_type = self.config.instance_types.iter().find(|kind| kind.id == described.instance_type);
        let instance_type = instance_type.cloned().ok_or_else(|| wrong("its type is unknown".to_owned()))?;
        let (eni, mac) = self.mint.eni();
        let vswitch = VSwitchId(described.vswitch.clone());
        let home =
            self.vswitches.get_mut(&vswitch).ok_or_else(|| wrong("its vSwitch is unknown".to_owned()))?;
        let zone = home.zone.clone();
        let ipv6_wanted = usize::from(home.ipv6.is_some() && instance_type.ipv6_per_eni > 0);
        let (ipv4, ipv6) =
            take_addresses(home, 1, ipv6_wanted).map_err(|refusal| wrong(refusal.to_string()))?;
        let id = InstanceId(described.id.clone());
        let primary = Eni {
            id: eni.clone(),
            kind: EniKind::Primary,
            mac,
            vswitch: vswitch.clone(),
            security_groups: self.security_groups.iter().take(1).cloned().collect(),
            ipv4,
            ipv6,
            tags: BTreeMap::new(),
            description: String::new(),
            client_token: None,
            created: now,
            status: Status::InUse,
            attachment: Some(Attachment { instance: id.clone(), device_index: 0 }),
            link: Link::Absent,
            due: now,
            link_from: Some(now),
        };
        self.enis.insert(eni.clone(), primary);
        self.instances.insert(id.clone(), Instance { id, instance_type, vswitch, zone, primary: eni });
        Ok(())
    }

    fn known(&self, id: &EniId) -> Result<&Eni, Refusal> {
        self.enis.get(id).ok_or_else(|| Refusal::NoEni(id.clone()))
    }

    fn change(&mut self, id: &EniId, change: impl FnOnce(&mut Eni)) {
        if let Some(eni) = self.enis.get_mut(id) {
            change(eni);
        }
    }

    /// Zone and address counts must fit the instance.
    fn check_fit(&self, eni: &Eni, target: &Instance) -> Result<(), Refusal> {
        let eni_zone =
            self.vswitches.get(&eni.vswitch).map(|vswitch| vswitch.zone.clone()).unwrap_or_default();
        if eni_zone != target.zone {
            let instance_zone = target.zone.clone();
            return Err(Refusal::ZoneMismatch { eni: eni.id.clone(), eni_zone, instance_zone });
        }
        let kind = &target.instance_type;
        if eni.ipv4.len() > kind.ipv4_per_eni as usize {
            let (count, limit) = (eni.ipv4.len(), kind.ipv4_per_eni);
            return Err(Refusal::Ipv4PerEni { eni: eni.id.clone(), count, limit });
        }
        if eni.ipv6.len() > kind.ipv6_per_eni as usize {
            let (count, limit) = (eni.ipv6.len(), kind.ipv6_per_eni);
            return Err(Refusal::Ipv6PerEni { eni: eni.id.clone(), count, limit });
        }
        Ok(())
    }

    /// The lowest free slot of an instance. ENIs on their way in or out hold theirs.
    fn free_slot(&self, target: &Instance) -> Result<u32, Refusal> {
        let limit = target.instance_type.enis;
        let held: Vec<u32> = self
            .enis_of(&target.id)
            .iter()
            .filter_map(|eni| eni.attachment.as_ref().map(|attachment| attachment.device_index))
            .collect();
        (0..limit)
            .find(|slot| !held.contains(slot))
            .ok_or_else(|| Refusal::EniPerInstance { instance: target.id.clone(), limit })
    }
}

/// Takes all wanted addresses or none.
fn take_addresses(
    vswitch: &mut VSwitch,
    ipv4: usize,
    ipv6: usize,
) -> Result<(Vec<Ipv4Addr>, Vec<Ipv6Addr>), Refusal> {
    let id = vswitch.id.clone();
    let exhausted = |free, wanted| Refusal::SubnetExhausted { vswitch: id.clone(), free, wanted };
    if let Some(pool) = &vswitch.ipv6 {
        if pool.free() < ipv6 as u128 {
            return Err(exhausted(pool.free(), ipv6));
        }
    } else if ipv6 > 0 {
        return Err(Refusal::NoIpv6(id));
    }
    let free = vswitch.ipv4.free();
    let v4 = vswitch.ipv4.take(ipv4).ok_or_else(|| exhausted(free, ipv4))?;
    let v6 = vswitch.ipv6.as_mut().and_then(|pool| pool.take(ipv6)).unwrap_or_default();
    Ok((v4.into_iter().map(pool::to_v4).collect(), v6.into_iter().map(pool::to_v6).collect()))
}
