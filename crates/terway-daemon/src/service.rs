//! What the plugin and terway-cli call: the gRPC service `TerwayBackend`.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use terway_pool::{Answer, EniView, Event, Pool, Wants};
use terway_rpc::wire::terway_backend_server::TerwayBackend;
use terway_rpc::{attachment_key, status_of, wire};
use terway_types::{
    AttachmentKey, AttachmentRecord, EniRecord, Fault, FaultCode, NameError, NetworkName, PodRef,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::clock;
use crate::connections::Accepted;
use crate::deadline::patience;
use crate::inventory::Inspector;
use crate::node::{Node, Serving};
use crate::views;

mod inquiry;

/// Longest wait for the own turn by calls that hold nobody up.
const SHORT: Duration = Duration::from_secs(10);
/// Longest wait for the first look at pods' state on the node.
const FIRST_LOOK: Duration = Duration::from_secs(3);

/// The service, over a daemon in whatever state it is.
#[derive(Clone, Debug)]
pub struct Backend {
    node: Arc<Node>,
}

/// The stream of `WatchPool`.
type PoolStream = Pin<Box<dyn tokio_stream::Stream<Item = Result<wire::PoolView, Status>> + Send>>;

impl Backend {
    /// The service of this daemon.
    pub fn new(node: Arc<Node>) -> Self {
        Self { node }
    }

    /// Measures a call and turns its fault into a status.
    async fn answer<T>(
        &self,
        method: &'static str,
        call: impl Future<Output = Result<T, Fault>>,
    ) -> Result<Response<T>, Status> {
        let start = Instant::now();
        let outcome = call.await;
        self.node.metrics.rpc(method, start.elapsed(), outcome.is_ok());
        match outcome {
            Ok(reply) => Ok(Response::new(reply)),
            Err(fault) => {
                tracing::warn!(method, %fault, "call failed");
                Err(status_of(&fault))
            }
        }
    }

    async fn allocate(&self, request: Request<wire::AllocateRequest>) -> Result<wire::AllocateReply, Fault> {
        let patience = patience(request.metadata());
        let until = Instant::now() + patience;
        let wire::AllocateRequest {
            pod_name,
            pod_namespace,
            container_id,
            netns,
            ifname,
            network,
            pod_uid,
            ..
        } = request.into_inner();
        let key = attachment_key(&network, &container_id, &ifname).map_err(|error| unnamed(&error))?;
        let pod = PodRef {
            namespace: pod_namespace,
            name: pod_name,
            uid: (!pod_uid.is_empty()).then_some(pod_uid),
        };
        let serving = self.node.serving_by(until).await?;
        let _turn = self.node.turns.take(&key, until).await?;
        let start = Instant::now();
        let deadline = clock::system() + until.saturating_duration_since(start);
        let (asked_key, asked_pod) = (key.clone(), pod.clone());
        let answer = serving
            .driver
            .ask(|request| Event::Allocate {
                request,
                key: asked_key,
                pod: asked_pod,
                netns,
                wants: Wants::default(),
                deadline,
            })
            .await;
        let held = match answer {
            Answer::Allocated(held) => held,
            other => return Err(unexpected("Allocate", other)),
        };
        let ms = start.elapsed().as_millis();
        let id = held.eni.id.as_ref().map(ToString::to_string).unwrap_or_default();
        tracing::info!(attachment = %key, %pod, eni = id, ms, "allocated");
        Ok(wire::AllocateReply {
            success: true,
            r#type: serving.interface.attachment_type().into(),
            ipv4: true,
            ipv6: serving.interface.ipv6,
            interfaces: vec![serving.interface(&held.eni, held.addresses)?],
        })
    }

    async fn release(&self, request: Request<wire::ReleaseRequest>) -> Result<wire::ReleaseReply, Fault> {
        let until = Instant::now() + patience(request.metadata());
        let message = request.into_inner();
        let key = attachment_key(&message.network, &message.container_id, &message.ifname)
            .map_err(|error| unnamed(&error))?;
        let serving = self.node.serving()?;
        let _turn = self.node.turns.take(&key, until).await?;
        let asked = key.clone();
        let held = match serving.driver.ask(|request| Event::Release { request, key: asked }).await {
            Answer::Released(held) => held,
            other => return Err(unexpected("Release", other)),
        };
        let id =
            held.as_ref().and_then(|held| held.eni.id.as_ref()).map(ToString::to_string).unwrap_or_default();
        tracing::info!(attachment = %key, eni = id, reason = message.reason, "released");
        let eni_in_use = match &held {
            Some(held) => {
                let token = held.eni.token.clone();
                serving.driver.look(move |pool, _| pool.is_shared(&token)).await.unwrap_or_default()
            }
            None => false,
        };
        let ipv4 = held.and_then(|held| held.addresses.v4);
        Ok(wire::ReleaseReply {
            success: true,
            ipv4_address: ipv4.map(|address| address.to_string()).unwrap_or_default(),
            device_number: String::new(),
            ipv4: true,
            ipv6: serving.interface.ipv6,
            eni_in_use,
        })
    }

    async fn info(&self, request: Request<wire::InfoRequest>) -> Result<wire::InfoReply, Fault> {
        let until = Instant::now() + patience(request.metadata()).min(SHORT);
        let message = request.into_inner();
        let key = attachment_key(&message.network, &message.container_id, &message.ifname)
            .map_err(|error| unnamed(&error))?;
        let serving = self.node.serving()?;
        // What an earlier program made otherwise, and what was taken while nobody guarded, is put right first.
        self.node.looked_by(until.min(Instant::now() + FIRST_LOOK)).await;
        let _turn = self.node.turns.take(&key, until).await?;
        let held = serving
            .driver
            .look(move |pool, _| pool.attachment(&key).map(|(held, eni)| (held.addresses, eni.clone())))
            .await?;
        let interfaces = held
            .iter()
            .map(|(addresses, eni)| serving.interface(eni, *addresses))
            .collect::<Result<_, Fault>>()?;
        Ok(wire::InfoReply {
            r#type: serving.interface.attachment_type().into(),
            success: true,
            ipv4: true,
            ipv6: serving.interface.ipv6,
            interfaces,
            error: wire::InfoError::NoErr.into(),
        })
    }

    async fn collect(
        &self,
        request: Request<wire::CollectGarbageRequest>,
    ) -> Result<wire::CollectGarbageReply, Fault> {
        let message = request.into_inner();
        let network = NetworkName::new(message.network).map_err(|error| unnamed(&error))?;
        // One name that cannot be read may stand for a live sandbox: nothing is collected then.
        let valid: Vec<_> = message
            .valid
            .iter()
            .map(AttachmentKey::try_from)
            .collect::<Result<_, _>>()
            .map_err(|error| unnamed(&error))?;
        let serving = self.node.serving()?;
        let (named, count) = (network.clone(), valid.len());
        let released =
            match serving.driver.ask(|request| Event::Collect { request, network: named, valid }).await {
                Answer::Collected(keys) => keys,
                other => return Err(unexpected("Collect", other)),
            };
        for key in &released {
            tracing::info!(attachment = %key, "released: no valid attachment any more");
        }
        tracing::info!(%network, valid = count, released = released.len(), "garbage collected");
        Ok(wire::CollectGarbageReply {
            released: released.iter().map(Into::into).collect(),
            faults: Vec::new(),
        })
    }

    async fn tell_status(&self) -> wire::StatusReply {
        let serving = self.node.progress();
        let pool = match &serving {
            Ok(serving) => serving.driver.look(Pool::view).await,
            Err(fault) => Err(fault.clone()),
        };
        let mut reply = wire::StatusReply {
            ready: pool.is_ok(),
            fault: pool.as_ref().err().map(Into::into),
            pool: pool.as_ref().ok().map(views::pool),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_unix_ms: self.node.started.0,
            ..Default::default()
        };
        if let Ok(serving) = serving {
            let identity = serving.live.borrow().facts.identity.clone();
            serving.provider.clone_into(&mut reply.provider);
            reply.instance_id = identity.id.to_string();
            reply.instance_type = identity.instance_type;
            reply.zone = identity.zone.to_string();
            serving.standing.mode.name().clone_into(&mut reply.mode);
            serving.standing.wanted.name().clone_into(&mut reply.wanted_mode);
            reply.notices = serving.notices();
            reply.inventory = serving.inspector.as_ref().and_then(Inspector::last).as_ref().map(views::look);
        }
        reply
    }

    async fn tell_all(&self, message: wire::ExplainRequest) -> Result<wire::ExplainReply, Fault> {
        let serving = self.node.serving()?;
        let found = serving.driver.look(move |pool, now| {
            let enis = pool.view(now).enis;
            matching(pool, &message)
                .filter_map(|(held, record)| {
                    let view = enis.iter().find(|eni| eni.record.token == record.token)?;
                    Some((held.clone(), view.clone()))
                })
                .collect::<Vec<_>>()
        });
        let attachments =
            found.await?.iter().map(|(held, eni)| attachment_view(&serving, held, eni)).collect();
        Ok(wire::ExplainReply { attachments })
    }

    fn follow(&self) -> Result<PoolStream, Fault> {
        let driver = self.node.serving()?.driver.clone();
        let mut revisions = driver.revisions();
        // One view waits at most: a slow reader misses views, not the last one.
        let (views, stream) = mpsc::channel(1);
        tokio::spawn(async move {
            let mut last = None;
            loop {
                revisions.mark_unchanged();
                let Ok(view) = driver.look(Pool::view).await else { return };
                if last.as_ref() != Some(&view) {
                    if views.send(Ok(views::pool(&view))).await.is_err() {
                        return;
                    }
                    last = Some(view);
                }
                tokio::select! {
                    changed = revisions.changed() => if changed.is_err() { return },
                    () = views.closed() => return,
                }
            }
        });
        Ok(Box::pin(ReceiverStream::new(stream)))
    }
}

/// The attachments somebody asks about: of a container, or of a pod.
fn matching<'a>(
    pool: &'a Pool,
    message: &'a wire::ExplainRequest,
) -> impl Iterator<Item = (&'a AttachmentRecord, &'a EniRecord)> {
    pool.attachments().filter(|(held, _)| {
        if message.container_id.is_empty() {
            held.pod.name == message.pod_name && held.pod.namespace == message.pod_namespace
        } else {
            held.key.container.as_str() == message.container_id
        }
    })
}

