//! Letting ENIs go: detaching, deleting, keeping for a claim, leaving to another node; and what refusals lead to.
//! A refusal that lasts is met with ever slower tries, never by giving up.

use terway_types::{AfterClaim, CloudFailure, CloudFailureKind as Kind, EniPhase, Fault, FaultCode};

use crate::books::EniNo;
use crate::cloud_work::again_in;
use crate::engine::Pool;
use crate::eni::{Eni, Work};
use crate::eni_life::Step;
use crate::failure::fault;
use crate::outbox::Outbox;
use crate::supply::Job;

impl Pool {
    pub(crate) fn detached(&mut self, number: EniNo, out: &mut Outbox) {
        let Some(eni) = self.books.get(number) else { return };
        match eni.then() {
            None | Some(AfterClaim::Delete) => drop(self.step(number, Step::DetachConfirmed, out)),
            Some(AfterClaim::Keep | AfterClaim::Forget) => {
                // A lost call that lands after the ENI was attached again would take it from its pod.
                let wait = eni.unsettled_until.max(self.settled_from).since(self.now);
                if wait.is_zero() {
                    self.step(number, Step::Keep, out);
                } else {
                    self.retry(number, wait);
                }
            }
        }
    }

    pub(crate) fn detach_failed(&mut self, number: EniNo, failure: &CloudFailure, out: &mut Outbox) {
        let (_, wait) = self.count_failure(number, &failure.kind);
        let fault = fault(&format!("detach ENI {}", self.id(number)), failure, &again_in(wait));
        self.supply.troubled(Job::Detach, &fault);
        self.pause_if_shared(Job::Detach, &failure.kind, &fault);
        self.failed(number, fault, out);
        let moved = self.books.get(number).and_then(Eni::then) == Some(AfterClaim::Forget);
        let elsewhere = moved && matches!(failure.kind, Kind::InvalidState | Kind::Invalid);
        if failure.kind == Kind::Gone || elsewhere {
            // Nothing to detach. Whether it is really gone, the next call has to confirm.
            self.detached(number, out);
            let deleting = self.books.get(number).is_some_and(|eni| eni.record.phase == EniPhase::Deleting);
            if !deleting {
                return;
            }
        }
        self.retry(number, wait);
    }

    /// The first proof that an ENI is gone. The second is that its netdev is not on the node; `advance` looks.
    pub(crate) fn deleted(&mut self, number: EniNo, out: &mut Outbox) {
        self.books.edit(number, &self.settings, |eni| eni.work = Work::CloudGone);
        self.say_if_link_stays(number, "is gone", out);
    }

    pub(crate) fn delete_failed(&mut self, number: EniNo, failure: &CloudFailure, out: &mut Outbox) {
        let (_, wait) = self.count_failure(number, &failure.kind);
        let fault = fault(&format!("delete ENI {}", self.id(number)), failure, &again_in(wait));
        self.supply.troubled(Job::Delete, &fault);
        self.pause_if_shared(Job::Delete, &failure.kind, &fault);
        self.failed(number, fault, out);
        if failure.kind == Kind::InvalidState {
            // It is attached after all: the detached state we saw was stale.
            self.step(number, Step::StillAttached, out);
        }
        // `Gone` is tried again too: only the delete operation's own word counts, which it gives when it has
        // looked for itself.
        self.retry(number, wait);
    }

    /// The cloud told where an ENI is that another node has, as the control plane says.
    pub(crate) fn found_away(&mut self, number: EniNo, attached_here: bool, out: &mut Outbox) {
        if self.books.get(number).and_then(Eni::then) != Some(AfterClaim::Forget) {
            // The claim is wanted here again since.
            return;
        }
        if attached_here {
            self.count_failure(number, &Kind::InvalidState);
            self.step(number, Step::StillAttached, out);
            let wait = self.settings.retry_max;
            self.retry(number, wait);
        } else {
            self.books.edit(number, &self.settings, |eni| eni.work = Work::CloudGone);
            self.say_if_link_stays(number, "is not attached to this node", out);
        }
    }

    pub(crate) fn look_away_failed(&mut self, number: EniNo, failure: &CloudFailure, out: &mut Outbox) {
        if failure.kind == Kind::Gone {
            return self.found_away(number, false, out);
        }
        let (_, wait) = self.count_failure(number, &failure.kind);
        let fault = fault(&format!("find ENI {}", self.id(number)), failure, &again_in(wait));
        self.pause_if_shared(Job::Find, &failure.kind, &fault);
        self.failed(number, fault, out);
        self.retry(number, wait);
    }

    fn say_if_link_stays(&mut self, number: EniNo, says: &str, out: &mut Outbox) {
        let Some(eni) = self.books.get(number).filter(|eni| eni.link) else { return };
        let mac = eni.record.mac.map_or_else(String::new, |mac| mac.to_string());
        let id = self.id(number);
        let what = format!("the cloud says that ENI {id} {says}, but its netdev {mac} is on the node");
        self.failed(number, Fault::new(FaultCode::Drift, what), out);
    }
}
