//! The driver's door: ask it, tell it, look inside.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use terway_pool::{Answer, Capacity, CloudAnswer, Event, Pool, RequestId};
use terway_types::{CloudFailure, Fault, FaultCode, HistoryEntry, MacAddr, Timestamp};
use tokio::sync::{Notify, oneshot, watch};

use super::{Message, Sender, Ticket};

/// Talks to the driver's thread. Clones talk to the same one.
#[derive(Clone)]
pub struct DriverHandle {
    inbox: Sender<Message>,
    next: Arc<AtomicU64>,
    revisions: watch::Receiver<u64>,
    capacity: watch::Receiver<Capacity>,
    trouble: Arc<Notify>,
    thread: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl fmt::Debug for DriverHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DriverHandle").finish_non_exhaustive()
    }
}

/// Tells the driver when whoever asked has gone away.
struct Asker<'a> {
    handle: &'a DriverHandle,
    request: Option<RequestId>,
}

impl Drop for Asker<'_> {
    fn drop(&mut self) {
        if let Some(request) = self.request.take() {
            self.handle.tell(Event::Cancel { request });
        }
    }
}

impl DriverHandle {
    pub(super) fn new(
        inbox: Sender<Message>,
        revisions: watch::Receiver<u64>,
        capacity: watch::Receiver<Capacity>,
        trouble: Arc<Notify>,
    ) -> Self {
        Self { inbox, next: Arc::default(), revisions, capacity, trouble, thread: Arc::default() }
    }

    pub(super) fn owns(&self, thread: JoinHandle<()>) {
        *self.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
    }

    /// Asks the pool and waits for its answer. Dropping the future cancels the request.
    pub async fn ask(&self, event: impl FnOnce(RequestId) -> Event) -> Answer {
        let request = RequestId(self.next.fetch_add(1, Ordering::Relaxed));
        let (reply, answer) = oneshot::channel();
        let gone = || Answer::Failed(gone());
        if self.inbox.send(Message::Ask { request, event: event(request), reply }).is_err() {
            return gone();
        }
        let mut asker = Asker { handle: self, request: Some(request) };
        let answer = answer.await;
        asker.request = None;
        answer.unwrap_or_else(|_| gone())
    }

    /// Tells the pool something that has no answer.
    pub fn tell(&self, event: Event) {
        let _ = self.inbox.send(Message::Tell(event));
    }

    /// Tells whether a NIC is in the host's namespace.
    pub fn link(&self, mac: MacAddr, present: bool) {
        let _ = self.inbox.send(Message::Link { mac, present });
    }

    /// Reports the end of a cloud operation.
    pub fn done(&self, ticket: Ticket, outcome: Result<CloudAnswer, CloudFailure>) {
        let _ = self.inbox.send(Message::Done { ticket, outcome });
    }

    /// Adds to the history, with the next commit or soon.
    pub fn remember(&self, entry: HistoryEntry) {
        let _ = self.inbox.send(Message::Remember(entry));
    }

    /// Resolves when books and cloud may differ: an operation ended in doubt, or the pool was built anew. One
    /// listener at a time.
    pub async fn trouble(&self) {
        self.trouble.notified().await;
    }

    /// Whether the driver has ended.
    pub fn ended(&self) -> bool {
        self.revisions.has_changed().is_err()
    }

    /// Reads from the pool between two batches.
    pub async fn look<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Pool, Timestamp) -> T + Send + 'static,
    ) -> Result<T, Fault> {
        let (reply, answer) = oneshot::channel();
        let look = Box::new(move |pool: &Pool, now: Timestamp| drop(reply.send(read(pool, now))));
        self.inbox.send(Message::Look(look)).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())
    }

    /// Changes with every change of the pool; closed when the driver has ended.
    pub fn revisions(&self) -> watch::Receiver<u64> {
        self.revisions.clone()
    }

    /// How many more pods can be served.
    pub fn capacity(&self) -> Capacity {
        *self.capacity.borrow()
    }

    /// Ends the driver after what lies in its inbox, and waits until the ledger is closed. Blocks.
    pub fn stop(&self) {
        let _ = self.inbox.send(Message::Stop);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

/// The pool's thread has ended, or has no pool for the moment.
fn gone() -> Fault {
    Fault::new(
        FaultCode::DaemonUnreachable,
        "the pool is not available: terwayd is shutting down or rebuilding it",
    )
}
