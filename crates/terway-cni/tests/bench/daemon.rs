//! A stand-in for the daemon: answers what it is told to, and remembers what it was asked.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

use terway_rpc::status_of;
use terway_rpc::wire::terway_backend_server::{TerwayBackend, TerwayBackendServer};
use terway_rpc::wire::{
    AllocateReply, AllocateRequest, AttachmentType, AttachmentView, CollectGarbageReply,
    CollectGarbageRequest, EniView, EventReply, EventRequest, EventsReply, EventsRequest, ExplainReply,
    ExplainRequest, HistoryReply, HistoryRequest, InfoReply, InfoRequest, InspectReply, InspectRequest,
    Interface, PoolView, ReleaseReply, ReleaseRequest, RetireReply, RetireRequest, StatusReply,
    StatusRequest, WatchPoolRequest,
};
use terway_types::Fault;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{Request, Response, Status};

/// What the daemon answers, and what it was asked.
#[derive(Default)]
pub struct Script {
    /// The interfaces every attachment has.
    pub interfaces: Vec<Interface>,
    /// Whether they are addresses of shared ENIs.
    pub shared: bool,
    /// What `AllocIP` fails with.
    pub refusal: Option<Fault>,
    /// What `Status` says; without it the daemon is of the kind that has no such method.
    pub status: Option<StatusReply>,
    /// The attachments `WatchPool` and `Explain` know.
    pub held: Vec<AttachmentView>,
    /// What `CollectGarbage` says.
    pub garbage: CollectGarbageReply,
    /// Every request, in words.
    pub asked: Vec<String>,
}

/// The daemon; ends with the process.
#[derive(Clone)]
pub struct Daemon {
    pub socket: PathBuf,
    script: Arc<Mutex<Script>>,
}

impl Daemon {
    /// Serves on a socket in this folder.
    pub fn start(dir: &Path, script: Script) -> Self {
        let socket = dir.join("eni.socket");
        let daemon = Self { socket: socket.clone(), script: Arc::new(Mutex::new(script)) };
        let listener = std::os::unix::net::UnixListener::bind(socket).unwrap();
        listener.set_nonblocking(true).unwrap();
        let service = TerwayBackendServer::new(daemon.clone());
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::UnixListener::from_std(listener).unwrap();
                let incoming = UnixListenerStream::new(listener);
                tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming).await
            })
        });
        daemon
    }

    pub fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap()
    }

    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.script().asked)
    }

    fn note(&self, words: String) -> MutexGuard<'_, Script> {
        let mut script = self.script();
        script.asked.push(words);
        script
    }
}

impl Script {
    fn kind(&self) -> i32 {
        if self.shared { AttachmentType::TypeEniMultiIp.into() } else { AttachmentType::TypeVpceni.into() }
    }
}

#[tonic::async_trait]
impl TerwayBackend for Daemon {
    async fn alloc_ip(&self, request: Request<AllocateRequest>) -> Result<Response<AllocateReply>, Status> {
        let asked = request.into_inner();
        let script =
            self.note(format!("alloc {}/{} pod={}", asked.container_id, asked.ifname, asked.pod_name));
        if let Some(fault) = &script.refusal {
            return Err(status_of(fault));
        }
        let (interfaces, kind) = (script.interfaces.clone(), script.kind());
        Ok(Response::new(AllocateReply { success: true, r#type: kind, interfaces, ..Default::default() }))
    }

    async fn release_ip(&self, request: Request<ReleaseRequest>) -> Result<Response<ReleaseReply>, Status> {
        let asked = request.into_inner();
        drop(self.note(format!("release {}/{}: {}", asked.container_id, asked.ifname, asked.reason)));
        Ok(Response::new(ReleaseReply { success: true, ..Default::default() }))
    }

    async fn get_ip_info(&self, request: Request<InfoRequest>) -> Result<Response<InfoReply>, Status> {
        let asked = request.into_inner();
        let script = self.note(format!("info {}/{}", asked.container_id, asked.ifname));
        let (interfaces, kind) = (script.interfaces.clone(), script.kind());
        Ok(Response::new(InfoReply { success: true, r#type: kind, interfaces, ..Default::default() }))
    }

    async fn record_event(&self, request: Request<EventRequest>) -> Result<Response<EventReply>, Status> {
        let event = request.into_inner();
        drop(self.note(format!("event {} of {}", event.reason, event.pod_name)));
        Ok(Response::new(EventReply::default()))
    }

    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<StatusReply>, Status> {
        let script = self.note("status".to_owned());
        script.status.clone().map(Response::new).ok_or_else(|| Status::unimplemented("no such method"))
    }

    async fn collect_garbage(
        &self,
        request: Request<CollectGarbageRequest>,
    ) -> Result<Response<CollectGarbageReply>, Status> {
        let asked = request.into_inner();
        let script = self.note(format!("gc {} keeps {}", asked.network, asked.valid.len()));
        Ok(Response::new(script.garbage.clone()))
    }

    async fn explain(&self, request: Request<ExplainRequest>) -> Result<Response<ExplainReply>, Status> {
        let asked = request.into_inner().container_id;
        let is_it = |view: &&AttachmentView| view.attachment.as_ref().unwrap().container_id == asked;
        let attachments = self.script().held.iter().filter(is_it).cloned().collect();
        Ok(Response::new(ExplainReply { attachments }))
    }

    type WatchPoolStream = tokio_stream::Once<Result<PoolView, Status>>;

    async fn watch_pool(
        &self,
        _: Request<WatchPoolRequest>,
    ) -> Result<Response<Self::WatchPoolStream>, Status> {
        let of =
            |view: &AttachmentView| EniView { attachment: view.attachment.clone(), ..Default::default() };
        let enis = self.script().held.iter().map(of).collect();
        Ok(Response::new(tokio_stream::once(Ok(PoolView { enis, ..Default::default() }))))
    }

    async fn history(&self, _: Request<HistoryRequest>) -> Result<Response<HistoryReply>, Status> {
        Err(Status::unimplemented("not asked by the plugin"))
    }

    async fn events(&self, _: Request<EventsRequest>) -> Result<Response<EventsReply>, Status> {
        Err(Status::unimplemented("not asked by the plugin"))
    }

    async fn inspect(&self, _: Request<InspectRequest>) -> Result<Response<InspectReply>, Status> {
        Err(Status::unimplemented("not asked by the plugin"))
    }

    async fn retire(&self, _: Request<RetireRequest>) -> Result<Response<RetireReply>, Status> {
        Err(Status::unimplemented("not asked by the plugin"))
    }
}
