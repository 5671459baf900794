//! A small client of the Container Runtime Interface: what kubelet asks of a runtime, one call at a time.

pub(crate) mod messages;

use std::io;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use hyper_util::rt::TokioIo;
use prost::Message;
use tokio::net::UnixStream;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;
use tonic::client::Grpc;
use tonic::codegen::http::Uri;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic_prost::ProstCodec;

use messages::{
    ContainerConfig, ContainerId, ContainerMetadata, CreateContainerRequest, ExecSyncRequest,
    ExecSyncResponse, ImageSpec, ListPodSandboxRequest, ListPodSandboxResponse, Nothing, PodSandbox,
    PodSandboxConfig, PodSandboxId, PodSandboxStatusRequest, PodSandboxStatusResponse, RunPodSandboxRequest,
    StatusRequest, StatusResponse, VersionRequest, VersionResponse,
};

/// How long a call may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// A connection to a runtime's socket.
pub(crate) struct Cri {
    runtime: Runtime,
    channel: Channel,
}

impl Cri {
    /// Connects when the first call is made.
    pub(crate) fn new(socket: &Path) -> Result<Self> {
        let runtime =
            Builder::new_current_thread().enable_all().build().context("failed to make a runtime")?;
        let socket: PathBuf = socket.to_owned();
        let connector = tower::service_fn(move |_: Uri| {
            let socket = socket.clone();
            async move { Ok::<_, io::Error>(TokioIo::new(UnixStream::connect(socket).await?)) }
        });
        let endpoint = Endpoint::from_static("http://localhost");
        let channel = {
            let _context = runtime.enter();
            endpoint.connect_with_connector_lazy(connector)
        };
        Ok(Self { runtime, channel })
    }

    /// Makes one call that the runtime has to give up after `limit`.
    pub(crate) fn call<Q, A>(&self, method: &str, question: Q, limit: Duration) -> Result<A>
    where
        Q: Message + Send + Sync + 'static,
        A: Message + Default + Send + Sync + 'static,
    {
        let path = PathAndQuery::try_from(format!("/runtime.v1.RuntimeService/{method}"))?;
        let mut request = tonic::Request::new(question);
        request.set_timeout(limit);
        let mut grpc = Grpc::new(self.channel.clone());
        self.runtime.block_on(async move {
            grpc.ready().await.with_context(|| format!("{method}: the runtime does not answer"))?;
            match grpc.unary(request, path, ProstCodec::<Q, A>::default()).await {
                Ok(answer) => Ok(answer.into_inner()),
                Err(status) => bail!("{method}: {}", status.message()),
            }
        })
    }

    /// Who is there.
    pub(crate) fn version(&self) -> Result<VersionResponse> {
        self.call("Version", VersionRequest {}, PATIENCE)
    }

    /// Whether the runtime takes the node's network for ready, and what it says about it.
    pub(crate) fn network_ready(&self) -> Result<(bool, String)> {
        let answer: StatusResponse = self.call("Status", StatusRequest {}, PATIENCE)?;
        let conditions = answer.status.unwrap_or_default().conditions;
        let network = conditions.into_iter().find(|condition| condition.kind == "NetworkReady");
        network.map(|found| (found.status, found.message)).context("the runtime says nothing of its network")
    }

    /// Makes a pod's sandbox; its id.
    pub(crate) fn run(&self, config: &PodSandboxConfig) -> Result<String> {
        self.run_within(config, PATIENCE)
    }

    /// Makes a pod's sandbox, with no more time than `limit`.
    pub(crate) fn run_within(&self, config: &PodSandboxConfig, limit: Duration) -> Result<String> {
        let request = RunPodSandboxRequest { config: Some(config.clone()) };
        Ok(self.call::<_, PodSandboxId>("RunPodSandbox", request, limit)?.id)
    }

    /// Asks for a pod's sandbox, and hangs up as soon as `when` says so: the runtime gives up, as it does when kubelet's
    /// deadline ends.
    pub(crate) fn abandon(self, config: &PodSandboxConfig, when: impl Fn() -> bool) -> Result<()> {
        let request = RunPodSandboxRequest { config: Some(config.clone()) };
        let path = PathAndQuery::from_static("/runtime.v1.RuntimeService/RunPodSandbox");
        let mut grpc = Grpc::new(self.channel.clone());
        self.runtime.block_on(async move {
            grpc.ready().await.context("RunPodSandbox: the runtime does not answer")?;
            let codec = ProstCodec::<RunPodSandboxRequest, PodSandboxId>::default();
            let mut call = pin!(grpc.unary(tonic::Request::new(request), path, codec));
            let end = Instant::now() + PATIENCE;
            while !when() {
                ensure!(Instant::now() < end, "RunPodSandbox: still no reason to go away after {PATIENCE:?}");
                if let Ok(answer) = timeout(Duration::from_millis(5), &mut call).await {
                    bail!("RunPodSandbox: {answer:?}, before its caller went away");
                }
            }
            Ok(())
        })
    }

