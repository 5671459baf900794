//! The cloud as one node sees it: its own budget of calls, answers that take time, and the account's refusals in the
//! words of the `Cloud` trait.

use std::sync::Arc;

use async_trait::async_trait;
use terway_cloud::{
    Assign, Budget, Cloud, CloudResult, CreateEni, EniDescription, EniFilter, EniKind, EniStatus,
    InstanceDescription, InstanceLimits, Trunking, VSwitch,
};
use terway_cloudsim::World;
use terway_cloudsim::model::{self, By, Eni, Refusal, Status};
use terway_types::{
    AddressSet, Addresses, CloudFailure, CloudFailureKind as Kind, EniId, InstanceId, IntentToken,
    SecurityGroupId, Timestamp, VSwitchId,
};
use tokio::time::sleep;

use crate::account::{Account, Fate};

/// One node's door.
#[derive(Debug)]
pub(crate) struct Door {
    account: Arc<Account>,
    budget: Budget,
}

impl Door {
    pub(crate) fn new(account: &Arc<Account>) -> Self {
        Self { account: Arc::clone(account), budget: Budget::default() }
    }

    /// One call, with everything a call passes.
    async fn call<T>(
        &self,
        action: &'static str,
        changes: bool,
        act: impl FnOnce(&mut World, Timestamp) -> Result<T, Refusal>,
    ) -> CloudResult<T> {
        let permit = self.budget.acquire(action).await;
        sleep(self.account.answer_time()).await;
        let outcome = match self.account.admit(action, changes) {
            Fate::Throttled => {
                self.budget.throttled(action);
                Err(failure(Kind::Throttled, action, "too many calls"))
            }
            Fate::Admitted => {
                self.budget.accepted(action);
                self.account.with(act).map_err(|refusal| refused(&refusal, action))
            }
            Fate::Lost => {
                let _ = self.account.with(act);
                Err(failure(Kind::Ambiguous, action, "the answer was lost"))
            }
        };
        drop(permit);
        outcome
    }
}

fn failure(kind: Kind, action: &str, message: impl Into<String>) -> CloudFailure {
    CloudFailure {
        kind,
        action: action.to_owned(),
        vendor_code: None,
        request_id: None,
        message: message.into(),
    }
}

fn refused(refusal: &Refusal, action: &str) -> CloudFailure {
    let kind = match refusal {
        Refusal::NoEni(_) => Kind::Gone,
        Refusal::EniState { .. } | Refusal::NotAttachedThere { .. } => Kind::InvalidState,
        Refusal::SubnetExhausted { .. } => Kind::SubnetExhausted,
        Refusal::Busy(_) | Refusal::TokenReused(_) => Kind::Conflict,
        Refusal::EniPerInstance { .. } | Refusal::EniQuota(_) | Refusal::AddressQuota(_) => {
            Kind::Quota { which: refusal.code().to_owned(), limit: None }
        }
        _ => Kind::Invalid,
    };
    failure(kind, action, refusal.to_string())
}

