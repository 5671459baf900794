//! Keys that people put somewhere: the configuration, files of a mounted secret, the environment. Files are
//! read again every few seconds, so a rotated secret needs no restart.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};

use super::chain::{Fetched, Link, LinkError};
use super::{AccessKey, CredentialError};

/// How often files are read again.
pub(crate) const REREAD: Duration = Duration::from_secs(10);

/// A key as it stands in the configuration.
#[derive(Clone, Debug)]
pub struct ConfiguredKey {
    /// What people call the place, e.g. `access_key of /etc/eni/eni_conf`.
    pub place: String,
    /// Id and secret, if they are there.
    pub key: Option<(String, SecretString)>,
}

#[async_trait]
impl Link for ConfiguredKey {
    fn name(&self) -> String {
        self.place.clone()
    }

    async fn fetch(&self) -> Result<Fetched, LinkError> {
        let Some((id, secret)) = &self.key else {
            return Err(LinkError::Absent("no key in it".to_owned()));
        };
        let key = AccessKey::new(id, secret.clone(), None).map_err(broken)?;
        Ok(Fetched { key, expires: None, recheck: None })
    }
}

/// Files that hold one part of a key each, as a mounted secret has them.
#[derive(Clone, Debug)]
pub struct KeyFiles {
    /// The directory.
    pub directory: PathBuf,
    /// The name of the file with the id.
    pub id: &'static str,
    /// The name of the file with the secret.
    pub secret: &'static str,
}

#[async_trait]
impl Link for KeyFiles {
    fn name(&self) -> String {
        format!("the secret mounted at {}", self.directory.display())
    }

    async fn fetch(&self) -> Result<Fetched, LinkError> {
        let id = read(&self.directory.join(self.id))?;
        let secret = read(&self.directory.join(self.secret))?;
        let (id, secret) = match (id, secret) {
            (Some(id), Some(secret)) => (id, secret),
            (None, None) => return Err(LinkError::Absent(format!("no file {}", self.id))),
            (Some(_), None) => {
                return Err(LinkError::Broken(format!("there is no {} beside {}", self.secret, self.id)));
            }
            (None, Some(_)) => {
                return Err(LinkError::Broken(format!("there is no {} beside {}", self.id, self.secret)));
            }
        };
        let key = AccessKey::new(id.expose_secret(), secret, None).map_err(broken)?;
        Ok(Fetched { key, expires: None, recheck: Some(REREAD) })
    }
}

/// How variables of the environment are read.
pub type Environment = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// A variable that must be set for this link.
pub(crate) fn variable(environment: &Environment, name: &str) -> Result<String, LinkError> {
    let value = environment(name).filter(|value| !value.is_empty());
    value.ok_or_else(|| LinkError::Absent(format!("{name} is unset")))
}

/// A token in a file that the environment names.
pub(crate) fn token(path: &Path) -> Result<SecretString, LinkError> {
    read(path)?.ok_or_else(|| LinkError::Broken(format!("there is no token file {}", path.display())))
}

/// Variables that hold the parts of a key.
#[derive(Clone)]
pub struct EnvironmentKey {
    /// How they are read.
    pub environment: Environment,
    /// The variable of the id.
    pub id: &'static str,
    /// The variable of the secret.
    pub secret: &'static str,
    /// The variable of the security token, which may be unset.
    pub token: &'static str,
}

impl fmt::Debug for EnvironmentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("EnvironmentKey").field(&self.id).finish()
    }
}

#[async_trait]
impl Link for EnvironmentKey {
    fn name(&self) -> String {
        format!("the environment variables {} and {}", self.id, self.secret)
    }

    async fn fetch(&self) -> Result<Fetched, LinkError> {
        let get = |name| (self.environment)(name).filter(|value| !value.is_empty());
        let (id, secret) = match (get(self.id), get(self.secret)) {
            (Some(id), Some(secret)) => (id, secret),
            (None, None) => return Err(LinkError::Absent("both unset".to_owned())),
            (Some(_), None) => return Err(LinkError::Broken(format!("{} is unset", self.secret))),
            (None, Some(_)) => return Err(LinkError::Broken(format!("{} is unset", self.id))),
        };
        let token = get(self.token).map(SecretString::from);
        let key = AccessKey::new(id, SecretString::from(secret), token).map_err(broken)?;
        Ok(Fetched { key, expires: None, recheck: None })
    }
}

fn broken(error: CredentialError) -> LinkError {
    LinkError::Broken(error.to_string())
}

/// A file's text without the line end that editors leave; `None` if there is no such file.
pub(crate) fn read(path: &Path) -> Result<Option<SecretString>, LinkError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(SecretString::from(text.trim_end_matches(['\r', '\n'])))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(LinkError::Failed(format!("{} cannot be read: {error}", path.display()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(directory: &Path) -> KeyFiles {
        KeyFiles { directory: directory.to_owned(), id: "access-key-id", secret: "access-key-secret" }
    }

    #[tokio::test]
    async fn a_mounted_secret_is_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
        let link = files(directory.path());
        assert!(matches!(link.fetch().await.unwrap_err(), LinkError::Absent(_)));
        write("access-key-id", "one\n");
        let half = link.fetch().await.unwrap_err();
        assert_eq!(half, LinkError::Broken("there is no access-key-secret beside access-key-id".into()));
        write("access-key-secret", "s1\r\n");
        let fetched = link.fetch().await.unwrap();
        assert_eq!((fetched.key.id(), fetched.key.secret()), ("one", "s1"));
        assert_eq!(fetched.recheck, Some(REREAD));
        write("access-key-id", "two");
        assert_eq!(link.fetch().await.unwrap().key.id(), "two");
        write("access-key-id", " two");
        let stray = link.fetch().await.unwrap_err().to_string();
        assert!(stray.starts_with("the access key id starts or ends with white space"), "{stray}");
    }

    #[tokio::test]
    async fn the_environment_is_complete_or_nothing() {
        let link = |values: &'static [(&str, &str)]| EnvironmentKey {
            environment: Arc::new(|name| {
                values.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
            }),
            id: "ID",
            secret: "SECRET",
            token: "TOKEN",
        };
        assert!(matches!(link(&[]).fetch().await.unwrap_err(), LinkError::Absent(_)));
        let half = link(&[("ID", "i"), ("SECRET", "")]).fetch().await.unwrap_err();
        assert_eq!(half, LinkError::Broken("SECRET is unset".into()));
        let whole = link(&[("ID", "i"), ("SECRET", "s"), ("TOKEN", "t")]).fetch().await.unwrap();
        assert_eq!((whole.key.id(), whole.key.token()), ("i", Some("t")));
    }

    #[tokio::test]
    async fn a_configured_key_says_which_half_is_spoilt() {
        let link = ConfiguredKey { place: "access_key".into(), key: Some(("id".into(), "s ".into())) };
        let error = link.fetch().await.unwrap_err().to_string();
        assert!(error.starts_with("the access key secret starts or ends with white space"), "{error}");
        let none = ConfiguredKey { place: "access_key".into(), key: None };
        assert!(matches!(none.fetch().await.unwrap_err(), LinkError::Absent(_)));
    }
}
