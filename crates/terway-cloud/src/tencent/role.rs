//! The temporary key of the instance's CAM role, which the metadata service hands out.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::Deserialize;

use super::metadata::TencentMetadata;
use super::wire::TemporaryKey;
use crate::credentials::{Fetched, Link, LinkError, role_key};

/// The role of the instance this runs on.
#[derive(Debug)]
pub(super) struct InstanceRole {
    pub(super) metadata: Arc<TencentMetadata>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Answer {
    expired_time: i64,
    #[serde(flatten)]
    key: TemporaryKey,
}

#[async_trait]
impl Link for InstanceRole {
    fn name(&self) -> String {
        "the CAM role of the instance".to_owned()
    }

    async fn fetch(&self) -> Result<Fetched, LinkError> {
        let read = |path: String| async move { self.metadata.read(&path).await };
        let answer: Answer = role_key("cam/security-credentials/", read).await?;
        fetched(answer.key, answer.expired_time)
    }
}

/// A key with its expiry in seconds since 1970.
pub(super) fn fetched(key: TemporaryKey, expired_time: i64) -> Result<Fetched, LinkError> {
    let expires = Timestamp::from_second(expired_time).ok().filter(|_| expired_time > 0);
    let Some(expires) = expires else {
        return Err(LinkError::Failed(format!("the key comes with ExpiredTime {expired_time}")));
    };
    let key =
        key.checked().map_err(|error| LinkError::Failed(format!("the key that came is none: {error}")))?;
    Ok(Fetched { key, expires: Some(expires), recheck: None })
}
