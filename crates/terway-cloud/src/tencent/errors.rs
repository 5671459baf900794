//! What the vendor's error codes mean. Refusals come with HTTP status 200, so codes are all there is.

use crate::meaning::{Line, Meaning, look_up};

/// Codes as the VPC and CVM documents and the list of common errors give them, families last.
const CODES: &[Line] = &[
    ("RequestLimitExceeded*", Meaning::Throttled),
    ("RequestSizeLimitExceeded", Meaning::Invalid),
    ("ResponseSizeLimitExceeded", Meaning::Invalid),
    ("LimitExceeded.ActionLimited", Meaning::Throttled),
    ("ResourceInsufficient*", Meaning::SubnetExhausted),
    ("LimitExceeded*", Meaning::Quota),
    ("InvalidParameterValue.LimitExceeded", Meaning::Quota),
    ("AddressQuotaLimitExceeded*", Meaning::Quota),
    ("UnsupportedOperation.InvalidState", Meaning::InvalidState),
    ("UnsupportedOperation.ResourceIsInvalidState", Meaning::InvalidState),
    ("UnsupportedOperation.AttachmentAlreadyExists", Meaning::InvalidState),
    ("UnsupportedOperation.AttachmentNotFound", Meaning::InvalidState),
    ("UnsupportedOperation.InvalidInstanceState", Meaning::InvalidState),
    ("UnsupportedOperation.InstanceStateNotSupported", Meaning::InvalidState),
    ("ResourceInUse*", Meaning::InvalidState),
    ("ResourceUnavailable*", Meaning::InvalidState),
    ("UnsupportedOperation.MutexOperationTaskRunning", Meaning::Conflict),
    ("UnsupportedOperation.MutexTaskRunning", Meaning::Conflict),
    ("UnsupportedOperation.IdempotentProcessing", Meaning::Conflict),
    ("UnsupportedOperation.IdempotentParameterMismatch", Meaning::Conflict),
    ("UnsupportedOperation.Conflict*", Meaning::Conflict),
    ("OperationConflict*", Meaning::Conflict),
    ("OperationDenied.MutexTaskRunning", Meaning::Conflict),
    ("ResourceNotFound*", Meaning::Gone),
    // What CVM says where VPC says ResourceNotFound.
    ("InvalidInstanceId.NotFound", Meaning::Gone),
    ("AuthFailure.SignatureExpire", Meaning::ClockSkew),
    ("AuthFailure*", Meaning::Denied),
    ("UnauthorizedOperation*", Meaning::Denied),
    ("OperationDenied*", Meaning::Denied),
    ("IpInBlacklist", Meaning::Denied),
    ("InternalError*", Meaning::Outage),
    ("InternalServerError*", Meaning::Outage),
    ("FailedOperation*", Meaning::Outage),
    ("ServiceUnavailable*", Meaning::Outage),
    ("RegionUnavailable*", Meaning::Outage),
    // Families: whatever of theirs is new.
    ("*LimitExceeded*", Meaning::Quota),
    ("InvalidParameter*", Meaning::Invalid),
    ("MissingParameter*", Meaning::Invalid),
    ("UnknownParameter*", Meaning::Invalid),
    ("UnsupportedOperation*", Meaning::Invalid),
    ("UnsupportedRegion*", Meaning::Invalid),
    ("UnsupportedProtocol*", Meaning::Invalid),
    ("Invalid*", Meaning::Invalid),
    ("NoSuch*", Meaning::Invalid),
    ("ActionOffline", Meaning::Invalid),
    ("DryRunOperation", Meaning::Invalid),
];

/// What an answer with this code and HTTP status means.
pub(super) fn meaning(code: &str, status: u16) -> Meaning {
    look_up(CODES, code).unwrap_or(match status {
        429 => Meaning::Throttled,
        401 | 403 => Meaning::Denied,
        400..=499 => Meaning::Invalid,
        // A novel code says nothing about what was done.
        _ => Meaning::Outage,
    })
}

/// Whether a code says that the address to be taken off is not there.
pub(super) fn is_unassigned(code: &str) -> bool {
    matches!(
        code,
        "UnsupportedOperation.AttachmentNotFound"
            | "InvalidParameterValue.ResourceNotFound"
            | "UnsupportedOperation.UnassignedAddress"
    )
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
        let kind = |code, message| meaning(code, 200).kind(code, message, true);
        let quota = |code: &str, limit| Kind::Quota { which: code.into(), limit };
        let cases = [
            ("RequestLimitExceeded", "", Kind::Throttled),
            ("RequestLimitExceeded.UinLimitExceeded", "", Kind::Throttled),
            ("LimitExceeded.ActionLimited", "", Kind::Throttled),
            ("ResourceInsufficient.Subnet", "", Kind::SubnetExhausted),
            ("ResourceInsufficient", "", Kind::SubnetExhausted),
            ("LimitExceeded", "the limit is 8", quota("LimitExceeded", Some(8))),
            (
                "LimitExceeded.NetworkInterfaceLimitExceeded",
                "",
                quota("LimitExceeded.NetworkInterfaceLimitExceeded", None),
            ),
            ("ResourceNotFound", "", Kind::Gone),
            ("InvalidInstanceId.NotFound", "", Kind::Gone),
            ("InvalidInstanceId.Malformed", "", Kind::Invalid),
            ("ResourceInUse", "", Kind::InvalidState),
            ("UnsupportedOperation.InvalidState", "", Kind::InvalidState),
            ("UnsupportedOperation.AttachmentAlreadyExists", "", Kind::InvalidState),
            ("UnsupportedOperation.MutexOperationTaskRunning", "", Kind::Conflict),
            ("UnsupportedOperation.IdempotentProcessing", "", Kind::Conflict),
            ("UnsupportedOperation.ZoneMismatch", "", Kind::Invalid),
            ("UnsupportedOperation.VpcMismatch", "", Kind::Invalid),
            ("InvalidParameterValue.Malformed", "", Kind::Invalid),
            ("AuthFailure.SignatureExpire", "", Kind::ClockSkew),
            ("AuthFailure.SignatureFailure", "", Kind::Denied),
            ("AuthFailure.UnauthorizedOperation", "", Kind::Denied),
            ("UnauthorizedOperation", "", Kind::Denied),
            ("InternalError.ModuleError", "", Kind::Ambiguous),
        ];
        for (code, message, expected) in cases {
            assert_eq!(kind(code, message), expected, "{code}");
        }
        assert_eq!(meaning("InternalError", 200).kind("InternalError", "", false), Kind::Transient);
        assert_eq!(meaning("Novel", 200), Meaning::Outage);
        assert_eq!(meaning("Novel", 400), Meaning::Invalid);
    }
}
