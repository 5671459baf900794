//! Cloud operations: what each phase asks of the cloud, and what the answers and failures lead to.

use std::time::Duration;

use terway_types::{
    CloudFailure, CloudFailureKind as Kind, EniId, EniPhase, Fault, FaultCode, IntentToken, Timestamp,
};

use crate::effect::{CloudAction, Effect, OperationId};
use crate::engine::Pool;
use crate::eni::{Eni, Work};
use crate::eni_life::{Proof, Step};
use crate::event::{CloudAnswer, CloudEni};
use crate::failure::{AfterAttach, AfterCreate, TRIES, after_attach, after_create, fault, pause};
use crate::outbox::Outbox;

impl Pool {
    /// Starts the cloud operation of an ENI's phase. The phase is the intent, and is in the ledger by the time
    /// the operation starts.
    pub(crate) fn start(&mut self, token: &IntentToken, out: &mut Outbox) -> bool {
        let Some(eni) = self.books.get(token) else { return false };
        let Some(action) = self.action(eni) else {
            // A record of this phase without an id; our ledger never holds one.
            let fault = Fault::new(FaultCode::Internal, format!("ENI {token} has no id to work with"));
            self.retry(token, self.settings.retry_max);
            self.failed(token, fault, out);
            return false;
        };
        let operation = OperationId(self.next_operation);
        self.next_operation += 1;
        self.operations.insert(operation, token.clone());
        self.books.edit(token, &self.settings, |eni| eni.work = Work::Running(operation));
        out.push(Effect::Cloud { operation, action });
        true
    }

    fn action(&self, eni: &Eni) -> Option<CloudAction> {
        let record = &eni.record;
        let id = || record.id.clone();
        match record.phase {
            EniPhase::Creating => Some(CloudAction::Create {
                token: record.token.clone(),
                vswitch: record.vswitch.clone(),
                security_groups: record.security_groups.clone(),
                counts: record.counts,
            }),
            EniPhase::Attaching => Some(CloudAction::Attach { eni: id()? }),
            EniPhase::Detaching => Some(CloudAction::Detach { eni: id()? }),
            EniPhase::Deleting => Some(CloudAction::Delete { eni: id()? }),
            _ => None,
        }
    }

    /// Takes the end of a cloud operation. Ends of unknown operations (an earlier life's, or told twice)
    /// mean nothing: the phase was asked for again since.
    pub(crate) fn cloud_done(
        &mut self,
        operation: OperationId,
        outcome: Result<CloudAnswer, CloudFailure>,
        out: &mut Outbox,
    ) {
        if self.addresses_done(operation, &outcome, out) {
            return;
        }
        let Some(token) = self.operations.remove(&operation) else { return };
        let Some(eni) = self.books.get(&token) else { return };
        match (eni.record.phase.clone(), outcome) {
            (EniPhase::Creating, Ok(CloudAnswer::Created(made))) => self.created(&token, made, out),
            (EniPhase::Attaching, Ok(CloudAnswer::Attached)) => {
                self.step(&token, Step::AttachConfirmed, out);
            }
            (EniPhase::Detaching, Ok(CloudAnswer::Detached)) => {
                self.step(&token, Step::DetachConfirmed, out);
            }
            (EniPhase::Deleting, Ok(CloudAnswer::Deleted)) => self.deleted(&token, out),
            (EniPhase::Creating, Err(failure)) => self.create_failed(&token, &failure, out),
            (EniPhase::Attaching, Err(failure)) => self.attach_failed(&token, &failure, out),
            (EniPhase::Detaching, Err(failure)) => self.detach_failed(&token, &failure, out),
            (EniPhase::Deleting, Err(failure)) => self.delete_failed(&token, &failure, out),
            (_, outcome) => self.answered_wrongly(&token, &outcome, out),
        }
        self.advance(&token, out);
    }

    pub(crate) fn created(&mut self, token: &IntentToken, made: CloudEni, out: &mut Outbox) {
        // Two records of one ENI would be two owners. The cloud should never answer so.
        if self.books.owner_of(made.mac).is_some_and(|owner| owner != token) {
            let failure = CloudFailure {
                kind: Kind::Conflict,
                action: "create an ENI".to_owned(),
                vendor_code: None,
                request_id: None,
                message: format!("the answer names {} {}, which is another ENI of ours", made.id, made.mac),
            };
            return self.create_failed(token, &failure, out);
        }
        self.supply.made(&made.vswitch);
        let link = self.books.link_present(made.mac);
        self.books.edit(token, &self.settings, |eni| {
            (eni.link, eni.doubt, eni.refused, eni.failures) = (link, false, false, 0);
            let record = &mut eni.record;
            (record.id, record.mac, record.vswitch) = (Some(made.id), Some(made.mac), made.vswitch);
            record.security_groups = made.security_groups;
            (record.addresses, record.subnets, record.gateways) =
                (made.addresses, made.subnets, made.gateways);
        });
        self.step(token, Step::Created { attached: made.attached }, out);
        self.stock_made(token, &made.assigned, out);
    }

    /// The first proof that an ENI is gone. The second is that its netdev is not on the node; `advance` looks.
    fn deleted(&mut self, token: &IntentToken, out: &mut Outbox) {
        self.books.edit(token, &self.settings, |eni| eni.work = Work::CloudGone);
        let Some(eni) = self.books.get(token).filter(|eni| eni.link) else { return };
        let (id, mac) = (id_of(eni), eni.record.mac.map_or_else(String::new, |mac| mac.to_string()));
        let what = format!("the cloud says that ENI {id} is gone, but its netdev {mac} is on the node");
        self.failed(token, Fault::new(FaultCode::Drift, what), out);
    }

