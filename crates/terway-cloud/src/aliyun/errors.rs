//! What the vendor's error codes mean. The first matching line of the table counts; a code that is not
//! in it is judged by the HTTP status.

use terway_types::{CloudFailureKind, CloudFailureKind as Kind};

/// What a code means. Some meanings depend on whether the call changes something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
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
    pub(super) fn kind(self, code: &str, changes_something: bool) -> CloudFailureKind {
        match self {
            Self::Throttled => Kind::Throttled,
            Self::Quota => Kind::Quota { which: code.to_owned(), limit: None },
            Self::SubnetExhausted => Kind::SubnetExhausted,
            Self::InvalidState => Kind::InvalidState,
            Self::Gone => Kind::Gone,
            Self::Denied => Kind::Denied,
            Self::ClockSkew => Kind::ClockSkew,
            Self::Conflict => Kind::Conflict,
            Self::Invalid => Kind::Invalid,
            Self::Outage if changes_something => Kind::Ambiguous,
            Self::Outage => Kind::Transient,
        }
    }
}

/// Codes as the ECS and VPC documents and the gateway's list of common errors give them. A `*` at the
/// end matches any rest.
///
/// A missing vSwitch, group or instance is `Invalid`, not `Gone`: these come from the configuration and
/// are not the object of the call.
const CODES: &[(&str, Meaning)] = &[
    ("Throttling*", Meaning::Throttled),
    ("InvalidVSwitchId.IpNotEnough", Meaning::SubnetExhausted),
    ("QuotaExceeded.PrivateIpAddress", Meaning::SubnetExhausted),
    ("EniPerInstanceLimitExceeded", Meaning::Quota),
    ("MaxEniCountExceeded", Meaning::Quota),
    ("SecurityGroupInstanceLimitExceed*", Meaning::Quota),
    ("InvalidOperation.Ipv4CountExceeded", Meaning::Quota),
    ("InvalidOperation.Ipv6CountExceeded", Meaning::Quota),
    ("QuotaExceed*", Meaning::Quota),
    ("InvalidOperation.InvalidEniState*", Meaning::InvalidState),
    ("InvalidOperation.InvalidEcsState*", Meaning::InvalidState),
    ("IncorrectInstanceStatus*", Meaning::InvalidState),
    ("IncorrectVSwitchStatus*", Meaning::InvalidState),
    ("InvalidEniId.NotFound", Meaning::Gone),
    ("InvalidTimeStamp*", Meaning::ClockSkew),
    ("IllegalTimestamp*", Meaning::ClockSkew),
    // The gateway has seen this very request: a proxy sent it twice, and the first one may have worked.
    ("SignatureNonceUsed", Meaning::Outage),
    ("Idempotent*", Meaning::Conflict),
    ("LastTokenProcessing", Meaning::Conflict),
    ("Operation.Conflict", Meaning::Conflict),
    ("OperationConflict", Meaning::Conflict),
    ("InvalidOperation.Conflict*", Meaning::Conflict),
    ("Forbidden*", Meaning::Denied),
    ("NoPermission*", Meaning::Denied),
    ("InvalidAccessKeyId*", Meaning::Denied),
    ("InvalidSecurityToken*", Meaning::Denied),
    ("MissingSecurityToken", Meaning::Denied),
    ("SignatureDoesNotMatch", Meaning::Denied),
    ("IncompleteSignature", Meaning::Denied),
    ("InvalidAccountStatus*", Meaning::Denied),
    ("InternalError*", Meaning::Outage),
    ("ServiceUnavailable*", Meaning::Outage),
    ("UnknownError", Meaning::Outage),
    // All others of this name are about parameters, also where their status is 403.
    ("Invalid*", Meaning::Invalid),
];

