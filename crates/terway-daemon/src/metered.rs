//! A cloud that measures and logs every call on its way to the real one.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use terway_cloud::{Cloud, CloudResult, CreateEni, EniDescription, EniFilter, InstanceLimits, VSwitch};
use terway_types::{EniId, InstanceId, VSwitchId};

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

    async fn describe_vswitch(&self, id: &VSwitchId) -> CloudResult<Option<VSwitch>> {
        self.call("DescribeVSwitches", id.as_str(), self.cloud.describe_vswitch(id)).await
    }

    async fn instance_limits(&self, instance_type: &str) -> CloudResult<Option<InstanceLimits>> {
        self.call("DescribeInstanceTypes", instance_type, self.cloud.instance_limits(instance_type)).await
    }
}
