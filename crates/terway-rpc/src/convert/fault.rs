//! Faults as messages. A code this build does not know (the other side is newer) stays readable.

use terway_types::{Fault, FaultCode};

use crate::wire;

impl From<&Fault> for wire::Fault {
    fn from(fault: &Fault) -> Self {
        Self {
            code: fault.code.name().to_owned(),
            what: fault.what.clone(),
            cause: fault.cause.clone(),
            remedy: fault.remedy.clone(),
        }
    }
}

impl From<wire::Fault> for Fault {
    fn from(message: wire::Fault) -> Self {
        let fault = match FaultCode::from_name(&message.code) {
            Some(code) => Self::new(code, message.what),
            None => Self::new(FaultCode::Internal, format!("{}: {}", message.code, message.what)),
        };
        let fault = fault.because(message.cause);
        if message.remedy.is_empty() { fault } else { fault.remedy(message.remedy) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_comes_back_as_it_went() {
        for code in FaultCode::ALL {
            let fault = Fault::new(*code, "attach of eni-1").because("limit 7").remedy("wait");
            assert_eq!(Fault::from(wire::Fault::from(&fault)), fault);
        }
    }

    #[test]
    fn a_code_of_a_newer_daemon_stays_readable() {
        let message = wire::Fault { code: "moon-phase".into(), what: "no ENI".into(), ..Default::default() };
        let fault = Fault::from(message);
        assert_eq!(fault.code, FaultCode::Internal);
        assert_eq!(fault.what, "moon-phase: no ENI");
        assert_eq!(fault.remedy, FaultCode::Internal.remedy());
    }
}