#[async_trait]
impl Cloud for Door {
    fn provider(&self) -> &'static str {
        "model"
    }

    async fn create_eni(&self, request: &CreateEni) -> CloudResult<EniDescription> {
        let wanted = model::CreateEni {
            vswitch: request.vswitch.clone(),
            security_groups: request.security_groups.clone(),
            kind: model::EniKind::Secondary,
            counts: request.counts,
            primary_ipv4: None,
            lingjun: false,
            delete_on_release: true,
            tags: request.tags.clone(),
            name: String::new(),
            description: String::new(),
            client_token: Some(request.token.to_string()),
        };
        self.call("CreateNetworkInterface", true, |world, now| {
            let eni = world.create_eni(&wanted, now)?;
            if eni.created == now {
                self.account.note_made();
            }
            Ok(describe(world, &eni))
        })
        .await
    }

    async fn attach_eni(&self, eni: &EniId, instance: &InstanceId) -> CloudResult<()> {
        self.call("AttachNetworkInterface", true, |world, now| {
            match world.attach_eni(eni, instance, None, now) {
                Err(Refusal::EniState { status: Status::InUse | Status::Attaching, .. })
                    if world.eni(eni).and_then(Eni::instance) == Some(instance) =>
                {
                    Ok(())
                }
                outcome => outcome,
            }
        })
        .await
    }

    async fn detach_eni(&self, eni: &EniId, instance: &InstanceId) -> CloudResult<()> {
        self.call("DetachNetworkInterface", true, |world, now| {
            match world.detach_eni(eni, instance, None, now) {
                Err(
                    Refusal::NoEni(_)
                    | Refusal::EniState { status: Status::Available | Status::Deleting, .. },
                ) => Ok(()),
                outcome => outcome,
            }
        })
        .await
    }

    async fn delete_eni(&self, eni: &EniId) -> CloudResult<()> {
        self.call("DeleteNetworkInterface", true, |world, now| match world.delete_eni(eni, now) {
            Err(Refusal::NoEni(_) | Refusal::EniState { status: Status::Deleting, .. }) => Ok(()),
            outcome => outcome,
        })
        .await
    }

    async fn describe_enis(&self, filter: &EniFilter) -> CloudResult<Vec<EniDescription>> {
        self.call("DescribeNetworkInterfaces", false, |world, now| {
            let view = world.seen(world.lag(), now);
            let by = match (&filter.instance, filter.tags.iter().next()) {
                _ if !filter.ids.is_empty() => By::Ids(&filter.ids),
                (Some(instance), _) => By::Instance(instance),
                (None, Some((key, value))) => By::Tag(key, value),
                (None, None) => By::All,
            };
            let fits = |eni: &&Eni| {
                (filter.ids.is_empty() || filter.ids.contains(&eni.id))
                    && filter.instance.as_ref().is_none_or(|instance| eni.instance() == Some(instance))
                    && filter.tags.iter().all(|(key, value)| eni.tags.get(key) == Some(value))
            };
            Ok(view.candidates(by).into_iter().filter(fits).map(|eni| describe(world, eni)).collect())
        })
        .await
    }

    async fn assign(&self, _: &EniId, _: &IntentToken, _: Assign) -> CloudResult<AddressSet> {
        Err(failure(Kind::Invalid, "AssignPrivateIpAddresses", "pods have whole ENIs this morning"))
    }

    async fn unassign(&self, _: &EniId, _: &AddressSet) -> CloudResult<()> {
        Err(failure(Kind::Invalid, "UnassignPrivateIpAddresses", "pods have whole ENIs this morning"))
    }

    async fn set_security_groups(&self, eni: &EniId, groups: &[SecurityGroupId]) -> CloudResult<()> {
        self.call("ModifyNetworkInterfaceAttribute", true, |world, now| {
            world.set_security_groups(eni, groups, now)
        })
        .await
    }

    async fn describe_vswitches(&self, ids: &[VSwitchId]) -> CloudResult<Vec<VSwitch>> {
        self.call("DescribeVSwitches", false, |world, _| {
            let known = ids.iter().filter_map(|id| world.vswitch(id));
            let vpc = &world.config().vpc.id;
            Ok(known.map(|known| vswitch(known, vpc)).collect())
        })
        .await
    }

    async fn set_delete_on_release(&self, _: &EniId, _: bool) -> CloudResult<()> {
        Err(failure(Kind::Invalid, "ModifyNetworkInterfaceAttribute", "nobody asks for this"))
    }

    fn trunking(&self) -> Option<&dyn Trunking> {
        None
    }

    async fn describe_instances(&self, _: &[InstanceId]) -> CloudResult<Vec<InstanceDescription>> {
        Ok(Vec::new())
    }

    async fn instance_limits(&self, _: &str) -> CloudResult<Option<InstanceLimits>> {
        Ok(None)
    }
}

fn vswitch(known: &model::VSwitch, vpc: &str) -> VSwitch {
    VSwitch {
        vpc: vpc.to_owned(),
        id: known.id.clone(),
        zone: known.zone.as_str().into(),
        subnets: known.subnets,
        gateways: known.gateways,
        free_ipv4: u32::try_from(known.free_ipv4()).unwrap_or(u32::MAX),
    }
}

fn describe(world: &World, eni: &Eni) -> EniDescription {
    EniDescription {
        id: eni.id.clone(),
        status: match eni.status {
            Status::Creating => EniStatus::Creating,
            Status::Available => EniStatus::Available,
            Status::Attaching => EniStatus::Attaching,
            Status::InUse => EniStatus::InUse,
            Status::Detaching => EniStatus::Detaching,
            Status::Deleting => EniStatus::Deleting,
        },
        mac: eni.mac,
        vswitch: eni.vswitch.clone(),
        zone: world.vswitch(&eni.vswitch).map(|home| home.zone.as_str()).unwrap_or_default().into(),
        security_groups: eni.security_groups.clone(),
        addresses: Addresses::new(eni.primary_ipv4(), eni.addresses.ipv6.first().copied()),
        assigned: eni.addresses.clone(),
        instance: eni.instance().cloned(),
        kind: if eni.kind == model::EniKind::Primary { EniKind::Primary } else { EniKind::Secondary },
        vlan_id: None,
        trunk: None,
        description: String::new(),
        tags: eni.tags.clone(),
    }
}
