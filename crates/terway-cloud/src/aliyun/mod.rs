//! Alibaba Cloud: the [`Cloud`] trait over the ECS and VPC APIs, and instance metadata.

mod api;
mod call;
mod config;
mod errors;
mod gateways;
mod keys;
mod lingjun;
mod metadata;
mod moves;
mod sign;
#[cfg(test)]
mod tests;
mod web_identity;
mod wire;

use async_trait::async_trait;
use terway_types::{
    AddressSet, CloudFailure, CloudFailureKind as Kind, EniId, InstanceId, IntentToken, SecurityGroupId,
    VSwitchId,
};

use self::api::{Action, Taken};
use self::call::Caller;
pub use self::config::{AliyunConfig, Signature};
pub use self::keys::{AliyunKeys, SECRET_DIRECTORY};
pub use self::lingjun::{Lingjun, Place};
pub use self::metadata::{AliyunMetadata, METADATA_URL};
use self::wire::{Accepted, Assigned, Eni, EniPage, InstancePage, InstanceTypePage, VSwitchPage, WireError};
use crate::cloud::{
    Assign, Cloud, CloudResult, CreateEni, EniDescription, EniFilter, EniKind, EniStatus,
    InstanceDescription, InstanceLimits, Trunking, VSwitch,
};
pub use crate::endpoint::ConfigError;
use crate::error::failure;
use crate::exchange::Stamps;
use crate::limits::Limits;

/// Pages of one listing at most: more ENIs than any account has, fewer than for ever.
const MOST_PAGES: usize = 1000;
/// How often one vSwitch is asked for again where the cloud takes no more calls for now.
const PATIENT_ASKS: usize = 3;

/// Alibaba Cloud, as one region of it serves one account.
#[derive(Debug)]
pub struct Aliyun {
    caller: Caller,
    limits: Limits,
}

impl Aliyun {
    /// Checks the configuration and prepares the client. Sends nothing.
    pub fn new(config: AliyunConfig) -> Result<Self, ConfigError> {
        Self::with_stamps(config, Stamps::default())
    }

    fn with_stamps(config: AliyunConfig, stamps: Stamps) -> Result<Self, ConfigError> {
        let limits = Limits::new(config.metadata.clone());
        Ok(Self { caller: Caller::new(config, stamps)?, limits })
    }

    /// One listing over all its pages.
    async fn describe_some(&self, filter: &EniFilter, ids: &[EniId]) -> CloudResult<Vec<EniDescription>> {
        let parameters = api::describe(filter, ids);
        let mut enis = Vec::new();
        let mut token = String::new();
        for _ in 0..MOST_PAGES {
            let mut asked = parameters.clone();
            if !token.is_empty() {
                asked = asked.with("NextToken", token.as_str());
            }
            let page: EniPage = self.caller.call(&api::DESCRIBE, asked).await?;
            for eni in page.network_interface_sets.network_interface_set {
                enis.push(understood(&api::DESCRIBE, eni.describe())?);
            }
            match page.next_token {
                Some(next) if !next.is_empty() && next != token => token = next,
                _ => return Ok(enis),
            }
        }
        let message = format!("the listing does not end after {MOST_PAGES} pages");
        Err(failure(Kind::Transient, api::DESCRIBE.name, message))
    }

    async fn one_vswitch(&self, id: &VSwitchId) -> CloudResult<Option<VSwitch>> {
        let page: VSwitchPage = match self.caller.call(&api::VSWITCHES, api::vswitch(id)).await {
            Err(refusal) if refusal.vendor_code.as_deref().is_some_and(errors::is_vswitch_gone) => {
                return Ok(None);
            }
            answer => answer?,
        };
        let found = page.v_switches.v_switch.into_iter().find(|vswitch| vswitch.v_switch_id == id.as_str());
        found.map(|vswitch| understood(&api::VSWITCHES, vswitch.describe())).transpose()
    }

    /// The cloud tells of one vSwitch a call. Where it takes no more of them for now, this one is asked for again, after
    /// the rest that the budget gives the action; else the whole list would begin anew, and under a low limit never end.
    async fn one_vswitch_patiently(&self, id: &VSwitchId) -> CloudResult<Option<VSwitch>> {
        for _ in 0..PATIENT_ASKS {
            match self.one_vswitch(id).await {
                Err(refusal) if refusal.kind == Kind::Throttled => {}
                answer => return answer,
            }
        }
        self.one_vswitch(id).await
    }

    /// Takes some texts off an ENI. The cloud refuses a call for one text that the ENI does not have, so the
    /// rest then goes one by one.
    async fn take_off(&self, eni: &EniId, taken: &Taken, texts: &[String]) -> CloudResult<()> {
        match self.take_off_once(eni, taken, texts).await {
            Err(refusal) if texts.len() > 1 && is_unassigned(&refusal) => {}
            outcome => return outcome,
        }
        for text in texts {
            self.take_off_once(eni, taken, std::slice::from_ref(text)).await?;
        }
        Ok(())
    }

    async fn take_off_once(&self, eni: &EniId, taken: &Taken, texts: &[String]) -> CloudResult<()> {
        let parameters = taken.parameters(eni, texts);
        match self.caller.call::<Accepted>(taken.action, parameters).await {
            Err(refusal) if refusal.kind == Kind::Gone => Ok(()),
            Err(refusal) if texts.len() == 1 && is_unassigned(&refusal) => Ok(()),
            outcome => outcome.map(drop),
        }
    }

    /// The ENI as a call left it that was refused for the ENI's state.
    async fn look(&self, eni: &EniId) -> CloudResult<Option<EniDescription>> {
        let filter = EniFilter { ids: vec![eni.clone()], ..EniFilter::default() };
        Ok(self.describe_enis(&filter).await?.into_iter().find(|found| found.id == *eni))
    }

