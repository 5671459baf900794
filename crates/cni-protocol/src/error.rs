//! The error object a plugin prints, and its codes.

use serde_json::{Value, json};

/// Error codes: 1 to 7, 11, 50 and 51 as the specification lists them, 8 and 999 as libcni does.
pub mod code {
    /// The configuration's version is not spoken.
    pub const INCOMPATIBLE_VERSION: u32 = 1;
    /// A field is not supported; the message names key and value.
    pub const UNSUPPORTED_FIELD: u32 = 2;
    /// The container is unknown or does not exist.
    pub const UNKNOWN_CONTAINER: u32 = 3;
    /// A needed variable is missing or invalid; the message names each.
    pub const INVALID_ENVIRONMENT: u32 = 4;
    /// Standard input could not be read.
    pub const IO_FAILURE: u32 = 5;
    /// Standard input is not the JSON it should be.
    pub const DECODING_FAILURE: u32 = 6;
    /// The network configuration makes no sense.
    pub const INVALID_NETWORK_CONFIG: u32 = 7;
    /// The network namespace is unusable.
    pub const INVALID_NETNS: u32 = 8;
    /// A passing condition; the runtime should try again.
    pub const TRY_AGAIN_LATER: u32 = 11;
    /// STATUS: no ADD can be served.
    pub const NOT_AVAILABLE: u32 = 50;
    /// STATUS: no ADD can be served, and existing containers may be limited.
    pub const LIMITED_CONNECTIVITY: u32 = 51;
    /// A defect of the plugin.
    pub const INTERNAL: u32 = 999;
}

/// A failure as the runtime meets it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{msg}")]
pub struct CniError {
    /// What kind of failure; see [`code`].
    pub code: u32,
    /// What failed, in one line.
    pub msg: String,
    /// Why, and what to do about it; may be empty.
    pub details: String,
}

impl CniError {
    /// An error without details.
    pub fn new(code: u32, msg: impl Into<String>) -> Self {
        Self { code, msg: msg.into(), details: String::new() }
    }

    /// Adds details.
    #[must_use]
    pub fn details(mut self, details: impl Into<String>) -> Self {
        self.details = details.into();
        self
    }

    /// The error object, for a reader of this version.
    pub fn to_json(&self, version: &str) -> Value {
        let mut object = json!({ "cniVersion": version, "code": self.code, "msg": self.msg });
        if !self.details.is_empty() {
            object["details"] = Value::from(self.details.as_str());
        }
        object
    }
}