fn attachment_view(serving: &Serving, held: &AttachmentRecord, eni: &EniView) -> wire::AttachmentView {
    wire::AttachmentView {
        attachment: Some((&held.key).into()),
        pod_name: held.pod.name.clone(),
        pod_namespace: held.pod.namespace.clone(),
        netns: held.netns.clone(),
        since_unix_ms: held.since.0,
        eni: Some(views::eni(eni)),
        interface: serving.interface.interface(&eni.record, held.addresses).ok().map(|parts| (&parts).into()),
    }
}

fn unnamed(error: &NameError) -> Fault {
    Fault::new(FaultCode::PlanInvalid, format!("the request names no attachment: {error}"))
}

fn unexpected(what: &str, answer: Answer) -> Fault {
    match answer {
        Answer::Failed(fault) => fault,
        other => Fault::new(FaultCode::Internal, format!("the pool answered {what} with {other:?}")),
    }
}

#[tonic::async_trait]
impl TerwayBackend for Backend {
    async fn alloc_ip(
        &self,
        request: Request<wire::AllocateRequest>,
    ) -> Result<Response<wire::AllocateReply>, Status> {
        let accepted = request.extensions().get::<Accepted>().copied();
        let call = self.node.grace.call();
        let answer = self.answer("AllocIP", self.allocate(request)).await;
        if let (Some(Accepted(at)), Ok(_)) = (accepted, &answer) {
            call.answered(at.elapsed());
        }
        answer
    }

