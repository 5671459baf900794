//! The plugin's client against a real gRPC server: what it asks is understood, what is answered is read, whatever its
//! size; and against servers that keep silent, die, or are no servers.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use terway_rpc::wire::terway_backend_server::{TerwayBackend, TerwayBackendServer};
use terway_rpc::wire::*;
use terway_rpc::{BlockingClient, ConnectError, status_of};
use terway_types::{Fault, FaultCode};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{Request, Response, Status};

const LONG: Duration = Duration::from_secs(30);

/// Answers by the container id it is asked about.
struct Stub;

type Many<T> = tokio_stream::Iter<std::vec::IntoIter<Result<T, Status>>>;

fn named(ifname: &str) -> AllocateReply {
    let interface = Interface { ifname: ifname.to_owned(), ..Interface::default() };
    AllocateReply { success: true, interfaces: vec![interface], ..Default::default() }
}

macro_rules! not_asked {
    ($($method:ident($request:ident) -> $reply:ident;)*) => {
        #[tonic::async_trait]
        impl TerwayBackend for Stub {
            type WatchPoolStream = Many<PoolView>;

            async fn alloc_ip(&self, asked: Request<AllocateRequest>) -> Result<Response<AllocateReply>, Status> {
                allocate(asked).await.map(Response::new)
            }

            async fn collect_garbage(
                &self,
                asked: Request<CollectGarbageRequest>,
            ) -> Result<Response<CollectGarbageReply>, Status> {
                let released = asked.into_inner().valid;
                Ok(Response::new(CollectGarbageReply { released, ..Default::default() }))
            }

            async fn watch_pool(
                &self,
                _: Request<WatchPoolRequest>,
            ) -> Result<Response<Self::WatchPoolStream>, Status> {
                let views = ["first", "second"].map(|id| {
                    let eni = EniView { id: id.repeat(40_000), ..EniView::default() };
                    Ok(PoolView { enis: vec![eni], ..Default::default() })
                });
                Ok(Response::new(tokio_stream::iter(Vec::from(views))))
            }

            $(async fn $method(&self, _: Request<$request>) -> Result<Response<$reply>, Status> {
                Err(Status::unimplemented("not asked here"))
            })*
        }
    };
}

not_asked! {
    release_ip(ReleaseRequest) -> ReleaseReply;
    get_ip_info(InfoRequest) -> InfoReply;
    record_event(EventRequest) -> EventReply;
    status(StatusRequest) -> StatusReply;
    explain(ExplainRequest) -> ExplainReply;
    history(HistoryRequest) -> HistoryReply;
    events(EventsRequest) -> EventsReply;
    inspect(InspectRequest) -> InspectReply;
    retire(RetireRequest) -> RetireReply;
}

async fn allocate(asked: Request<AllocateRequest>) -> Result<AllocateReply, Status> {
    let timeout = asked.metadata().get("grpc-timeout").cloned();
    match asked.into_inner().container_id.as_str() {
        "timeout" => Ok(named(timeout.unwrap().to_str().unwrap())),
        "silent" => std::future::pending().await,
        "go" => Err(Status::unknown("code: PodIsProcessing, msg: Pod default/a is processing")),
        "full" => Err(status_of(&full())),
        other => Ok(named(other)),
    }
}

fn full() -> Fault {
    Fault::new(FaultCode::QuotaReached, "7 of 7 ENIs – voll").because("100 %")
}

/// Serves until the process ends.
fn serve(dir: &Path) -> PathBuf {
    let path = dir.join("a b%20#?.socket");
    let listener = UnixListener::bind(&path).unwrap();
    listener.set_nonblocking(true).unwrap();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let incoming = UnixListenerStream::new(tokio::net::UnixListener::from_std(listener).unwrap());
            let service = TerwayBackendServer::new(Stub);
            tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming).await
        })
    });
    path
}

fn asking(container: &str) -> AllocateRequest {
    AllocateRequest { container_id: container.to_owned(), ..Default::default() }
}

#[test]
fn questions_are_understood_and_answers_read() {
    let dir = tempfile::tempdir().unwrap();
    let mut client = BlockingClient::connect(&serve(dir.path()), LONG).unwrap();
    // The second time and later, the server refers to headers it sent before.
    for _ in 0..5 {
        assert_eq!(client.alloc_ip(&asking("eth7"), LONG), Ok(named("eth7")));
    }
    assert_eq!(client.alloc_ip(&asking("full"), LONG), Err(full()));
    let as_go = client.alloc_ip(&asking("go"), LONG).unwrap_err();
    assert_eq!(as_go.code, FaultCode::AttachmentBusy);
    let outdated = client.status(&StatusRequest {}, LONG).unwrap_err();
    assert_eq!(outdated.code, FaultCode::DaemonOutdated);
    let told = client.alloc_ip(&asking("timeout"), LONG).unwrap();
    let milliseconds: u64 = told.interfaces[0].ifname.strip_suffix('m').unwrap().parse().unwrap();
    assert!((20_000..=30_000).contains(&milliseconds), "the server is told the deadline: {told:?}");
}