    /// Ends a refusal for the ENI's state: success if the state is what was wanted anyway.
    async fn unless(
        &self,
        refusal: CloudFailure,
        eni: &EniId,
        wanted: impl Fn(&EniDescription) -> bool + Send,
    ) -> CloudResult<()> {
        if refusal.kind != Kind::InvalidState {
            return Err(refusal);
        }
        match self.look(eni).await {
            Ok(Some(found)) if wanted(&found) => Ok(()),
            // What the refusal says is worth more than why a look at it failed.
            _ => Err(refusal),
        }
    }
}

fn is_unassigned(refusal: &CloudFailure) -> bool {
    refusal.vendor_code.as_deref().is_some_and(errors::is_unassigned)
}

/// A translated answer, or the doubt that an answer leaves that makes no sense.
fn understood<T>(action: &Action, answer: Result<T, WireError>) -> CloudResult<T> {
    answer.map_err(|error| {
        let kind = if action.changes { Kind::Ambiguous } else { Kind::Transient };
        failure(kind, action.name, format!("the answer cannot be used: {error}"))
    })
}

#[async_trait]
impl Cloud for Aliyun {
    fn provider(&self) -> &'static str {
        "aliyun"
    }

    async fn create_eni(&self, request: &CreateEni) -> CloudResult<EniDescription> {
        if !matches!(request.kind, EniKind::Secondary | EniKind::Trunk) {
            let message = format!("an ENI of kind {:?} is not made by this call", request.kind);
            return Err(failure(Kind::Invalid, api::CREATE.name, message));
        }
        let eni: Eni = self.caller.call(&api::CREATE, api::create(request)).await?;
        understood(&api::CREATE, eni.describe())
    }

    async fn attach_eni(&self, eni: &EniId, instance: &InstanceId) -> CloudResult<()> {
        self.attach(eni, None, instance).await
    }

    async fn detach_eni(&self, eni: &EniId, instance: &InstanceId) -> CloudResult<()> {
        self.detach(eni, None, instance).await
    }

    async fn delete_eni(&self, eni: &EniId) -> CloudResult<()> {
        let outcome: CloudResult<Accepted> = self.caller.call(&api::DELETE, api::one(eni)).await;
        match outcome {
            Ok(_) => Ok(()),
            Err(refusal) if refusal.kind == Kind::Gone => Ok(()),
            Err(refusal) => self.unless(refusal, eni, |found| found.status == EniStatus::Deleting).await,
        }
    }

    async fn describe_enis(&self, filter: &EniFilter) -> CloudResult<Vec<EniDescription>> {
        if filter.ids.is_empty() {
            return self.describe_some(filter, &[]).await;
        }
        let mut enis = Vec::with_capacity(filter.ids.len());
        for ids in filter.ids.chunks(api::IDS_PER_CALL) {
            enis.extend(self.describe_some(filter, ids).await?);
        }
        Ok(enis)
    }

    async fn assign(&self, eni: &EniId, token: &IntentToken, what: Assign) -> CloudResult<AddressSet> {
        if what.amount() == 0 {
            return Ok(AddressSet::default());
        }
        let (action, parameters) = api::assign(eni, token, what);
        let assigned: Assigned = self.caller.call(action, parameters).await?;
        understood(action, assigned.set(eni))
    }

    async fn unassign(&self, eni: &EniId, what: &AddressSet) -> CloudResult<()> {
        for taken in api::taken(what) {
            for texts in taken.texts.chunks(api::ADDRESSES_PER_CALL as usize) {
                self.take_off(eni, &taken, texts).await?;
            }
        }
        Ok(())
    }

    async fn set_delete_on_release(&self, eni: &EniId, on: bool) -> CloudResult<()> {
        self.caller.call::<Accepted>(&api::MODIFY, api::delete_on_release(eni, on)).await.map(drop)
    }

    fn trunking(&self) -> Option<&dyn Trunking> {
        Some(self)
    }

    async fn describe_instances(&self, ids: &[InstanceId]) -> CloudResult<Vec<InstanceDescription>> {
        let mut found = Vec::with_capacity(ids.len());
        for ids in ids.chunks(api::IDS_PER_CALL) {
            let page: InstancePage = self.caller.call(&api::INSTANCES, api::instances(ids)).await?;
            found.extend(page.instances.instance.into_iter().map(wire::Instance::describe));
        }
        Ok(found)
    }

    async fn set_security_groups(&self, eni: &EniId, groups: &[SecurityGroupId]) -> CloudResult<()> {
        let parameters = api::security_groups(eni, groups);
        self.caller.call::<Accepted>(&api::MODIFY, parameters).await.map(drop)
    }

    /// The API takes one id per call, and lists of a VPC only in pages of 50.
    async fn describe_vswitches(&self, ids: &[VSwitchId]) -> CloudResult<Vec<VSwitch>> {
        let mut found = Vec::with_capacity(ids.len());
        for id in ids {
            found.extend(self.one_vswitch_patiently(id).await?);
        }
        Ok(found)
    }

    async fn instance_limits(&self, instance_type: &str) -> CloudResult<Option<InstanceLimits>> {
        let ask = async {
            let page: InstanceTypePage =
                self.caller.call(&api::INSTANCE_TYPES, api::instance_type(instance_type)).await?;
            let mut types = page.instance_types.instance_type.iter();
            Ok(types.find(|found| found.id == instance_type).map(wire::InstanceType::limits))
        };
        self.limits.of(instance_type, api::ADDRESSES_PER_CALL, ask).await
    }
}
