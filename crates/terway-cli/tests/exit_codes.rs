//! The program as a script sees it: exit codes, and which stream says what.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread;

use terway_rpc::wire::terway_backend_server::{TerwayBackend, TerwayBackendServer};
use terway_rpc::wire::*;
use tokio::sync::oneshot;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{Request, Response, Status};

fn cli(socket: &Path, words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_terway-cli")).arg("--socket").arg(socket).args(words).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A daemon that answers `Status` and knows no other method.
struct Stub {
    ready: bool,
}

type Answer<T> = Result<Response<T>, Status>;

fn unknown<T>() -> Answer<T> {
    Err(Status::unimplemented(""))
}

#[tonic::async_trait]
impl TerwayBackend for Stub {
    async fn status(&self, _: Request<StatusRequest>) -> Answer<StatusReply> {
        let fault = Fault { code: "daemon-starting".into(), what: "starting".into(), ..Default::default() };
        let fault = (!self.ready).then_some(fault);
        Ok(Response::new(StatusReply { ready: self.ready, fault, ..Default::default() }))
    }

    async fn alloc_ip(&self, _: Request<AllocateRequest>) -> Answer<AllocateReply> {
        unknown()
    }

    async fn release_ip(&self, _: Request<ReleaseRequest>) -> Answer<ReleaseReply> {
        unknown()
    }

    async fn get_ip_info(&self, _: Request<InfoRequest>) -> Answer<InfoReply> {
        unknown()
    }

    async fn record_event(&self, _: Request<EventRequest>) -> Answer<EventReply> {
        unknown()
    }

    async fn collect_garbage(&self, _: Request<CollectGarbageRequest>) -> Answer<CollectGarbageReply> {
        unknown()
    }

    async fn explain(&self, _: Request<ExplainRequest>) -> Answer<ExplainReply> {
        unknown()
    }

    type WatchPoolStream = tokio_stream::Once<Result<PoolView, Status>>;

    async fn watch_pool(&self, _: Request<WatchPoolRequest>) -> Answer<Self::WatchPoolStream> {
        let eni = EniView { id: "eni-1".into(), phase: "Ready".into(), ..Default::default() };
        Ok(Response::new(tokio_stream::once(Ok(PoolView { enis: vec![eni], ..Default::default() }))))
    }

    async fn history(&self, _: Request<HistoryRequest>) -> Answer<HistoryReply> {
        unknown()
    }

    async fn events(&self, _: Request<EventsRequest>) -> Answer<EventsReply> {
        unknown()
    }

    async fn inspect(&self, _: Request<InspectRequest>) -> Answer<InspectReply> {
        unknown()
    }

    async fn retire(&self, _: Request<RetireRequest>) -> Answer<RetireReply> {
        unknown()
    }
}

/// Serves on a socket in `dir` while `check` runs.
fn with_daemon(dir: &Path, ready: bool, check: impl FnOnce(&Path)) {
    let socket = dir.join("socket");
    let (stop, stopped) = oneshot::channel::<()>();
    let (listening, wait) = std::sync::mpsc::channel();
    let path: PathBuf = socket.clone();
    let server = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::UnixListener::bind(path).unwrap();
            listening.send(()).unwrap();
            tonic::transport::Server::builder()
                .add_service(TerwayBackendServer::new(Stub { ready }))
                .serve_with_incoming_shutdown(UnixListenerStream::new(listener), async {
                    // A dropped sender means the check failed: end as well.
                    let _ = stopped.await;
                })
                .await
                .unwrap();
        });
    });
    wait.recv().unwrap();
    check(&socket);
    drop(stop);
    server.join().unwrap();
}

#[test]
fn a_ready_node_is_0_and_another_3() {
    let dir = tempfile::tempdir().unwrap();
    with_daemon(dir.path(), true, |socket| {
        let output = cli(socket, &["status"]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        assert!(text(&output.stdout).starts_with("ready      yes\n"));
    });
    let dir = tempfile::tempdir().unwrap();
    with_daemon(dir.path(), false, |socket| {
        let output = cli(socket, &["status", "-o", "json"]);
        assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
        let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(status["fault"]["code"], "daemon-starting");
    });
}

#[test]
fn a_watch_prints_until_the_daemon_ends_it() {
    let dir = tempfile::tempdir().unwrap();
    with_daemon(dir.path(), true, |socket| {
        let output = cli(socket, &["mapping", "--watch"]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        assert!(text(&output.stdout).contains("eni-1"));
    });
}

#[test]
fn a_method_the_daemon_lacks_is_said_so() {
    let dir = tempfile::tempdir().unwrap();
    with_daemon(dir.path(), true, |socket| {
        let output = cli(socket, &["explain", "default/web"]);
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).contains("(daemon-outdated)"), "{}", text(&output.stderr));
    });
}

#[test]
fn an_absent_daemon_is_1_and_says_where_it_was_looked_for() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("none");
    let output = cli(&socket, &["mapping"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stdout), "");
    let complaint = text(&output.stderr);
    assert!(complaint.starts_with("error: failed to reach terwayd (daemon-unreachable)\n"), "{complaint}");
    assert!(complaint.contains(&format!("there is no socket {}", socket.display())), "{complaint}");

    let output = cli(&socket, &["mapping", "-o", "json"]);
    let complaint: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(complaint["error"]["code"], "daemon-unreachable");
}

#[test]
fn a_wrong_line_is_2() {
    assert_eq!(cli(Path::new("/none"), &["no-such-command"]).status.code(), Some(2));
}

#[test]
fn install_needs_no_daemon() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("copy");
    let program = env!("CARGO_BIN_EXE_terway-cli");
    let output = cli(Path::new("/none"), &["install", "--from", program, "--to", &place.to_string_lossy()]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let copied = Command::new(&place).arg("--version").output().unwrap();
    assert!(text(&copied.stdout).starts_with("terway-cli "));
}

#[test]
fn doctor_is_0_on_a_sound_node_and_3_on_another_with_or_without_a_daemon() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    let (configurations, plugins) = (root.join("etc/cni/net.d"), root.join("opt/cni/bin"));
    std::fs::create_dir_all(&configurations).unwrap();
    std::fs::create_dir_all(&plugins).unwrap();
    std::fs::write(configurations.join("10-terway.conflist"), r#"{"plugins": [{"type": "terway"}]}"#)
        .unwrap();
    std::fs::copy(env!("CARGO_BIN_EXE_terway-cli"), plugins.join("terway")).unwrap();
    let doctor = |socket: &Path| cli(socket, &["doctor", "--root", &root.to_string_lossy()]);
    with_daemon(dir.path(), true, |socket| {
        let output = doctor(socket);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    });
    let output = doctor(Path::new("/none"));
    assert_eq!(output.status.code(), Some(3));
    let findings = text(&output.stdout);
    assert!(
        findings.contains("terwayd        WRONG") && findings.contains("plugin         fine"),
        "{findings}"
    );
}
