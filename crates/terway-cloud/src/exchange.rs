//! What every call of every provider passes: the budget, the key, and the journal.

use std::sync::Arc;

use jiff::Timestamp;
use terway_types::{CloudFailure, CloudFailureKind as Kind};

use crate::budget::{Budget, Permit};
use crate::calls::{CallSink, Entry, Journal};
use crate::cloud::CloudResult;
use crate::credentials::{AccessKey, CredentialSource};
use crate::{error, random};

/// What makes two equal calls differ: when they are signed, and their nonce.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stamps {
    pub(crate) now: fn() -> Timestamp,
    pub(crate) nonce: fn() -> String,
}

impl Default for Stamps {
    fn default() -> Self {
        Self { now: Timestamp::now, nonce: random::nonce }
    }
}

/// A call before it is sent.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) action: &'static str,
    /// Whether it changes something, so that a lost answer leaves a doubt.
    pub(crate) changes: bool,
    /// The ids and addresses it names.
    pub(crate) object: String,
}

/// What came back, with the vendor's request id.
#[derive(Debug)]
pub(crate) struct Answered<T> {
    pub(crate) content: T,
    pub(crate) request_id: Option<String>,
}

/// The way to the cloud, up to the wire.
#[derive(Debug)]
pub(crate) struct Exchange {
    credentials: Arc<dyn CredentialSource>,
    budget: Arc<Budget>,
    journal: Journal,
}

/// The right to send one call now, and the key to sign it with.
pub(crate) struct Ticket<'a> {
    exchange: &'a Exchange,
    action: &'static str,
    key: Arc<AccessKey>,
    entry: Entry,
    _permit: Permit,
}

impl Exchange {
    pub(crate) fn new(
        provider: &'static str,
        credentials: Arc<dyn CredentialSource>,
        budget: Arc<Budget>,
        calls: Option<Arc<dyn CallSink>>,
    ) -> Self {
        Self { credentials, budget, journal: Journal::new(provider, calls) }
    }

    /// Waits until the call may be made.
    pub(crate) async fn begin(&self, call: Call) -> CloudResult<Ticket<'_>> {
        let permit = self.budget.acquire(call.action).await;
        let key = self.credentials.access_key().await?;
        let entry = self.journal.begin(call.action, call.changes, call.object);
        Ok(Ticket { exchange: self, action: call.action, key, entry, _permit: permit })
    }
}

/// How an attempt ended.
pub(crate) enum Ended<T> {
    /// For good.
    Finally(CloudResult<T>),
    /// The cloud refused the key, so nothing was done, and another key may be had: once more is worth it.
    WithStaleKey(CloudFailure),
}

impl Ticket<'_> {
    pub(crate) fn key(&self) -> &AccessKey {
        &self.key
    }

    /// Takes notes of how the attempt ended.
    pub(crate) fn end<T>(self, outcome: CloudResult<Answered<T>>) -> Ended<T> {
        let Self { exchange, action, key, entry, _permit } = self;
        match outcome {
            Ok(answered) => {
                exchange.budget.accepted(action);
                entry.end(answered.request_id, Ok(()));
                Ended::Finally(Ok(answered.content))
            }
            Err(failure) => {
                if failure.kind == Kind::Throttled {
                    exchange.budget.throttled(action);
                }
                entry.end(failure.request_id.clone(), Err(failure.clone()));
                let stale = error::is_about_the_key(&failure) && exchange.credentials.refused(&key);
                if stale { Ended::WithStaleKey(failure) } else { Ended::Finally(Err(failure)) }
            }
        }
    }
}
