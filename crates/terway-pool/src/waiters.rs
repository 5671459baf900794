//! Attachments that wait for an ENI, each request until its own deadline. Those with the same wish stand in one
//! line: first come, first served. A line that cannot be served does not hold up another.

use std::collections::{BTreeMap, BTreeSet};

use terway_types::{AttachmentKey, ClaimId, PodRef, Timestamp};

use crate::effect::RequestId;
use crate::event::Claim;
use crate::wishes::WishNo;

/// A place in the queue; lower ones came earlier.
pub(crate) type Place = u64;

/// One attachment that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Waiter {
    pub(crate) key: AttachmentKey,
    pub(crate) pod: PodRef,
    pub(crate) netns: String,
    pub(crate) wish: WishNo,
    pub(crate) claim: Option<Claim>,
    pub(crate) since: Timestamp,
    /// Those who ask, each with its deadline. Never empty.
    pub(crate) requests: Vec<(RequestId, Timestamp)>,
}

/// A line: those with one wish and no claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) first: Place,
    pub(crate) wish: WishNo,
    pub(crate) len: u32,
}

/// The queue.
#[derive(Clone, Debug, Default)]
pub(crate) struct Waiters {
    next: Place,
    queue: BTreeMap<Place, Waiter>,
    lines: BTreeMap<WishNo, BTreeSet<Place>>,
    /// The first of each line, in the order in which they came.
    firsts: BTreeMap<Place, WishNo>,
    by_claim: BTreeMap<ClaimId, Place>,
    /// Those who wait for a claim of which there is an ENI, here or in the cloud.
    claims_there: BTreeSet<Place>,
    /// Those who wait for a claim of which an ENI has to be made first.
    claims_to_make: BTreeMap<WishNo, BTreeSet<Place>>,
    by_key: BTreeMap<AttachmentKey, Place>,
    by_request: BTreeMap<RequestId, Place>,
    deadlines: BTreeSet<(Timestamp, RequestId)>,
}

impl Waiters {
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// How many wait for an ENI of the pool, not for a claim's.
    pub(crate) fn unclaimed(&self) -> u32 {
        u32::try_from(self.queue.len() - self.by_claim.len()).unwrap_or(u32::MAX)
    }

