//! The plugin's way to the daemon: one connection, and each call with the patience that is right for it.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use terway_rpc::{BlockingClient, ConnectError, wire};
use terway_types::{Fault, FaultCode};

/// For everything that needs no cloud.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// A connection to the daemon, made anew where it was given up.
#[derive(Debug)]
pub(crate) struct Daemon {
    socket: PathBuf,
    // One call after the other: nobody holds it while asking.
    client: RefCell<Option<BlockingClient>>,
}

impl Daemon {
    /// Connects; fails at once if nobody listens.
    pub(crate) fn connect(socket: &Path) -> Result<Self, Fault> {
        Ok(Self::open(socket, PATIENCE)?)
    }

    /// The same, for whoever looks at why it failed or has less patience with a daemon that does not accept.
    pub(crate) fn open(socket: &Path, patience: Duration) -> Result<Self, ConnectError> {
        let client = BlockingClient::connect(socket, patience)?;
        Ok(Self { socket: socket.to_owned(), client: RefCell::new(Some(client)) })
    }

    /// Whether the daemon connected to is still there, as far as is known without waiting.
    pub(crate) fn is_there(&self) -> bool {
        self.client.borrow().as_ref().is_some_and(BlockingClient::is_open)
    }

    /// Closes the connection, which the daemon keeps buffers for: what follows takes its time, and hundreds may be at it.
    pub(crate) fn hang_up(&self) {
        self.client.take();
    }

    fn ask<T>(&self, call: impl FnOnce(&mut BlockingClient) -> Result<T, Fault>) -> Result<T, Fault> {
        let mut held = self.client.borrow_mut();
        let client = match held.take() {
            Some(client) => client,
            None => BlockingClient::connect(&self.socket, PATIENCE)?,
        };
        call(held.insert(client))
    }

    pub(crate) fn allocate(
        &self,
        request: &wire::AllocateRequest,
        until: Instant,
        meanwhile: impl FnOnce(),
    ) -> Result<wire::AllocateReply, Fault> {
        let patience = until.saturating_duration_since(Instant::now());
        self.ask(|client| client.alloc_ip_meanwhile(request, patience, meanwhile))
    }

    pub(crate) fn release(&self, request: &wire::ReleaseRequest) -> Result<wire::ReleaseReply, Fault> {
        self.ask(|client| client.release_ip(request, PATIENCE))
    }

    pub(crate) fn info(&self, request: &wire::InfoRequest) -> Result<wire::InfoReply, Fault> {
        self.ask(|client| client.get_ip_info(request, PATIENCE))
    }

    /// Tells the node's operator something. That it cannot be told keeps nobody from working.
    pub(crate) fn tell(&self, event: &wire::EventRequest) {
        eprintln!("terway: {}: {}", event.reason, event.message);
        if let Err(fault) = self.ask(|client| client.record_event(event, PATIENCE)) {
            eprintln!("terway: terwayd did not take the event: {fault}");
        }
    }

    pub(crate) fn status(&self) -> Result<wire::StatusReply, Fault> {
        self.ask(|client| client.status(&wire::StatusRequest {}, PATIENCE))
    }

    pub(crate) fn collect_garbage(
        &self,
        request: &wire::CollectGarbageRequest,
    ) -> Result<wire::CollectGarbageReply, Fault> {
        self.ask(|client| client.collect_garbage(request, PATIENCE))
    }

    /// Every attachment of a network that the daemon knows, with its namespace. All questions together have the
    /// patience of one.
    pub(crate) fn attachments_of(&self, network: &str) -> Result<Vec<wire::AttachmentView>, Fault> {
        let until = Instant::now() + PATIENCE;
        let pool = self.ask(|client| client.pool(&wire::WatchPoolRequest {}, PATIENCE))?;
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
            let all = self.ask(|client| client.explain(&asked, patience))?.attachments;
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

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn a_daemon_that_went_away_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("eni.socket");
        let listener = UnixListener::bind(&path).unwrap();
        let (waiting, accepted) = (Daemon::connect(&path).unwrap(), Daemon::connect(&path).unwrap());
        let ends = listener.accept().unwrap();
        assert!(waiting.is_there() && accepted.is_there());
        drop((listener, ends));
        assert!(!waiting.is_there() && !accepted.is_there());
    }

    #[test]
    fn a_plugin_that_hung_up_connects_again_to_ask() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("eni.socket");
        let listener = UnixListener::bind(&path).unwrap();
        let daemon = Daemon::connect(&path).unwrap();
        let (mut first, _) = listener.accept().unwrap();
        daemon.hang_up();
        first.set_read_timeout(Some(PATIENCE)).unwrap();
        first.read_to_end(&mut Vec::new()).expect("the connection is closed");
        let accepting = std::thread::spawn(move || drop(listener.accept().unwrap()));
        daemon.status().expect_err("nobody answers");
        accepting.join().unwrap();
    }
}
