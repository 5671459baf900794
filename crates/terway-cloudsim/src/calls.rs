//! The audit log: every call of the API with who made it, what it was about and how it ended, so that tests
//! can count calls and hold their order against what a daemon says it did.

use std::collections::{BTreeMap, VecDeque};

use serde::Serialize;
use terway_types::Timestamp;
use tokio::sync::oneshot;

use crate::faults::{FaultKind, When};

/// How many calls are kept; older ones are forgotten.
const KEPT: usize = 200_000;

/// One call.
#[derive(Clone, Debug, Serialize)]
pub struct Call {
    /// Its number; the first call has 1.
    pub seq: u64,
    /// When it came in.
    pub at_ms: u64,
    /// When it was answered, cut or given up.
    pub ended_ms: Option<u64>,
    /// The action as the caller named it.
    pub action: String,
    /// The instance it came from, or the address where that is none's.
    pub source: String,
    /// The access key it was signed with, as claimed.
    pub key: Option<String>,
    /// Its idempotency token.
    pub client_token: Option<String>,
    /// The ids it names, in the order of the parameters' names.
    pub objects: Vec<String>,
    /// The ENI it made.
    pub made: Option<String>,
    /// The id its answer bears.
    pub request_id: String,
    /// What was ordered to go wrong with it.
    pub fault: Option<FaultKind>,
    /// Whether it was carried out, whatever the caller learned of it.
    pub carried_out: bool,
    /// Where it is being held.
    pub held: Option<When>,
    /// `ok`, the vendor's code, `reset` or `abandoned` (the caller left); nothing while it is under way.
    pub outcome: Option<String>,
}

/// What a caller says of a call before it is verified.
#[derive(Clone, Debug, Default)]
pub(crate) struct Knock {
    pub(crate) action: String,
    pub(crate) source: String,
    pub(crate) key: Option<String>,
    pub(crate) client_token: Option<String>,
    pub(crate) objects: Vec<String>,
}

/// The calls so far.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    log: VecDeque<Call>,
    last: u64,
    counts: BTreeMap<String, u64>,
    outcomes: BTreeMap<String, BTreeMap<String, u64>>,
    holds: BTreeMap<u64, oneshot::Sender<()>>,
}

impl Calls {
    /// Enters a call; its number.
    pub(crate) fn open(&mut self, knock: &Knock, request_id: String, now: Timestamp) -> u64 {
        self.count(&knock.action);
        self.last += 1;
        if self.log.len() == KEPT {
            self.log.pop_front();
        }
        self.log.push_back(Call {
            seq: self.last,
            at_ms: now.0,
            ended_ms: None,
            action: knock.action.clone(),
            source: knock.source.clone(),
            key: knock.key.clone(),
            client_token: knock.client_token.clone(),
            objects: knock.objects.clone(),
            made: None,
            request_id,
            fault: None,
            carried_out: false,
            held: None,
            outcome: None,
        });
        self.last
    }

    /// Counts something that is not kept one by one.
    pub(crate) fn count(&mut self, action: &str) {
        *self.counts.entry(action.to_owned()).or_default() += 1;
    }

    /// Notes something about a call that is under way.
    pub(crate) fn note(&mut self, seq: u64, note: impl FnOnce(&mut Call)) {
        if let Some(call) = self.find(seq) {
            note(call);
        }
    }

    /// Ends a call. Only the first end counts.
    pub(crate) fn close(&mut self, seq: u64, outcome: &str, now: Timestamp) {
        self.holds.remove(&seq);
        let Some(call) = self.find(seq).filter(|call| call.outcome.is_none()) else { return };
        call.outcome = Some(outcome.to_owned());
        call.ended_ms = Some(now.0);
        call.held = None;
        let action = call.action.clone();
        *self.outcomes.entry(action).or_default().entry(outcome.to_owned()).or_default() += 1;
    }

    /// Holds a call until it is released.
    pub(crate) fn hold(&mut self, seq: u64, when: When) -> oneshot::Receiver<()> {
        let (release, released) = oneshot::channel();
        self.holds.insert(seq, release);
        self.note(seq, |call| call.held = Some(when));
        released
    }

    /// Releases one held call, or all; how many.
    pub(crate) fn release(&mut self, seq: Option<u64>) -> usize {
        let seqs: Vec<u64> =
            self.holds.keys().copied().filter(|held| seq.is_none_or(|seq| seq == *held)).collect();
        for seq in &seqs {
            self.note(*seq, |call| call.held = None);
            // A caller that has left meanwhile is not waiting.
            let _ = self.holds.remove(seq).map(|release| release.send(()));
        }
        seqs.len()
    }

    /// The calls after number `since`, oldest first.
    pub(crate) fn after(&self, since: u64) -> impl Iterator<Item = &Call> {
        let first = self.log.front().map_or(0, |call| call.seq);
        let skip = (since + 1).saturating_sub(first);
        self.log.iter().skip(usize::try_from(skip).unwrap_or(usize::MAX))
    }

    /// The number of the last call.
    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    /// Calls per action, refused ones too.
    pub(crate) fn counts(&self) -> &BTreeMap<String, u64> {
        &self.counts
    }

    /// Ended calls per action and outcome.
    pub(crate) fn outcomes(&self) -> &BTreeMap<String, BTreeMap<String, u64>> {
        &self.outcomes
    }

    /// Error answers per vendor code.
    pub(crate) fn errors(&self) -> BTreeMap<&str, u64> {
        let mut errors = BTreeMap::new();
        for (outcome, count) in self.outcomes.values().flatten() {
            if !["ok", "reset", "abandoned"].contains(&outcome.as_str()) {
                *errors.entry(outcome.as_str()).or_default() += count;
            }
        }
        errors
    }

    /// The calls that are being held.
    pub(crate) fn held(&self) -> Vec<&Call> {
        self.holds.keys().filter_map(|seq| self.log.get(self.index(*seq)?)).collect()
    }

    fn find(&mut self, seq: u64) -> Option<&mut Call> {
        let index = self.index(seq)?;
        self.log.get_mut(index)
    }

    fn index(&self, seq: u64) -> Option<usize> {
        usize::try_from(seq.checked_sub(self.log.front()?.seq)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn knock(action: &str) -> Knock {
        Knock { action: action.to_owned(), ..Knock::default() }
    }

    #[test]
    fn calls_are_numbered_and_end_once() {
        let mut calls = Calls::default();
        let a = calls.open(&knock("A"), "r1".into(), Timestamp(1));
        let b = calls.open(&knock("B"), "r2".into(), Timestamp(2));
        calls.close(a, "ok", Timestamp(3));
        calls.close(a, "abandoned", Timestamp(4));
        calls.close(b, "Throttling", Timestamp(5));
        assert_eq!((a, b, calls.last()), (1, 2, 2));
        let after: Vec<_> = calls.after(1).map(|call| (call.seq, call.outcome.as_deref())).collect();
        assert_eq!(after, [(2, Some("Throttling"))]);
        assert_eq!(calls.after(0).next().unwrap().ended_ms, Some(3));
        assert_eq!(calls.errors(), BTreeMap::from([("Throttling", 1)]));
    }

    #[test]
    fn held_calls_are_released_once() {
        let mut calls = Calls::default();
        let a = calls.open(&knock("A"), "r1".into(), Timestamp(1));
        let mut released = calls.hold(a, When::Before);
        assert_eq!((calls.held().len(), calls.release(Some(7))), (1, 0));
        assert!(released.try_recv().is_err());
        assert_eq!((calls.release(None), calls.release(None)), (1, 0));
        assert!(released.try_recv().is_ok());
    }
}
