//! The plugin's way to the daemon: blocking calls, each with a deadline that covers connecting, too.

use std::future::Future;
use std::path::Path;
use std::time::{Duration, Instant};

use terway_rpc::{DaemonClient, fault_of, wire};
use terway_types::{Fault, FaultCode};
use tokio::runtime::Runtime;

/// For everything that needs no cloud.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// A connection to the daemon.
#[derive(Debug)]
pub(crate) struct Daemon {
    // Fields are dropped in order: the connection's tasks live on the runtime.
    client: DaemonClient,
    runtime: Runtime,
}

impl Daemon {
    /// Connects; fails at once if nobody listens.
    pub(crate) fn connect(socket: &Path) -> Result<Self, Fault> {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| {
                Fault::new(FaultCode::Internal, "failed to start the call to terwayd").caused_by(&error)
            })?;
        let client = runtime.block_on(DaemonClient::connect(socket, PATIENCE))?;
        Ok(Self { client, runtime })
    }

    pub(crate) fn allocate(
        &self,
        request: wire::AllocateRequest,
        until: Instant,
    ) -> Result<wire::AllocateReply, Fault> {
        let patience = until.saturating_duration_since(Instant::now());
        let client = self.client.with_deadline(patience);
        self.wait(client.alloc_ip(request))
    }

    pub(crate) fn release(&self, request: wire::ReleaseRequest) -> Result<wire::ReleaseReply, Fault> {
        self.wait(self.client.release_ip(request))
    }

    pub(crate) fn info(&self, request: wire::InfoRequest) -> Result<wire::InfoReply, Fault> {
        self.wait(self.client.get_ip_info(request))
    }

    /// Tells the node's operator something. That it cannot be told keeps nobody from working.
    pub(crate) fn tell(&self, event: wire::EventRequest) {
        eprintln!("terway: {}: {}", event.reason, event.message);
        if let Err(fault) = self.wait(self.client.record_event(event)) {
            eprintln!("terway: terwayd did not take the event: {fault}");
        }
    }

    pub(crate) fn status(&self) -> Result<wire::StatusReply, Fault> {
        self.wait(self.client.status(wire::StatusRequest {}))
    }

    pub(crate) fn collect_garbage(
        &self,
        request: wire::CollectGarbageRequest,
    ) -> Result<wire::CollectGarbageReply, Fault> {
        self.wait(self.client.collect_garbage(request))
    }

    /// Every attachment of a network that the daemon knows, with its namespace.
    pub(crate) fn attachments_of(&self, network: &str) -> Result<Vec<wire::AttachmentView>, Fault> {
        self.wait(async {
            tokio::time::timeout(PATIENCE, self.look_up(network)).await.unwrap_or_else(|_| {
                let what = format!("terwayd did not list its attachments within {PATIENCE:?}");
                Err(Fault::new(FaultCode::DaemonUnreachable, what))
            })
        })
    }

    async fn look_up(&self, network: &str) -> Result<Vec<wire::AttachmentView>, Fault> {
        let mut views = self.client.watch_pool().await?;
        let pool = views.message().await.map_err(|status| fault_of(&status))?.unwrap_or_default();
        // An attachment to a shared ENI has an address per family.
        let held = pool.enis.into_iter().flat_map(|eni| {
            eni.attachment
                .into_iter()
                .chain(eni.shared_addresses.into_iter().filter_map(|address| address.attachment))
        });
        let mut held: Vec<_> = held.filter(|attachment| attachment.network == network).collect();
        held.dedup();
        let mut found = Vec::new();
        for attachment in held {
            let asked =
                wire::ExplainRequest { container_id: attachment.container_id.clone(), ..Default::default() };
            let all = self.client.explain(asked).await?.attachments;
            found.extend(all.into_iter().find(|view| view.attachment.as_ref() == Some(&attachment)));
        }
        Ok(found)
    }

    fn wait<T>(&self, call: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
        self.runtime.block_on(call)
    }
}

/// Whether a fault says that the daemon did not do its part, now or at all: whoever must not lose the call
/// has to keep it.
pub(crate) fn is_away(fault: &Fault) -> bool {
    matches!(fault.code, FaultCode::DaemonUnreachable | FaultCode::DaemonStarting)
}
