//! Why somebody waits, or waited in vain: in words, with the numbers, under the code a person can look up.

use std::time::Duration;

use terway_types::{AttachmentKey, Fault, FaultCode};

use crate::settings::PoolSettings;
use crate::supply::Supply;
use crate::tally::Tally;

/// What stands between an attachment and its ENI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reason {
    /// What is waited for.
    pub(crate) what: &'static str,
    pub(crate) code: FaultCode,
    /// A fragment, e.g. `the limit of 5 ENIs is reached`.
    pub(crate) why: String,
    /// The last failure of the cloud or the node, if it is to blame.
    pub(crate) cause: Option<Fault>,
}

/// What stands between the next attachment and its ENI.
pub(crate) fn reason(tally: &Tally, supply: &Supply, settings: &PoolSettings) -> Reason {
    let at_limit = tally.total() >= settings.max_enis;
    let on_the_way = tally.coming + tally.linking;
    let numbers = format!("{tally}; {} at most", settings.max_enis);
    match supply.trouble() {
        // At the limit with nothing under way, an old failure is not what keeps ENIs away.
        Some(trouble) if !at_limit || on_the_way > 0 => Reason {
            what: "ENI",
            code: trouble.code,
            why: format!("ENIs do not come ({numbers})"),
            cause: Some(trouble.clone()),
        },
        _ if on_the_way > 0 => plain(format!("an ENI is on its way ({numbers})")),
        _ if at_limit => plain(format!("the limit of {} ENIs is reached ({numbers})", settings.max_enis)),
        _ => plain(format!("no ENI is idle ({numbers})")),
    }
}

fn plain(why: String) -> Reason {
    Reason { what: "ENI", code: FaultCode::PoolExhausted, why, cause: None }
}

impl Reason {
    /// The answer to somebody who waited in vain.
    pub(crate) fn into_fault(self, key: &AttachmentKey, waited: Duration) -> Fault {
        let what = format!("no {} for {key} within {:.1} s: {}", self.what, waited.as_secs_f64(), self.why);
        let fault = Fault::new(self.code, what);
        match self.cause {
            Some(cause) if cause.cause.is_empty() => fault.because(cause.what).remedy(cause.remedy),
            Some(cause) => fault.because(format!("{}: {}", cause.what, cause.cause)).remedy(cause.remedy),
            None => fault,
        }
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.why)?;
        self.cause.as_ref().map_or(Ok(()), |cause| write!(f, ": {cause}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{key, settings};
    use terway_types::Timestamp;

    #[test]
    fn the_limit_is_named_with_the_numbers() {
        let settings = PoolSettings { max_enis: 3, ..settings() };
        let mut supply = Supply::new(&settings, Timestamp(0));
        supply.troubled(Fault::new(FaultCode::CloudUnavailable, "old news"));
        let tally = Tally { held: 2, resting: 1, ..Tally::default() };
        let fault = reason(&tally, &supply, &settings).into_fault(&key(1), Duration::from_millis(2500));
        assert_eq!(fault.code, FaultCode::PoolExhausted);
        assert_eq!(
            fault.what,
            "no ENI for net/c1/eth0 within 2.5 s: the limit of 3 ENIs is reached \
             (2 in use, 1 in quarantine; 3 at most)"
        );
        assert_eq!(fault.cause, "");
    }

    #[test]
    fn the_cloud_is_blamed_when_it_is_to_blame() {
        let settings = PoolSettings { max_enis: 3, ..settings() };
        let mut supply = Supply::new(&settings, Timestamp(0));
        supply.troubled(Fault::new(FaultCode::CloudDenied, "failed to create").because("Forbidden.RAM"));
        let tally = Tally { held: 2, coming: 1, ..Tally::default() };
        let reason = reason(&tally, &supply, &settings);
        assert!(reason.to_string().contains("cloud-denied"), "{reason}");
        let fault = reason.into_fault(&key(1), Duration::from_secs(1));
        assert_eq!(fault.code, FaultCode::CloudDenied);
        assert_eq!(fault.cause, "failed to create: Forbidden.RAM");
        assert_eq!(fault.remedy, FaultCode::CloudDenied.remedy());
    }
}
