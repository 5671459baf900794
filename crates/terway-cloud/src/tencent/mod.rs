//! Tencent Cloud: the [`Cloud`] trait over the VPC API, and instance metadata.

mod api;
mod batches;
mod call;
mod config;
mod errors;
mod gateways;
mod keys;
mod metadata;
mod mutate;
mod sign;
#[cfg(test)]
mod tests;
mod web_identity;
mod wire;

use std::collections::BTreeMap;
use std::net::Ipv6Addr;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use terway_types::{
    AddressSet, CloudFailure, CloudFailureKind as Kind, EniId, InstanceId, IntentToken, SecurityGroupId,
    VSwitchId,
};

use self::api::Action;
use self::batches::Batches;
use self::call::Caller;
pub use self::config::TencentConfig;
pub use self::keys::{SECRET_DIRECTORY, TencentKeys};
pub use self::metadata::{METADATA_URL, TencentMetadata};
use self::wire::{Accepted, Created, EniPage, InstancePage, SubnetPage, WireError};
use crate::cloud::{
    Assign, Cloud, CloudResult, CreateEni, EniDescription, EniFilter, EniKind, EniStatus,
    InstanceDescription, InstanceLimits, Trunking, VSwitch,
};
use crate::endpoint::ConfigError;
use crate::error::failure;
use crate::exchange::Stamps;
use crate::limits::Limits;

/// Pages of one listing at most: more ENIs than any account has, fewer than for ever.
const MOST_PAGES: usize = 1000;

/// Tencent Cloud, as one region of it serves one account.
#[derive(Debug)]
pub struct Tencent {
    caller: Caller,
    vpc: String,
    instance: InstanceId,
    limits: Limits,
    task_patience: Duration,
    /// What IPv6 addresses an ENI had before a call to add some whose outcome is unknown.
    doubts: Mutex<BTreeMap<IntentToken, Vec<Ipv6Addr>>>,
}

impl Tencent {
    /// Checks the configuration and prepares the client. Sends nothing.
    pub fn new(config: TencentConfig) -> Result<Self, ConfigError> {
        Self::with_stamps(config, Stamps::default())
    }

    fn with_stamps(config: TencentConfig, stamps: Stamps) -> Result<Self, ConfigError> {
        let (vpc, instance, task_patience) =
            (config.vpc.clone(), config.instance.clone(), config.task_patience);
        let limits = Limits::new(config.metadata.clone());
        let caller = Caller::new(config, stamps)?;
        Ok(Self { caller, vpc, instance, limits, task_patience, doubts: Mutex::default() })
    }

    /// One listing over all its pages.
    async fn describe_some(&self, listing: api::Parameters) -> CloudResult<Vec<EniDescription>> {
        let mut enis = Vec::new();
        for _ in 0..MOST_PAGES {
            let asked = api::from_offset(listing.clone(), enis.len());
            let page: EniPage = self.caller.call(&api::DESCRIBE, asked).await?;
            let ended = page.network_interface_set.is_empty();
            for eni in page.network_interface_set {
                enis.push(understood(&api::DESCRIBE, eni.describe())?);
            }
            if ended || enis.len() >= page.total_count {
                return Ok(enis);
            }
        }
        let message = format!("the listing does not end after {MOST_PAGES} pages");
        Err(failure(Kind::Transient, api::DESCRIBE.name, message))
    }

    async fn look(&self, eni: &EniId) -> CloudResult<Option<EniDescription>> {
        let filter = EniFilter { ids: vec![eni.clone()], ..EniFilter::default() };
        Ok(self.describe_enis(&filter).await?.into_iter().find(|found| found.id == *eni))
    }
}

/// A translated answer, or the doubt that an answer leaves that makes no sense.
fn understood<T>(action: &Action, answer: Result<T, WireError>) -> CloudResult<T> {
    answer.map_err(|error| {
        let kind = if action.changes { Kind::Ambiguous } else { Kind::Transient };
        failure(kind, action.name, format!("the answer cannot be used: {error}"))
    })
}

