//! Cloud operations: what each phase asks of the cloud, to whom answers go, and when one is taken for lost. What
//! failures lead to is in `creating`, `attaching`, `regrouping` and `leaving`.

use std::time::Duration;

use terway_types::{
    AfterClaim, CloudFailure, CloudFailureKind as Kind, EniId, EniPhase, Fault, FaultCode, Timestamp,
};

use crate::books::EniNo;
use crate::effect::{CloudAction, Effect, OperationId};
use crate::engine::{Errand, Pool};
use crate::eni::{Eni, Work};
use crate::eni_life::Step;
use crate::event::CloudAnswer;
use crate::failure::{is_shared, pause};
use crate::outbox::Outbox;
use crate::supply::Job;

/// Pauses are shortened by up to this many thousandths, so that nodes do not act in step.
const JITTER: u16 = 200;
/// Lost operations per phase that may still be answered. There are as many minutes between them as the settings'
/// time limit says.
const OVERDUE: usize = 4;

impl Pool {
    /// Starts the cloud operation of an ENI's phase, unless its kind of work is paused. The phase is the intent,
    /// and is in the ledger by the time the operation starts.
    pub(crate) fn start(&mut self, number: EniNo, out: &mut Outbox) -> bool {
        let Some(eni) = self.books.get(number) else { return false };
        let opens = self.supply.opens(job(eni));
        if opens > self.now {
            self.books.edit(number, &self.settings, |eni| eni.work = Work::Retry(opens));
            return false;
        }
        let Some(action) = action(eni) else {
            // A record of this phase without an id; our ledger never holds one.
            let what = format!("ENI {} has no id to work with", eni.record.token);
            self.retry(number, self.settings.retry_max);
            self.failed(number, Fault::new(FaultCode::Internal, what), out);
            return false;
        };
        let operation = OperationId(self.next_operation);
        self.next_operation += 1;
        self.operations.insert(operation, Errand { eni: number, stint: eni.stint });
        let until = self.now + self.settings.operation_timeout;
        self.books.edit(number, &self.settings, |eni| eni.work = Work::Running { operation, until });
        out.push(Effect::Cloud { operation, action });
        true
    }

    /// Takes the end of a cloud operation. Ends of unknown operations (an earlier life's, told twice, or of an
    /// earlier phase) mean nothing: the phase was asked for again since.
    pub(crate) fn cloud_done(
        &mut self,
        operation: OperationId,
        outcome: Result<CloudAnswer, CloudFailure>,
        out: &mut Outbox,
    ) {
        if self.addresses_done(operation, &outcome, out) {
            return;
        }
        let Some(errand) = self.operations.remove(&operation) else { return };
        let Some(eni) = self.books.get(errand.eni).filter(|eni| eni.stint == errand.stint) else { return };
        let running = matches!(eni.work, Work::Running { operation: current, .. } if current == operation);
        let again = matches!(eni.work, Work::Running { .. }) && !running;
        let stays = matches!(eni.then(), Some(AfterClaim::Keep | AfterClaim::Forget));
        if let (Work::Running { until, .. }, true, Ok(CloudAnswer::Regrouped)) = (eni.work, again, &outcome) {
            // The call that is out may land after whatever comes next.
            let settled = until + self.settings.retry_max;
            self.books.edit(errand.eni, &self.settings, |eni| eni.unsettled_until = settled);
        }
        match outcome {
            // Kept for its claim, the ENI may be attached at once, and the call that is out would take it away.
            Ok(CloudAnswer::Detached) if again && stays => return,
            // What was done late is done all the same.
            Ok(answer) => self.succeeded(errand.eni, answer, out),
            Err(failure) if running => self.refused(errand.eni, &failure, out),
            // Taken for lost and counted already; whatever was asked since may do better.
            Err(_) => return,
        }
        self.advance(errand.eni, out);
    }

    fn succeeded(&mut self, number: EniNo, answer: CloudAnswer, out: &mut Outbox) {
        let Some(eni) = self.books.get(number) else { return };
        let job = job(eni);
        match (eni.record.phase.clone(), answer) {
            (EniPhase::Creating, CloudAnswer::Created(made)) => return self.created(number, made, out),
            (EniPhase::Kept, CloudAnswer::Created(found)) => self.found_away(number, found.attached, out),
            (EniPhase::Attaching, CloudAnswer::Attached) => {
                self.supply.came(&self.settings);
                self.step(number, Step::AttachConfirmed, out);
            }
            (EniPhase::Regrouping, CloudAnswer::Regrouped) => self.regrouped(number, out),
            (EniPhase::Detaching, CloudAnswer::Detached) => self.detached(number, out),
            (EniPhase::Deleting, CloudAnswer::Deleted) => self.deleted(number, out),
            (_, answer) => return self.answered_wrongly(number, &answer, out),
        }
        self.supply.succeeded(job);
    }

    fn refused(&mut self, number: EniNo, failure: &CloudFailure, out: &mut Outbox) {
        let Some(eni) = self.books.get(number) else { return };
        match eni.record.phase {
            EniPhase::Creating if eni.is_sought() => self.seek_failed(number, failure, out),
            EniPhase::Creating => self.create_failed(number, failure, out),
            EniPhase::Attaching => self.attach_failed(number, failure, out),
            EniPhase::Regrouping => self.regroup_failed(number, failure, out),
            EniPhase::Detaching => self.detach_failed(number, failure, out),
            EniPhase::Deleting => self.delete_failed(number, failure, out),
            EniPhase::Kept => self.look_away_failed(number, failure, out),
            EniPhase::Detached
            | EniPhase::Attached
            | EniPhase::Ready
            | EniPhase::InUse(_)
            | EniPhase::Quarantined { .. } => {}
        }
    }

