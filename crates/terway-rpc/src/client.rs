//! The client's side of the daemon's socket: one connection, one deadline over each call, and faults
//! instead of transport errors.
//!
//! The connection runs on spawned tasks: connect, call and drop inside one `block_on`.

use std::error::Error;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use terway_types::{Fault, FaultCode};
use tokio::net::UnixStream;
use tonic::codegen::Service;
use tonic::codegen::http::Uri;
use tonic::transport::{Channel, Endpoint};
use tonic::{Response, Status, Streaming};

use crate::connect_error::ConnectError;
use crate::convert::fault_of;
use crate::wire;
use crate::wire::terway_backend_client::TerwayBackendClient;
use crate::wire::terway_tracing_client::TerwayTracingClient;

/// Connects to one socket, whatever the URI. The transport's own connector brings TCP and name resolution
/// along: 150 KB of a plugin that is loaded for every pod, and nothing of it is used.
struct UnixConnector {
    path: PathBuf,
}

impl Service<Uri> for UnixConnector {
    type Response = TokioIo<UnixStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let path = self.path.clone();
        Box::pin(async move { UnixStream::connect(path).await.map(TokioIo::new) })
    }
}

/// A connection to the node daemon.
#[derive(Clone, Debug)]
pub struct DaemonClient {
    channel: Channel,
    deadline: Duration,
}

impl DaemonClient {
    /// Connects to the socket at `path`; this and every later call may take `deadline`.
    pub async fn connect(path: &Path, deadline: Duration) -> Result<Self, ConnectError> {
        // HTTP/2 wants a name for its peer; the connector alone knows where it goes.
        let endpoint = Endpoint::from_static("http://terwayd");
        let connecting = endpoint.connect_with_connector(UnixConnector { path: path.to_owned() });
        match tokio::time::timeout(deadline, connecting).await {
            Ok(Ok(channel)) => Ok(Self { channel, deadline }),
            Ok(Err(error)) => Err(classify(path, error.into())),
            Err(_) => Err(ConnectError::TimedOut { path: path.to_owned(), after: deadline }),
        }
    }

    /// The same connection for calls that may take so long, whatever connecting was allowed.
    #[must_use]
    pub fn within(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    /// The service the plugin uses, for calls this type has no method for.
    pub fn backend(&self) -> TerwayBackendClient<Channel> {
        TerwayBackendClient::new(self.channel.clone())
    }

    /// The service for looking inside, for calls this type has no method for.
    pub fn tracing(&self) -> TerwayTracingClient<Channel> {
        TerwayTracingClient::new(self.channel.clone())
    }

    /// Waits for a call's answer, at most until the deadline.
    pub async fn answer<T>(
        &self,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, Fault> {
        match tokio::time::timeout(self.deadline, call).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(fault_of(&status)),
            Err(_) => Err(Fault::new(
                FaultCode::DaemonUnreachable,
                format!("terwayd gave no answer within {:?}", self.deadline),
            )),
        }
    }

    /// A request that tells the daemon, too, when this side stops waiting.
    fn request<T>(&self, message: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        request.set_timeout(self.deadline);
        request
    }

    /// Follows the pool; the stream itself has no deadline.
    pub async fn watch_pool(&self) -> Result<Streaming<wire::PoolView>, Fault> {
        self.answer(self.backend().watch_pool(wire::WatchPoolRequest {})).await
    }

    /// Runs a command of a resource; the stream of its lines has no deadline.
    pub async fn resource_execute(
        &self,
        message: wire::ResourceExecuteRequest,
    ) -> Result<Streaming<wire::ResourceExecuteReply>, Fault> {
        self.answer(self.tracing().resource_execute(message)).await
    }
}

macro_rules! unary {
    ($($(#[$doc:meta])* $service:ident . $method:ident ($request:ident) -> $reply:ident;)*) => {
        impl DaemonClient {
            $(
                $(#[$doc])*
                pub async fn $method(&self, message: wire::$request) -> Result<wire::$reply, Fault> {
                    self.answer(self.$service().$method(self.request(message))).await
                }
            )*
        }
    };
}

unary! {
    /// Asks for an attachment's interfaces.
    backend.alloc_ip(AllocateRequest) -> AllocateReply;
    /// Gives back what an attachment holds.
    backend.release_ip(ReleaseRequest) -> ReleaseReply;
    /// Asks what an attachment holds.
    backend.get_ip_info(InfoRequest) -> InfoReply;
    /// Records an event.
    backend.record_event(EventRequest) -> EventReply;
    /// Asks whether an ADD can be served.
    backend.status(StatusRequest) -> StatusReply;
    /// Releases all attachments of a network but these.
    backend.collect_garbage(CollectGarbageRequest) -> CollectGarbageReply;
    /// Asks for everything known about an attachment.
    backend.explain(ExplainRequest) -> ExplainReply;
    /// Asks who held what, and what was asked of the cloud.
    backend.history(HistoryRequest) -> HistoryReply;
    /// Asks what the operator should have heard of.
    backend.events(EventsRequest) -> EventsReply;
    /// Has a look taken at all ENIs.
    backend.inspect(InspectRequest) -> InspectReply;
    /// Tells that the node goes away.
    backend.retire(RetireRequest) -> RetireReply;
    /// Lists the types of resources.
    tracing.get_resource_types(Placeholder) -> ResourceTypes;
    /// Lists the resources of a type.
    tracing.get_resources(ResourceTypeRequest) -> ResourceNames;
    /// Reads a resource's configuration.
    tracing.get_resource_config(ResourceTypeNameRequest) -> ResourceConfigReply;
    /// Reads a resource's state.
    tracing.get_resource_trace(ResourceTypeNameRequest) -> ResourceTraceReply;
    /// Reads which ENI serves which pod.
    tracing.get_resource_mapping(Placeholder) -> ResourceMappingReply;
}

/// Finds the system's word in the transport's chain of errors.
fn classify(path: &Path, error: Box<dyn Error + Send + Sync>) -> ConnectError {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error.as_ref());
    while let Some(current) = cause {
        if let Some(io) = current.downcast_ref::<io::Error>()
            && let Some(known) = ConnectError::of_kind(path, io.kind())
        {
            return known;
        }
        cause = current.source();
    }
    ConnectError::Other { path: path.to_owned(), source: error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("transport error")]
    struct Transport(#[source] io::Error);

    /// Root passes every file mode, so this one cannot be met on a real socket in a test.
    #[test]
    fn a_denied_socket_is_told_apart_wherever_it_hides_in_the_chain() {
        let denied = Transport(io::ErrorKind::PermissionDenied.into());
        let error = classify(Path::new("/run/s"), denied.into());
        assert!(matches!(error, ConnectError::Denied { .. }), "{error:?}");
        let fault = Fault::from(error);
        assert_eq!(fault.cause, "permission denied on socket /run/s");
        assert_eq!(fault.remedy, "run as the user terwayd runs as, usually root");
    }
}
