//! The chain of places keys may come from: the first that has one wins. A key is fetched anew well before it
//! expires, and kept as long as it is valid when that fails.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use terway_types::CloudFailureKind as Kind;

use super::{AccessKey, CredentialSource};
use crate::cloud::CloudResult;
use crate::error::{CREDENTIALS_ACTION, failure};

/// Keys are fetched anew this long before they expire, or after two thirds of their life.
const AHEAD: Duration = Duration::from_mins(30);
/// After a fetch that failed while the key is still valid.
const RETRY: Duration = Duration::from_secs(30);
/// How young a key must be for its refusal to be the cloud's last word.
const YOUNG: Duration = Duration::from_secs(30);
/// How long one link may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// What a link gives.
#[derive(Debug)]
pub struct Fetched {
    /// The key.
    pub key: AccessKey,
    /// When it expires, if it does.
    pub expires: Option<Timestamp>,
    /// How soon to look again whether it was replaced, if it may be.
    pub recheck: Option<Duration>,
}

/// Why a link gives no key. The texts never hold any part of one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// It is not set up here.
    #[error("not set up: {0}")]
    Absent(String),
    /// It is set up, but wrongly: it will not work until somebody mends it.
    #[error("{0}")]
    Broken(String),
    /// It does not work now.
    #[error("{0}")]
    Failed(String),
}

/// One place keys may come from.
#[async_trait]
pub trait Link: fmt::Debug + Send + Sync {
    /// What people call the place, with its path or address.
    fn name(&self) -> String;

    /// Gets the key that is there now.
    async fn fetch(&self) -> Result<Fetched, LinkError>;
}

/// What time it is.
pub type WallClock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// A chain of links.
pub struct Chain {
    links: Vec<Box<dyn Link>>,
    now: WallClock,
    current: Mutex<Option<Current>>,
    /// Whoever holds it fetches; the others wait, or go on with the key there is.
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Clone)]
struct Current {
    key: Arc<AccessKey>,
    /// The link's name.
    from: String,
    since: Timestamp,
    renew_at: Option<Timestamp>,
    expires: Option<Timestamp>,
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chain").field("links", &self.links).finish_non_exhaustive()
    }
}

impl Chain {
    /// A chain that tries these links in this order.
    pub fn new(links: Vec<Box<dyn Link>>) -> Self {
        Self::with_clock(links, Arc::new(Timestamp::now))
    }

    /// A chain with a clock of its own.
    pub fn with_clock(links: Vec<Box<dyn Link>>, now: WallClock) -> Self {
        Self { links, now, current: Mutex::new(None), fetching: tokio::sync::Mutex::new(()) }
    }

    /// The name of the link that gave the key in use, if there is one.
    pub fn in_use(&self) -> Option<String> {
        self.current().map(|current| current.from)
    }

    fn current(&self) -> Option<Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, current: Option<Current>) {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = current;
    }

    /// The key in use, if it needs nothing now.
    fn settled(&self) -> Option<Arc<AccessKey>> {
        let now = (self.now)();
        let current = self.current()?;
        current.renew_at.is_none_or(|renew_at| now < renew_at).then_some(current.key)
    }

    /// The key in use, if the cloud still takes it.
    fn valid(&self) -> Option<Current> {
        let now = (self.now)();
        self.current().filter(|current| current.expires.is_none_or(|expires| now < expires))
    }

    /// Asks the links, first to last.
    async fn fetch(&self) -> CloudResult<Arc<AccessKey>> {
        let mut troubles = Vec::with_capacity(self.links.len());
        for link in &self.links {
            let fetched = tokio::time::timeout(PATIENCE, link.fetch()).await.unwrap_or_else(|_| {
                Err(LinkError::Failed(format!("no answer within {} s", PATIENCE.as_secs())))
            });
            match fetched {
                Ok(fetched) => return Ok(self.adopt(link.name(), fetched)),
                Err(trouble) => {
                    if !matches!(trouble, LinkError::Absent(_)) {
                        tracing::warn!(link = link.name(), %trouble, "no key from this place");
                    }
                    troubles.push((link.name(), trouble));
                }
            }
        }
        self.keep_or_fail(&troubles)
    }

    fn adopt(&self, from: String, fetched: Fetched) -> Arc<AccessKey> {
        let now = (self.now)();
        let before = self.current();
        let same = before.as_ref().filter(|before| before.key.same(&fetched.key));
        if same.is_none() {
            tracing::info!(from, expires = fetched.expires.map(tracing::field::display), "cloud key in use");
        }
        let current = Current {
            key: same.map_or_else(|| Arc::new(fetched.key), |same| Arc::clone(&same.key)),
            from,
            since: same.map_or(now, |same| same.since),
            renew_at: renew_at(now, fetched.expires, fetched.recheck),
            expires: fetched.expires,
        };
        let key = Arc::clone(&current.key);
        self.set(Some(current));
        key
    }

    fn keep_or_fail(&self, troubles: &[(String, LinkError)]) -> CloudResult<Arc<AccessKey>> {
        if let Some(mut current) = self.valid() {
            current.renew_at = Some((self.now)() + RETRY);
            let key = Arc::clone(&current.key);
            self.set(Some(current));
            return Ok(key);
        }
        let passing = troubles.iter().any(|(_, trouble)| matches!(trouble, LinkError::Failed(_)));
        let kind = if passing { Kind::Transient } else { Kind::Denied };
        let told: Vec<_> = troubles.iter().map(|(name, trouble)| format!("{name}: {trouble}")).collect();
        Err(failure(kind, CREDENTIALS_ACTION, format!("no key for the cloud; tried {}", told.join("; "))))
    }
}

/// When to fetch anew. A key that comes with a short life, or late, is not fetched at every call.
fn renew_at(now: Timestamp, expires: Option<Timestamp>, recheck: Option<Duration>) -> Option<Timestamp> {
    let before_expiry = expires.map(|expires| {
        let left = Duration::try_from(expires.duration_since(now)).unwrap_or_default();
        now + left.saturating_sub(AHEAD.min(left / 3)).max(Duration::from_secs(1))
    });
    let recheck = recheck.map(|recheck| now + recheck);
    before_expiry.into_iter().chain(recheck).min()
}

#[async_trait]
impl CredentialSource for Chain {
    async fn access_key(&self) -> CloudResult<Arc<AccessKey>> {
        if let Some(key) = self.settled() {
            return Ok(key);
        }
        let _fetching = match (self.fetching.try_lock(), self.valid()) {
            (Ok(fetching), _) => fetching,
            // Somebody else fetches; what there is will do meanwhile.
            (Err(_), Some(current)) => return Ok(current.key),
            (Err(_), None) => self.fetching.lock().await,
        };
        match self.settled() {
            Some(key) => Ok(key),
            None => self.fetch().await,
        }
    }

    fn refused(&self, key: &AccessKey) -> bool {
        let Some(current) = self.current() else { return true };
        if !current.key.same(key) {
            return true;
        }
        let age = Duration::try_from((self.now)().duration_since(current.since)).unwrap_or_default();
        if age < YOUNG {
            return false;
        }
        self.set(None);
        true
    }
}

#[cfg(test)]
mod tests;
