//! What attachments ask for: allocate, cancel, release, collect; and how those who wait are served.

use terway_types::{
    AttachmentKey, AttachmentRecord, EniPhase, Fault, FaultCode, HistoryEntry, IntentToken, NetworkName,
    PastHolding, PodRef, Timestamp,
};

use crate::books::EniNo;
use crate::effect::{Answer, Grant, RequestId};
use crate::engine::{Pool, retiring};
use crate::eni_life::Step;
use crate::event::Wants;
use crate::outbox::Outbox;
use crate::sharing::sharing;
use crate::waiters::{Place, Waiter};
use crate::wishes::WishNo;

impl Pool {
    #[expect(clippy::too_many_arguments, reason = "the fields of one event")]
    pub(crate) fn allocate(
        &mut self,
        request: RequestId,
        key: AttachmentKey,
        pod: PodRef,
        netns: String,
        wants: Wants,
        deadline: Timestamp,
        out: &mut Outbox,
    ) {
        if self.holdings.get(&key).is_some() {
            return self.repeat(request, &key, pod, netns, out);
        }
        if self.retired {
            return out.reply(request, Answer::Failed(retiring(&key)));
        }
        if let Some(claim) = &wants.claim
            && let Err(fault) = self.claimable(claim, &key)
        {
            return out.reply(request, Answer::Failed(fault));
        }
        let wish = self.wishes.intern(
            &wants.vswitches,
            &wants.security_groups,
            &self.settings,
            &mut self.books.classes,
        );
        if let Some(claim) = &wants.claim {
            self.want_claim(claim, out);
        }
        let requests = vec![(request, deadline)];
        let waiter = Waiter { key, pod, netns, wish, claim: wants.claim, since: self.now, requests };
        if let Some(claim) = &waiter.claim {
            let id = claim.id.clone();
            self.waiters.join(waiter);
            self.waiters.claim_changed(&id, self.books.by_claim(&id).is_some());
        } else if !self.waiters.is_empty() || deadline <= self.now {
            self.waiters.join(waiter);
        } else if sharing(&self.settings).is_some() {
            // Nobody else waits: there is no need to queue.
            if let Some(waiter) = self.serve_at_once(waiter, out) {
                self.waiters.join(waiter);
            }
        } else if let Some(eni) = self.pick(wish) {
            self.give(eni, waiter, out);
        } else {
            self.waiters.join(waiter);
        }
    }

    /// Answers somebody who holds already.
    fn repeat(
        &mut self,
        request: RequestId,
        key: &AttachmentKey,
        pod: PodRef,
        netns: String,
        out: &mut Outbox,
    ) {
        let Some((held, eni)) = self.attachment(key) else { return };
        let (eni, mut record) = (eni.clone(), held.clone());
        let addresses = record.addresses;
        if record.pod != pod || record.netns != netns {
            (record.pod, record.netns) = (pod, netns);
            out.put_attachment(&record);
            self.holdings.put(record);
        }
        self.holdings.told(key, request);
        out.reply(request, Answer::Allocated(Box::new(Grant { eni, addresses })));
    }

    pub(crate) fn cancel(&mut self, request: RequestId, out: &mut Outbox) {
        if let Some(left) = self.waiters.cancel(request) {
            return self.left(&left, out);
        }
        if let Some(key) = self.holdings.unheard(request) {
            // Nobody heard of this ENI, so nobody used it: it needs no rest, and there is nothing to remember.
            self.give_back(&key, self.now, out);
        }
    }

    pub(crate) fn release(&mut self, request: RequestId, key: &AttachmentKey, out: &mut Outbox) {
        let grant = self.attachment(key).map(|(held, eni)| (eni.clone(), held.addresses));
        self.release_one(key, out);
        if let Some(waiter) = self.waiters.remove(key) {
            let what = format!("{key} was released while it waited for an ENI");
            self.disappoint(waiter, &Fault::new(FaultCode::AttachmentBusy, what), out);
        }
        let grant = grant.map(|(eni, addresses)| Box::new(Grant { eni, addresses }));
        out.reply(request, Answer::Released(grant));
    }

    /// Releases what is not valid any more. Attachments that still wait are left alone: they hold nothing,
    /// and their askers are there.
    pub(crate) fn collect(
        &mut self,
        request: RequestId,
        network: &NetworkName,
        mut valid: Vec<AttachmentKey>,
        out: &mut Outbox,
    ) {
        valid.sort_unstable();
        let mut stale = self.holdings.of_network(network);
        stale.retain(|key| valid.binary_search(key).is_err());
        for key in &stale {
            self.release_one(key, out);
        }
        out.reply(request, Answer::Collected(stale));
    }

