//! Calls about one attachment take turns; calls about others do not notice.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use terway_types::{AttachmentKey, Fault, FaultCode};
use tokio::sync::{Mutex as Turnstile, OwnedMutexGuard};

type Queues = Mutex<HashMap<AttachmentKey, Arc<Turnstile<()>>>>;

/// Who is at work on which attachment.
#[derive(Debug, Default)]
pub struct Turns {
    queues: Arc<Queues>,
}

/// The right to work on one attachment, until dropped.
#[derive(Debug)]
pub struct Turn {
    key: AttachmentKey,
    guard: Option<OwnedMutexGuard<()>>,
    queues: Arc<Queues>,
}

impl Turns {
    /// Waits until nobody else works on the attachment, at most until `deadline`.
    pub async fn take(&self, key: &AttachmentKey, deadline: Instant) -> Result<Turn, Fault> {
        let turnstile = {
            let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(queues.entry(key.clone()).or_default())
        };
        // Made first: it clears the entry also when the wait is given up.
        let mut turn = Turn { key: key.clone(), guard: None, queues: Arc::clone(&self.queues) };
        match tokio::time::timeout_at(deadline.into(), turnstile.lock_owned()).await {
            Ok(guard) => turn.guard = Some(guard),
            Err(_) => {
                return Err(Fault::new(
                    FaultCode::AttachmentBusy,
                    format!("another operation on attachment {key} did not end in time"),
                ));
            }
        }
        Ok(turn)
    }

    /// How many attachments somebody works on or waits for.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.queues.lock().unwrap().len()
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        // Under the lock nobody can join the queue; the map itself holds the last reference.
        self.guard = None;
        if queues.get(&self.key).is_some_and(|turnstile| Arc::strong_count(turnstile) == 1) {
            queues.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use terway_types::{ContainerId, IfName, NetworkName};

    use super::*;

    fn key(container: &str) -> AttachmentKey {
        AttachmentKey {
            network: NetworkName::new("terway").unwrap(),
            container: ContainerId::new(container).unwrap(),
            ifname: IfName::new("eth0").unwrap(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_at_a_time_per_attachment() {
        let turns = Turns::default();
        let soon = || Instant::now() + Duration::from_millis(5);
        let first = turns.take(&key("a"), soon()).await.unwrap();
        let other = turns.take(&key("b"), soon()).await.unwrap();
        let fault = turns.take(&key("a"), soon()).await.unwrap_err();
        assert_eq!(fault.code, FaultCode::AttachmentBusy);
        assert_eq!(turns.len(), 2);
        drop(first);
        drop(turns.take(&key("a"), soon()).await.unwrap());
        drop(other);
        assert_eq!(turns.len(), 0);
    }

    #[tokio::test]
    async fn a_caller_that_goes_away_leaves_the_queue() {
        let turns = Turns::default();
        let late = Instant::now() + Duration::from_mins(1);
        let first = turns.take(&key("a"), late).await.unwrap();
        {
            let a = key("a");
            let mut waiting = Box::pin(turns.take(&a, late));
            assert!(
                std::future::poll_fn(|cx| std::task::Poll::Ready(waiting.as_mut().poll(cx).is_pending()))
                    .await
            );
        }
        drop(first);
        assert_eq!(turns.len(), 0);
    }
}
