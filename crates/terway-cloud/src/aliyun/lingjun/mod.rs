//! Lingjun nodes (EFLO): the [`Cloud`] trait over the API of their ENIs, for pods with an ENI of their own. Whoever
//! asks for what these ENIs do not have is told so.

mod api;
#[cfg(test)]
mod tests;
mod wire;

use std::time::Duration;

use async_trait::async_trait;
use terway_types::{
    AddressCounts, AddressSet, CloudFailure, CloudFailureKind as Kind, EniId, InstanceId, IntentToken,
    SecurityGroupId, VSwitchId, ZoneId,
};
use tokio::time::{Instant, sleep};

use self::wire::{Created, Envelope, Listing, Node};
use super::api::{Action, Parameters};
use super::config::AliyunConfig;
use super::wire::Accepted;
use super::{Aliyun, MOST_PAGES, understood};
use crate::backoff::Backoff;
use crate::cloud::{
    Assign, Cloud, CloudResult, CreateEni, EniDescription, EniFilter, EniKind, EniStatus,
    InstanceDescription, InstanceLimits, Trunking, VSwitch,
};
use crate::endpoint::ConfigError;
use crate::error::failure;

/// Between looks at an ENI that was just made.
const PACE: Backoff =
    Backoff { first: Duration::from_secs(1), factor: 1.5, max: Duration::from_secs(5), jitter: 0.0 };
/// How long a new ENI may take to be listed.
const PATIENCE: Duration = Duration::from_mins(1);

/// So many ids are asked for one by one rather than by listing all of the VPC.
const FEW: usize = 8;

/// Where a Lingjun node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The node, e.g. `e01-cn-...`.
    pub node: InstanceId,
    /// The VPC of new ENIs.
    pub vpc: String,
    /// Their zone.
    pub zone: ZoneId,
}

/// Alibaba Cloud as a Lingjun node sees it.
#[derive(Debug)]
pub struct Lingjun {
    /// The same account's ordinary side, which has the vSwitches.
    ordinary: Aliyun,
    place: Place,
    patience: Duration,
}

impl Lingjun {
    /// Checks the configuration and prepares the client. Sends nothing.
    pub fn new(config: AliyunConfig, place: Place) -> Result<Self, ConfigError> {
        Ok(Self { ordinary: Aliyun::new(config)?, place, patience: PATIENCE })
    }

    async fn order(&self, action: &Action, parameters: Parameters) -> CloudResult<()> {
        self.ordinary.caller.call::<Accepted>(action, parameters).await.map(drop)
    }

    /// One listing over all its pages.
    async fn list(&self, by: &Parameters) -> CloudResult<Vec<EniDescription>> {
        let (mut enis, mut seen) = (Vec::new(), 0);
        for page in 1..=MOST_PAGES {
            let asked = api::list(by.clone(), page);
            let answer: Envelope<Listing> = self.ordinary.caller.call(&api::LIST, asked).await?;
            let Listing { data, total } = answer.content;
            seen += data.len();
            let ended = data.is_empty() || seen >= total;
            for leni in data {
                // One that is being made has no hardware address yet; it counts as not there.
                if leni.is_born() {
                    enis.push(understood(&api::LIST, leni.describe())?);
                }
            }
            if ended {
                return Ok(enis);
            }
        }
        let message = format!("the listing does not end after {MOST_PAGES} pages");
        Err(failure(Kind::Transient, api::LIST.name, message))
    }

    async fn look(&self, eni: &EniId) -> CloudResult<Option<EniDescription>> {
        Ok(self.list(&api::one(eni)).await?.into_iter().find(|found| found.id == *eni))
    }

    /// Waits until a new ENI is listed: the call that makes it answers its id alone.
    async fn born(&self, eni: &EniId) -> CloudResult<EniDescription> {
        let deadline = Instant::now() + self.patience;
        for looks in 1.. {
            // A look that fails or does not show it yet says nothing.
            if let Ok(Some(found)) = self.look(eni).await {
                return Ok(found);
            }
            if Instant::now() >= deadline {
                break;
            }
            sleep(PACE.delay(looks, 0.0)).await;
        }
        Err(failure(Kind::Ambiguous, api::CREATE.name, format!("{eni} is made, but cannot be seen yet")))
    }
}

/// What there is not.
fn none<T>(action: &Action, what: &str) -> CloudResult<T> {
    Err(failure(Kind::Invalid, action.name, format!("not for Lingjun nodes: {what}")))
}

const ONE_ADDRESS: &str = "an ENI has one IPv4 address, for the pod that owns it, and no other";

