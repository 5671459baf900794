//! Temporary keys as they are given, with their expiry in seconds since 1970.

use jiff::Timestamp;
use secrecy::SecretString;
use serde::Deserialize;

use crate::credentials::{AccessKey, Fetched, KeyForm, LinkError};

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct TemporaryKey {
    tmp_secret_id: String,
    tmp_secret_key: String,
    token: String,
}

impl TemporaryKey {
    fn until(self, expired_time: i64) -> Result<Fetched, LinkError> {
        let expires = Timestamp::from_second(expired_time).ok().filter(|_| expired_time > 0);
        let Some(expires) = expires else {
            return Err(LinkError::Failed(format!("the key comes with ExpiredTime {expired_time}")));
        };
        let token = Some(SecretString::from(self.token));
        let key = AccessKey::new(self.tmp_secret_id, SecretString::from(self.tmp_secret_key), token)
            .map_err(|error| LinkError::Failed(format!("the key that came is none: {error}")))?;
        Ok(Fetched { key, expires: Some(expires), recheck: None })
    }
}

/// The key of a role, as the metadata service writes it.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(in crate::tencent) struct RoleKey {
    expired_time: i64,
    #[serde(flatten)]
    key: TemporaryKey,
}

impl KeyForm for RoleKey {
    fn fetched(self) -> Result<Fetched, LinkError> {
        self.key.until(self.expired_time)
    }
}

/// The key of a session, as STS writes it.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(in crate::tencent) struct SessionKey {
    expired_time: i64,
    credentials: TemporaryKey,
}

impl KeyForm for SessionKey {
    fn fetched(self) -> Result<Fetched, LinkError> {
        self.credentials.until(self.expired_time)
    }
}
