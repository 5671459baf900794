//! The journal of calls: what was really exchanged with the cloud, attempt by attempt, and for which
//! intent. A provider writes; whoever keeps a history reads.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use terway_types::{CloudFailure, CloudFailureKind as Kind, IntentToken};
use tokio::time::Instant;

use crate::error::failure;

tokio::task_local! {
    static INTENT: IntentToken;
}

/// One exchange with the cloud, as it really happened. Repeated attempts are records of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallRecord {
    /// The provider's name.
    pub provider: &'static str,
    /// The action, as the vendor names it.
    pub action: String,
    /// The intent the call was made for, if it was made inside [`on_behalf_of`].
    pub intent: Option<IntentToken>,
    /// The ids and addresses named in the request, separated by commas.
    pub object: String,
    /// Whether the action changes something.
    pub changes: bool,
    /// The vendor's request id, if an answer came.
    pub request_id: Option<String>,
    /// From sending to the end of the answer.
    pub took: Duration,
    /// How it ended.
    pub outcome: Result<(), CloudFailure>,
}

/// Somebody who wants to know of every exchange. Called in the task that made the call: must not block.
pub trait CallSink: Send + Sync + Debug {
    /// An exchange has ended.
    fn called(&self, record: CallRecord);
}

/// Runs calls on behalf of an intent; their records carry its token. Tasks spawned inside are not covered.
pub async fn on_behalf_of<F: Future>(intent: IntentToken, calls: F) -> F::Output {
    INTENT.scope(intent, calls).await
}

/// The intent on whose behalf this task calls, if it runs inside [`on_behalf_of`].
pub fn intent() -> Option<IntentToken> {
    INTENT.try_with(Clone::clone).ok()
}

/// Where a provider's exchanges are written down.
#[derive(Clone, Debug)]
pub(crate) struct Journal {
    provider: &'static str,
    sink: Option<Arc<dyn CallSink>>,
}

impl Journal {
    pub(crate) fn new(provider: &'static str, sink: Option<Arc<dyn CallSink>>) -> Self {
        Self { provider, sink }
    }

    /// Begins the entry of an exchange that is about to be sent.
    pub(crate) fn begin(&self, action: &'static str, changes: bool, object: String) -> Entry {
        Entry {
            journal: self.clone(),
            action,
            changes,
            object,
            intent: intent(),
            began: Instant::now(),
            ended: false,
        }
    }
}

/// An exchange under way. Dropped without an end, it is written down as one with unknown outcome.
#[derive(Debug)]
pub(crate) struct Entry {
    journal: Journal,
    action: &'static str,
    changes: bool,
    object: String,
    intent: Option<IntentToken>,
    began: Instant,
    ended: bool,
}

impl Entry {
    pub(crate) fn end(mut self, request_id: Option<String>, outcome: Result<(), CloudFailure>) {
        self.write(request_id, outcome);
    }

    fn write(&mut self, request_id: Option<String>, outcome: Result<(), CloudFailure>) {
        self.ended = true;
        let Some(sink) = &self.journal.sink else { return };
        sink.called(CallRecord {
            provider: self.journal.provider,
            action: self.action.to_owned(),
            intent: self.intent.take(),
            object: std::mem::take(&mut self.object),
            changes: self.changes,
            request_id,
            took: self.began.elapsed(),
            outcome,
        });
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if !self.ended {
            let kind = if self.changes { Kind::Ambiguous } else { Kind::Transient };
            let given_up = failure(kind, self.action, "given up before the answer came");
            self.write(None, Err(given_up));
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Keeps every record.
    #[derive(Debug, Default)]
    pub(crate) struct Kept(Mutex<Vec<CallRecord>>);

    impl Kept {
        pub(crate) fn records(&self) -> Vec<CallRecord> {
            self.0.lock().unwrap().clone()
        }
    }

    impl CallSink for Kept {
        fn called(&self, record: CallRecord) {
            self.0.lock().unwrap().push(record);
        }
    }

    fn journal() -> (Journal, Arc<Kept>) {
        let kept = Arc::new(Kept::default());
        (Journal::new("sim", Some(Arc::clone(&kept) as Arc<dyn CallSink>)), kept)
    }

    #[tokio::test(start_paused = true)]
    async fn a_record_tells_intent_time_and_outcome() {
        let (journal, kept) = journal();
        on_behalf_of("t-1".into(), async {
            let entry = journal.begin("DeleteNetworkInterface", true, "eni-1".into());
            tokio::time::sleep(Duration::from_secs(3)).await;
            entry.end(Some("R-1".into()), Ok(()));
        })
        .await;
        journal.begin("DescribeNetworkInterfaces", false, String::new()).end(None, Ok(()));
        let records = kept.records();
        let expected = CallRecord {
            provider: "sim",
            action: "DeleteNetworkInterface".into(),
            intent: Some("t-1".into()),
            object: "eni-1".into(),
            changes: true,
            request_id: Some("R-1".into()),
            took: Duration::from_secs(3),
            outcome: Ok(()),
        };
        assert_eq!(records[0], expected);
        assert_eq!((records[1].intent.as_ref(), records.len()), (None, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn an_exchange_that_is_given_up_is_written_down() {
        let (journal, kept) = journal();
        let never = async {
            let _entry = journal.begin("CreateNetworkInterface", true, "vsw-1".into());
            std::future::pending::<()>().await;
        };
        let wait = tokio::time::timeout(Duration::from_secs(1), on_behalf_of("t-2".into(), never));
        assert!(wait.await.is_err());
        let record = kept.records().remove(0);
        assert_eq!(record.outcome.unwrap_err().kind, Kind::Ambiguous);
        assert_eq!((record.intent, record.took), (Some("t-2".into()), Duration::from_secs(1)));
    }
}
