//! What the vendor's error codes mean. The first matching line of the table counts; a code that is in no
//! line is judged by the HTTP status.

use crate::meaning::{Line, Meaning, look_up};

/// Codes as the ECS and VPC documents and the gateway's list of common errors give them, families last.
///
/// A missing vSwitch, group or instance is `Invalid`, not `Gone`: these come from the configuration and
/// are not the object of the call.
const CODES: &[Line] = &[
    ("Throttling*", Meaning::Throttled),
    ("*.Throttling", Meaning::Throttled),
    ("RequestLimitExceeded*", Meaning::Throttled),
    ("InvalidVSwitchId.IpNotEnough", Meaning::SubnetExhausted),
    ("InvalidVSwitch.IpNotEnough", Meaning::SubnetExhausted),
    ("InvalidOperation.Ipv4PrefixNotEnough", Meaning::SubnetExhausted),
    ("InsufficientIpAddress*", Meaning::SubnetExhausted),
    // The addresses that one VPC may hold: another vSwitch does not help for long, but is what there is.
    ("QuotaExceeded.PrivateIpAddress", Meaning::SubnetExhausted),
    ("EniPerInstanceLimitExceeded", Meaning::Quota),
    ("MaxEniCountExceeded", Meaning::Quota),
    ("SecurityGroupInstanceLimitExceed*", Meaning::Quota),
    ("JoinedGroupLimitExceed*", Meaning::Quota),
    ("InvalidOperation.Ipv4CountExceeded", Meaning::Quota),
    ("InvalidOperation.Ipv6CountExceeded", Meaning::Quota),
    ("InvalidOperation.Ipv4PrefixCountExceeded", Meaning::Quota),
    ("InvalidOperation.Ipv6PrefixCountExceeded", Meaning::Quota),
    ("InvalidOperation.MaxEniCountExceeded", Meaning::Quota),
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
    ("IdempotentFailed", Meaning::Conflict),
    ("IdempotentProcessing", Meaning::Conflict),
    ("IdempotentParameterMismatch", Meaning::Conflict),
    ("Idempotent*", Meaning::Conflict),
    ("IdempotenceParamNotMatch", Meaning::Conflict),
    ("LastTokenProcessing", Meaning::Conflict),
    ("Operation.Conflict", Meaning::Conflict),
    ("OperationConflict", Meaning::Conflict),
    ("OperationDenied.Conflict*", Meaning::Conflict),
    ("InvalidOperation.Conflict*", Meaning::Conflict),
    ("TaskConflict", Meaning::Conflict),
    // EFLO counts its refusals: no such object, no more addresses, busy.
    ("1011", Meaning::Gone),
    ("1013", Meaning::Quota),
    ("1017", Meaning::Conflict),
    ("InvalidIp.IpUnassigned", Meaning::Invalid),
    ("InvalidIp.IpAssigned", Meaning::Invalid),
    ("InvalidAction*", Meaning::Invalid),
    ("Forbidden*", Meaning::Denied),
    ("NoPermission*", Meaning::Denied),
    ("InvalidAccessKeyId*", Meaning::Denied),
    ("InvalidSecurityToken*", Meaning::Denied),
    ("MissingSecurityToken", Meaning::Denied),
    ("MissingAccessKeyId", Meaning::Denied),
    ("SignatureDoesNotMatch", Meaning::Denied),
    ("IncompleteSignature", Meaning::Denied),
    ("InvalidAccountStatus*", Meaning::Denied),
    ("Account.Arrearage", Meaning::Denied),
    ("InternalError*", Meaning::Outage),
    ("ServiceUnavailable*", Meaning::Outage),
    ("UnknownError", Meaning::Outage),
    // Families: whatever their status, and whatever of theirs is new.
    ("*LimitExceed*", Meaning::Quota),
    ("*CountExceed*", Meaning::Quota),
    ("*IpNotEnough", Meaning::SubnetExhausted),
    ("Missing*", Meaning::Invalid),
    ("Invalid*", Meaning::Invalid),
    ("Unsupported*", Meaning::Invalid),
    ("*.NotFound", Meaning::Invalid),
];

