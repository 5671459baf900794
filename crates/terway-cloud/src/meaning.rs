//! What vendors' error codes mean, and the one way to look them up. Each provider has a table; what is not in
//! it is judged by the code's family, and then by the provider.

use terway_types::{CloudFailureKind, CloudFailureKind as Kind};

/// What a code means. Some meanings depend on whether the call changes something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    Throttled,
    Quota,
    SubnetExhausted,
    InvalidState,
    Gone,
    Denied,
    ClockSkew,
    Conflict,
    Invalid,
    /// The cloud broke down in the middle: nobody knows what was done.
    Outage,
}

impl Meaning {
    /// The kind of a failure with this code and message.
    pub(crate) fn kind(self, code: &str, message: &str, changes_something: bool) -> CloudFailureKind {
        match self {
            Self::Throttled => Kind::Throttled,
            Self::Quota => Kind::Quota { which: code.to_owned(), limit: limit(message) },
            Self::SubnetExhausted => Kind::SubnetExhausted,
            Self::InvalidState => Kind::InvalidState,
            Self::Gone => Kind::Gone,
            Self::Denied => Kind::Denied,
            Self::ClockSkew => Kind::ClockSkew,
            Self::Conflict => Kind::Conflict,
            Self::Invalid => Kind::Invalid,
            Self::Outage => Self::broken(changes_something),
        }
    }

    /// An exchange that broke down on the cloud's side.
    pub(crate) fn broken(changes_something: bool) -> CloudFailureKind {
        if changes_something { Kind::Ambiguous } else { Kind::Transient }
    }
}

/// A pattern of codes and their meaning. A `*` at an end matches any rest there.
pub(crate) type Line = (&'static str, Meaning);

/// The meaning by the first line that matches.
pub(crate) fn look_up(table: &[Line], code: &str) -> Option<Meaning> {
    table.iter().find(|(pattern, _)| matches(pattern, code)).map(|(_, meaning)| *meaning)
}

fn matches(pattern: &str, code: &str) -> bool {
    match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(_), Some(_)) => code.contains(pattern.trim_matches('*')),
        (Some(end), None) => code.ends_with(end),
        (None, Some(start)) => code.starts_with(start),
        (None, None) => code == pattern,
    }
}

/// The limit that a message names: the number after the first word that announces one, or the only number.
/// Numbers inside ids are none.
fn limit(message: &str) -> Option<u32> {
    const ANNOUNCE: [&str; 8] = ["limit", "quota", "maximum", "most", "max", "up", "exceed", "allow"];
    let words = message.split(|c: char| c.is_whitespace() || "=:,;()[]\"'".contains(c));
    let words: Vec<_> = words
        .map(|word| word.trim_end_matches('.').to_ascii_lowercase())
        .filter(|word| !word.is_empty())
        .collect();
    let numbers = |words: &[String]| words.iter().filter_map(|word| word.parse().ok()).collect::<Vec<u32>>();
    let announced = words.iter().position(|word| ANNOUNCE.iter().any(|announce| word.starts_with(announce)));
    let behind = announced.and_then(|at| numbers(&words[at..]).first().copied());
    behind.or(match numbers(&words).as_slice() {
        [only] => Some(*only),
        _ => None,
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Checks that every line of a table is reached by the codes it is for.
    pub(crate) fn walk(table: &[Line], meaning: impl Fn(&str) -> Meaning) {
        for (pattern, expected) in table {
            let code = pattern.trim_matches('*');
            assert_eq!(meaning(code), *expected, "{code}");
            if pattern.ends_with('*') {
                assert_eq!(meaning(&format!("{code}.Some")), *expected, "{code}.Some");
            }
            if pattern.starts_with('*') {
                assert_eq!(meaning(&format!("Some{code}")), *expected, "Some{code}");
            }
        }
    }

    #[test]
    fn limits_are_read_from_messages() {
        let told = [
            ("instance i-1 already has 8 ENIs, the limit of its type", Some(8)),
            ("the account already has 50000 ENIs in this region, its quota", Some(50_000)),
            ("ENI eni-7 has 11 IPv4 addresses, the instance type allows 10", Some(10)),
            ("The maximum number of ENIs (3) on the specified instance has been reached.", Some(3)),
            ("quota: 1000, used: 1000", Some(1000)),
            ("The limit is 30.", Some(30)),
            ("The number of ENIs exceeds the quota", None),
            ("vpc-123 has 5 of eni-9 and 6 more", None),
            ("", None),
        ];
        for (message, expected) in told {
            assert_eq!(limit(message), expected, "{message}");
        }
    }

    #[test]
    fn patterns_match_at_the_ends() {
        assert!(matches("A.B", "A.B") && !matches("A.B", "A.B.C"));
        assert!(matches("A*", "A.B") && !matches("A*", "B.A"));
        assert!(matches("*.B", "A.B") && !matches("*.B", "A.B.C"));
        assert!(matches("*B*", "A.B.C") && !matches("*B*", "A.C"));
    }
}
