//! Attaching ENIs: what refusals lead to. A pool's ENI can be replaced by another one; a claim's cannot.

use terway_types::{CloudFailure, CloudFailureKind as Kind};

use crate::books::EniNo;
use crate::cloud_work::again_in;
use crate::engine::Pool;
use crate::eni_life::Step;
use crate::failure::{AfterAttach, TRIES, after_attach, fault};
use crate::outbox::Outbox;
use crate::supply::Job;

impl Pool {
    pub(crate) fn attach_failed(&mut self, number: EniNo, failure: &CloudFailure, out: &mut Outbox) {
        let (failures, wait) = self.count_failure(number, &failure.kind);
        let Some(eni) = self.books.get(number) else { return };
        let give_up = match after_attach(&failure.kind) {
            _ if eni.record.claim.is_some() => !self.wanted(eni),
            // The node has no place for it: it is kept only if somebody needs it.
            AfterAttach::Again if matches!(failure.kind, Kind::Quota { .. }) => !self.wanted(eni),
            AfterAttach::Again => false,
            AfterAttach::AgainAFewTimes => failures >= TRIES,
            AfterAttach::Replace => true,
        };
        let reaction = if give_up { "the ENI is given up".to_owned() } else { again_in(wait) };
        let fault = fault(&format!("attach ENI {}", self.id(number)), failure, &reaction);
        self.supply.troubled(Job::Attach, &fault);
        self.supply.held_back();
        self.pause_if_shared(Job::Attach, &failure.kind, &fault);
        if give_up {
            self.supply.shut(Job::Replace, wait, &fault, self.now, &self.settings);
        }
        self.failed(number, fault, out);
        if give_up {
            // Even an ENI that is said to be gone takes the way over detach and delete: the saying may be
            // stale, and both calls succeed when there is nothing left to do.
            self.step(number, Step::Detach, out);
        } else {
            self.retry(number, wait);
        }
    }
}
