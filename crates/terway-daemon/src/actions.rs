//! Carries out the pool's cloud operations: calls, then watches until the state aimed at is reached.
//! What fails goes back as it is; when to try again is the pool's decision.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use terway_cloud::{
    Cloud, CloudResult, CreateEni, EniDescription, EniFilter, EniKind, EniStatus, EniWatch, Goal, Ranges,
    WatchPace, on_behalf_of,
};
use terway_pool::{CloudAction, CloudAnswer, CloudEni};
use terway_types::{
    AddressCounts, CloudFailure, CloudFailureKind, EniId, InstanceId, IntentToken, SecurityGroupId, VSwitchId,
};
use tokio::runtime::Handle;

use crate::driver::{DriverHandle, Hands, Ticket};
use crate::subnets::SubnetBook;

mod addresses;

/// How long each state may take; the pool tries again after that.
const SETTLE: Duration = Duration::from_mins(1);
const MOVE: Duration = Duration::from_mins(2);
const VANISH: Duration = Duration::from_mins(2);

/// The tag that names the intent an ENI was made for.
pub const INTENT_TAG: &str = "terway.io/intent";

/// Whose ENIs these are, as their tags say.
#[derive(Clone, Debug)]
pub struct Owner {
    /// The cluster.
    pub cluster: String,
    /// The node's name.
    pub node: String,
}

impl Owner {
    /// The marks by which ENIs of this node are recognised.
    pub fn marks(&self) -> BTreeMap<String, String> {
        BTreeMap::from([
            ("creator".to_owned(), "terway".to_owned()),
            ("terway.io/cluster".to_owned(), self.cluster.clone()),
            ("terway.io/node".to_owned(), self.node.clone()),
        ])
    }
}

/// Everything a cloud operation needs.
#[derive(Debug)]
pub struct Actions {
    /// The cloud.
    pub cloud: Arc<dyn Cloud>,
    /// The watch over ENIs on their way.
    pub watch: EniWatch,
    /// How often addresses on their way are looked at.
    pub pace: WatchPace,
    /// This instance.
    pub instance: InstanceId,
    /// Tags of every ENI made: ours and the operator's.
    pub tags: BTreeMap<String, String>,
    /// CIDRs and gateways of vSwitches.
    pub subnets: Arc<SubnetBook>,
}

impl Actions {
    /// Runs one operation to its end. Dropping the future leaves nothing but the call that was under way; the
    /// ledger has the intent.
    pub async fn run(&self, action: &CloudAction) -> Result<CloudAnswer, CloudFailure> {
        match action {
            CloudAction::Create { token, vswitch, security_groups, counts } => {
                self.create(token, vswitch, security_groups, *counts).await.map(CloudAnswer::Created)
            }
            CloudAction::Find { eni } => self.find(eni).await.map(CloudAnswer::Created),
            CloudAction::Attach { eni } => {
                self.cloud.attach_eni(eni, &self.instance).await?;
                self.watch.until(eni, Goal::InUse(self.instance.clone()), MOVE).await?;
                Ok(CloudAnswer::Attached)
            }
            CloudAction::Detach { eni } => {
                self.cloud.detach_eni(eni, &self.instance).await?;
                self.watch.until(eni, Goal::Available, MOVE).await?;
                Ok(CloudAnswer::Detached)
            }
            CloudAction::Delete { eni } => {
                self.cloud.delete_eni(eni).await?;
                self.watch.until(eni, Goal::Gone, VANISH).await?;
                Ok(CloudAnswer::Deleted)
            }
            CloudAction::Regroup { eni, security_groups } => {
                self.cloud.set_security_groups(eni, security_groups).await?;
                Ok(CloudAnswer::Regrouped)
            }
            CloudAction::Assign { eni, token, counts } => self.assign(eni, token, *counts).await,
            CloudAction::Unassign { eni, addresses } => self.unassign(eni, addresses).await,
        }
    }

    async fn create(
        &self,
        token: &IntentToken,
        vswitch: &VSwitchId,
        security_groups: &[SecurityGroupId],
        counts: AddressCounts,
    ) -> CloudResult<CloudEni> {
        // First: an ENI whose CIDR is unknown would be of no use.
        self.subnets.get(vswitch).await?;
        let mut tags = self.tags.clone();
        tags.insert(INTENT_TAG.to_owned(), token.0.clone());
        let request = CreateEni {
            token: token.clone(),
            vswitch: vswitch.clone(),
            security_groups: security_groups.to_vec(),
            counts,
            primary_ipv4: None,
            kind: EniKind::Secondary,
            tags,
        };
        let made = match self.cloud.create_eni(&request).await {
            Err(failure) if failure.kind == CloudFailureKind::Conflict => {
                self.made_before(failure, token).await?
            }
            outcome => outcome?,
        };
        if made.status != EniStatus::Creating {
            return self.found(made).await;
        }
        // The call was accepted, so there is an ENI, whatever a failed look says.
        let id = made.id.clone();
        let settled = self.watch.until(&id, Goal::Settled, SETTLE).await.map_err(in_doubt)?;
        self.found(settled.unwrap_or(made)).await.map_err(in_doubt)
    }