/// What an answer with this code and HTTP status means.
pub(super) fn meaning(code: &str, status: u16) -> Meaning {
    let matches = |pattern: &str| match pattern.strip_suffix('*') {
        Some(prefix) => code.starts_with(prefix),
        None => code == pattern,
    };
    match CODES.iter().find(|(pattern, _)| matches(pattern)) {
        Some((_, meaning)) => *meaning,
        None => by_status(status),
    }
}

fn by_status(status: u16) -> Meaning {
    match status {
        429 => Meaning::Throttled,
        401 | 403 => Meaning::Denied,
        409 => Meaning::Conflict,
        400..=499 => Meaning::Invalid,
        _ => Meaning::Outage,
    }
}

/// Whether a code says that the instance does not exist: then nothing is attached to it.
pub(super) fn is_instance_gone(code: &str) -> bool {
    matches!(code, "InvalidEcsId.NotFound" | "InvalidInstanceId.NotFound")
}

/// Whether a code says that an address to be taken off is not there.
pub(super) fn is_unassigned(code: &str) -> bool {
    code.starts_with("InvalidIp.IpUnassigned")
}

/// Whether a code says that the vSwitch does not exist. ECS and VPC spell it differently.
pub(super) fn is_vswitch_gone(code: &str) -> bool {
    code.eq_ignore_ascii_case("InvalidVSwitchId.NotFound")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_table_is_reached() {
        for (pattern, expected) in CODES {
            let code = pattern.trim_end_matches('*');
            assert_eq!(meaning(code, 400), *expected, "{code}");
            if pattern.ends_with('*') {
                assert_eq!(meaning(&format!("{code}.Some"), 400), *expected, "{code}.Some");
            }
        }
    }

    #[test]
    fn the_codes_seen_in_the_field_mean_what_they_should() {
        let kind = |code, status| meaning(code, status).kind(code, true);
        assert_eq!(kind("Throttling", 400), Kind::Throttled);
        assert_eq!(kind("Throttling.User", 400), Kind::Throttled);
        assert_eq!(kind("Throttling.Api", 400), Kind::Throttled);
        assert_eq!(kind("QuotaExceeded.PrivateIpAddress", 403), Kind::SubnetExhausted);
        let quota = Kind::Quota { which: "EniPerInstanceLimitExceeded".into(), limit: None };
        assert_eq!(kind("EniPerInstanceLimitExceeded", 403), quota);
        assert_eq!(kind("InvalidEniId.NotFound", 404), Kind::Gone);
        assert_eq!(kind("InvalidVSwitchId.NotFound", 404), Kind::Invalid);
        assert_eq!(kind("InvalidSecurityGroupId.NotFound", 404), Kind::Invalid);
        assert_eq!(kind("InvalidEcsId.NotFound", 404), Kind::Invalid);
        assert_eq!(kind("InvalidTimeStamp.Expired", 400), Kind::ClockSkew);
        assert_eq!(kind("IdempotentParameterMismatch", 400), Kind::Conflict);
        assert_eq!(kind("Forbidden.RAM", 403), Kind::Denied);
        assert_eq!(kind("MissingParameter", 400), Kind::Invalid);
    }

    #[test]
    fn an_outage_is_harmless_only_for_reads() {
        for (code, status) in [("InternalError", 500), ("ServiceUnavailable", 503), ("Novel", 502)] {
            assert_eq!(meaning(code, status).kind(code, true), Kind::Ambiguous, "{code}");
            assert_eq!(meaning(code, status).kind(code, false), Kind::Transient, "{code}");
        }
    }

    #[test]
    fn an_unknown_code_is_judged_by_its_status() {
        assert_eq!(meaning("Novel", 429), Meaning::Throttled);
        assert_eq!(meaning("Novel", 403), Meaning::Denied);
        assert_eq!(meaning("Novel", 409), Meaning::Conflict);
        assert_eq!(meaning("Novel.NotFound", 404), Meaning::Invalid);
        assert_eq!(meaning("Novel", 302), Meaning::Outage);
    }
}
