//! The parameters of a call: a JSON object, of which unknown keys are refused as the vendor's gateway does.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::error::Refused;

/// Reads the parameters of an action.
pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refused> {
    let body = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body).map_err(|error| {
        let text = error.to_string();
        let code = if text.starts_with("missing field") {
            "MissingParameter"
        } else if text.starts_with("unknown field") {
            "UnknownParameter"
        } else if error.is_data() {
            "InvalidParameterValue"
        } else {
            "InvalidParameter"
        };
        Refused::new(code, text)
    })
}

/// A tag.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct Tag {
    pub(super) key: String,
    #[serde(default)]
    pub(super) value: String,
}

/// A condition: one of the values.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct Filter {
    pub(super) name: String,
    pub(super) values: Vec<String>,
}

/// A number that callers may write as a text (`DescribeSubnets` wants it so).
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Number {
    Plain(usize),
    Text(String),
}

impl Number {
    pub(super) fn get(&self) -> Result<usize, Refused> {
        match self {
            Self::Plain(number) => Ok(*number),
            Self::Text(text) => text.parse().map_err(|_| Refused::invalid(format!("{text:?} is no number"))),
        }
    }
}

/// The idempotency token, at most 64 ASCII characters.
pub(super) fn client_token(token: Option<String>) -> Result<Option<String>, Refused> {
    match token {
        Some(token) if token.len() > 64 || !token.is_ascii() => Err(Refused::new(
            "InvalidParameterValue.TooLong",
            "ClientToken has more than 64 ASCII characters",
        )),
        token => Ok(token.filter(|token| !token.is_empty())),
    }
}
