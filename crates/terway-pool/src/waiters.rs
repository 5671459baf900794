//! Attachments that wait for an ENI: first come, first served, each request until its own deadline.

use std::collections::{BTreeMap, BTreeSet};

use terway_types::{AttachmentKey, PodRef, Timestamp};

use crate::effect::RequestId;

/// One attachment that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Waiter {
    pub(crate) key: AttachmentKey,
    pub(crate) pod: PodRef,
    pub(crate) netns: String,
    pub(crate) since: Timestamp,
    /// Those who ask, each with its deadline. Never empty.
    pub(crate) requests: Vec<(RequestId, Timestamp)>,
}

/// The queue.
#[derive(Clone, Debug, Default)]
pub(crate) struct Waiters {
    next: u64,
    queue: BTreeMap<u64, Waiter>,
    by_key: BTreeMap<AttachmentKey, u64>,
    by_request: BTreeMap<RequestId, u64>,
    deadlines: BTreeSet<(Timestamp, RequestId)>,
}

impl Waiters {
    /// How many attachments wait.
    pub(crate) fn len(&self) -> u32 {
        u32::try_from(self.queue.len()).unwrap_or(u32::MAX)
    }

    /// Those who wait, the next to be served first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Waiter> {
        self.queue.values()
    }

    /// Joins the queue. A key that already waits keeps its place and gets both answers.
    pub(crate) fn join(&mut self, waiter: Waiter) {
        let place = *self.by_key.entry(waiter.key.clone()).or_insert(self.next);
        for &(request, deadline) in &waiter.requests {
            self.by_request.insert(request, place);
            self.deadlines.insert((deadline, request));
        }
        if let Some(known) = self.queue.get_mut(&place) {
            known.requests.extend(waiter.requests);
            (known.pod, known.netns) = (waiter.pod, waiter.netns);
        } else {
            self.queue.insert(place, waiter);
            self.next += 1;
        }
    }

    /// Takes the first one out.
    pub(crate) fn pop(&mut self) -> Option<Waiter> {
        let (_, waiter) = self.queue.pop_first()?;
        self.forget(&waiter);
        Some(waiter)
    }

    /// Takes an attachment out.
    pub(crate) fn remove(&mut self, key: &AttachmentKey) -> Option<Waiter> {
        let place = self.by_key.get(key)?;
        let waiter = self.queue.remove(place)?;
        self.forget(&waiter);
        Some(waiter)
    }

    /// Takes one request out; the attachment leaves the queue with its last one.
    pub(crate) fn cancel(&mut self, request: RequestId) -> bool {
        self.take(request).is_some()
    }

    /// Takes out the requests whose time is up, each with what it waited for.
    pub(crate) fn expire(&mut self, now: Timestamp) -> Vec<(RequestId, Waiter)> {
        let late: Vec<_> =
            self.deadlines.iter().take_while(|(at, _)| *at <= now).map(|(_, id)| *id).collect();
        late.into_iter().filter_map(|request| Some((request, self.take(request)?))).collect()
    }

    /// The earliest deadline.
    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    fn take(&mut self, request: RequestId) -> Option<Waiter> {
        let place = self.by_request.remove(&request)?;
        let waiter = self.queue.get_mut(&place)?;
        let index = waiter.requests.iter().position(|(id, _)| *id == request)?;
        let (_, deadline) = waiter.requests.remove(index);
        self.deadlines.remove(&(deadline, request));
        let taken = waiter.clone();
        if taken.requests.is_empty() {
            self.queue.remove(&place);
            self.by_key.remove(&taken.key);
        }
        Some(taken)
    }

    fn forget(&mut self, waiter: &Waiter) {
        self.by_key.remove(&waiter.key);
        for &(request, deadline) in &waiter.requests {
            self.by_request.remove(&request);
            self.deadlines.remove(&(deadline, request));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::key;

    fn waiter(number: u8, request: u64, deadline: u64) -> Waiter {
        Waiter {
            key: key(number),
            pod: PodRef::default(),
            netns: String::new(),
            since: Timestamp(0),
            requests: vec![(RequestId(request), Timestamp(deadline))],
        }
    }

    fn filled() -> Waiters {
        let mut waiters = Waiters::default();
        for waiter in [waiter(1, 10, 100), waiter(2, 20, 50), waiter(1, 11, 200)] {
            waiters.join(waiter);
        }
        waiters
    }

    fn is_clean(waiters: &Waiters) -> bool {
        waiters.queue.is_empty()
            && waiters.by_key.is_empty()
            && waiters.by_request.is_empty()
            && waiters.deadlines.is_empty()
    }

    #[test]
    fn first_come_first_served_and_a_repeat_keeps_its_place() {
        let mut waiters = filled();
        assert_eq!(waiters.len(), 2);
        let first = waiters.pop().unwrap();
        assert_eq!(first.key, key(1));
        assert_eq!(first.requests.len(), 2);
        assert_eq!(waiters.pop().unwrap().key, key(2));
        assert!(waiters.pop().is_none() && is_clean(&waiters));
    }

    #[test]
    fn each_request_ends_at_its_own_deadline() {
        let mut waiters = filled();
        assert_eq!(waiters.next_deadline(), Some(Timestamp(50)));
        let late: Vec<_> = waiters.expire(Timestamp(100)).into_iter().map(|(id, _)| id).collect();
        assert_eq!(late, [RequestId(20), RequestId(10)]);
        assert_eq!(waiters.len(), 1);
        assert_eq!(waiters.expire(Timestamp(200)).len(), 1);
        assert!(is_clean(&waiters));
    }

    #[test]
    fn cancelling_takes_one_request_and_releasing_all_of_them() {
        let mut waiters = filled();
        assert!(waiters.cancel(RequestId(10)));
        assert!(!waiters.cancel(RequestId(10)));
        assert_eq!(waiters.remove(&key(1)).unwrap().requests, [(RequestId(11), Timestamp(200))]);
        assert!(waiters.cancel(RequestId(20)));
        assert!(is_clean(&waiters));
    }
}
