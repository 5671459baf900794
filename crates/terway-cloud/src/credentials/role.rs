//! The temporary key of an instance's role, as both clouds' metadata services hand it out: a listing that names the
//! role, and a JSON answer below its name that says whether there is a key.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use async_trait::async_trait;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use terway_types::{CloudFailure, CloudFailureKind as Kind};

use super::chain::{Fetched, Link, LinkError};
use crate::instance_data::Paths;

/// A temporary key in a cloud's own words.
pub(crate) trait KeyForm: DeserializeOwned {
    /// The key, if it is one.
    fn fetched(self) -> Result<Fetched, LinkError>;
}

/// The role of the instance this runs on.
pub(crate) struct InstanceRole<K> {
    name: &'static str,
    /// Where the metadata service lists it.
    path: &'static str,
    metadata: Arc<dyn Paths>,
    form: PhantomData<fn() -> K>,
}

impl<K> InstanceRole<K> {
    pub(crate) fn new(name: &'static str, path: &'static str, metadata: Arc<dyn Paths>) -> Self {
        Self { name, path, metadata, form: PhantomData }
    }
}

impl<K> fmt::Debug for InstanceRole<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InstanceRole").field("metadata", &self.metadata).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer<K> {
    #[serde(default)]
    code: String,
    #[serde(flatten)]
    key: K,
}

#[async_trait]
impl<K: KeyForm> Link for InstanceRole<K> {
    fn name(&self) -> String {
        self.name.to_owned()
    }

    async fn fetch(&self) -> Result<Fetched, LinkError> {
        let absent = || LinkError::Absent("the instance has no role".to_owned());
        let roles = self.metadata.read(self.path).await.map_err(|failure| match failure.kind {
            Kind::Gone => absent(),
            _ => failed(&failure),
        })?;
        let role = roles.lines().map(str::trim).find(|role| !role.is_empty()).ok_or_else(absent)?;
        let text = self.metadata.read(&format!("{}{role}", self.path)).await;
        let answer: Answer<K> = serde_json::from_str(&text.map_err(|failure| failed(&failure))?)
            .map_err(|_| LinkError::Failed(format!("the answer for role {role} is no JSON")))?;
        match answer.code.as_str() {
            "Success" => answer.key.fetched(),
            code => Err(LinkError::Failed(format!("the answer for role {role} has Code {code:?}"))),
        }
    }
}

fn failed(failure: &CloudFailure) -> LinkError {
    LinkError::Failed(failure.message.clone())
}
