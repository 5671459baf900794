//! The client against real sockets: each way a daemon can be away, and a daemon that answers, refuses,
//! keeps silent or dies.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Duration;

use terway_rpc::wire::terway_tracing_server::{TerwayTracing, TerwayTracingServer};
use terway_rpc::wire::*;
use terway_rpc::{ConnectError, DaemonClient, status_of};
use terway_types::{Fault, FaultCode};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{Request, Response, Status};

const LONG: Duration = Duration::from_secs(30);

async fn refusal(path: &Path) -> ConnectError {
    DaemonClient::connect(path, LONG).await.unwrap_err()
}

#[tokio::test]
async fn each_way_to_be_away_is_told_apart() {
    let dir = tempfile::tempdir().unwrap();

    let missing = refusal(&dir.path().join("none")).await;
    assert!(matches!(missing, ConnectError::NoSocket { .. }), "{missing:?}");

    let dead = dir.path().join("dead");
    drop(UnixListener::bind(&dead).unwrap());
    let nobody = refusal(&dead).await;
    assert!(matches!(nobody, ConnectError::NobodyListens { .. }), "{nobody:?}");
    let fault = Fault::from(nobody);
    assert_eq!(fault.code, FaultCode::DaemonUnreachable);
    assert_eq!(fault.cause, format!("nobody listens on socket {}", dead.display()));

    let endless = refusal(&dir.path().join("x".repeat(200))).await;
    assert!(matches!(endless, ConnectError::Other { .. }), "{endless:?}");
    assert!(Fault::from(endless).cause.contains("SUN_LEN"), "the length limit is named");
}

/// Answers each question in its own way.
struct Stub;

#[tonic::async_trait]
impl TerwayTracing for Stub {
    async fn get_resource_types(&self, _: Request<Placeholder>) -> Result<Response<ResourceTypes>, Status> {
        Ok(Response::new(ResourceTypes { names: vec!["factory".into()] }))
    }

    async fn get_resources(
        &self,
        _: Request<ResourceTypeRequest>,
    ) -> Result<Response<ResourceNames>, Status> {
        Err(status_of(&Fault::new(FaultCode::QuotaReached, "7 of 7 ENIs")))
    }

    async fn get_resource_config(
        &self,
        _: Request<ResourceTypeNameRequest>,
    ) -> Result<Response<ResourceConfigReply>, Status> {
        std::future::pending().await
    }

    async fn get_resource_trace(
        &self,
        _: Request<ResourceTypeNameRequest>,
    ) -> Result<Response<ResourceTraceReply>, Status> {
        Err(Status::unknown("code: PodIsProcessing, msg: Pod a/b is processing"))
    }

    type ResourceExecuteStream = tokio_stream::Once<Result<ResourceExecuteReply, Status>>;

    async fn resource_execute(
        &self,
        request: Request<ResourceExecuteRequest>,
    ) -> Result<Response<Self::ResourceExecuteStream>, Status> {
        let message = request.into_inner().command;
        Ok(Response::new(tokio_stream::once(Ok(ResourceExecuteReply { message }))))
    }

    async fn get_resource_mapping(
        &self,
        _: Request<Placeholder>,
    ) -> Result<Response<ResourceMappingReply>, Status> {
        Ok(Response::new(ResourceMappingReply::default()))
    }
}

#[tokio::test]
async fn answers_refusals_and_silence() {
    let dir = tempfile::tempdir().unwrap();
    // Characters that would be special in a URI are only bytes of a path here.
    let path = dir.path().join("a b%20#?.socket");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let server = tokio::spawn(
        tonic::transport::Server::builder()
            .add_service(TerwayTracingServer::new(Stub))
            .serve_with_incoming(UnixListenerStream::new(listener)),
    );

    let patient = DaemonClient::connect(&path, LONG).await.unwrap();
    let types = patient.get_resource_types(Placeholder {}).await.unwrap();
    assert_eq!(types.names, ["factory"]);

    let refused = patient.get_resources(ResourceTypeRequest::default()).await.unwrap_err();
    assert_eq!(refused, Fault::new(FaultCode::QuotaReached, "7 of 7 ENIs"));

    let as_go = patient.get_resource_trace(ResourceTypeNameRequest::default()).await.unwrap_err();
    assert_eq!(as_go.code, FaultCode::AttachmentBusy);

    let outdated = patient.status(StatusRequest {}).await.unwrap_err();
    assert_eq!(outdated.code, FaultCode::DaemonOutdated);

    let command = ResourceExecuteRequest { command: "mapping".into(), ..Default::default() };
    let mut lines = patient.resource_execute(command).await.unwrap();
    assert_eq!(lines.message().await.unwrap().unwrap().message, "mapping");
    assert_eq!(lines.message().await.unwrap(), None);

    let hasty = patient.clone().within(Duration::from_millis(50));
    let silent = hasty.get_resource_config(ResourceTypeNameRequest::default()).await.unwrap_err();
    assert_eq!(silent.code, FaultCode::DaemonUnreachable);
    assert!(silent.what.contains("no answer"), "{silent}");

    server.abort();
    assert!(server.await.unwrap_err().is_cancelled());
    drop(patient);
    let gone = refusal(&path).await;
    assert!(matches!(gone, ConnectError::NobodyListens { .. }), "{gone:?}");
}

#[tokio::test]
async fn a_daemon_that_dies_under_a_call_is_away() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let client = DaemonClient::connect(&path, LONG);
    let accept = async { drop(listener.accept().await.unwrap()) };
    let (client, ()) = tokio::join!(client, accept);
    let fault = match client {
        Ok(client) => client.get_resource_types(Placeholder {}).await.unwrap_err(),
        Err(error) => error.into(),
    };
    assert_eq!(fault.code, FaultCode::DaemonUnreachable, "{fault}");
}
