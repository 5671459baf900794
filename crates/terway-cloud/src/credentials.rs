//! The keys that sign cloud calls. Secrets never show in `Debug`, logs or errors; where they come from
//! is behind a small trait, and usually a chain of places.

mod addon_token;
mod chain;
mod files;
mod places;
mod role;
mod web_identity;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};

pub use self::addon_token::{ADDON_TOKEN_FILE, AddonToken};
pub use self::chain::{Chain, Fetched, Link, LinkError, WallClock};
pub use self::files::{ConfiguredKey, Environment, EnvironmentKey, KeyFiles};
pub use self::places::KeyPlaces;
pub(crate) use self::places::Names;
pub(crate) use self::role::{InstanceRole, KeyForm};
pub(crate) use self::web_identity::{Claim, Said};
use crate::cloud::CloudResult;

/// An access key, as the vendors call id and secret, and the session token of a temporary one.
#[derive(Clone)]
pub struct AccessKey {
    id: String,
    secret: SecretString,
    token: Option<SecretString>,
}

/// A key that cannot be right. Never tells the key itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// A part is missing.
    #[error("the {0} is empty")]
    Empty(&'static str),
    /// A part starts or ends with white space, as files and environment variables often bring along.
    #[error("the {0} starts or ends with white space; remove it (a line end from a file?)")]
    WhiteSpaceAround(&'static str),
    /// A part has characters no key has.
    #[error("the {0} has white space or characters outside printable ASCII in it")]
    Characters(&'static str),
}

impl AccessKey {
    /// Checks and keeps a key. `token` is the session token of a temporary key.
    pub fn new(
        id: impl Into<String>,
        secret: SecretString,
        token: Option<SecretString>,
    ) -> Result<Self, CredentialError> {
        let id = id.into();
        check("access key id", &id)?;
        check("access key secret", secret.expose_secret())?;
        if let Some(token) = &token {
            check("security token", token.expose_secret())?;
        }
        Ok(Self { id, secret, token })
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn secret(&self) -> &str {
        self.secret.expose_secret()
    }

    pub(crate) fn token(&self) -> Option<&str> {
        self.token.as_ref().map(ExposeSecret::expose_secret)
    }

    /// Whether both are the same key. A rotated secret makes another.
    pub(crate) fn same(&self, other: &Self) -> bool {
        self.id == other.id && self.token() == other.token() && self.secret() == other.secret()
    }

    /// The text without any part of this key: vendors quote what they were sent.
    pub(crate) fn redact(&self, text: &str) -> String {
        let parts = [Some(self.id()), Some(self.secret()), self.token()];
        parts.into_iter().flatten().fold(text.to_owned(), |text, part| text.replace(part, "[redacted]"))
    }
}

impl fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessKey").field("temporary", &self.token.is_some()).finish_non_exhaustive()
    }
}

/// A key goes into headers as it is: only printable ASCII without blanks.
fn check(what: &'static str, text: &str) -> Result<(), CredentialError> {
    if text.trim().is_empty() {
        return Err(CredentialError::Empty(what));
    }
    if text.trim() != text {
        return Err(CredentialError::WhiteSpaceAround(what));
    }
    if !text.bytes().all(|c| c.is_ascii_graphic()) {
        return Err(CredentialError::Characters(what));
    }
    Ok(())
}

/// Where keys come from. Asked before every call, so temporary keys may change between calls; a source
/// that has to fetch keeps what it fetched.
#[async_trait]
pub trait CredentialSource: fmt::Debug + Send + Sync {
    /// The key that is valid now.
    async fn access_key(&self) -> CloudResult<Arc<AccessKey>>;

    /// The cloud refused this key. Returns whether the next one may be another.
    fn refused(&self, _key: &AccessKey) -> bool {
        false
    }
}

/// One key for the life of the process.
#[derive(Clone, Debug)]
pub struct StaticKey(Arc<AccessKey>);

impl StaticKey {
    /// Checks and keeps a key.
    pub fn new(
        id: impl Into<String>,
        secret: SecretString,
        token: Option<SecretString>,
    ) -> Result<Self, CredentialError> {
        AccessKey::new(id, secret, token).map(Arc::new).map(Self)
    }
}

#[async_trait]
impl CredentialSource for StaticKey {
    async fn access_key(&self) -> CloudResult<Arc<AccessKey>> {
        Ok(Arc::clone(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(id: &str, secret: &str, token: Option<&str>) -> Result<AccessKey, CredentialError> {
        AccessKey::new(id, SecretString::from(secret), token.map(SecretString::from))
    }

    #[test]
    fn stray_white_space_is_refused() {
        let error = |id, secret, token| key(id, secret, token).unwrap_err();
        assert_eq!(error("", "s", None), CredentialError::Empty("access key id"));
        assert_eq!(error("id", " \n", None), CredentialError::Empty("access key secret"));
        assert_eq!(error("id\n", "s", None), CredentialError::WhiteSpaceAround("access key id"));
        assert_eq!(error("id", "\ts", None), CredentialError::WhiteSpaceAround("access key secret"));
        assert_eq!(error("id", "s t", None), CredentialError::Characters("access key secret"));
        assert_eq!(error("id", "s", Some("t\u{fc}")), CredentialError::Characters("security token"));
        assert_eq!(
            error("id\n", "s", None).to_string(),
            "the access key id starts or ends with white space; remove it (a line end from a file?)"
        );
    }

    #[test]
    fn a_key_never_shows() {
        let key = key("LTAI-id", "top-secret", Some("sts-token")).unwrap();
        let source = StaticKey(Arc::new(key.clone()));
        assert_eq!(format!("{source:?}"), "StaticKey(AccessKey { temporary: true, .. })");
        let told = key.redact("LTAI-id may not; top-secret&sts-token");
        assert_eq!(told, "[redacted] may not; [redacted]&[redacted]");
    }
}
