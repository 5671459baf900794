//! From a failed cloud call to the fault a person meets, and the one way to make a failure here.

use terway_types::{CloudFailure, CloudFailureKind, Fault, FaultCode};

/// A failure that did not come with a vendor's code.
pub(crate) fn failure(kind: CloudFailureKind, action: &str, message: impl AsRef<str>) -> CloudFailure {
    CloudFailure {
        kind,
        action: action.to_owned(),
        vendor_code: None,
        request_id: None,
        message: without_success_words(message.as_ref()),
    }
}

/// The text without "not found": runtimes take a DEL error with these words for success, and vendors
/// like to write them.
pub(crate) fn without_success_words(text: &str) -> String {
    const WORDS: &str = "not found";
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    // ASCII lower-casing keeps byte positions.
    while let Some(at) = rest.to_ascii_lowercase().find(WORDS) {
        kept.push_str(&rest[..at]);
        kept.push_str("absent");
        rest = &rest[at + WORDS.len()..];
    }
    kept.push_str(rest);
    kept
}

/// What instance metadata reads are called in failures. They need no permission.
pub(crate) const METADATA_ACTION: &str = "ReadInstanceMetadata";

/// What getting a key for the cloud is called in failures.
pub(crate) const CREDENTIALS_ACTION: &str = "FindCredentials";

/// Stands between a refusal's message and the policy statement that would end it.
const STATEMENT: &str = "; policy statement to add: ";

/// The failure with the policy statement to add, if a permission is what it lacks.
pub(crate) fn with_statement(mut failure: CloudFailure, statement: impl FnOnce() -> String) -> CloudFailure {
    if failure.kind == CloudFailureKind::Denied && !is_about_the_key(&failure) {
        failure.message.push_str(STATEMENT);
        failure.message.push_str(&statement());
    }
    failure
}

/// The fault that a person meets when a cloud call failed like this.
pub fn fault(failure: &CloudFailure) -> Fault {
    let action = &failure.action;
    let (code, what) = match &failure.kind {
        CloudFailureKind::Throttled => {
            (FaultCode::CloudUnavailable, format!("the cloud takes no more {action} calls for now"))
        }
        CloudFailureKind::Quota { which, limit: Some(limit) } => {
            (FaultCode::QuotaReached, format!("{action} meets the quota {which}, limit {limit}"))
        }
        CloudFailureKind::Quota { which, limit: None } => {
            (FaultCode::QuotaReached, format!("{action} meets the quota {which}"))
        }
        CloudFailureKind::SubnetExhausted => {
            (FaultCode::SubnetExhausted, format!("{action} gets no free address from the vSwitch"))
        }
        CloudFailureKind::InvalidState => {
            (FaultCode::CloudUnavailable, format!("the object's state does not allow {action} for now"))
        }
        CloudFailureKind::Gone if action == METADATA_ACTION => (
            FaultCode::CloudUnavailable,
            "the instance metadata service does not tell what is needed".to_owned(),
        ),
        CloudFailureKind::Gone => {
            (FaultCode::CloudUnavailable, format!("the object of {action} no longer exists in the cloud"))
        }
        CloudFailureKind::Denied if action == CREDENTIALS_ACTION => {
            (FaultCode::CloudDenied, "there is no key for the cloud".to_owned())
        }
        CloudFailureKind::Denied => (FaultCode::CloudDenied, format!("the cloud refuses {action}")),
        CloudFailureKind::ClockSkew => {
            (FaultCode::ClockSkew, format!("the cloud refuses {action} for the time it was signed at"))
        }
        CloudFailureKind::Conflict => {
            (FaultCode::CloudUnavailable, format!("{action} conflicts with another operation"))
        }
        CloudFailureKind::Invalid => {
            (FaultCode::CloudInvalid, format!("the cloud refuses a parameter of {action}"))
        }
        CloudFailureKind::Transient => (FaultCode::CloudUnavailable, format!("{action} failed")),
        CloudFailureKind::Ambiguous => {
            (FaultCode::CloudUnavailable, format!("the outcome of {action} is unknown"))
        }
    };
    let fault = Fault::new(code, what).because(cause(failure));
    match remedy(failure) {
        Some(remedy) => fault.remedy(remedy),
        None => fault,
    }
}

fn cause(failure: &CloudFailure) -> String {
    let code = failure.vendor_code.as_ref().map(|code| format!("{code}: ")).unwrap_or_default();
    let request = failure.request_id.as_ref().map(|id| format!(" [request {id}]")).unwrap_or_default();
    let message =
        failure.message.split_once(STATEMENT).map_or(failure.message.as_str(), |(before, _)| before);
    without_success_words(&format!("{code}{message}{request}"))
}

