//! Comments of rules: the mark by which a rule's owner finds it again.

/// A text a rule carries, in the form `nft list` prints as its comment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Comment(String);

/// A comment that does not fit a rule's 256 bytes of user data.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an nftables rule cannot carry a comment of {0} bytes (the limit is {limit})", limit = Comment::MAX)]
pub struct CommentTooLong(pub usize);

impl Comment {
    /// The longest comment in bytes: 256 less type, length and a terminating NUL.
    pub const MAX: usize = 253;
    /// `NFTNL_UDATA_RULE_COMMENT` of libnftnl.
    const TYPE: u8 = 0;

    /// Checks the length.
    pub fn new(text: impl Into<String>) -> Result<Self, CommentTooLong> {
        let text = text.into();
        if text.len() > Self::MAX { Err(CommentTooLong(text.len())) } else { Ok(Self(text)) }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        #[expect(clippy::cast_possible_truncation, reason = "at most 254")]
        let length = self.0.len() as u8 + 1;
        [&[Self::TYPE, length], self.0.as_bytes(), &[0]].concat()
    }

    pub(super) fn decode(mut bytes: &[u8]) -> Option<Self> {
        while let [kind, length, rest @ ..] = bytes {
            let (value, tail) = rest.split_at_checked(usize::from(*length))?;
            if *kind == Self::TYPE {
                let text = value.strip_suffix(&[0])?;
                return String::from_utf8(text.to_owned()).ok().map(Self);
            }
            bytes = tail;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_bounded_and_survive() {
        let longest = Comment::new("x".repeat(Comment::MAX)).unwrap();
        assert_eq!(longest.encode().len(), 256);
        assert_eq!(Comment::decode(&longest.encode()), Some(longest));
        let error = Comment::new("x".repeat(254)).unwrap_err().to_string();
        assert_eq!(error, "an nftables rule cannot carry a comment of 254 bytes (the limit is 253)");
        assert_eq!(Comment::decode(&[0, 9, b'x']), None);
    }
}
