//! The plugin's client: the same wire and the same faults as [`crate::client`], without a runtime.

use std::path::Path;
use std::time::{Duration, Instant};

use grpc_unary::{CallError, Connection, Take};
use prost::Message;
use terway_types::{Fault, FaultCode};
use tonic::Code;

use crate::connect_error::ConnectError;
use crate::convert::{broken, fault_of_parts};
use crate::wire;

/// A connection to the node daemon.
#[derive(Debug)]
pub struct BlockingClient {
    connection: Connection,
}

impl BlockingClient {
    /// Connects to the socket at `path`; fails at once if nobody listens, after `patience` if nobody accepts.
    pub fn connect(path: &Path, patience: Duration) -> Result<Self, ConnectError> {
        let connection = Connection::open(path, patience).map_err(|error| {
            if error.kind() == std::io::ErrorKind::WouldBlock {
                return ConnectError::TimedOut { path: path.to_owned(), after: patience };
            }
            ConnectError::of_kind(path, error.kind())
                .unwrap_or_else(|| ConnectError::Other { path: path.to_owned(), source: error.into() })
        })?;
        Ok(Self { connection })
    }

    /// Whether terwayd has not hung up, as far as is known without waiting.
    pub fn is_open(&self) -> bool {
        self.connection.is_open()
    }

    fn call<A: Message + Default>(
        &mut self,
        method: &str,
        request: &impl Message,
        take: Take,
        patience: Duration,
        meanwhile: impl FnOnce(),
    ) -> Result<A, Fault> {
        let (deadline, message) = (Instant::now() + patience, request.encode_to_vec());
        match self.connection.call_meanwhile(method, &message, take, deadline, meanwhile) {
            Ok(bytes) => A::decode(bytes.as_slice()).map_err(|error| {
                Fault::new(FaultCode::Internal, "terwayd answered what cannot be read").caused_by(&error)
            }),
            Err(CallError::Refused(status)) => {
                let code = i32::try_from(status.code).map_or(Code::Unknown, Code::from_i32);
                Err(fault_of_parts(code, &status.message, &status.details))
            }
            Err(CallError::TimedOut) => {
                let what = format!("terwayd gave no answer within {patience:?}");
                Err(Fault::new(FaultCode::DaemonUnreachable, what))
            }
            Err(CallError::Broken(source)) => Err(broken(&source)),
            Err(error @ CallError::Protocol(_)) => Err(broken(&error)),
        }
    }

    /// The same as [`Self::alloc_ip`]; does other work while terwayd and its disk do theirs.
    pub fn alloc_ip_meanwhile(
        &mut self,
        request: &wire::AllocateRequest,
        patience: Duration,
        meanwhile: impl FnOnce(),
    ) -> Result<wire::AllocateReply, Fault> {
        self.call("/rpc.TerwayBackend/AllocIP", request, Take::Only, patience, meanwhile)
    }
}

macro_rules! calls {
    ($($(#[$doc:meta])* $method:ident ($name:literal, $take:ident, $request:ident) -> $reply:ident;)*) => {
        impl BlockingClient {
            $(
                $(#[$doc])*
                pub fn $method(
                    &mut self,
                    request: &wire::$request,
                    patience: Duration,
                ) -> Result<wire::$reply, Fault> {
                    let method = concat!("/rpc.TerwayBackend/", $name);
                    self.call(method, request, Take::$take, patience, || ())
                }
            )*
        }
    };
}

calls! {
    /// Asks for an attachment's interfaces.
    alloc_ip("AllocIP", Only, AllocateRequest) -> AllocateReply;
    /// Gives back what an attachment holds.
    release_ip("ReleaseIP", Only, ReleaseRequest) -> ReleaseReply;
    /// Asks what an attachment holds.
    get_ip_info("GetIPInfo", Only, InfoRequest) -> InfoReply;
    /// Records an event.
    record_event("RecordEvent", Only, EventRequest) -> EventReply;
    /// Asks whether an ADD can be served.
    status("Status", Only, StatusRequest) -> StatusReply;
    /// Releases all attachments of a network but these.
    collect_garbage("CollectGarbage", Only, CollectGarbageRequest) -> CollectGarbageReply;
    /// Asks for everything known about an attachment.
    explain("Explain", Only, ExplainRequest) -> ExplainReply;
    /// Looks at the pool as it is now.
    pool("WatchPool", First, WatchPoolRequest) -> PoolView;
}