    /// The operation has not ended in time: its outcome is unknown. It is listened to all the same.
    pub(crate) fn timed_out(&mut self, number: EniNo, out: &mut Outbox) -> bool {
        let mut forgotten = None;
        self.books.edit(number, &self.settings, |eni| {
            let Work::Running { operation, .. } = eni.work else { return };
            eni.overdue.push(operation);
            forgotten = (eni.overdue.len() > OVERDUE).then(|| eni.overdue.remove(0));
        });
        if let Some(operation) = forgotten {
            self.operations.remove(&operation);
        }
        let seconds = self.settings.operation_timeout.as_secs_f64();
        let failure = CloudFailure {
            kind: Kind::Ambiguous,
            action: self.books.get(number).and_then(action).as_ref().map_or("operation", name).to_owned(),
            vendor_code: None,
            request_id: None,
            message: format!("no outcome within {seconds:.0} s"),
        };
        self.refused(number, &failure, out);
        true
    }

    fn answered_wrongly(&mut self, number: EniNo, answer: &CloudAnswer, out: &mut Outbox) {
        let what = format!("the answer {answer:?} does not belong to what ENI {} waits for", self.id(number));
        self.count_failure(number, &Kind::Ambiguous);
        self.retry(number, self.settings.retry_max);
        self.failed(number, Fault::new(FaultCode::Internal, what), out);
    }

    /// Counts a failure, notes when it leaves open what the call did, and tells the pause before the next try.
    pub(crate) fn count_failure(&mut self, number: EniNo, kind: &Kind) -> (u32, Duration) {
        let unsettled_until = self.now + self.settings.retry_max;
        let mut failures = 0;
        self.books.edit(number, &self.settings, |eni| {
            eni.failures = eni.failures.saturating_add(1);
            failures = eni.failures;
            match kind {
                Kind::Ambiguous => {
                    (eni.doubt, eni.refused) = (true, false);
                    eni.unsettled_until = unsettled_until;
                }
                Kind::Conflict => eni.doubt = true,
                _ => {}
            }
        });
        let longest = pause(kind, failures, &self.settings);
        (failures, self.random.shortened(longest, JITTER))
    }

    /// Pauses a whole kind of work, if the failure's cause is not this ENI's own.
    pub(crate) fn pause_if_shared(&mut self, job: Job, kind: &Kind, fault: &Fault) {
        if is_shared(kind) {
            let longest = pause(kind, 1, &self.settings);
            let wait = self.random.shortened(longest, JITTER);
            self.supply.shut(job, wait, fault, self.now, &self.settings);
        }
        if let Kind::Quota { limit: Some(limit), .. } = kind {
            self.supply.limited(*limit, job);
        }
    }

    pub(crate) fn retry(&mut self, number: EniNo, wait: Duration) {
        let at: Timestamp = self.now + wait;
        self.books.edit(number, &self.settings, |eni| eni.work = Work::Retry(at));
    }

    pub(crate) fn id(&self, number: EniNo) -> String {
        let id = self.books.get(number).and_then(|eni| eni.record.id.as_ref());
        id.map_or_else(|| "-".to_owned(), EniId::to_string)
    }
}

/// What an ENI's phase asks of the cloud.
fn action(eni: &Eni) -> Option<CloudAction> {
    let record = &eni.record;
    let id = || record.id.clone();
    match record.phase {
        EniPhase::Creating if eni.is_sought() => Some(CloudAction::Find { eni: id()? }),
        EniPhase::Creating => Some(CloudAction::Create {
            token: record.token.clone(),
            vswitch: record.vswitch.clone(),
            security_groups: record.security_groups.clone(),
            counts: record.counts,
        }),
        EniPhase::Attaching => Some(CloudAction::Attach { eni: id()? }),
        EniPhase::Regrouping => {
            Some(CloudAction::Regroup { eni: id()?, security_groups: record.security_groups.clone() })
        }
        EniPhase::Detaching => Some(CloudAction::Detach { eni: id()? }),
        EniPhase::Deleting => Some(CloudAction::Delete { eni: id()? }),
        EniPhase::Kept if eni.then() == Some(AfterClaim::Forget) => Some(CloudAction::Find { eni: id()? }),
        _ => None,
    }
}

fn name(action: &CloudAction) -> &'static str {
    match action {
        CloudAction::Create { .. } => "create",
        CloudAction::Find { .. } => "find",
        CloudAction::Attach { .. } => "attach",
        CloudAction::Detach { .. } => "detach",
        CloudAction::Delete { .. } => "delete",
        CloudAction::Regroup { .. } => "regroup",
        CloudAction::Assign { .. } => "assign",
        CloudAction::Unassign { .. } => "unassign",
    }
}

/// The kind of work of an ENI's phase.
fn job(eni: &Eni) -> Job {
    match eni.record.phase {
        EniPhase::Creating if !eni.is_sought() => Job::Create,
        EniPhase::Attaching => Job::Attach,
        EniPhase::Regrouping => Job::Regroup,
        EniPhase::Detaching => Job::Detach,
        EniPhase::Deleting => Job::Delete,
        _ => Job::Find,
    }
}

pub(crate) fn again_in(wait: Duration) -> String {
    format!("trying again in {:.1} s", wait.as_secs_f64())
}
