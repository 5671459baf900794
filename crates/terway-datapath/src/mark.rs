//! The mark every link and every translation rule of ours carries: which attachment it belongs to. It is
//! what DEL goes by when nothing else is known, and what keeps it away from everything else.

use std::fmt;

use terway_types::{AttachmentKey, ContainerId, IfName, NetworkName};

use crate::kernel::nft::Comment;
use crate::names::sha1_hex;

/// What every mark starts with.
const PREFIX: &str = "terway:";

/// Longest text of a mark, in bytes: a link's alias takes 255, the comment of an nft rule less.
const LONGEST: usize = Comment::MAX;

/// `terway:<network>/<container>/<ifname>`, kept in the link's alias and in the user data of nft rules.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Mark(String);

impl Mark {
    /// The mark of an attachment. A key too long for that is replaced by its SHA-1, behind a `#` that
    /// no network name can start with.
    pub fn of(key: &AttachmentKey) -> Self {
        let text = format!("{PREFIX}{key}");
        if text.len() <= LONGEST {
            return Self(text);
        }
        Self(format!("{PREFIX}#{}", sha1_hex(&text)))
    }

    /// The mark in an alias or in user data, if it is one of ours (of whatever attachment).
    pub fn parse(text: &str) -> Option<Self> {
        text.starts_with(PREFIX).then(|| Self(text.to_owned()))
    }

    /// The attachment it names; none if the key was too long to be kept.
    pub fn key(&self) -> Option<AttachmentKey> {
        let mut parts = self.0.strip_prefix(PREFIX)?.split('/');
        let key = AttachmentKey {
            network: NetworkName::new(parts.next()?).ok()?,
            container: ContainerId::new(parts.next()?).ok()?,
            ifname: IfName::new(parts.next()?).ok()?,
        };
        parts.next().is_none().then_some(key)
    }

    /// The text as it stands in the kernel.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(container: &str) -> AttachmentKey {
        AttachmentKey {
            network: NetworkName::new("terway").unwrap(),
            container: ContainerId::new(container).unwrap(),
            ifname: IfName::new("eth0").unwrap(),
        }
    }

    #[test]
    fn a_mark_leads_back_to_its_key() {
        let mark = Mark::of(&key("abc"));
        assert_eq!(mark.as_str(), "terway:terway/abc/eth0");
        assert_eq!(Mark::parse(mark.as_str()), Some(mark.clone()));
        assert_eq!(mark.key(), Some(key("abc")));
    }

    #[test]
    fn a_key_too_long_for_an_alias_still_has_its_own_mark() {
        let (one, other) = (key(&"a".repeat(300)), key(&"a".repeat(301)));
        assert!(Mark::of(&one).as_str().len() <= LONGEST);
        assert_ne!(Mark::of(&one), Mark::of(&other));
        assert_eq!(Mark::of(&one).key(), None);
    }

    #[test]
    fn foreign_aliases_are_no_marks() {
        for alias in ["", "uplink", "calico:x"] {
            assert_eq!(Mark::parse(alias), None, "{alias}");
        }
    }
}
