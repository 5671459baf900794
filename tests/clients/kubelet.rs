//! kubelet's look at a runtime: it asks for its status again and again, whatever else goes on.

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use terway_rig::eventually::eventually;

use crate::cri::Cri;
use crate::stage::LIMIT;

/// kubelet's own is five seconds; a pod's life is shorter here.
const INTERVAL: Duration = Duration::from_millis(100);

/// Whether the network is ready, and what is said about it.
pub(crate) type Answer = (bool, String);

/// A thread that asks.
pub(crate) struct Kubelet {
    answers: Arc<Mutex<Vec<Answer>>>,
    end: Sender<()>,
    thread: JoinHandle<Result<()>>,
}

impl Kubelet {
    /// Asks until it is told to end, or dropped.
    pub(crate) fn start(cri: Cri) -> Self {
        let (end, ends) = mpsc::channel();
        let answers = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&answers);
        let thread = thread::spawn(move || {
            while ends.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                let answer = cri.network_ready()?;
                kept.lock().map_err(|_| anyhow!("the other thread panicked"))?.push(answer);
            }
            Ok(())
        });
        Self { answers, end, thread }
    }

    /// The answers so far.
    pub(crate) fn answers(&self) -> Vec<Answer> {
        self.answers.lock().map(|answers| answers.clone()).unwrap_or_default()
    }

    /// Waits for such an answer to a question that was asked from now on; one may be under way.
    pub(crate) fn hears(&self, what: &str, wanted: impl Fn(&Answer) -> bool) -> Result<()> {
        let from = self.answers().len() + 1;
        eventually(what, LIMIT, || self.answers().get(from..)?.iter().any(&wanted).then_some(()))
            .with_context(|| format!("the last answer is {:?}", self.answers().last()))
    }

    /// All answers.
    pub(crate) fn end(self) -> Result<Vec<Answer>> {
        drop(self.end);
        self.thread.join().map_err(|_| anyhow!("the asking thread panicked"))??;
        Ok(self.answers.lock().map_err(|_| anyhow!("the asking thread panicked"))?.clone())
    }
}