#[async_trait]
impl Cloud for Tencent {
    fn provider(&self) -> &'static str {
        "tencent"
    }

    /// IPv6 addresses are added once the ENI is there; asked for again with the same token, only those that
    /// are missing.
    async fn create_eni(&self, request: &CreateEni) -> CloudResult<EniDescription> {
        let invalid = |message: &str| Err(failure(Kind::Invalid, api::CREATE.name, message));
        if !matches!(request.kind, EniKind::Secondary | EniKind::Trunk) {
            return invalid("only secondary and trunk ENIs are made by this call");
        }
        if request.counts.ipv4_prefixes + request.counts.ipv6_prefixes > 0 {
            return invalid(NO_PREFIXES);
        }
        let parameters = api::create(request, &self.vpc);
        let created: CloudResult<Created> = self.caller.call(&api::CREATE, parameters).await;
        let created = created.map_err(|refusal| match refusal.kind {
            // What does not exist is the subnet or a group, and these come from the configuration.
            Kind::Gone => CloudFailure { kind: Kind::Invalid, ..refusal },
            _ => refusal,
        })?;
        let eni = understood(&api::CREATE, created.network_interface.describe())?;
        if request.counts.ipv6 == 0 {
            return Ok(eni);
        }
        self.with_ipv6(eni, request).await
    }

    async fn attach_eni(&self, eni: &EniId, instance: &InstanceId) -> CloudResult<()> {
        let outcome: CloudResult<Accepted> = self.caller.call(&api::ATTACH, api::bind(eni, instance)).await;
        let Err(refusal) = outcome else { return Ok(()) };
        match (&refusal.kind, self.look_after(&refusal, eni).await) {
            (Kind::InvalidState, Some(Some(found)))
                if matches!(found.status, EniStatus::InUse | EniStatus::Attaching)
                    && found.instance.as_ref() == Some(instance) =>
            {
                Ok(())
            }
            // It is the instance that does not exist.
            (Kind::Gone, Some(Some(_))) => Err(CloudFailure { kind: Kind::Invalid, ..refusal }),
            _ => Err(refusal),
        }
    }

    async fn detach_eni(&self, eni: &EniId, instance: &InstanceId) -> CloudResult<()> {
        let outcome: CloudResult<Accepted> = self.caller.call(&api::DETACH, api::bind(eni, instance)).await;
        let Err(refusal) = outcome else { return Ok(()) };
        // Without the ENI or without the instance nothing is attached.
        if refusal.kind == Kind::Gone {
            return Ok(());
        }
        let detached = |found: &EniDescription| match found.status {
            EniStatus::Available | EniStatus::Deleting => true,
            EniStatus::Detaching => found.instance.as_ref().is_none_or(|at| at == instance),
            EniStatus::Creating | EniStatus::Attaching | EniStatus::InUse => false,
        };
        match (&refusal.kind, self.look_after(&refusal, eni).await) {
            (Kind::InvalidState, Some(Some(found))) if detached(&found) => Ok(()),
            _ => Err(refusal),
        }
    }

    async fn delete_eni(&self, eni: &EniId) -> CloudResult<()> {
        let outcome: CloudResult<Accepted> = self.caller.call(&api::DELETE, api::one(eni)).await;
        let Err(refusal) = outcome else { return Ok(()) };
        if refusal.kind == Kind::Gone {
            return Ok(());
        }
        match (&refusal.kind, self.look_after(&refusal, eni).await) {
            (Kind::InvalidState, Some(Some(found))) if found.status == EniStatus::Deleting => Ok(()),
            _ => Err(refusal),
        }
    }

    /// Ids and filters exclude each other, so with ids the rest of the filter is applied here. One unknown id
    /// may refuse a whole call, so a batch that is refused is asked for in halves.
    async fn describe_enis(&self, filter: &EniFilter) -> CloudResult<Vec<EniDescription>> {
        if filter.ids.is_empty() {
            return self.describe_some(api::describe_filtered(filter)).await;
        }
        let mut enis = Vec::with_capacity(filter.ids.len());
        let mut batches = Batches::new(&filter.ids, api::PAGE);
        while let Some(ids) = batches.next() {
            match self.describe_some(api::describe_ids(ids)).await {
                Err(refusal) if refusal.kind == Kind::Gone => batches.halve(ids),
                found => enis.extend(found?),
            }
        }
        enis.retain(|eni| {
            (filter.instance.is_none() || filter.instance == eni.instance)
                && api::carries(&eni.tags, &filter.tags)
        });
        Ok(enis)
    }

    async fn assign(&self, eni: &EniId, token: &IntentToken, what: Assign) -> CloudResult<AddressSet> {
        match what {
            _ if what.amount() == 0 => Ok(AddressSet::default()),
            Assign::Ipv4(amount) => self.assign_v4(eni, token, amount).await,
            Assign::Ipv6(amount) => self.assign_v6(eni, token, amount).await,
            Assign::Ipv4Prefixes(_) | Assign::Ipv6Prefixes(_) => {
                Err(failure(Kind::Invalid, api::ASSIGN_V4.name, NO_PREFIXES))
            }
        }
    }

    async fn unassign(&self, eni: &EniId, what: &AddressSet) -> CloudResult<()> {
        if !what.prefixes.is_empty() {
            return Err(failure(Kind::Invalid, api::UNASSIGN_V4.name, NO_PREFIXES));
        }
        let v4: Vec<_> = what.ipv4.iter().map(ToString::to_string).collect();
        let v6: Vec<_> = what.ipv6.iter().map(ToString::to_string).collect();
        for (action, texts) in [(&api::UNASSIGN_V4, v4), (&api::UNASSIGN_V6, v6)] {
            for texts in texts.chunks(api::ADDRESSES_PER_CALL as usize) {
                self.take_off(eni, action, texts).await?;
            }
        }
        Ok(())
    }

    async fn set_security_groups(&self, eni: &EniId, groups: &[SecurityGroupId]) -> CloudResult<()> {
        let parameters = api::security_groups(eni, groups);
        let outcome: CloudResult<Accepted> = self.caller.call(&api::MODIFY, parameters).await;
        let Err(refusal) = outcome else { return Ok(()) };
        match (&refusal.kind, self.look_after(&refusal, eni).await) {
            // It is a group that does not exist.
            (Kind::Gone, Some(Some(_))) => Err(CloudFailure { kind: Kind::Invalid, ..refusal }),
            _ => Err(refusal),
        }
    }

    async fn set_delete_on_release(&self, _eni: &EniId, _on: bool) -> CloudResult<()> {
        Err(failure(Kind::Invalid, api::MODIFY.name, NO_DELETE_ON_RELEASE))
    }

    /// The API lets trunk ENIs be made, but has no action that attaches a member to one.
    fn trunking(&self) -> Option<&dyn Trunking> {
        None
    }

    async fn describe_instances(&self, ids: &[InstanceId]) -> CloudResult<Vec<InstanceDescription>> {
        let mut found = Vec::with_capacity(ids.len());
        let mut batches = Batches::new(ids, api::PAGE);
        while let Some(ids) = batches.next() {
            let page: CloudResult<InstancePage> =
                self.caller.call(&api::INSTANCES, api::instances(ids)).await;
            match page {
                Err(refusal) if refusal.kind == Kind::Gone => batches.halve(ids),
                page => found.extend(page?.instance_set.into_iter().map(wire::Instance::describe)),
            }
        }
        Ok(found)
    }

    async fn describe_vswitches(&self, ids: &[VSwitchId]) -> CloudResult<Vec<VSwitch>> {
        let mut found = Vec::with_capacity(ids.len());
        let mut batches = Batches::new(ids, api::PAGE);
        while let Some(ids) = batches.next() {
            let names: Vec<_> = ids.iter().map(VSwitchId::as_str).collect();
            let page: CloudResult<SubnetPage> = self.caller.call(&api::SUBNETS, api::subnets(&names)).await;
            match page {
                Err(refusal) if refusal.kind == Kind::Gone => batches.halve(ids),
                page => {
                    for subnet in page?.subnet_set {
                        found.push(understood(&api::SUBNETS, subnet.describe())?);
                    }
                }
            }
        }
        Ok(found)
    }

    /// The cloud tells limits per instance; the type only says whether they are still this one's.
    async fn instance_limits(&self, instance_type: &str) -> CloudResult<Option<InstanceLimits>> {
        let ask = async {
            let told: CloudResult<wire::Limits> =
                self.caller.call(&api::LIMITS, api::limits(&self.instance)).await;
            match told {
                Err(refusal) if refusal.kind == Kind::Gone => Ok(None),
                told => Ok(Some(told?.limits())),
            }
        };
        self.limits.of(instance_type, api::ADDRESSES_PER_CALL, ask).await
    }
}

const NO_PREFIXES: &str = "this cloud gives ENIs no prefixes";
const NO_DELETE_ON_RELEASE: &str = "this cloud never deletes an ENI together with its instance";