/// What to do where the kind of failure knows better than the catalogue.
fn remedy(failure: &CloudFailure) -> Option<String> {
    if let Some((_, statement)) = failure.message.split_once(STATEMENT) {
        return Some(format!("add this statement to the policy of the node's role or key: {statement}"));
    }
    let remedy = match failure.kind {
        CloudFailureKind::Throttled => {
            "none needed; the daemon slows down and tries again. If it lasts, raise the account's API quota"
        }
        CloudFailureKind::Denied if is_about_the_key(failure) => {
            "check access key id, secret and security token of the node, and their validity"
        }
        CloudFailureKind::Denied if failure.action == METADATA_ACTION => {
            "allow this node to read its instance metadata"
        }
        CloudFailureKind::Denied if failure.action == CREDENTIALS_ACTION => {
            "set up one of the places named: a mounted secret, a role of the instance, or a web identity"
        }
        CloudFailureKind::Denied => "check what the role or key of the node may do",
        _ => return None,
    };
    Some(remedy.to_owned())
}

/// Refusals that no further permission would mend.
pub(crate) fn is_about_the_key(failure: &CloudFailure) -> bool {
    const PREFIXES: [&str; 10] = [
        "InvalidAccessKeyId",
        "InvalidSecurityToken",
        "MissingSecurityToken",
        "SignatureDoesNotMatch",
        "IncompleteSignature",
        "AuthFailure.SecretIdNotFound",
        "AuthFailure.InvalidSecretId",
        "AuthFailure.SignatureFailure",
        "AuthFailure.TokenFailure",
        "AuthFailure.InvalidAuthorization",
    ];
    let code = failure.vendor_code.as_deref().unwrap_or_default();
    failure.kind == CloudFailureKind::Denied && PREFIXES.iter().any(|prefix| code.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure_told(kind: CloudFailureKind, code: &str, message: &str) -> CloudFailure {
        CloudFailure {
            kind,
            action: "CreateNetworkInterface".into(),
            vendor_code: Some(code.into()),
            request_id: Some("R-1".into()),
            message: message.into(),
        }
    }

    fn told(kind: CloudFailureKind, code: &str, message: &str) -> Fault {
        fault(&failure_told(kind, code, message))
    }

    #[test]
    fn every_kind_has_its_fault() {
        use CloudFailureKind as Kind;
        let quota = Kind::Quota { which: "EniPerInstanceLimitExceeded".into(), limit: Some(8) };
        let expected = [
            (Kind::Throttled, FaultCode::CloudUnavailable),
            (quota, FaultCode::QuotaReached),
            (Kind::SubnetExhausted, FaultCode::SubnetExhausted),
            (Kind::InvalidState, FaultCode::CloudUnavailable),
            (Kind::Gone, FaultCode::CloudUnavailable),
            (Kind::Denied, FaultCode::CloudDenied),
            (Kind::ClockSkew, FaultCode::ClockSkew),
            (Kind::Conflict, FaultCode::CloudUnavailable),
            (Kind::Invalid, FaultCode::CloudInvalid),
            (Kind::Transient, FaultCode::CloudUnavailable),
            (Kind::Ambiguous, FaultCode::CloudUnavailable),
        ];
        for (kind, code) in expected {
            let fault = told(kind.clone(), "Some.Code", "the eni is Not Found, not found");
            assert_eq!(fault.code, code, "{kind:?}");
            assert!(!fault.to_string().to_lowercase().contains("not found"), "{fault}");
            assert!(fault.to_string().contains("Some.Code"), "{fault}");
        }
    }

    #[test]
    fn a_refusal_names_the_statement_to_add() {
        let failure = with_statement(
            failure_told(CloudFailureKind::Denied, "Forbidden.RAM", "User not authorized"),
            || r#"{"Effect":"Allow"}"#.to_owned(),
        );
        assert_eq!(failure.message, r#"User not authorized; policy statement to add: {"Effect":"Allow"}"#);
        assert_eq!(
            fault(&failure).to_string(),
            "cloud-denied: the cloud refuses CreateNetworkInterface: \
             Forbidden.RAM: User not authorized [request R-1] \
             (remedy: add this statement to the policy of the node's role or key: {\"Effect\":\"Allow\"})"
        );
    }

    #[test]
    fn no_key_at_all_has_a_remedy_of_its_own() {
        let fault = fault(&failure(CloudFailureKind::Denied, CREDENTIALS_ACTION, "tried nothing"));
        assert_eq!(fault.what, "there is no key for the cloud");
        assert!(fault.remedy.starts_with("set up one of the places named"), "{fault}");
    }

    #[test]
    fn a_wrong_key_is_not_called_a_missing_permission() {
        let fault = told(CloudFailureKind::Denied, "SignatureDoesNotMatch", "no match");
        assert!(fault.remedy.starts_with("check access key id"), "{fault}");
    }

    #[test]
    fn a_quota_is_named_with_its_limit() {
        let kind = CloudFailureKind::Quota { which: "EniPerInstanceLimitExceeded".into(), limit: Some(8) };
        let fault = told(kind, "EniPerInstanceLimitExceeded", "full");
        assert!(fault.what.contains("EniPerInstanceLimitExceeded, limit 8"), "{fault}");
    }

    #[test]
    fn success_words_are_replaced_wherever_they_stand() {
        assert_eq!(without_success_words("Not found: x NOT FOUNDnot found é"), "absent: x absentabsent é");
    }
}
