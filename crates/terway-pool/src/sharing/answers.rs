//! How assign and unassign calls end, and what their failures lead to, by kind.

use std::time::Duration;

use ipnetwork::IpNetwork;
use terway_types::{
    AddressSet, Addresses, CloudFailure, CloudFailureKind as Kind, EniId, Fault, FaultCode, IntentToken,
    IpFamily,
};

use crate::effect::{Note, OperationId};
use crate::engine::Pool;
use crate::event::CloudAnswer;
use crate::failure::{TRIES, back_off, fault, pause};
use crate::outbox::Outbox;
use crate::stock::{EniNo, Job, Life, Shelf, Work};
use crate::supply::Job as SupplyJob;

/// How long a limit that the cloud taught us is believed.
const LEARNED: Duration = Duration::from_hours(1);

/// What a failed assign call leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    /// The intent ends; demand is weighed anew.
    Drop,
    /// The same call again: an earlier one may have worked.
    Again,
    /// Refused, but an earlier call may still land: one more refusal, later, is the proof that it did not.
    AgainLate,
}

/// A refusal for lack of permission, by pace or by a wrong clock says nothing about what an earlier, unheard call
/// did; one for lack of room does.
fn after_assign(kind: &Kind, doubt: bool, refused: bool, failures: u32) -> After {
    let definite = match kind {
        Kind::Quota { .. } | Kind::SubnetExhausted | Kind::Invalid => true,
        Kind::Conflict => failures >= TRIES,
        _ => false,
    };
    match (doubt, definite) {
        (false, _) => After::Drop,
        (true, true) if refused => After::Drop,
        (true, true) => After::AgainLate,
        (true, false) => After::Again,
    }
}

impl Pool {
    /// Takes the end of a call for addresses. Tells whether it was one.
    pub(crate) fn addresses_done(
        &mut self,
        operation: OperationId,
        outcome: &Result<CloudAnswer, CloudFailure>,
        out: &mut Outbox,
    ) -> bool {
        let Some(token) = self.shared.operations.remove(&operation) else { return false };
        let Some(no) = self.shared.stock.number(&token) else { return true };
        let waits = |shelf: &Shelf| matches!(shelf.work, Work::Running { operation: awaited, .. } if awaited == operation);
        let job = self.shared.stock.get(no).filter(|shelf| waits(shelf)).and_then(Shelf::job);
        let Some(job) = job.filter(|_| self.serves(no)) else { return true };
        match (job, outcome) {
            (Job::Assign, Ok(CloudAnswer::Assigned { added, short })) => {
                self.assigned(no, &token, added, short.as_ref(), out);
            }
            (Job::Assign, Err(failure)) => self.assign_failed(no, &token, failure, out),
            (Job::Unassign, Ok(CloudAnswer::Unassigned)) => {
                self.shared.stock.unassigned(no, self.now, out);
                self.all_off(no);
            }
            (Job::Unassign, Err(failure)) => self.unassign_failed(no, &token, failure, out),
            (_, Ok(answer)) => self.answered_otherwise(no, &token, answer, out),
        }
        self.work_on(no, out);
        self.advance_eni(&token, out);
        true
    }

    /// Everything that was to be taken off an ENI is off.
    pub(super) fn all_off(&mut self, no: EniNo) {
        // An earlier call may land still. Until it has, these addresses must not come back to this ENI.
        let pause = self.now + self.settings.retry_max;
        self.shared.stock.edit(no, |shelf| {
            (shelf.work, shelf.failures) = (Work::Open, 0);
            if std::mem::take(&mut shelf.doubt) {
                shelf.paused = Some(pause);
            }
        });
    }

    /// A call whose end never came: what it did is unknown.
    pub(super) fn unheard_of(&mut self, operation: OperationId, out: &mut Outbox) {
        let failure = CloudFailure {
            kind: Kind::Ambiguous,
            action: "change the addresses of an ENI".to_owned(),
            vendor_code: None,
            request_id: None,
            message: format!(
                "no end of {operation} within {:.0} s",
                self.settings.operation_timeout.as_secs_f64()
            ),
        };
        self.addresses_done(operation, &Err(failure), out);
    }

    fn assigned(
        &mut self,
        no: EniNo,
        token: &IntentToken,
        added: &AddressSet,
        short: Option<&CloudFailure>,
        out: &mut Outbox,
    ) {
        let before = self.held_slots(no);
        self.settle_intent(no, token, out);
        self.put_on(no, token, added, Addresses::default(), out);
        let gained = self.held_slots(no) > before;
        if gained {
            (self.shared.failures, self.shared.paused) = (0, self.shared.paused.min(self.now));
            self.shared.stock.edit(no, |shelf| shelf.failures = 0);
            if let Some(vswitch) = self.shared.stock.get(no).map(|shelf| shelf.vswitch().clone()) {
                self.supply.gave_addresses(&vswitch);
            }
            self.supply.succeeded(SupplyJob::Assign);
        }
        match short {
            Some(failure) => {
                let what = self.assign_fault(token, failure, "what came is used");
                self.setback(no, failure, &what, out);
                self.tell(token, what, out);
            }
            // An answer that brings nothing and says no reason must not become a busy loop.
            None if !gained => {
                let wait = self.count(no);
                self.pause_eni(no, wait);
            }
            None => {}
        }
    }