/// What an answer with this code and HTTP status means.
pub(super) fn meaning(code: &str, status: u16) -> Meaning {
    look_up(CODES, code).unwrap_or_else(|| by_status(status))
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
    use terway_types::CloudFailureKind as Kind;

    use super::*;
    use crate::meaning::tests::walk;

    #[test]
    fn every_line_of_the_table_is_reached() {
        walk(CODES, |code| meaning(code, 200));
    }

    #[test]
    fn the_codes_seen_in_the_field_mean_what_they_should() {
        let kind = |code, status| meaning(code, status).kind(code, "", true);
        let quota = |code: &str| Kind::Quota { which: code.into(), limit: None };
        let cases = [
            ("Throttling", 400, Kind::Throttled),
            ("Throttling.User", 400, Kind::Throttled),
            ("Throttling.Api", 400, Kind::Throttled),
            ("InvalidVSwitchId.IpNotEnough", 403, Kind::SubnetExhausted),
            ("QuotaExceeded.PrivateIpAddress", 403, Kind::SubnetExhausted),
            ("EniPerInstanceLimitExceeded", 403, quota("EniPerInstanceLimitExceeded")),
            ("MaxEniCountExceeded", 403, quota("MaxEniCountExceeded")),
            ("SecurityGroupInstanceLimitExceed", 403, quota("SecurityGroupInstanceLimitExceed")),
            ("InvalidOperation.Ipv4CountExceeded", 403, quota("InvalidOperation.Ipv4CountExceeded")),
            ("InvalidOperation.Ipv6CountExceeded", 403, quota("InvalidOperation.Ipv6CountExceeded")),
            ("InvalidEniId.NotFound", 404, Kind::Gone),
            ("InvalidVSwitchId.NotFound", 404, Kind::Invalid),
            ("InvalidSecurityGroupId.NotFound", 404, Kind::Invalid),
            ("InvalidEcsId.NotFound", 404, Kind::Invalid),
            ("InvalidAllocationId.NotFound", 404, Kind::Invalid),
            ("InvalidIp.IpUnassigned", 400, Kind::Invalid),
            ("InvalidTimeStamp.Expired", 400, Kind::ClockSkew),
            ("IdempotentParameterMismatch", 400, Kind::Conflict),
            ("IdempotentFailed", 400, Kind::Conflict),
            ("Operation.Conflict", 409, Kind::Conflict),
            ("InvalidOperation.InvalidEniState", 403, Kind::InvalidState),
            ("InvalidOperation.InvalidEcsState", 403, Kind::InvalidState),
            ("Forbidden.RAM", 403, Kind::Denied),
            ("InvalidAccessKeyId.NotFound", 404, Kind::Denied),
            ("InvalidSecurityToken.Expired", 400, Kind::Denied),
            ("SignatureDoesNotMatch", 400, Kind::Denied),
            ("MissingParameter", 400, Kind::Invalid),
            ("InternalError", 500, Kind::Ambiguous),
            ("ServiceUnavailable", 503, Kind::Ambiguous),
            ("SignatureNonceUsed", 400, Kind::Ambiguous),
        ];
        for (code, status, expected) in cases {
            assert_eq!(kind(code, status), expected, "{code}");
        }
    }

    #[test]
    fn an_outage_is_harmless_only_for_reads() {
        for (code, status) in [("InternalError", 500), ("ServiceUnavailable", 503), ("Novel", 502)] {
            assert_eq!(meaning(code, status).kind(code, "", true), Kind::Ambiguous, "{code}");
            assert_eq!(meaning(code, status).kind(code, "", false), Kind::Transient, "{code}");
        }
    }

    #[test]
    fn an_unknown_code_is_judged_by_its_family_and_then_by_its_status() {
        assert_eq!(meaning("NovelLimitExceeded.Some", 403), Meaning::Quota);
        assert_eq!(meaning("Novel.NotFound", 404), Meaning::Invalid);
        assert_eq!(meaning("Novel", 429), Meaning::Throttled);
        assert_eq!(meaning("Novel", 403), Meaning::Denied);
        assert_eq!(meaning("Novel", 409), Meaning::Conflict);
        assert_eq!(meaning("Novel", 302), Meaning::Outage);
    }
}
