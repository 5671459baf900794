//! Faults as gRPC statuses: ours travel whole in the status' details; the Go daemon's have only a text
//! (`code: <Code>, msg: <Msg>`), from which the nearest fault is made.

use std::error::Error;

use prost::Message as _;
use terway_types::fault::Retry;
use terway_types::{Fault, FaultCode};
use tonic::{Code, Status};

use crate::wire;

/// The Go daemon's error codes (its `types/errors.go`) and the faults nearest to them, in the order in
/// which a text is searched.
const GO_CODES: &[(&str, FaultCode)] = &[
    ("PodIsProcessing", FaultCode::AttachmentBusy),
    ("PodENINotReady", FaultCode::PoolExhausted),
    ("IPNotAllocated", FaultCode::PoolExhausted),
    ("OutIPOfSync", FaultCode::PoolExhausted),
    ("no eni can handle the allocation", FaultCode::PoolExhausted),
    ("context deadline exceeded", FaultCode::PoolExhausted),
    ("OpenAPIErr", FaultCode::CloudUnavailable),
    ("InvalidArgs", FaultCode::PlanInvalid),
    ("InvalidDataType", FaultCode::PlanInvalid),
    ("ResourceInvalid", FaultCode::PlanInvalid),
];

/// A fault as the status that carries it. The message is for other clients; ours read the details.
pub fn status_of(fault: &Fault) -> Status {
    let details = wire::Fault::from(fault).encode_to_vec();
    Status::with_details(grpc_code(fault.code), fault.to_string(), details.into())
}

/// The fault a status carries, or the nearest one to what its code, cause and text say.
pub fn fault_of(status: &Status) -> Fault {
    match status.source() {
        // Only a status made on this side has a source: the connection broke under the call.
        Some(source) if !matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled) => broken(source),
        _ => fault_of_parts(status.code(), status.message(), status.details()),
    }
}

/// The same of a status of the other side, by its parts.
pub(crate) fn fault_of_parts(code: Code, message: &str, details: &[u8]) -> Fault {
    if let Some(fault) = carried(details) {
        return fault;
    }
    match code {
        Code::Unimplemented => {
            Fault::new(FaultCode::DaemonOutdated, "terwayd lacks the method called").because(message)
        }
        Code::DeadlineExceeded | Code::Cancelled => {
            Fault::new(FaultCode::DaemonUnreachable, "terwayd gave no answer in time").because(message)
        }
        Code::Unavailable => {
            Fault::new(FaultCode::DaemonUnreachable, "terwayd is not serving").because(message)
        }
        _ => by_text(message),
    }
}

/// The fault of a connection that broke under a call.
pub(crate) fn broken(source: &(dyn Error + 'static)) -> Fault {
    Fault::new(FaultCode::DaemonUnreachable, "the connection to terwayd broke").caused_by(source)
}

/// The fault in the details, if our daemon sent the status.
fn carried(details: &[u8]) -> Option<Fault> {
    let message = wire::Fault::decode(details).ok()?;
    (!message.code.is_empty()).then(|| message.into())
}

fn by_text(text: &str) -> Fault {
    let code =
        GO_CODES.iter().find(|(mark, _)| text.contains(mark)).map_or(FaultCode::Internal, |found| found.1);
    Fault::new(code, "terwayd refused").because(text).remedy("see terwayd's log on this node")
}

/// The gRPC code for clients that know no faults.
fn grpc_code(code: FaultCode) -> Code {
    match code {
        FaultCode::AttachmentBusy => Code::Aborted,
        FaultCode::PoolExhausted
        | FaultCode::QuotaReached
        | FaultCode::SubnetExhausted
        | FaultCode::StateFull => Code::ResourceExhausted,
        FaultCode::CloudDenied => Code::PermissionDenied,
        FaultCode::ConfigInvalid
        | FaultCode::GcUnbounded
        | FaultCode::NetnsInvalid
        | FaultCode::PlanInvalid
        | FaultCode::CloudInvalid => Code::InvalidArgument,
        FaultCode::Internal => Code::Internal,
        // Never `Code::NotFound`: its own text is one that runtimes take for a successful DEL.
        other => match other.retry() {
            Retry::Later => Code::Unavailable,
            Retry::AfterMending => Code::FailedPrecondition,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_travels_whole_in_a_status() {
        for code in FaultCode::ALL {
            let fault = Fault::new(*code, "ADD of c1").because("7 of 7 ENIs in use");
            let status = status_of(&fault);
            assert_eq!(fault_of(&status), fault);
            assert_eq!(status.message(), fault.to_string());
            assert!(!matches!(status.code(), Code::Ok | Code::NotFound), "{code:?}");
        }
    }

    #[test]
    fn the_go_daemons_texts_become_faults() {
        let cases = [
            ("code: PodIsProcessing, msg: Pod default/a is processing", FaultCode::AttachmentBusy),
            ("code: OpenAPIErr, msg: Throttling", FaultCode::CloudUnavailable),
            ("no eni can handle the allocation", FaultCode::PoolExhausted),
            ("code: InvalidArgs, msg: pods \"a\" not found", FaultCode::PlanInvalid),
            ("bolt: database not open", FaultCode::Internal),
        ];
        for (text, code) in cases {
            let fault = fault_of(&Status::unknown(text));
            assert_eq!(fault.code, code, "{text}");
            assert_eq!(fault.cause, text.replace("not found", "missing"));
        }
    }

    #[test]
    fn statuses_of_the_transport_say_that_the_daemon_is_away() {
        for status in [Status::unavailable("x"), Status::deadline_exceeded("x"), Status::cancelled("x")] {
            assert_eq!(fault_of(&status).code, FaultCode::DaemonUnreachable, "{status}");
        }
        assert_eq!(fault_of(&Status::unimplemented("")).code, FaultCode::DaemonOutdated);
        let broken = Status::from_error(Box::new(std::io::Error::other("peer went away")));
        assert_eq!(fault_of(&broken).code, FaultCode::DaemonUnreachable);
        assert!(fault_of(&broken).cause.contains("peer went away"));
    }

    #[test]
    fn details_that_are_no_fault_of_ours_are_passed_over() {
        let status = Status::with_details(Code::Unknown, "text", vec![0xff, 0xff].into());
        assert_eq!(fault_of(&status).cause, "text");
    }
}
