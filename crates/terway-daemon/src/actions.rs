//! Carries out the pool's cloud operations: calls, then watches until the state aimed at is reached.
//! What fails goes back as it is; when to try again is the pool's decision.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use terway_cloud::{
    Cloud, CloudResult, CreateEni, EniDescription, EniKind, EniStatus, EniWatch, Goal, VSwitch,
};
use terway_pool::{CloudAction, CloudAnswer, CloudEni};
use terway_types::{
    AddressCounts, CloudFailure, CloudFailureKind, EniId, InstanceId, IntentToken, SecurityGroupId, Subnets,
    VSwitchId,
};
use tokio::runtime::Handle;

use crate::driver::{DriverHandle, Hands, Ticket};

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
    cloud: Arc<dyn Cloud>,
    watch: EniWatch,
    instance: InstanceId,
    /// Tags of every ENI made: ours and the operator's.
    tags: BTreeMap<String, String>,
    subnets: Mutex<BTreeMap<VSwitchId, Subnets>>,
}

impl Actions {
    /// Operations on ENIs of this instance. The CIDRs of these vSwitches are known already.
    pub fn new(
        cloud: Arc<dyn Cloud>,
        watch: EniWatch,
        instance: InstanceId,
        tags: BTreeMap<String, String>,
        vswitches: &[VSwitch],
    ) -> Self {
        let subnets = vswitches.iter().map(|vswitch| (vswitch.id.clone(), vswitch.subnets)).collect();
        Self { cloud, watch, instance, tags, subnets: Mutex::new(subnets) }
    }

    /// Runs one operation to its end.
    pub async fn run(&self, action: &CloudAction) -> Result<CloudAnswer, CloudFailure> {
        match action {
            CloudAction::Create { token, vswitch, security_groups, counts } => {
                self.create(token, vswitch, security_groups, *counts).await.map(CloudAnswer::Created)
            }
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
            CloudAction::Find { .. }
            | CloudAction::Regroup { .. }
            | CloudAction::Assign { .. }
            | CloudAction::Unassign { .. } => Err(CloudFailure {
                kind: CloudFailureKind::Invalid,
                action: format!("{action:?}"),
                vendor_code: None,
                request_id: None,
                message: "this daemon serves exclusive ENIs only".to_owned(),
            }),
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
        let subnets = self.subnets(vswitch).await?;
        let mut tags = self.tags.clone();
        tags.insert(INTENT_TAG.to_owned(), token.0.clone());
        let request = CreateEni {
            token: token.clone(),
            vswitch: vswitch.clone(),
            security_groups: security_groups.to_vec(),
            counts,
            kind: EniKind::Secondary,
            tags,
        };
        let made = self.cloud.create_eni(&request).await?;
        let eni = if made.status == EniStatus::Creating {
            let id = made.id.clone();
            self.watch.until(&id, Goal::Settled, SETTLE).await?.unwrap_or(made)
        } else {
            made
        };
        Ok(self.created(eni, subnets))
    }

    fn created(&self, eni: EniDescription, subnets: Subnets) -> CloudEni {
        let attached = eni.status == EniStatus::InUse && eni.instance.as_ref() == Some(&self.instance);
        CloudEni {
            id: eni.id,
            mac: eni.mac,
            vswitch: eni.vswitch,
            security_groups: eni.security_groups,
            addresses: eni.addresses,
            assigned: eni.assigned,
            subnets,
            gateways: subnets.gateways(),
            attached,
        }
    }

    /// CIDRs never change, so each vSwitch is asked for once.
    async fn subnets(&self, id: &VSwitchId) -> CloudResult<Subnets> {
        let known = self.subnets.lock().unwrap_or_else(PoisonError::into_inner).get(id).copied();
        if let Some(subnets) = known {
            return Ok(subnets);
        }
        let Some(vswitch) = self.cloud.describe_vswitch(id).await? else {
            return Err(CloudFailure {
                kind: CloudFailureKind::Invalid,
                action: "DescribeVSwitches".to_owned(),
                vendor_code: None,
                request_id: None,
                message: format!("the cloud does not know vSwitch {id}"),
            });
        };
        self.subnets.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone(), vswitch.subnets);
        Ok(vswitch.subnets)
    }
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
    fn start(&mut self, ticket: Ticket, action: CloudAction) {
        let (actions, driver) = (Arc::clone(&self.actions), self.driver.clone());
        self.runtime.spawn(async move {
            let start = Instant::now();
            let outcome = actions.run(&action).await;
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
