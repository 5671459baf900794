//! A cloud that measures and logs every call on its way to the real one.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use terway_cloud::{
    Assign, Cloud, CloudResult, CreateEni, EniDescription, EniFilter, InstanceDescription, InstanceLimits,
    Trunking, VSwitch,
};
use terway_types::{AddressSet, EniId, InstanceId, IntentToken, SecurityGroupId, VSwitchId};

use crate::metrics::Metrics;

/// Passes calls on and takes notes.
#[derive(Debug)]
pub struct Metered {
    cloud: Arc<dyn Cloud>,
    metrics: Arc<Metrics>,
}

impl Metered {
    /// Measures this cloud.
    pub fn new(cloud: Arc<dyn Cloud>, metrics: Arc<Metrics>) -> Self {
        Self { cloud, metrics }
    }

    async fn call<T>(
        &self,
        action: &'static str,
        object: &str,
        call: impl Future<Output = CloudResult<T>> + Send,
    ) -> CloudResult<T> {
        let start = Instant::now();
        let outcome = call.await;
        let took = start.elapsed();
        let ms = took.as_millis();
        match &outcome {
            Ok(_) => {
                self.metrics.cloud(action, took, "ok");
                tracing::debug!(action, object, ms, "cloud call");
            }
            Err(failure) => {
                self.metrics.cloud(action, took, failure.kind.name());
                let request_id = failure.request_id.as_deref().unwrap_or_default();
                tracing::warn!(action, object, ms, request_id, %failure, "cloud call failed");
            }
        }
        outcome
    }
}

#[async_trait]
impl Cloud for Metered {
    fn provider(&self) -> &'static str {
        self.cloud.provider()
    }

    async fn create_eni(&self, request: &CreateEni) -> CloudResult<EniDescription> {
        self.call("CreateNetworkInterface", request.token.as_str(), self.cloud.create_eni(request)).await
    }

    async fn attach_eni(&self, eni: &EniId, instance: &InstanceId) -> CloudResult<()> {
        self.call("AttachNetworkInterface", eni.as_str(), self.cloud.attach_eni(eni, instance)).await
    }

    async fn detach_eni(&self, eni: &EniId, instance: &InstanceId) -> CloudResult<()> {
        self.call("DetachNetworkInterface", eni.as_str(), self.cloud.detach_eni(eni, instance)).await
    }

    async fn delete_eni(&self, eni: &EniId) -> CloudResult<()> {
        self.call("DeleteNetworkInterface", eni.as_str(), self.cloud.delete_eni(eni)).await
    }

    async fn describe_enis(&self, filter: &EniFilter) -> CloudResult<Vec<EniDescription>> {
        let ids: Vec<_> = filter.ids.iter().map(EniId::as_str).collect();
        self.call("DescribeNetworkInterfaces", &ids.join(","), self.cloud.describe_enis(filter)).await
    }

    async fn assign(&self, eni: &EniId, token: &IntentToken, what: Assign) -> CloudResult<AddressSet> {
        let action = match what {
            Assign::Ipv4(_) | Assign::Ipv4Prefixes(_) => "AssignPrivateIpAddresses",
            Assign::Ipv6(_) | Assign::Ipv6Prefixes(_) => "AssignIpv6Addresses",
        };
        self.call(action, eni.as_str(), self.cloud.assign(eni, token, what)).await
    }

    async fn unassign(&self, eni: &EniId, what: &AddressSet) -> CloudResult<()> {
        self.call("UnassignPrivateIpAddresses", eni.as_str(), self.cloud.unassign(eni, what)).await
    }

    async fn set_security_groups(&self, eni: &EniId, groups: &[SecurityGroupId]) -> CloudResult<()> {
        let call = self.cloud.set_security_groups(eni, groups);
        self.call("ModifyNetworkInterfaceAttribute", eni.as_str(), call).await
    }

    async fn set_delete_on_release(&self, eni: &EniId, on: bool) -> CloudResult<()> {
        let call = self.cloud.set_delete_on_release(eni, on);
        self.call("ModifyNetworkInterfaceAttribute", eni.as_str(), call).await
    }

    /// Not measured: the daemon does not move members.
    fn trunking(&self) -> Option<&dyn Trunking> {
        self.cloud.trunking()
    }

    async fn describe_instances(&self, ids: &[InstanceId]) -> CloudResult<Vec<InstanceDescription>> {
        let names: Vec<_> = ids.iter().map(InstanceId::as_str).collect();
        self.call("DescribeInstances", &names.join(","), self.cloud.describe_instances(ids)).await
    }

    async fn describe_vswitches(&self, ids: &[VSwitchId]) -> CloudResult<Vec<VSwitch>> {
        let names: Vec<_> = ids.iter().map(VSwitchId::as_str).collect();
        self.call("DescribeVSwitches", &names.join(","), self.cloud.describe_vswitches(ids)).await
    }

    async fn instance_limits(&self, instance_type: &str) -> CloudResult<Option<InstanceLimits>> {
        self.call("DescribeInstanceTypes", instance_type, self.cloud.instance_limits(instance_type)).await
    }
}