    fn create_failed(&mut self, token: &IntentToken, failure: &CloudFailure, out: &mut Outbox) {
        let Some(vswitch) = self.books.get(token).map(|eni| eni.record.vswitch.clone()) else { return };
        let aim = format!("create an ENI in {vswitch}");
        let failures = self.count_failure(token, &failure.kind);
        let wait = pause(&failure.kind, failures, &self.settings);
        if after_create(&failure.kind, failures) == AfterCreate::Again {
            self.retry(token, wait);
            let fault = fault(&aim, failure, &again_in(wait));
            self.supply.troubled(fault.clone());
            return self.failed(token, fault, out);
        }
        if failure.kind == Kind::SubnetExhausted {
            self.supply.set_aside(&vswitch, self.now, &self.settings);
        } else {
            self.supply.pause(wait, self.now, &self.settings);
        }
        let proven = self.books.get(token).is_some_and(|eni| !eni.doubt || eni.refused);
        let fault =
            fault(&aim, failure, if proven { "the intent is dropped" } else { "asking once more later" });
        self.supply.troubled(fault.clone());
        self.failed(token, fault, out);
        if proven {
            self.forget(token, Proof::NeverMade, out);
        } else {
            // An earlier call whose answer never came may still take effect. Two refusals apart in time are
            // the proof that it did not.
            self.books.edit(token, &self.settings, |eni| eni.refused = true);
            self.follow(token, out);
            self.retry(token, self.settings.retry_max);
        }
    }

    fn attach_failed(&mut self, token: &IntentToken, failure: &CloudFailure, out: &mut Outbox) {
        let failures = self.count_failure(token, &failure.kind);
        let wait = pause(&failure.kind, failures, &self.settings);
        let mut replace = match after_attach(&failure.kind) {
            AfterAttach::Again => false,
            AfterAttach::AgainAFewTimes => failures >= TRIES,
            AfterAttach::Replace => true,
        };
        if matches!(failure.kind, Kind::Quota { .. }) {
            // The node has no place for it: make no more, and keep this one only if somebody needs it.
            self.supply.pause(wait, self.now, &self.settings);
            replace = !self.is_wanted(token);
        }
        let reaction = if replace { "the ENI is replaced".to_owned() } else { again_in(wait) };
        let fault = fault(&format!("attach ENI {}", self.id(token)), failure, &reaction);
        self.supply.troubled(fault.clone());
        self.failed(token, fault, out);
        if replace {
            self.supply.pause(wait, self.now, &self.settings);
            // Even an ENI that is said to be gone takes the way over detach and delete: the saying may be
            // stale, and both calls succeed when there is nothing left to do.
            self.step(token, Step::Detach, out);
        } else {
            self.retry(token, wait);
        }
    }

    fn detach_failed(&mut self, token: &IntentToken, failure: &CloudFailure, out: &mut Outbox) {
        let failures = self.count_failure(token, &failure.kind);
        let wait = pause(&failure.kind, failures, &self.settings);
        let fault = fault(&format!("detach ENI {}", self.id(token)), failure, &again_in(wait));
        self.failed(token, fault, out);
        if failure.kind == Kind::Gone {
            // Nothing to detach. Whether it is really gone, the delete call has to confirm.
            self.step(token, Step::DetachConfirmed, out);
        }
        self.retry(token, wait);
    }

    fn delete_failed(&mut self, token: &IntentToken, failure: &CloudFailure, out: &mut Outbox) {
        let failures = self.count_failure(token, &failure.kind);
        let wait = pause(&failure.kind, failures, &self.settings);
        let fault = fault(&format!("delete ENI {}", self.id(token)), failure, &again_in(wait));
        self.failed(token, fault, out);
        if failure.kind == Kind::InvalidState {
            // It is attached after all: the detached state we saw was stale.
            self.step(token, Step::StillAttached, out);
        }
        // `Gone` is tried again too: only the delete operation's own word counts, which it gives when it has
        // looked for itself.
        self.retry(token, wait);
    }

    fn answered_wrongly(
        &mut self,
        token: &IntentToken,
        outcome: &Result<CloudAnswer, CloudFailure>,
        out: &mut Outbox,
    ) {
        let what = format!("the answer {outcome:?} does not belong to what ENI {token} waits for");
        self.count_failure(token, &Kind::Ambiguous);
        self.retry(token, self.settings.retry_max);
        self.failed(token, Fault::new(FaultCode::Internal, what), out);
    }

    /// Counts a failure; notes when it leaves open what the call did.
    fn count_failure(&mut self, token: &IntentToken, kind: &Kind) -> u32 {
        self.books.edit(token, &self.settings, |eni| {
            eni.failures = eni.failures.saturating_add(1);
            match kind {
                Kind::Ambiguous => (eni.doubt, eni.refused) = (true, false),
                Kind::Conflict => eni.doubt = true,
                _ => {}
            }
        });
        self.books.get(token).map_or(0, |eni| eni.failures)
    }

    fn retry(&mut self, token: &IntentToken, wait: Duration) {
        let at: Timestamp = self.now + wait;
        self.books.edit(token, &self.settings, |eni| eni.work = Work::Retry(at));
    }

    fn id(&self, token: &IntentToken) -> String {
        self.books.get(token).map_or_else(String::new, id_of)
    }
}

fn id_of(eni: &Eni) -> String {
    eni.record.id.as_ref().map_or_else(|| "-".to_owned(), EniId::to_string)
}

fn again_in(wait: Duration) -> String {
    format!("trying again in {:.1} s", wait.as_secs_f64())
}
