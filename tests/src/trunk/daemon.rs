//! A stand-in for the daemon of a node with a trunk: gives each attachment a member that nobody has.

use std::collections::BTreeMap;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use anyhow::{Context as _, Result};
use terway_rpc::wire::terway_backend_server::{TerwayBackend, TerwayBackendServer};
use terway_rpc::wire::{
    AllocateReply, AllocateRequest, AttachmentType, CollectGarbageReply, CollectGarbageRequest, EventReply,
    EventRequest, EventsReply, EventsRequest, ExplainReply, ExplainRequest, HistoryReply, HistoryRequest,
    InfoReply, InfoRequest, InspectReply, InspectRequest, Interface, PoolView, ReleaseReply, ReleaseRequest,
    RetireReply, RetireRequest, StatusReply, StatusRequest, WatchPoolRequest,
};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{Request, Response, Status};

/// Container and interface.
type Key = (String, String);

struct Members {
    given: Mutex<(Vec<Interface>, BTreeMap<Key, Interface>)>,
}

/// Serves at a socket until the process ends.
pub(super) fn serve(socket: &Path, mut members: Vec<Interface>) -> Result<()> {
    members.reverse();
    let listener =
        UnixListener::bind(socket).with_context(|| format!("failed to bind {}", socket.display()))?;
    listener.set_nonblocking(true)?;
    let service = TerwayBackendServer::new(Members { given: Mutex::new((members, BTreeMap::new())) });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    thread::spawn(move || {
        runtime.block_on(async {
            let incoming = UnixListenerStream::new(tokio::net::UnixListener::from_std(listener)?);
            let server = tonic::transport::Server::builder().add_service(service);
            server.serve_with_incoming(incoming).await.map_err(std::io::Error::other)
        })
    });
    Ok(())
}

impl Members {
    fn given(&self) -> MutexGuard<'_, (Vec<Interface>, BTreeMap<Key, Interface>)> {
        self.given.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const KIND: i32 = AttachmentType::TypeEniMultiIp as i32;

fn unasked<T>() -> Result<T, Status> {
    Err(Status::unimplemented("a stand-in has no such method"))
}

#[tonic::async_trait]
impl TerwayBackend for Members {
    async fn alloc_ip(&self, request: Request<AllocateRequest>) -> Result<Response<AllocateReply>, Status> {
        let asked = request.into_inner();
        let key = (asked.container_id, asked.ifname);
        let mut guard = self.given();
        let (free, given) = &mut *guard;
        if !given.contains_key(&key) {
            let member = free.pop().ok_or_else(|| Status::resource_exhausted("no member is free"))?;
            given.insert(key.clone(), member);
        }
        let interfaces = given.get(&key).cloned().into_iter().collect();
        Ok(Response::new(AllocateReply { success: true, r#type: KIND, interfaces, ..Default::default() }))
    }

    async fn release_ip(&self, request: Request<ReleaseRequest>) -> Result<Response<ReleaseReply>, Status> {
        let asked = request.into_inner();
        let mut guard = self.given();
        let member = guard.1.remove(&(asked.container_id, asked.ifname));
        guard.0.extend(member);
        Ok(Response::new(ReleaseReply { success: true, ..Default::default() }))
    }

    async fn get_ip_info(&self, request: Request<InfoRequest>) -> Result<Response<InfoReply>, Status> {
        let asked = request.into_inner();
        let interfaces = self.given().1.get(&(asked.container_id, asked.ifname)).cloned();
        let interfaces = interfaces.into_iter().collect();
        Ok(Response::new(InfoReply { success: true, r#type: KIND, interfaces, ..Default::default() }))
    }

    async fn record_event(&self, _: Request<EventRequest>) -> Result<Response<EventReply>, Status> {
        Ok(Response::new(EventReply::default()))
    }

    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<StatusReply>, Status> {
        unasked()
    }

    async fn collect_garbage(
        &self,
        _: Request<CollectGarbageRequest>,
    ) -> Result<Response<CollectGarbageReply>, Status> {
        unasked()
    }

    async fn explain(&self, _: Request<ExplainRequest>) -> Result<Response<ExplainReply>, Status> {
        unasked()
    }

    type WatchPoolStream = tokio_stream::Empty<Result<PoolView, Status>>;

    async fn watch_pool(
        &self,
        _: Request<WatchPoolRequest>,
    ) -> Result<Response<Self::WatchPoolStream>, Status> {
        unasked()
    }

    async fn history(&self, _: Request<HistoryRequest>) -> Result<Response<HistoryReply>, Status> {
        unasked()
    }

    async fn events(&self, _: Request<EventsRequest>) -> Result<Response<EventsReply>, Status> {
        unasked()
    }

    async fn inspect(&self, _: Request<InspectRequest>) -> Result<Response<InspectReply>, Status> {
        unasked()
    }

    async fn retire(&self, _: Request<RetireRequest>) -> Result<Response<RetireReply>, Status> {
        unasked()
    }
}
