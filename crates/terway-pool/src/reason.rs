//! Why somebody waits, or waited in vain: in words, with the numbers, under the code a person can look up.

use std::time::Duration;

use terway_types::{AttachmentKey, Fault, FaultCode};

use crate::engine::Pool;
use crate::event::Claim;
use crate::routed::ranges;
use crate::sharing::sharing;
use crate::waiters::Waiter;
use crate::wishes::DEFAULT;

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
    /// What helps, where the code's own remedy does not.
    pub(crate) remedy: Option<String>,
}

impl Pool {
    /// What stands between somebody who waits and its ENI.
    pub(crate) fn reason(&self, waiter: &Waiter) -> Reason {
        match &waiter.claim {
            Some(claim) => self.claim_reason(waiter, claim),
            None if ranges(&self.settings).is_some() => self.routed_reason(),
            None if sharing(&self.settings).is_some() => self.shared_reason(),
            None => self.line_reason(waiter),
        }
    }

    fn line_reason(&self, waiter: &Waiter) -> Reason {
        let (tally, limit) = (self.books.tally(), self.limit());
        let wish = self.wishes.get(waiter.wish);
        let coming = |class| {
            let tally = self.books.tally_of(class);
            tally.coming + tally.linking
        };
        let on_the_way = wish.classes().any(|class| coming(class) > 0);
        let at_limit = tally.total() >= limit;
        let numbers = format!("{tally}; {limit} at most");
        match self.supply.trouble(wish) {
            // At the limit with nothing under way, an old failure is not what keeps ENIs away.
            Some(trouble) if !at_limit || on_the_way => Reason {
                what: "ENI",
                code: trouble.code,
                why: format!("ENIs do not come ({numbers})"),
                cause: Some(trouble.clone()),
                remedy: None,
            },
            _ if on_the_way => plain(format!("an ENI is on its way ({numbers})")),
            _ if at_limit => plain(format!("the limit of {limit} ENIs is reached ({numbers})")),
            _ if waiter.wish == DEFAULT => plain(format!("no ENI is idle ({numbers})")),
            _ => plain(format!("no ENI with its vSwitch and security groups is idle ({numbers})")),
        }
    }

    fn claim_reason(&self, waiter: &Waiter, claim: &Claim) -> Reason {
        let Some(eni) = self.books.by_claim(&claim.id).and_then(|eni| self.books.get(eni)) else {
            return self.line_reason(waiter);
        };
        let id = eni.record.id.as_ref().map_or("-", |id| id.as_str());
        let why = format!("ENI {id} of claim {} is {}", claim.id, eni.record.phase.name());
        let fault = eni.last_fault.as_deref();
        let code = fault.map_or(FaultCode::ClaimUnusable, |fault| fault.code);
        Reason { what: "ENI", code, why, cause: fault.cloned(), remedy: None }
    }
}

fn plain(why: String) -> Reason {
    Reason { what: "ENI", code: FaultCode::PoolExhausted, why, cause: None, remedy: None }
}

impl Reason {
    /// The answer to somebody who waited in vain.
    pub(crate) fn into_fault(self, key: &AttachmentKey, waited: Duration) -> Fault {
        let what = format!("no {} for {key} within {:.1} s: {}", self.what, waited.as_secs_f64(), self.why);
        let mut fault = Fault::new(self.code, what);
        if let Some(remedy) = self.remedy {
            fault = fault.remedy(remedy);
        }
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
    use crate::testing::key;

    #[test]
    fn plain_reasons_name_who_and_how_long() {
        let why = "the limit of 3 ENIs is reached (2 in use, 1 in quarantine; 3 at most)".to_owned();
        let fault = plain(why).into_fault(&key(1), Duration::from_millis(2500));
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
        let cause = Fault::new(FaultCode::CloudDenied, "failed to create").because("Forbidden.RAM");
        let plain = plain("ENIs do not come".to_owned());
        let reason = Reason { code: cause.code, cause: Some(cause), ..plain };
        assert!(reason.to_string().contains("cloud-denied"), "{reason}");
        let fault = reason.into_fault(&key(1), Duration::from_secs(1));
        assert_eq!(fault.code, FaultCode::CloudDenied);
        assert_eq!(fault.cause, "failed to create: Forbidden.RAM");
        assert_eq!(fault.remedy, FaultCode::CloudDenied.remedy());
    }
}
