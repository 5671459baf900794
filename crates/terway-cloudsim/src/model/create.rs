//! How ENIs come into being: by a call, or with the instance they belong to.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use terway_types::{
    AddressCounts, AddressSet, EniId, InstanceId, MacAddr, SecurityGroupId, Timestamp, VSwitchId,
};

use super::addresses::Wanted;
use super::eni::{Attachment, Eni, EniKind, Link, Status};
use super::refusal::Refusal;
use super::tokens::Kept;
use super::{Instance, InstanceState, World};
use crate::config::{ConfigError, InstanceConfig, Vendor};

/// What a new ENI should be. Equal values under one token are one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateEni {
    /// Where its addresses come from.
    pub vswitch: VSwitchId,
    /// At least one.
    pub security_groups: Vec<SecurityGroupId>,
    /// Secondary or trunk.
    pub kind: EniKind,
    /// Its addresses; at least one IPv4 address, the primary one.
    pub counts: AddressCounts,
    /// The primary address, if it is chosen.
    pub primary_ipv4: Option<Ipv4Addr>,
    /// Whether it goes with its instance.
    pub delete_on_release: bool,
    /// Whether it is for Lingjun nodes.
    pub lingjun: bool,
    /// Tags.
    pub tags: BTreeMap<String, String>,
    /// Its name.
    pub name: String,
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
            && let Some(kept) = self.tokens.find(token)
        {
            return match kept {
                Kept::Create(first, answer) if first == request => {
                    Ok(self.enis.get(&answer.id).unwrap_or(answer).clone())
                }
                _ => Err(Refusal::TokenReused(token.clone())),
            };
        }
        let missing = || Refusal::NoVSwitch(request.vswitch.clone());
        let vpc = &self.vswitches.get(&request.vswitch).ok_or_else(missing)?.vpc;
        self.check_groups(vpc, &request.security_groups)?;
        let quota = self.config.quota.enis;
        if self.enis.further() >= quota as usize {
            return Err(Refusal::EniQuota(quota));
        }
        let wanted = AddressCounts { ipv4: request.counts.ipv4.max(1), ..request.counts };
        let limit = self.config.quota.private_ipv4;
        if self.enis.ipv4_count() + super::addresses::ipv4_of(wanted) > limit as usize {
            return Err(Refusal::AddressQuota(limit));
        }
        let home = self.vswitches.get_mut(&request.vswitch).ok_or_else(missing)?;
        let addresses = home.take_first(request.primary_ipv4, wanted)?;
        let (id, mac) = self.mint.eni(request.lingjun);
        let eni = Eni {
            lingjun: request.lingjun,
            kind: request.kind,
            security_groups: request.security_groups.clone(),
            tags: request.tags.clone(),
            name: request.name.clone(),
            description: request.description.clone(),
            client_token: request.client_token.clone(),
            delete_on_release: request.delete_on_release,
            due: self.after(now, self.config.latency_ms.create),
            ..blank(id, mac, request.vswitch.clone(), addresses, now)
        };
        self.enis.insert(eni.clone(), now);
        if let Some(token) = &request.client_token {
            let kept = Kept::Create(request.clone(), Box::new(eni.clone()));
            self.tokens.keep(token.clone(), kept);
        }
        Ok(eni)
    }

    /// An instance comes up with its primary ENI attached.
    pub(super) fn boot(&mut self, described: &InstanceConfig, now: Timestamp) -> Result<(), ConfigError> {
        let wrong = |what: String| ConfigError::Inconsistent(format!("instance {}: {what}", described.id));
        let instance_type = self.config.instance_types.iter().find(|kind| kind.id == described.instance_type);
        let instance_type = instance_type.cloned().ok_or_else(|| wrong("its type is unknown".to_owned()))?;
        let vswitch = VSwitchId(described.vswitch.clone());
        let home =
            self.vswitches.get_mut(&vswitch).ok_or_else(|| wrong("its vSwitch is unknown".to_owned()))?;
        let zone = home.zone.clone();
        let ipv6 = u32::from(home.ipv6.is_some() && instance_type.ipv6_per_eni > 0);
        let wanted = Wanted::Any(AddressCounts { ipv4: 1, ipv6, ..AddressCounts::default() });
        let addresses = home.take(&wanted).map_err(|refusal| wrong(refusal.to_string()))?;
        let lingjun = instance_type.lingjun;
        let (eni, mac) = self.mint.eni(lingjun);
        let id = InstanceId(described.id.clone());
        let primary = Eni {
            kind: EniKind::Primary,
            security_groups: self
                .config
                .security_groups
                .iter()
                .take(1)
                .cloned()
                .map(SecurityGroupId)
                .collect(),
            status: Status::InUse,
            attachment: Some(Attachment { instance: id.clone(), device_index: 0, trunk: None }),
            link_from: Some(now),
            lingjun,
            ..blank(eni.clone(), mac, vswitch.clone(), addresses, now)
        };
        self.enis.insert(primary, now);
        let state = InstanceState::Running;
        self.instances.insert(id.clone(), Instance { id, instance_type, vswitch, zone, primary: eni, state });
        Ok(())
    }

    /// All security groups must exist. One vendor's belong to a VPC, the other's to the region.
    pub(super) fn check_groups(&self, vpc: &str, groups: &[SecurityGroupId]) -> Result<(), Refusal> {
        for group in groups {
            let home =
                self.security_groups.get(group).ok_or_else(|| Refusal::NoSecurityGroup(group.clone()))?;
            if self.config.cloud == Vendor::Aliyun && home != vpc {
                let (group, home, vpc) = (group.clone(), home.clone(), vpc.to_owned());
                return Err(Refusal::GroupVpc { group, home, vpc });
            }
        }
        Ok(())
    }
}

/// A new secondary ENI that nobody has described yet.
fn blank(id: EniId, mac: MacAddr, vswitch: VSwitchId, addresses: AddressSet, now: Timestamp) -> Eni {
    Eni {
        id,
        kind: EniKind::Secondary,
        mac,
        vswitch,
        security_groups: Vec::new(),
        addresses,
        tags: BTreeMap::new(),
        name: String::new(),
        description: String::new(),
        client_token: None,
        delete_on_release: false,
        lingjun: false,
        created: now,
        status: Status::Creating,
        attachment: None,
        link: Link::Absent,
        due: now,
        link_from: None,
        busy_until: Timestamp::default(),
    }
}
