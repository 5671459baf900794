//! The temporary key of the instance's CAM role, which the metadata service hands out.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::Deserialize;
use terway_types::{CloudFailure, CloudFailureKind as Kind};

use super::metadata::TencentMetadata;
use super::wire::TemporaryKey;
use crate::credentials::{Fetched, Link, LinkError};

const PATH: &str = "cam/security-credentials/";

/// The role of the instance this runs on.
#[derive(Debug)]
pub(super) struct InstanceRole {
    pub(super) metadata: Arc<TencentMetadata>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Answer {
    code: String,
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
        let roles = self.metadata.read(PATH).await.map_err(|failure| match failure.kind {
            Kind::Gone => LinkError::Absent("the instance has no role".to_owned()),
            _ => failed(&failure),
        })?;
        let Some(role) = roles.lines().map(str::trim).find(|role| !role.is_empty()) else {
            return Err(LinkError::Absent("the instance has no role".to_owned()));
        };
        let text = self.metadata.read(&format!("{PATH}{role}")).await.map_err(|failure| failed(&failure))?;
        let answer: Answer = serde_json::from_str(&text)
            .map_err(|_| LinkError::Failed(format!("the answer for role {role} is no JSON")))?;
        if answer.code != "Success" {
            return Err(LinkError::Failed(format!("the answer for role {role} has Code {:?}", answer.code)));
        }
        fetched(answer.key, answer.expired_time)
    }
}

fn failed(failure: &CloudFailure) -> LinkError {
    LinkError::Failed(failure.message.clone())
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