    /// Puts what the cloud gave an ENI on it. Two owners of one address must never be, so what another ENI has is
    /// refused, whatever the cloud says.
    pub(crate) fn put_on(
        &mut self,
        no: EniNo,
        token: &IntentToken,
        added: &AddressSet,
        primary: Addresses,
        out: &mut Outbox,
    ) {
        let refused = self.shared.stock.fill(no, added, primary, Life::Idle, self.now, out);
        if refused.is_empty() {
            return;
        }
        let spelt = |net: &IpNetwork| {
            if net.size() == ipnetwork::NetworkSize::V4(1) || net.prefix() == 128 {
                net.ip().to_string()
            } else {
                net.to_string()
            }
        };
        let list: Vec<_> = refused.iter().map(spelt).collect();
        let message = format!(
            "the cloud says that ENI {} has {}, which another ENI of this node has; not used there",
            self.eni_name(token),
            list.join(", ")
        );
        out.note(Note::Event { reason: "AddressConflict", message });
    }

    fn assign_failed(&mut self, no: EniNo, token: &IntentToken, failure: &CloudFailure, out: &mut Outbox) {
        if failure.kind == Kind::Gone {
            return self.eni_lost(no, token, failure, out);
        }
        let wait = pause(&failure.kind, self.count_up(no), &self.settings);
        self.shared.stock.edit(no, |shelf| match failure.kind {
            Kind::Ambiguous => (shelf.doubt, shelf.refused) = (true, false),
            Kind::Conflict => shelf.doubt = true,
            _ => {}
        });
        let Some(shelf) = self.shared.stock.get(no) else { return };
        let after = after_assign(&failure.kind, shelf.doubt, shelf.refused, shelf.failures);
        let (reaction, again) = match after {
            After::Drop => ("the intent is dropped".to_owned(), None),
            After::Again => (format!("trying again in {:.1} s", wait.as_secs_f64()), Some(wait)),
            After::AgainLate => ("asking once more later".to_owned(), Some(self.settings.retry_max)),
        };
        let what = self.assign_fault(token, failure, &reaction);
        self.setback(no, failure, &what, out);
        match again {
            None => self.settle_intent(no, token, out),
            Some(wait) => {
                let at = self.now + wait;
                self.shared.stock.edit(no, |shelf| {
                    shelf.work = Work::Retry(at);
                    shelf.refused |= after == After::AgainLate;
                });
            }
        }
        self.supply.troubled(SupplyJob::Assign, &what);
        self.tell(token, what, out);
    }

    /// What a refusal means for the next calls, by whose fault it is: the vSwitch's, the ENI's, or everybody's.
    fn setback(&mut self, no: EniNo, failure: &CloudFailure, what: &Fault, out: &mut Outbox) {
        let Some(shelf) = self.shared.stock.get(no) else { return };
        let (vswitch, failures) = (shelf.vswitch().clone(), shelf.failures.max(1));
        let wait = pause(&failure.kind, failures, &self.settings);
        match &failure.kind {
            Kind::SubnetExhausted => self.supply.set_aside(&vswitch, what, self.now, &self.settings),
            Kind::Quota { which, limit } => self.learn(no, which, *limit, out),
            Kind::Throttled | Kind::Denied | Kind::ClockSkew => {
                if self.shared.paused <= self.now {
                    self.shared.failures = self.shared.failures.saturating_add(1);
                }
                let wait = pause(&failure.kind, self.shared.failures, &self.settings);
                self.shared.paused = self.shared.paused.max(self.now + wait);
                self.shared.throttled = failure.kind == Kind::Throttled;
            }
            _ => self.pause_eni(no, wait),
        }
    }

    /// The ENI takes fewer addresses than we were told.
    fn learn(&mut self, no: EniNo, which: &str, limit: Option<u32>, out: &mut Outbox) {
        let family = if which.to_ascii_lowercase().contains("v6") { IpFamily::V6 } else { IpFamily::V4 };
        let until = self.now + LEARNED;
        let learned = self.shared.stock.edit(no, |shelf| {
            let (slots, asked) = (shelf.heads(family).slots, shelf.asked);
            let more = match family {
                IpFamily::V4 => asked.ipv4 + asked.ipv4_prefixes,
                IpFamily::V6 => asked.ipv6 + asked.ipv6_prefixes,
            };
            // A limit that would have let this call pass is not the one that stopped it.
            let limit = limit.filter(|limit| (slots..slots + more).contains(limit)).unwrap_or(slots);
            match family {
                IpFamily::V4 => shelf.learned.v4 = Some(limit),
                IpFamily::V6 => shelf.learned.v6 = Some(limit),
            }
            shelf.learned.until = Some(until);
            (shelf.token.clone(), limit)
        });
        if let Some((token, limit)) = learned {
            let name = self.eni_name(&token);
            let message =
                format!("ENI {name} takes {limit} {family} addresses or prefixes, not more ({which})");
            out.note(Note::Event { reason: "AddressLimitLearned", message });
        }
    }