    fn release_one(&mut self, key: &AttachmentKey, out: &mut Outbox) {
        let until = self.now + self.settings.quarantine;
        let Some((held, eni)) = self.give_back(key, until, out) else { return };
        out.remember(HistoryEntry::Held(PastHolding {
            key: held.key,
            pod: held.pod,
            token: held.eni,
            eni: self.books.get(eni).and_then(|eni| eni.record.id.clone()),
            addresses: held.addresses,
            from: held.since,
            to: self.now,
        }));
    }

    /// Takes an attachment's ENI back. Tells what was held.
    pub(crate) fn give_back(
        &mut self,
        key: &AttachmentKey,
        until: Timestamp,
        out: &mut Outbox,
    ) -> Option<(AttachmentRecord, EniNo)> {
        let held = self.holdings.remove(key)?;
        out.remove_attachment(key);
        self.pace.used(self.now, &self.settings);
        let eni = self.books.by_token(&held.eni)?;
        let known = self.books.get(eni)?;
        let record = &known.record;
        if !matches!(record.phase, EniPhase::InUse(_)) {
            self.give_back_addresses(&held, until, out);
            return Some((held, eni));
        }
        let leaves = record.claim.is_some() || known.flags.leaves;
        self.step(eni, if leaves { Step::Dismiss } else { Step::Release { until } }, out);
        self.advance(eni, out);
        Some((held, eni))
    }

    /// Answers those whose time is up, with the reason.
    pub(crate) fn expire(&mut self, out: &mut Outbox) {
        for (request, waiter) in self.waiters.expire(self.now) {
            let fault = self.reason(&waiter).into_fault(&waiter.key, self.now.since(waiter.since));
            out.reply(request, Answer::Failed(fault));
            self.left(&waiter, out);
        }
    }

    /// Tells everybody who asks for an attachment that it got nothing.
    pub(crate) fn disappoint(&mut self, waiter: Waiter, fault: &Fault, out: &mut Outbox) {
        for (request, _) in &waiter.requests {
            out.reply(*request, Answer::Failed(fault.clone()));
        }
        self.left(&Waiter { requests: Vec::new(), ..waiter }, out);
    }

    /// Somebody waits no more.
    fn left(&mut self, waiter: &Waiter, out: &mut Outbox) {
        if let Some(claim) = waiter.claim.as_ref().filter(|_| waiter.requests.is_empty())
            && let Some(eni) = self.books.by_claim(&claim.id)
        {
            self.advance(eni, out);
        }
    }

    /// Gives idle ENIs to those who wait, in the order in which they came among those who can be served.
    pub(crate) fn serve(&mut self, out: &mut Outbox) {
        while self.books.tally().idle > 0
            && let Some((place, eni)) = self.next_match()
        {
            let Some(waiter) = self.waiters.take(place) else { return };
            if !self.give(eni, waiter, out) {
                return;
            }
        }
    }

    /// The first of those who can be served. Few classes have idle ENIs while somebody waits, but there may be many
    /// lines.
    fn next_match(&mut self) -> Option<(Place, EniNo)> {
        let (wishes, classes) = (&self.wishes, &self.books.classes);
        let accepting = |class| {
            let competing = wishes.with_groups(&classes.get(class).groups).iter();
            competing.filter(move |wish| wishes.get(**wish).accepts(class))
        };
        let lines = self.books.idle_classes().flat_map(accepting).filter_map(|wish| self.waiters.line(*wish));
        let line = lines.min_by_key(|line| line.first)?;
        Some((line.first, self.pick(line.wish)?))
    }

    /// A random idle ENI that fulfils a wish.
    fn pick(&mut self, wish: WishNo) -> Option<EniNo> {
        let wish = self.wishes.get(wish);
        let count = wish.classes().map(|class| self.books.idle(class).len()).sum();
        let mut index = self.random.below(count);
        for class in wish.classes() {
            let idle = self.books.idle(class);
            if let Some(eni) = idle.get(index) {
                return Some(*eni);
            }
            index -= idle.len();
        }
        None
    }

    /// Gives an ENI to an attachment and answers everybody who asked for it. Tells whether it did.
    pub(crate) fn give(&mut self, number: EniNo, waiter: Waiter, out: &mut Outbox) -> bool {
        if !self.step(number, Step::Assign(waiter.key.clone()), out) {
            return false;
        }
        let Some(eni) = self.books.get(number) else { return false };
        self.pace.used(self.now, &self.settings);
        let (token, addresses): (IntentToken, _) = (eni.record.token.clone(), eni.record.addresses);
        let record = AttachmentRecord {
            key: waiter.key.clone(),
            pod: waiter.pod,
            netns: waiter.netns,
            eni: token,
            addresses,
            claim: waiter.claim.map(|claim| claim.id),
            since: self.now,
        };
        out.put_attachment(&record);
        self.holdings.put(record);
        for (request, _) in waiter.requests {
            self.holdings.told(&waiter.key, request);
            let grant = Grant { eni: eni.record.clone(), addresses };
            out.reply(request, Answer::Allocated(Box::new(grant)));
        }
        true
    }
}
