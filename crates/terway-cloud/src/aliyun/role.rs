//! The temporary key of the instance's RAM role, which the metadata service hands out.

use std::sync::Arc;

use async_trait::async_trait;

use super::metadata::AliyunMetadata;
use super::wire::TemporaryKey;
use crate::credentials::{Fetched, Link, LinkError, role_key};

/// The role of the instance this runs on.
#[derive(Debug)]
pub(super) struct InstanceRole {
    pub(super) metadata: Arc<AliyunMetadata>,
}

#[async_trait]
impl Link for InstanceRole {
    fn name(&self) -> String {
        "the RAM role of the instance".to_owned()
    }

    async fn fetch(&self) -> Result<Fetched, LinkError> {
        let read = |path: String| async move { self.metadata.read(&path).await };
        let key: TemporaryKey = role_key("ram/security-credentials/", read).await?;
        key.fetched()
    }
}