    /// The cloud says that the ENI does not exist. Nothing new is given from it; those who have an address of it
    /// keep it until their release, and then the ENI leaves by the way that proves it gone.
    fn eni_lost(&mut self, no: EniNo, token: &IntentToken, failure: &CloudFailure, out: &mut Outbox) {
        self.settle_intent(no, token, out);
        self.shared.stock.edit(no, |shelf| shelf.lost = true);
        let what = self.assign_fault(token, failure, "it gives no more addresses");
        self.tell(token, what, out);
        let held = self.shared.stock.get(no).map_or(0, Shelf::in_use);
        let message = format!(
            "the cloud says that ENI {} does not exist; {held} attachments have addresses of it, new ones get none",
            self.eni_name(token)
        );
        out.note(Note::Event { reason: "EniVanished", message });
    }

    fn unassign_failed(&mut self, no: EniNo, token: &IntentToken, failure: &CloudFailure, out: &mut Outbox) {
        let wait = pause(&failure.kind, self.count_up(no), &self.settings);
        let at = self.now + wait;
        self.shared.stock.edit(no, |shelf| {
            shelf.work = Work::Retry(at);
            shelf.doubt |= matches!(failure.kind, Kind::Ambiguous | Kind::Conflict);
            shelf.lost |= failure.kind == Kind::Gone;
        });
        let aim = format!("take addresses off ENI {}", self.eni_name(token));
        let what = fault(&aim, failure, &format!("trying again in {:.1} s", wait.as_secs_f64()));
        self.tell(token, what, out);
    }

    fn answered_otherwise(&mut self, no: EniNo, token: &IntentToken, answer: &CloudAnswer, out: &mut Outbox) {
        let at = self.now + self.settings.retry_max;
        self.shared.stock.edit(no, |shelf| (shelf.work, shelf.doubt) = (Work::Retry(at), true));
        let what = format!("the answer {answer:?} does not belong to what ENI {token} waits for");
        self.tell(token, Fault::new(FaultCode::Internal, what), out);
    }

    fn assign_fault(&self, token: &IntentToken, failure: &CloudFailure, reaction: &str) -> Fault {
        fault(&format!("add addresses to ENI {}", self.eni_name(token)), failure, reaction)
    }

    fn tell(&mut self, token: &IntentToken, what: Fault, out: &mut Outbox) {
        if let Some(number) = self.books.by_token(token) {
            self.failed(number, what, out);
        }
    }

    fn count_up(&mut self, no: EniNo) -> u32 {
        let counted = self.shared.stock.edit(no, |shelf| {
            shelf.failures = shelf.failures.saturating_add(1);
            shelf.failures
        });
        counted.unwrap_or(1)
    }

    fn count(&mut self, no: EniNo) -> Duration {
        back_off(self.count_up(no), &self.settings)
    }

    fn pause_eni(&mut self, no: EniNo, wait: Duration) {
        let until = self.now + wait;
        self.shared.stock.edit(no, |shelf| shelf.paused = Some(until));
    }

    fn held_slots(&self, no: EniNo) -> u32 {
        let slots = |shelf: &Shelf| shelf.heads(IpFamily::V4).slots + shelf.heads(IpFamily::V6).slots;
        self.shared.stock.get(no).map_or(0, slots)
    }

    pub(super) fn eni_name(&self, token: &IntentToken) -> String {
        let id = self.books.of(token).and_then(|eni| eni.record.id.as_ref());
        id.map_or_else(|| token.to_string(), EniId::to_string)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_intent_is_dropped_only_when_nothing_can_have_come_of_it() {
        let quota = Kind::Quota { which: "Ipv4CountExceeded".into(), limit: None };
        for kind in [Kind::Throttled, Kind::Denied, Kind::Transient, Kind::InvalidState, quota.clone()] {
            assert_eq!(after_assign(&kind, false, false, 1), After::Drop, "{kind:?}");
        }
        for kind in [Kind::Ambiguous, Kind::Throttled, Kind::Denied, Kind::Transient, Kind::Conflict] {
            assert_eq!(after_assign(&kind, true, true, 1), After::Again, "{kind:?}");
        }
        for kind in [quota, Kind::SubnetExhausted, Kind::Invalid] {
            assert_eq!(after_assign(&kind, true, false, 1), After::AgainLate, "{kind:?}");
            assert_eq!(after_assign(&kind, true, true, 1), After::Drop, "{kind:?}");
        }
        assert_eq!(after_assign(&Kind::Conflict, true, false, TRIES), After::AgainLate);
    }
}
