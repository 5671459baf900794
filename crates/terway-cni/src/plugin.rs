//! The verbs as the protocol calls them, and faults as runtimes read them.

use cni_protocol::{
    AddRequest, CheckRequest, CniError, CniResult, DelRequest, GcRequest, Handler, StatusRequest, code,
};
use terway_types::{Fault, FaultCode, Timestamp};

use crate::{add, check, del, gc, status};

/// The plugin, at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terway {
    /// When it was called.
    pub(crate) now: Timestamp,
}

impl Handler for Terway {
    fn add(&self, request: &AddRequest) -> Result<CniResult, CniError> {
        add::add(request, self.now).map_err(|fault| cni_error(&fault))
    }

    fn del(&self, request: &DelRequest) -> Result<(), CniError> {
        del::del(request, self.now).map_err(|fault| cni_error(&fault))
    }

    fn check(&self, request: &CheckRequest) -> Result<(), CniError> {
        check::check(request).map_err(|fault| cni_error(&fault))
    }

    fn gc(&self, request: &GcRequest) -> Result<(), CniError> {
        gc::gc(request).map_err(|fault| cni_error(&fault))
    }

    fn status(&self, request: &StatusRequest) -> Result<(), CniError> {
        status::status(request).map_err(|fault| cni_error(&fault))
    }

    fn refused(&self, error: CniError) -> CniError {
        let code = match error.code {
            code::INCOMPATIBLE_VERSION => FaultCode::CniVersion,
            code::INVALID_ENVIRONMENT => FaultCode::CniEnvironment,
            code::IO_FAILURE => FaultCode::CniInput,
            code::DECODING_FAILURE => FaultCode::CniDecode,
            code::INVALID_NETWORK_CONFIG => FaultCode::ConfigInvalid,
            _ => return error,
        };
        cni_error(&Fault::new(code, error.msg).because(error.details))
    }
}

/// A fault as an error object. Runtimes show `msg` and `details` and nothing of standard error, so all that
/// a person needs is in these two.
pub(crate) fn cni_error(fault: &Fault) -> CniError {
    let details = match fault.cause.as_str() {
        "" => format!("remedy: {}", fault.remedy),
        cause => format!("{cause}; remedy: {}", fault.remedy),
    };
    CniError::new(fault.code.cni_code(), format!("{}: {}", fault.code.name(), fault.what)).details(details)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_protocol_refuses_has_name_and_remedy_too() {
        let terway = Terway { now: Timestamp::default() };
        for fault in [
            FaultCode::CniVersion,
            FaultCode::CniEnvironment,
            FaultCode::CniInput,
            FaultCode::CniDecode,
            FaultCode::ConfigInvalid,
        ] {
            let refused = terway.refused(CniError::new(fault.cni_code(), "it").details("why"));
            let details = format!("why; remedy: {}", fault.remedy());
            let expected = CniError::new(fault.cni_code(), format!("{}: it", fault.name())).details(details);
            assert_eq!(refused, expected);
        }
        let other = CniError::new(code::UNKNOWN_CONTAINER, "it");
        assert_eq!(terway.refused(other.clone()), other);
    }

    #[test]
    fn an_error_says_code_what_cause_and_remedy() {
        let fault = Fault::new(FaultCode::PoolExhausted, "no ENI became free").because("7 of 7 in use");
        let error = cni_error(&fault);
        assert_eq!(error.code, 11);
        assert_eq!(error.msg, "pool-exhausted: no ENI became free");
        assert!(error.details.starts_with("7 of 7 in use; remedy: "), "{}", error.details);
    }

    #[test]
    fn trap_5_no_error_says_not_found() {
        for code in FaultCode::ALL {
            let fault = Fault::new(*code, "link not found").because("route not found").remedy("not found");
            let error = cni_error(&fault);
            assert!(!error.msg.contains("not found") && !error.details.contains("not found"), "{error:?}");
        }
    }
}
