//! ENIs to instances and off them, by themselves or as members of a trunk ENI there: one action each way, with or
//! without the trunk's id.

use async_trait::async_trait;
use terway_types::{CloudFailureKind as Kind, EniId, InstanceId};

use super::api::{self, Parameters};
use super::wire::Accepted;
use super::{Aliyun, errors};
use crate::cloud::{CloudResult, EniStatus, Trunking};

fn parameters(eni: &EniId, trunk: Option<&EniId>, instance: &InstanceId) -> Parameters {
    trunk.map_or_else(|| api::bind(eni, instance), |trunk| api::bind_member(eni, trunk, instance))
}

impl Aliyun {
    pub(super) async fn attach(
        &self,
        eni: &EniId,
        trunk: Option<&EniId>,
        instance: &InstanceId,
    ) -> CloudResult<()> {
        let parameters = parameters(eni, trunk, instance);
        let outcome: CloudResult<Accepted> = self.caller.call(&api::ATTACH, parameters).await;
        let Err(refusal) = outcome else { return Ok(()) };
        self.unless(refusal, eni, |found| {
            matches!(found.status, EniStatus::InUse | EniStatus::Attaching)
                && found.instance.as_ref() == Some(instance)
                && (trunk.is_none() || found.trunk.as_ref() == trunk)
        })
        .await
    }

    pub(super) async fn detach(
        &self,
        eni: &EniId,
        trunk: Option<&EniId>,
        instance: &InstanceId,
    ) -> CloudResult<()> {
        let parameters = parameters(eni, trunk, instance);
        let outcome: CloudResult<Accepted> = self.caller.call(&api::DETACH, parameters).await;
        let Err(refusal) = outcome else { return Ok(()) };
        if refusal.kind == Kind::Gone || refusal.vendor_code.as_deref().is_some_and(errors::is_instance_gone)
        {
            return Ok(());
        }
        self.unless(refusal, eni, |found| match found.status {
            EniStatus::Available | EniStatus::Deleting => true,
            EniStatus::Detaching => found.instance.as_ref().is_none_or(|at| at == instance),
            EniStatus::Creating | EniStatus::Attaching | EniStatus::InUse => false,
        })
        .await
    }
}

#[async_trait]
impl Trunking for Aliyun {
    async fn attach_member(&self, member: &EniId, trunk: &EniId, instance: &InstanceId) -> CloudResult<()> {
        self.attach(member, Some(trunk), instance).await
    }

    async fn detach_member(&self, member: &EniId, trunk: &EniId, instance: &InstanceId) -> CloudResult<()> {
        self.detach(member, Some(trunk), instance).await
    }
}
