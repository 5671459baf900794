//! The temporary key of an instance's role, as both clouds' metadata services hand it out: a listing that names the
//! role, and a JSON answer below its name that says whether there is a key.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use terway_types::{CloudFailure, CloudFailureKind as Kind};

use super::chain::LinkError;
use crate::cloud::CloudResult;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer<T> {
    #[serde(default)]
    code: String,
    #[serde(flatten)]
    key: T,
}

/// Reads the role's name at `path`, and its key below.
pub(crate) async fn role_key<T, F>(path: &str, read: impl Fn(String) -> F) -> Result<T, LinkError>
where
    T: DeserializeOwned,
    F: Future<Output = CloudResult<String>>,
{
    let absent = || LinkError::Absent("the instance has no role".to_owned());
    let roles = read(path.to_owned()).await.map_err(|failure| match failure.kind {
        Kind::Gone => absent(),
        _ => failed(&failure),
    })?;
    let role = roles.lines().map(str::trim).find(|role| !role.is_empty()).ok_or_else(absent)?;
    let text = read(format!("{path}{role}")).await.map_err(|failure| failed(&failure))?;
    let answer: Answer<T> = serde_json::from_str(&text)
        .map_err(|_| LinkError::Failed(format!("the answer for role {role} is no JSON")))?;
    match answer.code.as_str() {
        "Success" => Ok(answer.key),
        code => Err(LinkError::Failed(format!("the answer for role {role} has Code {code:?}"))),
    }
}

fn failed(failure: &CloudFailure) -> LinkError {
    LinkError::Failed(failure.message.clone())
}
