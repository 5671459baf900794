//! The plugin's way to the daemon: one connection, and each call with the patience that is right for it.

use std::cell::RefCell;
use std::path::Path;
use std::time::{Duration, Instant};

use terway_rpc::{BlockingClient, wire};
use terway_types::{Fault, FaultCode};

/// For everything that needs no cloud.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// A connection to the daemon.
#[derive(Debug)]
pub(crate) struct Daemon {
    // One call after the other: nobody holds it while asking.
    client: RefCell<BlockingClient>,
}

impl Daemon {
    /// Connects; fails at once if nobody listens.
    pub(crate) fn connect(socket: &Path) -> Result<Self, Fault> {
        Ok(Self { client: RefCell::new(BlockingClient::connect(socket, PATIENCE)?) })
    }

    pub(crate) fn allocate(
        &self,
        request: &wire::AllocateRequest,
        until: Instant,
    ) -> Result<wire::AllocateReply, Fault> {
        let patience = until.saturating_duration_since(Instant::now());
        self.client.borrow_mut().alloc_ip(request, patience)
    }

    pub(crate) fn release(&self, request: &wire::ReleaseRequest) -> Result<wire::ReleaseReply, Fault> {
        self.client.borrow_mut().release_ip(request, PATIENCE)
    }

    pub(crate) fn info(&self, request: &wire::InfoRequest) -> Result<wire::InfoReply, Fault> {
        self.client.borrow_mut().get_ip_info(request, PATIENCE)
    }

    /// Tells the node's operator something. That it cannot be told keeps nobody from working.
    pub(crate) fn tell(&self, event: &wire::EventRequest) {
        eprintln!("terway: {}: {}", event.reason, event.message);
        if let Err(fault) = self.client.borrow_mut().record_event(event, PATIENCE) {
            eprintln!("terway: terwayd did not take the event: {fault}");
        }
    }

    pub(crate) fn status(&self) -> Result<wire::StatusReply, Fault> {
        self.client.borrow_mut().status(&wire::StatusRequest {}, PATIENCE)
    }

    pub(crate) fn collect_garbage(
        &self,
        request: &wire::CollectGarbageRequest,
    ) -> Result<wire::CollectGarbageReply, Fault> {
        self.client.borrow_mut().collect_garbage(request, PATIENCE)
    }

    /// Every attachment of a network that the daemon knows, with its namespace. All questions together have the
    /// patience of one.
    pub(crate) fn attachments_of(&self, network: &str) -> Result<Vec<wire::AttachmentView>, Fault> {
        let until = Instant::now() + PATIENCE;
        let mut client = self.client.borrow_mut();
        let pool = client.pool(&wire::WatchPoolRequest {}, PATIENCE)?;
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
            let patience = until.saturating_duration_since(Instant::now());
            let all = client.explain(&asked, patience)?.attachments;
            found.extend(all.into_iter().find(|view| view.attachment.as_ref() == Some(&attachment)));
        }
        Ok(found)
    }
}

/// Whether a fault says that the daemon did not do its part, now or at all: whoever must not lose the call
/// has to keep it.
pub(crate) fn is_away(fault: &Fault) -> bool {
    matches!(fault.code, FaultCode::DaemonUnreachable | FaultCode::DaemonStarting)
}