    /// Ends a sandbox and takes its network away.
    pub(crate) fn stop(&self, id: &str) -> Result<()> {
        let _: Nothing = self.call("StopPodSandbox", PodSandboxId { id: id.to_owned() }, PATIENCE)?;
        Ok(())
    }

    /// Forgets a sandbox.
    pub(crate) fn remove(&self, id: &str) -> Result<()> {
        let _: Nothing = self.call("RemovePodSandbox", PodSandboxId { id: id.to_owned() }, PATIENCE)?;
        Ok(())
    }

    /// A sandbox's addresses, the first one first.
    pub(crate) fn addresses(&self, id: &str) -> Result<Vec<String>> {
        let network = self.status(id)?.status.and_then(|status| status.network);
        let network = network.with_context(|| format!("sandbox {id} has no network"))?;
        Ok([network.ip].into_iter().chain(network.additional_ips.into_iter().map(|more| more.ip)).collect())
    }

    /// All the runtime knows of a sandbox.
    pub(crate) fn status(&self, id: &str) -> Result<PodSandboxStatusResponse> {
        let request = PodSandboxStatusRequest { id: id.to_owned(), verbose: true };
        self.call("PodSandboxStatus", request, PATIENCE)
    }

    /// The sandbox's network namespace, as the runtime keeps it.
    pub(crate) fn netns(&self, id: &str) -> Result<PathBuf> {
        let status = self.status(id)?;
        let info = status.info.get("info").context("the runtime tells no details")?;
        let info: serde_json::Value = serde_json::from_str(info).context("the details are no JSON")?;
        let namespaces = &info["runtimeSpec"]["linux"]["namespaces"];
        let network = namespaces.as_array().into_iter().flatten().find(|space| space["type"] == "network");
        let path = network.and_then(|space| space["path"].as_str());
        Ok(path.with_context(|| format!("sandbox {id} has no network namespace: {namespaces}"))?.into())
    }

    /// The sandboxes the runtime knows, with their states (0 is ready).
    pub(crate) fn list(&self) -> Result<Vec<PodSandbox>> {
        let answer: ListPodSandboxResponse =
            self.call("ListPodSandbox", ListPodSandboxRequest {}, PATIENCE)?;
        Ok(answer.items)
    }

    /// Starts a container in a sandbox; its id.
    pub(crate) fn container(
        &self,
        sandbox: &str,
        config: &PodSandboxConfig,
        image: &str,
        command: &[&str],
    ) -> Result<String> {
        let container = ContainerConfig {
            metadata: Some(ContainerMetadata { name: "main".to_owned() }),
            image: Some(ImageSpec { image: image.to_owned() }),
            command: command.iter().map(|word| (*word).to_owned()).collect(),
            log_path: format!("{}.log", config.hostname),
        };
        let request = CreateContainerRequest {
            pod_sandbox_id: sandbox.to_owned(),
            config: Some(container),
            sandbox_config: Some(config.clone()),
        };
        let made: ContainerId = self.call("CreateContainer", request, PATIENCE)?;
        let _: Nothing = self.call("StartContainer", made.clone(), PATIENCE)?;
        Ok(made.id)
    }

    /// Runs a command in a container; what it printed.
    pub(crate) fn exec(&self, container: &str, command: &[&str]) -> Result<String> {
        let cmd = command.iter().map(|word| (*word).to_owned()).collect();
        let request = ExecSyncRequest { container_id: container.to_owned(), cmd, timeout: 60 };
        let answer: ExecSyncResponse = self.call("ExecSync", request, PATIENCE)?;
        if answer.exit_code != 0 {
            let complaint = String::from_utf8_lossy(&answer.stderr).trim().to_owned();
            bail!("{} ended with {}: {complaint}", command.join(" "), answer.exit_code);
        }
        Ok(String::from_utf8_lossy(&answer.stdout).into_owned())
    }
}