/// More than a window of flow control in either direction, and more than a frame.
#[test]
fn long_questions_and_answers_pass() {
    let dir = tempfile::tempdir().unwrap();
    let mut client = BlockingClient::connect(&serve(dir.path()), LONG).unwrap();
    let one = Attachment { container_id: "c".repeat(60), ..Attachment::default() };
    let question = CollectGarbageRequest { valid: vec![one; 20_000], ..Default::default() };
    for _ in 0..3 {
        let answer = client.collect_garbage(&question, LONG).unwrap();
        assert_eq!(answer.released, question.valid);
    }
    let pool = client.pool(&WatchPoolRequest {}, LONG).unwrap();
    assert_eq!(pool.enis[0].id, "first".repeat(40_000));
    assert_eq!(
        client.alloc_ip(&asking("eth0"), LONG),
        Ok(named("eth0")),
        "what was left of the stream is passed over"
    );
}

#[test]
fn a_silent_daemon_is_given_up_in_time_and_can_be_asked_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut client = BlockingClient::connect(&serve(dir.path()), LONG).unwrap();
    let start = Instant::now();
    let silent = client.alloc_ip(&asking("silent"), Duration::from_millis(50)).unwrap_err();
    assert!(start.elapsed() < LONG, "{:?}", start.elapsed());
    assert_eq!(silent.code, FaultCode::DaemonUnreachable);
    assert!(silent.what.contains("no answer"), "{silent}");
    assert_eq!(client.alloc_ip(&asking("eth0"), LONG), Ok(named("eth0")));
}

/// What follows half a frame would be taken for the rest of it.
#[test]
fn a_connection_that_stopped_within_a_frame_is_not_used_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("halves.socket");
    let listener = UnixListener::bind(&path).unwrap();
    let server = thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        // Five of the nine bytes that a frame begins with.
        socket.write_all(&[0, 0, 0, 4, 0]).unwrap();
        let mut asked = Vec::new();
        socket.read_to_end(&mut asked).unwrap();
    });
    let mut client = BlockingClient::connect(&path, LONG).unwrap();
    let late = client.alloc_ip(&asking("eth0"), Duration::from_millis(200)).unwrap_err();
    assert!(late.what.contains("no answer"), "{late}");
    let next = client.alloc_ip(&asking("eth0"), LONG).unwrap_err();
    assert_eq!(next.code, FaultCode::DaemonUnreachable);
    assert!(next.cause.contains("middle of a frame"), "{next:?}");
    drop(client);
    server.join().unwrap();
}

#[test]
fn each_way_to_be_away_is_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let refusal = |path: &Path| BlockingClient::connect(path, LONG).unwrap_err();
    let missing = refusal(&dir.path().join("none"));
    assert!(matches!(missing, ConnectError::NoSocket { .. }), "{missing:?}");
    let dead = dir.path().join("dead");
    drop(UnixListener::bind(&dead).unwrap());
    let nobody = refusal(&dead);
    assert!(matches!(nobody, ConnectError::NobodyListens { .. }), "{nobody:?}");
    let endless = refusal(&dir.path().join("x".repeat(200)));
    assert!(matches!(endless, ConnectError::Other { .. }), "{endless:?}");
}

/// A queue of connections that nobody takes: the kernel lets no more wait.
#[test]
fn a_daemon_that_does_not_accept_is_given_up_in_time() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let _listener = UnixListener::bind(&path).unwrap();
    let mut waiting = Vec::new();
    let refused = loop {
        match BlockingClient::connect(&path, Duration::from_millis(50)) {
            Ok(client) => waiting.push(client),
            Err(error) => break error,
        }
        assert!(waiting.len() < 100_000, "the queue never fills");
    };
    assert!(matches!(refused, ConnectError::TimedOut { .. }), "{refused:?}");
}

/// What is said on the other side of the connection, instead of an answer.
fn answered_with(bytes: &'static [u8]) -> Fault {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    let server = thread::spawn(move || {
        let (mut peer, _) = listener.accept().unwrap();
        let mut some = [0; 24];
        peer.read_exact(&mut some).unwrap();
        peer.write_all(bytes).unwrap();
    });
    let mut client = BlockingClient::connect(&path, LONG).unwrap();
    let fault = client.status(&StatusRequest {}, LONG).unwrap_err();
    server.join().unwrap();
    fault
}

#[test]
fn what_is_no_grpc_server_is_away() {
    for bytes in [
        &b""[..],
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        &[0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 8], // the stream is reset
        &[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], // the server goes away
        &[0, 0, 1, 1, 5, 0, 0, 0, 1, 0x80],       // headers that are none
        &[0, 0, 1, 1, 0, 0, 0, 0, 1, 0x88, 0, 0, 0, 0, 1, 0, 0, 0, 1], // headers that do not go on
    ] {
        let fault = answered_with(bytes);
        assert_eq!(fault.code, FaultCode::DaemonUnreachable, "{bytes:?}: {fault}");
    }
}
