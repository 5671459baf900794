//! What attachments ask for: allocate, cancel, release, collect; and how those who wait are served.

use terway_types::{
    AttachmentKey, AttachmentRecord, EniPhase, Fault, FaultCode, NetworkName, PodRef, Timestamp,
};

use crate::effect::{Answer, Grant, RequestId};
use crate::engine::Pool;
use crate::eni_life::Step;
use crate::outbox::Outbox;
use crate::reason::{Reason, reason};
use crate::sharing::sharing;
use crate::waiters::Waiter;

impl Pool {
    pub(crate) fn allocate(
        &mut self,
        request: RequestId,
        key: AttachmentKey,
        pod: PodRef,
        netns: String,
        deadline: Timestamp,
        out: &mut Outbox,
    ) {
        let Some((held, eni)) = self.attachment(&key) else {
            let requests = vec![(request, deadline)];
            return self.waiters.join(Waiter { key, pod, netns, since: self.now, requests });
        };
        let (eni, mut record) = (eni.clone(), held.clone());
        let addresses = record.addresses;
        if record.pod != pod || record.netns != netns {
            (record.pod, record.netns) = (pod, netns);
            out.put_attachment(&record);
            self.holdings.put(record);
        }
        self.holdings.told(&key, request);
        out.reply(request, Answer::Allocated(Box::new(Grant { eni, addresses })));
    }

    pub(crate) fn cancel(&mut self, request: RequestId, out: &mut Outbox) {
        if self.waiters.cancel(request) {
            return;
        }
        if let Some(key) = self.holdings.unheard(request) {
            // Nobody heard of this ENI, so nobody used it: it needs no rest.
            self.give_back(&key, self.now, out);
        }
    }

    pub(crate) fn release(&mut self, request: RequestId, key: &AttachmentKey, out: &mut Outbox) {
        let held = self.give_back(key, self.now + self.settings.quarantine, out);
        if let Some(waiter) = self.waiters.remove(key) {
            for (waiting, _) in waiter.requests {
                let what = format!("{key} was released while it waited for an ENI");
                out.reply(waiting, Answer::Failed(Fault::new(FaultCode::AttachmentBusy, what)));
            }
        }
        out.reply(request, Answer::Released(held.map(Box::new)));
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
            self.give_back(key, self.now + self.settings.quarantine, out);
        }
        out.reply(request, Answer::Collected(stale));
    }

    /// Takes an attachment's ENI back. Tells what it held.
    pub(crate) fn give_back(
        &mut self,
        key: &AttachmentKey,
        until: Timestamp,
        out: &mut Outbox,
    ) -> Option<Grant> {
        let held = self.holdings.remove(key)?;
        let (token, addresses) = (held.eni.clone(), held.addresses);
        out.remove_attachment(key);
        let eni = self.books.get(&token)?;
        let step = if eni.flags.leaves { Step::Dismiss } else { Step::Release { until } };
        let eni = eni.record.clone();
        if !matches!(eni.phase, EniPhase::InUse(_)) {
            return self.give_back_addresses(&held, until, out);
        }
        self.step(&token, step, out);
        self.advance(&token, out);
        Some(Grant { eni, addresses })
    }

    /// What those who wait, wait for.
    pub(crate) fn reason(&self) -> Reason {
        if sharing(&self.settings).is_some() {
            return self.shared_reason();
        }
        reason(self.books.tally(), &self.supply, &self.settings)
    }

    /// Answers those whose time is up, with the reason.
    pub(crate) fn expire(&mut self, out: &mut Outbox) {
        for (request, waiter) in self.waiters.expire(self.now) {
            let reason = self.reason();
            let fault = reason.into_fault(&waiter.key, self.now.since(waiter.since));
            out.reply(request, Answer::Failed(fault));
        }
    }

    /// Gives idle ENIs to those who wait, in order. The ENI that has been idle longest goes first: its last
    /// pod is the longest forgotten.
    pub(crate) fn serve(&mut self, out: &mut Outbox) {
        while let Some(token) = self.books.longest_idle().cloned() {
            let Some(waiter) = self.waiters.pop() else { return };
            if !self.step(&token, Step::Assign(waiter.key.clone()), out) {
                return;
            }
            let Some(eni) = self.books.get(&token).map(|eni| eni.record.clone()) else { return };
            let record = AttachmentRecord {
                key: waiter.key.clone(),
                pod: waiter.pod,
                netns: waiter.netns,
                eni: token,
                addresses: eni.addresses,
                claim: None,
                since: self.now,
            };
            out.put_attachment(&record);
            self.holdings.put(record);
            for (request, _) in waiter.requests {
                self.holdings.told(&waiter.key, request);
                out.reply(
                    request,
                    Answer::Allocated(Box::new(Grant { eni: eni.clone(), addresses: eni.addresses })),
                );
            }
        }
    }
}