    async fn release_ip(
        &self,
        request: Request<wire::ReleaseRequest>,
    ) -> Result<Response<wire::ReleaseReply>, Status> {
        self.answer("ReleaseIP", self.release(request)).await
    }

    async fn get_ip_info(
        &self,
        request: Request<wire::InfoRequest>,
    ) -> Result<Response<wire::InfoReply>, Status> {
        self.answer("GetIPInfo", self.info(request)).await
    }

    async fn record_event(
        &self,
        request: Request<wire::EventRequest>,
    ) -> Result<Response<wire::EventReply>, Status> {
        let event = request.into_inner();
        let (namespace, pod) = (&event.pod_namespace, &event.pod_name);
        let (reason, message) = (&event.reason, &event.message);
        match event.r#type() {
            wire::EventType::Warning => {
                let about = if pod.is_empty() { String::new() } else { format!("pod {namespace}/{pod}: ") };
                self.node.events.note(reason, format!("{about}{message}"));
            }
            wire::EventType::Normal => tracing::info!(namespace, pod, reason, message, "event"),
        }
        Ok(Response::new(wire::EventReply { success: true, error: String::new() }))
    }

    async fn status(
        &self,
        _request: Request<wire::StatusRequest>,
    ) -> Result<Response<wire::StatusReply>, Status> {
        Ok(Response::new(self.tell_status().await))
    }

    async fn collect_garbage(
        &self,
        request: Request<wire::CollectGarbageRequest>,
    ) -> Result<Response<wire::CollectGarbageReply>, Status> {
        self.answer("CollectGarbage", self.collect(request)).await
    }

    async fn explain(
        &self,
        request: Request<wire::ExplainRequest>,
    ) -> Result<Response<wire::ExplainReply>, Status> {
        self.answer("Explain", self.tell_all(request.into_inner())).await
    }

    type WatchPoolStream = PoolStream;

    async fn watch_pool(
        &self,
        _request: Request<wire::WatchPoolRequest>,
    ) -> Result<Response<Self::WatchPoolStream>, Status> {
        self.answer("WatchPool", async { self.follow() }).await
    }

    async fn history(
        &self,
        request: Request<wire::HistoryRequest>,
    ) -> Result<Response<wire::HistoryReply>, Status> {
        self.answer("History", inquiry::history(&self.node, request.into_inner())).await
    }

    async fn events(
        &self,
        _request: Request<wire::EventsRequest>,
    ) -> Result<Response<wire::EventsReply>, Status> {
        let events = self.node.events.all().iter().map(views::event).collect();
        Ok(Response::new(wire::EventsReply { events }))
    }

    async fn inspect(
        &self,
        _request: Request<wire::InspectRequest>,
    ) -> Result<Response<wire::InspectReply>, Status> {
        self.answer("Inspect", inquiry::look(&self.node)).await
    }

    async fn retire(
        &self,
        _request: Request<wire::RetireRequest>,
    ) -> Result<Response<wire::RetireReply>, Status> {
        self.answer("Retire", inquiry::retire(&self.node)).await
    }
}