#[async_trait]
impl Cloud for Lingjun {
    fn provider(&self) -> &'static str {
        "aliyun"
    }

    async fn create_eni(&self, request: &CreateEni) -> CloudResult<EniDescription> {
        if request.kind != EniKind::Secondary {
            return none(&api::CREATE, "trunk ENIs");
        }
        if request.primary_ipv4.is_some() {
            return none(&api::CREATE, "an address that is chosen");
        }
        if request.counts != (AddressCounts { ipv4: 1, ..AddressCounts::default() }) {
            return none(&api::CREATE, ONE_ADDRESS);
        }
        let created: Envelope<Created> =
            self.ordinary.caller.call(&api::CREATE, api::create(request, &self.place)).await?;
        self.born(&created.content.elastic_network_interface_id.into()).await
    }

    /// The API says nothing about an ENI that is there already, so that is looked at first.
    async fn attach_eni(&self, eni: &EniId, instance: &InstanceId) -> CloudResult<()> {
        match self.look(eni).await? {
            Some(found)
                if matches!(found.status, EniStatus::InUse | EniStatus::Attaching)
                    && found.instance.as_ref() == Some(instance) =>
            {
                Ok(())
            }
            Some(found) if found.status != EniStatus::Available => {
                let message = format!("{eni} is {:?}", found.status);
                Err(failure(Kind::InvalidState, api::ATTACH.name, message))
            }
            _ => self.order(&api::ATTACH, api::bind(eni, instance)).await,
        }
    }

    async fn detach_eni(&self, eni: &EniId, instance: &InstanceId) -> CloudResult<()> {
        if let Some(found) = self.look(eni).await?
            && (found.instance.is_none() || found.status == EniStatus::Detaching)
        {
            return Ok(());
        }
        unless_gone(self.order(&api::DETACH, api::bind(eni, instance)).await)
    }

    async fn delete_eni(&self, eni: &EniId) -> CloudResult<()> {
        unless_gone(self.order(&api::DELETE, api::one(eni)).await)
    }

    /// The API finds by one id, by node or by VPC; the rest of the filter is applied here.
    async fn describe_enis(&self, filter: &EniFilter) -> CloudResult<Vec<EniDescription>> {
        let few = filter.ids.len() <= FEW && !filter.ids.is_empty();
        let listings: Vec<Parameters> = match &filter.instance {
            _ if few => filter.ids.iter().map(api::one).collect(),
            Some(node) => vec![api::node(node)],
            None => vec![api::in_vpc(&self.place.vpc)],
        };
        let mut enis = Vec::new();
        for by in &listings {
            enis.extend(self.list(by).await?);
        }
        enis.retain(|eni| {
            (filter.ids.is_empty() || filter.ids.contains(&eni.id))
                && (filter.instance.is_none() || filter.instance == eni.instance)
                && filter.tags.iter().all(|(key, value)| eni.tags.get(key) == Some(value))
        });
        Ok(enis)
    }

    async fn assign(&self, _eni: &EniId, _token: &IntentToken, what: Assign) -> CloudResult<AddressSet> {
        match what.amount() {
            0 => Ok(AddressSet::default()),
            _ => none(&api::CREATE, ONE_ADDRESS),
        }
    }

    async fn unassign(&self, _eni: &EniId, what: &AddressSet) -> CloudResult<()> {
        if what.is_empty() { Ok(()) } else { none(&api::UPDATE, ONE_ADDRESS) }
    }

    async fn set_delete_on_release(&self, _eni: &EniId, _on: bool) -> CloudResult<()> {
        none(&api::UPDATE, "an ENI that is deleted together with its node")
    }

    fn trunking(&self) -> Option<&dyn Trunking> {
        None
    }

    async fn describe_instances(&self, _ids: &[InstanceId]) -> CloudResult<Vec<InstanceDescription>> {
        none(&api::NODE, "a description of instances, which they are not")
    }

    async fn set_security_groups(&self, eni: &EniId, groups: &[SecurityGroupId]) -> CloudResult<()> {
        match groups {
            [] => none(&api::UPDATE, "an ENI without a security group"),
            [first, ..] => self.order(&api::UPDATE, api::security_group(eni, first)).await,
        }
    }

    async fn describe_vswitches(&self, ids: &[VSwitchId]) -> CloudResult<Vec<VSwitch>> {
        self.ordinary.describe_vswitches(ids).await
    }

    /// The cloud tells them per node.
    async fn instance_limits(&self, instance_type: &str) -> CloudResult<Option<InstanceLimits>> {
        let ask = async {
            let asked = self.ordinary.caller.call(&api::NODE, api::node(&self.place.node)).await;
            let told: Result<Envelope<Node>, CloudFailure> = asked;
            match told {
                Err(refusal) if refusal.kind == Kind::Gone => Ok(None),
                told => Ok(Some(told?.content.limits())),
            }
        };
        self.ordinary.limits.of(instance_type, super::api::ADDRESSES_PER_CALL, ask).await
    }
}

fn unless_gone(outcome: CloudResult<()>) -> CloudResult<()> {
    match outcome {
        Err(refusal) if refusal.kind == Kind::Gone => Ok(()),
        outcome => outcome,
    }
}
