//! Giving an idle ENI other security groups by one call, instead of making another ENI; and what refusals lead to.

use terway_types::{CloudFailure, CloudFailureKind as Kind, SecurityGroupId};

use crate::books::EniNo;
use crate::cloud_work::again_in;
use crate::engine::Pool;
use crate::eni_life::Step;
use crate::failure::{TRIES, fault, is_definite};
use crate::outbox::Outbox;
use crate::supply::Job;

impl Pool {
    /// Gives an idle ENI these groups. Tells whether it did.
    pub(crate) fn regroup(&mut self, number: EniNo, groups: Vec<SecurityGroupId>, out: &mut Outbox) -> bool {
        if !self.step(number, Step::Regroup, out) {
            return false;
        }
        let mut former = None;
        self.books.identify(number, &self.settings, |record| {
            former = Some(std::mem::replace(&mut record.security_groups, groups));
        });
        self.books.edit(number, &self.settings, |eni| eni.former_groups = former);
        self.advance(number, out);
        true
    }

    pub(crate) fn regrouped(&mut self, number: EniNo, out: &mut Outbox) {
        self.books.edit(number, &self.settings, |eni| eni.former_groups = None);
        self.step(number, Step::Regrouped, out);
    }

    pub(crate) fn regroup_failed(&mut self, number: EniNo, failure: &CloudFailure, out: &mut Outbox) {
        let (failures, wait) = self.count_failure(number, &failure.kind);
        let Some(eni) = self.books.get(number) else { return };
        let (class, sure) = (eni.class, !eni.doubt && is_definite(&failure.kind));
        let former = eni.former_groups.clone().filter(|_| sure && failure.kind != Kind::Gone);
        let lost = failure.kind == Kind::Gone || (former.is_none() && failures >= TRIES);
        let reaction = match (&former, lost) {
            (Some(_), _) => "it keeps its own".to_owned(),
            (None, true) => "the ENI is replaced".to_owned(),
            (None, false) => again_in(wait),
        };
        let fault = fault(&format!("regroup ENI {}", self.id(number)), failure, &reaction);
        if failure.kind == Kind::Invalid {
            self.supply.bar(class, &fault, self.now, &self.settings);
        }
        // Whatever the cause: to make another ENI is always the other way, so this one can wait.
        self.supply.shut(Job::Regroup, wait, &fault, self.now, &self.settings);
        self.failed(number, fault, out);
        if let Some(former) = former {
            self.books.identify(number, &self.settings, |record| record.security_groups = former);
            self.regrouped(number, out);
        } else if lost {
            self.step(number, Step::Detach, out);
        } else {
            self.retry(number, wait);
        }
    }
}
