//! The vendor's answers as they come, and their translation. Unknown fields are skipped; a field that is
//! needed and missing is an error that names it.

mod assigned;
mod eni;
mod place;

use std::str::FromStr;

use secrecy::SecretString;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

pub(super) use self::assigned::Assigned;
pub(super) use self::eni::{Eni, EniPage};
pub(super) use self::place::{Instance, InstancePage, InstanceType, InstanceTypePage, VSwitchPage};
use crate::answer::drop_nulls;
use crate::credentials::{AccessKey, Fetched, KeyForm, LinkError};
use crate::exchange::Answered;

/// An answer that lacks what it must have, or has something else there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{object} has {field} {value:?}")]
pub(super) struct WireError {
    object: String,
    field: &'static str,
    value: String,
}

/// Reads an answer. The vendor writes what is not there as an empty text, as `null`, or not at all.
pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<Answered<T>, serde_json::Error> {
    let mut value: Value = serde_json::from_slice(body)?;
    drop_nulls(&mut value);
    let request_id = value.get("RequestId").and_then(Value::as_str).map(str::to_owned);
    Ok(Answered { content: serde_json::from_value(value)?, request_id })
}

/// An answer that says no.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Refusal {
    /// Some products write numbers.
    #[serde(deserialize_with = "text_or_number")]
    pub(super) code: String,
    pub(super) message: String,
}

fn text_or_number<'de, D: Deserializer<'de>>(value: D) -> Result<String, D::Error> {
    Ok(match Value::deserialize(value)? {
        Value::String(text) => text,
        value => value.to_string(),
    })
}

/// The no inside an answer with HTTP status 200: some products put a number into each, and 0 is yes.
pub(super) fn hidden_refusal(body: &[u8]) -> Option<Answered<Refusal>> {
    let refusal = read::<Refusal>(body).ok()?;
    (!matches!(refusal.content.code.as_str(), "" | "0" | "200")).then_some(refusal)
}

/// A temporary key, as STS and the metadata service write it.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct TemporaryKey {
    access_key_id: String,
    access_key_secret: String,
    security_token: String,
    expiration: String,
}

impl KeyForm for TemporaryKey {
    fn fetched(self) -> Result<Fetched, LinkError> {
        let expires = self.expiration.parse().map_err(|_| {
            LinkError::Failed(format!("the key comes with the expiration {:?}", self.expiration))
        })?;
        let token = Some(SecretString::from(self.security_token));
        let key = AccessKey::new(self.access_key_id, SecretString::from(self.access_key_secret), token)
            .map_err(|error| LinkError::Failed(format!("the key that came is none: {error}")))?;
        Ok(Fetched { key, expires: Some(expires), recheck: None })
    }
}

/// An answer whose content does not matter.
#[derive(Debug, Deserialize)]
pub(super) struct Accepted {}

pub(super) fn required<T: FromStr>(object: &str, field: &'static str, text: &str) -> Result<T, WireError> {
    text.parse().map_err(|_| WireError { object: object.to_owned(), field, value: text.to_owned() })
}

/// A list in order and without repetition; empty texts stand for nothing.
fn sorted<'a, T: FromStr + Ord>(
    object: &str,
    field: &'static str,
    texts: impl Iterator<Item = &'a str>,
) -> Result<Vec<T>, WireError> {
    let filled = texts.filter(|text| !text.is_empty());
    let mut items = filled.map(|text| required(object, field, text)).collect::<Result<Vec<T>, _>>()?;
    items.sort_unstable();
    items.dedup();
    Ok(items)
}

pub(super) fn optional<T: FromStr>(
    object: &str,
    field: &'static str,
    text: &str,
) -> Result<Option<T>, WireError> {
    if text.is_empty() { Ok(None) } else { required(object, field, text).map(Some) }
}