    /// The cloud has seen the token with other parameters: those of the program before an upgrade, or of a configuration
    /// with other tags. What was made then bears the token, so a look tells at once. What is not seen may be so new that
    /// looks do not show it.
    async fn made_before(&self, failure: CloudFailure, token: &IntentToken) -> CloudResult<EniDescription> {
        let tags = BTreeMap::from([(INTENT_TAG.to_owned(), token.0.clone())]);
        let filter = EniFilter { tags, ..EniFilter::default() };
        let seen = self.cloud.describe_enis(&filter).await.unwrap_or_else(|looking| {
            tracing::warn!(%token, %looking, "could not look for what a token made");
            Vec::new()
        });
        // A cloud without tags lists everything.
        let mut made = seen.into_iter().filter(|eni| eni.tags.get(INTENT_TAG) == Some(&token.0));
        made.next().ok_or(failure)
    }

    /// Waits for an ENI that somebody else made: the cloud may not show it everywhere yet.
    async fn find(&self, eni: &EniId) -> CloudResult<CloudEni> {
        match self.watch.until(eni, Goal::Settled, SETTLE).await? {
            Some(found) => self.found(found).await,
            None => Err(CloudFailure {
                kind: CloudFailureKind::Gone,
                action: "DescribeNetworkInterfaces".to_owned(),
                vendor_code: None,
                request_id: None,
                message: format!("the cloud does not list {eni}"),
            }),
        }
    }

    async fn found(&self, eni: EniDescription) -> CloudResult<CloudEni> {
        let Ranges { subnets, gateways } = self.subnets.get(&eni.vswitch).await?;
        let attached = eni.status == EniStatus::InUse && eni.instance.as_ref() == Some(&self.instance);
        Ok(CloudEni {
            id: eni.id,
            mac: eni.mac,
            vswitch: eni.vswitch,
            security_groups: eni.security_groups,
            addresses: eni.addresses,
            assigned: eni.assigned,
            subnets,
            gateways,
            attached,
        })
    }
}

/// A failure after the call that changed something: what became of that call is not known.
fn in_doubt(failure: CloudFailure) -> CloudFailure {
    CloudFailure { kind: CloudFailureKind::Ambiguous, ..failure }
}

/// Starts operations as tasks and reports their ends to the driver.
#[derive(Debug)]
pub struct Spawner {
    /// What runs them.
    pub actions: Arc<Actions>,
    /// Where tasks live.
    pub runtime: Handle,
    /// Who wants to know.
    pub driver: DriverHandle,
}

impl Hands for Spawner {
    fn start(&mut self, ticket: Ticket, action: CloudAction, intent: Option<IntentToken>) {
        let (actions, driver) = (Arc::clone(&self.actions), self.driver.clone());
        self.runtime.spawn(async move {
            let start = Instant::now();
            let outcome = match intent {
                Some(intent) => on_behalf_of(intent, actions.run(&action)).await,
                None => actions.run(&action).await,
            };
            let (verb, object) = describe(&action);
            let ms = start.elapsed().as_millis();
            match &outcome {
                Ok(_) => tracing::info!(verb, object, ms, "cloud operation done"),
                Err(failure) => {
                    let request_id = failure.request_id.as_deref().unwrap_or_default();
                    tracing::warn!(verb, object, ms, request_id, %failure, "cloud operation failed");
                }
            }
            driver.done(ticket, outcome);
        });
    }
}

fn describe(action: &CloudAction) -> (&'static str, &str) {
    match action {
        CloudAction::Create { token, .. } => ("create", token.as_str()),
        CloudAction::Attach { eni } => ("attach", EniId::as_str(eni)),
        CloudAction::Detach { eni } => ("detach", eni.as_str()),
        CloudAction::Delete { eni } => ("delete", eni.as_str()),
        CloudAction::Find { eni } => ("find", eni.as_str()),
        CloudAction::Regroup { eni, .. } => ("regroup", eni.as_str()),
        CloudAction::Assign { eni, .. } => ("assign", eni.as_str()),
        CloudAction::Unassign { eni, .. } => ("unassign", eni.as_str()),
    }
}