    /// Those who wait, in the order in which they came.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Waiter> {
        self.queue.values()
    }

    /// The lines, that of the longest waiting first.
    pub(crate) fn lines(&self) -> impl Iterator<Item = Line> + '_ {
        self.firsts.values().filter_map(|wish| self.line(*wish))
    }

    /// The line of those with this wish, if somebody stands in it.
    pub(crate) fn line(&self, wish: WishNo) -> Option<Line> {
        let places = self.lines.get(&wish)?;
        Some(Line { first: *places.first()?, wish, len: u32::try_from(places.len()).unwrap_or(u32::MAX) })
    }

    /// The one that waits longest, claims aside.
    pub(crate) fn first(&self) -> Option<Place> {
        self.firsts.first_key_value().map(|(place, _)| *place)
    }

    /// Those who wait for a claim of which there is an ENI, in the order in which they came.
    pub(crate) fn claims_there(&self) -> impl Iterator<Item = (Place, &Waiter)> {
        self.claims_there.iter().filter_map(|place| Some((*place, self.queue.get(place)?)))
    }

    /// The first ones, by wish, of those who wait for a claim of which an ENI has to be made.
    pub(crate) fn claims_to_make(&self) -> impl Iterator<Item = (WishNo, Place)> + '_ {
        self.claims_to_make.iter().filter_map(|(wish, places)| Some((*wish, *places.first()?)))
    }

    /// There is an ENI of a claim now, or there is none any more.
    pub(crate) fn claim_changed(&mut self, claim: &ClaimId, there: bool) {
        let Some(&place) = self.by_claim.get(claim) else { return };
        let Some(waiter) = self.queue.get(&place) else { return };
        let named = waiter.claim.as_ref().is_some_and(|claim| claim.eni.is_some());
        let wish = waiter.wish;
        self.leave_claims(place, wish);
        self.join_claims(place, wish, there || named);
    }

    fn join_claims(&mut self, place: Place, wish: WishNo, there: bool) {
        if there {
            self.claims_there.insert(place);
        } else {
            self.claims_to_make.entry(wish).or_default().insert(place);
        }
    }

    fn leave_claims(&mut self, place: Place, wish: WishNo) {
        self.claims_there.remove(&place);
        if let Some(places) = self.claims_to_make.get_mut(&wish) {
            places.remove(&place);
            if places.is_empty() {
                self.claims_to_make.remove(&wish);
            }
        }
    }

    pub(crate) fn get(&self, place: Place) -> Option<&Waiter> {
        self.queue.get(&place)
    }

    pub(crate) fn of_claim(&self, claim: &ClaimId) -> Option<&Waiter> {
        self.queue.get(self.by_claim.get(claim)?)
    }

    /// Joins the queue. A key that already waits keeps its place and what it wants, and gets both answers.
    pub(crate) fn join(&mut self, waiter: Waiter) {
        let place = *self.by_key.entry(waiter.key.clone()).or_insert(self.next);
        for &(request, deadline) in &waiter.requests {
            self.by_request.insert(request, place);
            self.deadlines.insert((deadline, request));
        }
        if let Some(known) = self.queue.get_mut(&place) {
            known.requests.extend(waiter.requests);
            (known.pod, known.netns) = (waiter.pod, waiter.netns);
            return;
        }
        if let Some(claim) = &waiter.claim {
            self.by_claim.insert(claim.id.clone(), place);
            self.join_claims(place, waiter.wish, claim.eni.is_some());
        } else {
            let line = self.lines.entry(waiter.wish).or_default();
            if line.is_empty() {
                self.firsts.insert(place, waiter.wish);
            }
            line.insert(place);
        }
        self.queue.insert(place, waiter);
        self.next += 1;
    }

    /// Takes the one at this place out.
    pub(crate) fn take(&mut self, place: Place) -> Option<Waiter> {
        let waiter = self.queue.remove(&place)?;
        for &(request, deadline) in &waiter.requests {
            self.by_request.remove(&request);
            self.deadlines.remove(&(deadline, request));
        }
        self.forget(place, &waiter);
        Some(waiter)
    }

    /// Takes an attachment out.
    pub(crate) fn remove(&mut self, key: &AttachmentKey) -> Option<Waiter> {
        self.take(*self.by_key.get(key)?)
    }

    /// Takes the one that waits for this claim out.
    pub(crate) fn remove_claim(&mut self, claim: &ClaimId) -> Option<Waiter> {
        self.take(*self.by_claim.get(claim)?)
    }

    /// Takes everybody out.
    pub(crate) fn drain(&mut self) -> Vec<Waiter> {
        let all = std::mem::replace(self, Self { next: self.next, ..Self::default() });
        all.queue.into_values().collect()
    }

    /// Takes one request out; the attachment leaves the queue with its last one. Tells what waited.
    pub(crate) fn cancel(&mut self, request: RequestId) -> Option<Waiter> {
        let place = self.by_request.remove(&request)?;
        let waiter = self.queue.get_mut(&place)?;
        let index = waiter.requests.iter().position(|(id, _)| *id == request)?;
        let (_, deadline) = waiter.requests.remove(index);
        self.deadlines.remove(&(deadline, request));
        let left = waiter.clone();
        if left.requests.is_empty() {
            self.queue.remove(&place);
            self.forget(place, &left);
        }
        Some(left)
    }

    /// Takes out the requests whose time is up, each with what it waited for.
    pub(crate) fn expire(&mut self, now: Timestamp) -> Vec<(RequestId, Waiter)> {
        let late: Vec<_> =
            self.deadlines.iter().take_while(|(at, _)| *at <= now).map(|(_, id)| *id).collect();
        late.into_iter().filter_map(|request| Some((request, self.cancel(request)?))).collect()
    }

    /// The earliest deadline.
    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// Whether the indexes say what the queue says. `there`: whether there is an ENI of this claim.
    #[cfg(test)]
    pub(crate) fn check(&self, there: impl Fn(&ClaimId) -> bool) {
        for (place, waiter) in &self.queue {
            let Some(claim) = &waiter.claim else { continue };
            let to_make = self.claims_to_make.get(&waiter.wish).is_some_and(|places| places.contains(place));
            let expected = claim.eni.is_some() || there(&claim.id);
            assert_eq!((self.claims_there.contains(place), to_make), (expected, !expected), "{waiter:?}");
        }
        let claims = self.claims_there.len() + self.claims_to_make.values().map(BTreeSet::len).sum::<usize>();
        assert_eq!(claims, self.by_claim.len());
        let firsts = self.lines.iter().map(|(wish, places)| (*places.first().unwrap(), *wish));
        assert_eq!(firsts.collect::<BTreeMap<_, _>>(), self.firsts);
    }

    /// Drops what does not decide the future: the numbers of places, since when one waits, the indexes.
    #[cfg(test)]
    pub(crate) fn forget_past(&mut self) {
        let queue = std::mem::take(&mut self.queue).into_values();
        let queue = (0..).zip(queue.map(|waiter| Waiter { since: Timestamp(0), ..waiter })).collect();
        *self = Self { queue, ..Self::default() };
    }

    fn forget(&mut self, place: Place, waiter: &Waiter) {
        self.by_key.remove(&waiter.key);
        if let Some(claim) = &waiter.claim {
            self.by_claim.remove(&claim.id);
            self.leave_claims(place, waiter.wish);
        } else if let Some(line) = self.lines.get_mut(&waiter.wish) {
            line.remove(&place);
            let first = line.first().copied();
            if self.firsts.remove(&place).is_some()
                && let Some(first) = first
            {
                self.firsts.insert(first, waiter.wish);
            }
            if first.is_none() {
                self.lines.remove(&waiter.wish);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Keep;
    use crate::testing::key;
    use crate::wishes::DEFAULT;

    fn waiter(number: u8, request: u64, deadline: u64) -> Waiter {
        Waiter {
            key: key(number),
            pod: PodRef::default(),
            netns: String::new(),
            wish: DEFAULT,
            claim: None,
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
        waiters.is_empty()
            && waiters.lines.is_empty()
            && waiters.by_claim.is_empty()
            && (waiters.firsts.is_empty() && waiters.claims_there.is_empty())
            && waiters.claims_to_make.is_empty()
            && waiters.by_key.is_empty()
            && waiters.by_request.is_empty()
            && waiters.deadlines.is_empty()
    }

    #[test]
    fn first_come_first_served_and_a_repeat_keeps_its_place() {
        let mut waiters = filled();
        assert_eq!(waiters.unclaimed(), 2);
        let line = waiters.lines().next().unwrap();
        assert_eq!((line.wish, line.len), (DEFAULT, 2));
        let first = waiters.take(line.first).unwrap();
        assert_eq!(first.key, key(1));
        assert_eq!(first.requests.len(), 2);
        let second = waiters.first().unwrap();
        assert_eq!(waiters.take(second).unwrap().key, key(2));
        assert!(waiters.lines().next().is_none() && is_clean(&waiters));
    }

    #[test]
    fn who_waits_for_a_claim_stands_in_no_line() {
        let mut waiters = filled();
        let claim = Claim { id: "c".into(), eni: None, keep: Keep::Fixed };
        waiters.join(Waiter { claim: Some(claim), ..waiter(3, 30, 100) });
        assert_eq!(
            (waiters.iter().count(), waiters.unclaimed(), waiters.lines().next().unwrap().len),
            (3, 2, 2)
        );
        let places = |waiters: &Waiters| (waiters.claims_there().count(), waiters.claims_to_make().count());
        assert_eq!(places(&waiters), (0, 1));
        waiters.claim_changed(&"c".into(), true);
        assert_eq!(places(&waiters), (1, 0));
        waiters.claim_changed(&"c".into(), false);
        assert_eq!(places(&waiters), (0, 1));
        assert_eq!(waiters.of_claim(&"c".into()).unwrap().key, key(3));
        assert_eq!(waiters.remove_claim(&"c".into()).unwrap().key, key(3));
        assert_eq!(places(&waiters), (0, 0));
        assert_eq!(waiters.drain().len(), 2);
        assert!(is_clean(&waiters));
    }

    #[test]
    fn each_request_ends_at_its_own_deadline() {
        let mut waiters = filled();
        assert_eq!(waiters.next_deadline(), Some(Timestamp(50)));
        let late: Vec<_> = waiters.expire(Timestamp(100)).into_iter().map(|(id, _)| id).collect();
        assert_eq!(late, [RequestId(20), RequestId(10)]);
        assert_eq!(waiters.unclaimed(), 1);
        assert_eq!(waiters.expire(Timestamp(200)).len(), 1);
        assert!(is_clean(&waiters));
    }

    #[test]
    fn cancelling_takes_one_request_and_releasing_all_of_them() {
        let mut waiters = filled();
        assert!(waiters.cancel(RequestId(10)).is_some());
        assert!(waiters.cancel(RequestId(10)).is_none());
        assert_eq!(waiters.remove(&key(1)).unwrap().requests, [(RequestId(11), Timestamp(200))]);
        assert!(waiters.cancel(RequestId(20)).unwrap().requests.is_empty());
        assert!(is_clean(&waiters));
    }
}
