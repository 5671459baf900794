//! Access keys over time: active, switched off, expired; and the tokens of an instance role, of which a new
//! one is handed out before the old one ends.

use std::time::Duration;

use terway_types::Timestamp;

use crate::config::{CredentialConfig, KeyState};

/// How long a role's token claims to live where nothing is said.
const DEFAULT_LIFE: Duration = Duration::from_hours(6);

/// What the cloud thinks of a caller's key and token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Good.
    Valid,
    /// Switched off by a person.
    Inactive,
    /// Was good once.
    Expired,
    /// Not this key's token.
    Mismatch,
}

impl CredentialConfig {
    /// The token to hand out now, and its end.
    pub(crate) fn token_at(&self, now: Timestamp) -> (Option<String>, Timestamp) {
        let Some(base) = &self.security_token else { return (None, now + DEFAULT_LIFE) };
        let Some(life) = self.life_ms else {
            let plain = if self.rotations == 0 { base.clone() } else { format!("{base}.{}", self.rotations) };
            return (Some(plain), now + DEFAULT_LIFE);
        };
        let issue = now.0 / half(life);
        (Some(format!("{base}.{}.{issue}", self.rotations)), end(issue, life))
    }

    /// Judges a call that comes with this key and this token.
    pub(crate) fn judge(&self, token: Option<&str>, now: Timestamp) -> Verdict {
        match self.state {
            KeyState::Inactive => return Verdict::Inactive,
            KeyState::Expired => return Verdict::Expired,
            KeyState::Active => {}
        }
        let (Some(base), Some(token)) = (&self.security_token, token) else {
            return if self.security_token.as_deref() == token { Verdict::Valid } else { Verdict::Mismatch };
        };
        let Some((rotation, issue)) = token.strip_prefix(base.as_str()).and_then(parts) else {
            return Verdict::Mismatch;
        };
        let outlived = match (self.life_ms, issue) {
            (Some(life), Some(issue)) => end(issue, life) <= now,
            (None, None) => false,
            _ => return Verdict::Mismatch,
        };
        match rotation.cmp(&self.rotations) {
            std::cmp::Ordering::Greater => Verdict::Mismatch,
            std::cmp::Ordering::Equal if !outlived => Verdict::Valid,
            _ => Verdict::Expired,
        }
    }
}

/// A new token is issued after half of a token's life.
fn half(life: u64) -> u64 {
    (life / 2).max(1)
}

fn end(issue: u64, life: u64) -> Timestamp {
    Timestamp(issue.saturating_add(2).saturating_mul(half(life)))
}

/// What follows the base in a token: nothing, `.rotation`, or `.rotation.issue`.
fn parts(rest: &str) -> Option<(u32, Option<u64>)> {
    let Some(rest) = rest.strip_prefix('.') else { return rest.is_empty().then_some((0, None)) };
    match rest.split_once('.') {
        None => Some((rest.parse().ok()?, None)),
        Some((rotation, issue)) => Some((rotation.parse().ok()?, Some(issue.parse().ok()?))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(life_ms: Option<u64>) -> CredentialConfig {
        CredentialConfig {
            access_key_id: "sts".into(),
            access_key_secret: "s".into(),
            security_token: Some("t".into()),
            role: Some("worker".into()),
            life_ms,
            state: KeyState::Active,
            rotations: 0,
        }
    }

    #[test]
    fn a_tokens_life_ends_and_the_next_one_is_there_before() {
        let key = key(Some(1000));
        let (token, end) = key.token_at(Timestamp(10_200));
        assert_eq!((token.as_deref(), end), (Some("t.0.20"), Timestamp(11_000)));
        let judge = |ms| key.judge(token.as_deref(), Timestamp(ms));
        assert_eq!([judge(10_999), judge(11_000)], [Verdict::Valid, Verdict::Expired]);
        assert_ne!(key.token_at(Timestamp(10_600)).0, token);
        assert_eq!(key.judge(Some("t"), Timestamp(0)), Verdict::Mismatch);
    }

    #[test]
    fn a_rotation_ends_all_tokens_before_it() {
        let mut key = key(None);
        let (old, _) = key.token_at(Timestamp(0));
        assert_eq!((old.as_deref(), key.judge(old.as_deref(), Timestamp(0))), (Some("t"), Verdict::Valid));
        key.rotations = 1;
        assert_eq!(key.judge(old.as_deref(), Timestamp(0)), Verdict::Expired);
        let (new, _) = key.token_at(Timestamp(0));
        assert_eq!(key.judge(new.as_deref(), Timestamp(0)), Verdict::Valid);
        assert_eq!(key.judge(Some("t.2"), Timestamp(0)), Verdict::Mismatch);
        assert_eq!(key.judge(None, Timestamp(0)), Verdict::Mismatch);
        key.state = KeyState::Inactive;
        assert_eq!(key.judge(new.as_deref(), Timestamp(0)), Verdict::Inactive);
    }
}
