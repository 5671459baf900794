//! What a failed cloud operation leads to, by its kind: the pause before the next try, whether the same
//! thing is tried again at all, and the fault a person meets.

use std::time::Duration;

use terway_types::{CloudFailure, CloudFailureKind as Kind, Fault, FaultCode};

use crate::settings::PoolSettings;

/// What to do after a failed create call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AfterCreate {
    /// The same call with the same token again; it finds what an unheard success made.
    Again,
    /// The cloud will not make this ENI: drop the intent, once it is sure that nothing was made.
    Refused,
}

/// What to do after a failed attach call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AfterAttach {
    /// Try again, as long as it takes.
    Again,
    /// Try again a few times, then replace the ENI.
    AgainAFewTimes,
    /// This ENI will never be attached here: replace it.
    Replace,
}

/// Failed calls in a row after which an ENI is replaced. With doubling pauses these are minutes.
pub(crate) const TRIES: u32 = 8;

/// A refusal for lack of permission or a wrong clock says nothing about what an earlier, unheard call made
/// (`doubt`), so then the intent stays. A `Conflict` that lasts means that the token was used with other
/// parameters; only a new token helps. What fails for long without effect is dropped, so that it may be tried
/// elsewhere.
pub(crate) fn after_create(kind: &Kind, failures: u32, doubt: bool) -> AfterCreate {
    match kind {
        Kind::Quota { .. } | Kind::SubnetExhausted | Kind::Invalid | Kind::Gone => AfterCreate::Refused,
        Kind::Denied | Kind::ClockSkew if !doubt => AfterCreate::Refused,
        Kind::Conflict | Kind::Throttled | Kind::Transient | Kind::InvalidState if failures >= TRIES => {
            AfterCreate::Refused
        }
        Kind::Conflict
        | Kind::Throttled
        | Kind::Transient
        | Kind::Ambiguous
        | Kind::InvalidState
        | Kind::Denied
        | Kind::ClockSkew => AfterCreate::Again,
    }
}

/// Whether the cause lies with the account or the node, so that the same call for another ENI fails as well.
pub(crate) fn is_shared(kind: &Kind) -> bool {
    matches!(kind, Kind::Throttled | Kind::Denied | Kind::ClockSkew | Kind::Quota { .. })
}

/// Whether a failed call surely changed nothing.
pub(crate) fn is_definite(kind: &Kind) -> bool {
    !matches!(kind, Kind::Ambiguous | Kind::Conflict)
}

/// `Gone`: somebody deleted the ENI. `Invalid`: it cannot be attached to this node, e.g. another zone. A used
/// up quota (the instance's ENI limit) ends when another ENI leaves the node.
pub(crate) fn after_attach(kind: &Kind) -> AfterAttach {
    match kind {
        Kind::Gone | Kind::Invalid => AfterAttach::Replace,
        Kind::InvalidState | Kind::Conflict | Kind::Transient | Kind::Ambiguous | Kind::SubnetExhausted => {
            AfterAttach::AgainAFewTimes
        }
        Kind::Throttled | Kind::Quota { .. } | Kind::Denied | Kind::ClockSkew => AfterAttach::Again,
    }
}

/// The pause after the `failures`-th failure in a row. What only a person can mend is tried slowly.
pub(crate) fn pause(kind: &Kind, failures: u32, settings: &PoolSettings) -> Duration {
    match kind {
        Kind::Denied | Kind::Invalid | Kind::ClockSkew => settings.retry_max,
        _ => back_off(failures, settings),
    }
}

/// `retry_first`, doubled with every further failure, up to `retry_max`.
pub(crate) fn back_off(failures: u32, settings: &PoolSettings) -> Duration {
    let doublings = failures.saturating_sub(1).min(31);
    settings.retry_first.saturating_mul(1 << doublings).min(settings.retry_max)
}

/// The catalogue's code for a kind of cloud failure.
pub(crate) fn code(kind: &Kind) -> FaultCode {
    match kind {
        Kind::Quota { .. } => FaultCode::QuotaReached,
        Kind::SubnetExhausted => FaultCode::SubnetExhausted,
        Kind::Denied => FaultCode::CloudDenied,
        Kind::ClockSkew => FaultCode::ClockSkew,
        Kind::Invalid => FaultCode::CloudInvalid,
        _ => FaultCode::CloudUnavailable,
    }
}

/// The fault of a failed cloud operation; `aim` is what was to be done, `reaction` what happens next.
pub(crate) fn fault(aim: &str, failure: &CloudFailure, reaction: &str) -> Fault {
    let limit = match &failure.kind {
        Kind::Quota { which, limit: Some(limit) } => format!(" (quota {which}, limit {limit})"),
        Kind::Quota { which, limit: None } => format!(" (quota {which})"),
        _ => String::new(),
    };
    Fault::new(code(&failure.kind), format!("failed to {aim}{limit}; {reaction}"))
        .because(failure.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::settings;

    fn quota() -> Kind {
        Kind::Quota { which: "EniPerInstance".into(), limit: Some(7) }
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        let settings = PoolSettings {
            retry_first: Duration::from_millis(100),
            retry_max: Duration::from_millis(700),
            ..settings()
        };
        let pauses: Vec<_> = (0..6).map(|n| pause(&Kind::Throttled, n, &settings).as_millis()).collect();
        assert_eq!(pauses, [100, 100, 200, 400, 700, 700]);
        assert_eq!(pause(&Kind::Throttled, u32::MAX, &settings), settings.retry_max);
        assert_eq!(pause(&Kind::Denied, 1, &settings), settings.retry_max);
    }

    #[test]
    fn only_answers_about_this_creation_drop_the_intent() {
        for kind in [quota(), Kind::SubnetExhausted, Kind::Invalid, Kind::Gone] {
            assert_eq!(after_create(&kind, 1, true), AfterCreate::Refused, "{kind:?}");
        }
        for kind in [Kind::Denied, Kind::ClockSkew] {
            assert_eq!(after_create(&kind, 99, true), AfterCreate::Again, "{kind:?}");
            assert_eq!(after_create(&kind, 1, false), AfterCreate::Refused, "{kind:?}");
        }
        for kind in [Kind::Conflict, Kind::Throttled, Kind::Transient] {
            assert_eq!(after_create(&kind, 1, false), AfterCreate::Again, "{kind:?}");
            assert_eq!(after_create(&kind, TRIES, false), AfterCreate::Refused, "{kind:?}");
        }
        assert_eq!(after_create(&Kind::Ambiguous, 99, true), AfterCreate::Again);
    }

    #[test]
    fn a_quota_fault_names_its_numbers() {
        let failure = CloudFailure {
            kind: quota(),
            action: "CreateNetworkInterface".into(),
            vendor_code: Some("EniPerInstanceLimitExceeded".into()),
            request_id: None,
            message: "too many".into(),
        };
        let fault = fault("create an ENI", &failure, "trying again in 1 s");
        assert_eq!(fault.code, FaultCode::QuotaReached);
        assert_eq!(
            fault.what,
            "failed to create an ENI (quota EniPerInstance, limit 7); trying again in 1 s"
        );
        assert!(fault.cause.contains("EniPerInstanceLimitExceeded"), "{}", fault.cause);
    }
}
