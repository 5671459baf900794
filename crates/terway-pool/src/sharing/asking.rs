//! Assign and unassign calls: the intent, durable first, then the call; again after a pause or a crash with the
//! same token and the same amount.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use terway_types::{AddressCounts, AssignIntent, EniPhase, IntentToken, PrefixPhase, Timestamp};

use crate::effect::{CloudAction, Effect, OperationId};
use crate::engine::Pool;
use crate::outbox::Outbox;
use crate::stock::{EniNo, Job, Learned, Shelf, Stage, Step, Work};

impl Pool {
    /// Asks for further addresses on an ENI. Tells how many pairs that will be; none: nothing was asked.
    pub(super) fn assign(&mut self, no: EniNo, counts: AddressCounts, out: &mut Outbox) -> u32 {
        let Some(token) = self.shared.stock.get(no).map(|shelf| shelf.token.clone()) else { return 0 };
        if counts.is_empty() {
            return 0;
        }
        let intent = AssignIntent { token: self.supply.mint(), counts };
        self.set_assigning(&token, Some(intent), out);
        self.shared.stock.edit(no, |shelf| {
            (shelf.asked, shelf.work) = (counts, Work::Open);
            (shelf.doubt, shelf.refused) = (false, false);
        });
        self.work_on(no, out);
        let rules = self.shared.stock.rules;
        self.shared.stock.get(no).map_or(0, |shelf| shelf.pairs(&rules).coming)
    }

    /// Takes idle addresses and empty prefixes off an ENI.
    pub(super) fn unassign(&mut self, no: EniNo, singles: &[IpAddr], nets: &[IpNetwork], out: &mut Outbox) {
        for &address in singles {
            // They are idle, which the choice has seen.
            let left = self.shared.stock.step(address, Step::Unassign, None, self.now, out);
            debug_assert_eq!(left, Ok(true), "{address}");
        }
        for &net in nets {
            self.shared.stock.set_prefix(net, PrefixPhase::Unassigning, self.now, out);
        }
        self.shared.stock.edit(no, |shelf| (shelf.work, shelf.doubt) = (Work::Open, false));
        self.work_on(no, out);
    }

    /// Starts the call of an ENI's job, if there is one and it is its time. One that is on its way, which somebody
    /// else may have detached, comes first: a cloud refuses two operations on one ENI.
    pub(super) fn work_on(&mut self, no: EniNo, out: &mut Outbox) {
        let Some(shelf) = self.shared.stock.get(no).filter(|shelf| shelf.work == Work::Open) else { return };
        let Some(action) = shelf.job().and_then(|job| self.job_action(shelf, job)) else { return };
        let token = shelf.token.clone();
        let operation = OperationId(self.next_operation);
        self.next_operation += 1;
        self.shared.operations.insert(operation, token);
        let until = self.now + self.settings.operation_timeout;
        self.shared.stock.edit(no, |shelf| shelf.work = Work::Running { operation, until });
        out.push(Effect::Cloud { operation, action });
    }

    fn job_action(&self, shelf: &Shelf, job: Job) -> Option<CloudAction> {
        let record = &self.books.of(&shelf.token)?.record;
        if record.phase != EniPhase::Ready {
            return None;
        }
        let eni = record.id.clone()?;
        match job {
            Job::Assign => {
                let AssignIntent { token, counts } = record.assigning.clone()?;
                Some(CloudAction::Assign { eni, token, counts })
            }
            Job::Unassign => Some(CloudAction::Unassign { eni, addresses: shelf.unassigning() }),
        }
    }

    /// What time brings for ENIs and their calls: pauses end, calls are repeated or taken for lost.
    pub(crate) fn lapse(&mut self, out: &mut Outbox) {
        for no in self.shared.stock.overdue(self.now) {
            let now = self.now;
            let lost = self.shared.stock.edit(no, |shelf| {
                shelf.paused = shelf.paused.filter(|until| *until > now);
                if shelf.learned.until.is_some_and(|until| until <= now) {
                    shelf.learned = Learned::default();
                }
                match shelf.work {
                    Work::Retry(at) if at <= now => shelf.work = Work::Open,
                    Work::Running { operation, until } if until <= now => return Some(operation),
                    _ => {}
                }
                None
            });
            match lost.flatten() {
                Some(operation) => self.unheard_of(operation, out),
                None => self.work_on(no, out),
            }
        }
    }

    /// When sharing wants to be asked again.
    pub(crate) fn next_shared(&self) -> Option<Timestamp> {
        let paused = Some(self.shared.paused).filter(|at| *at > self.now);
        let pace = self.pace.next(self.can_reclaim(), self.now, &self.settings);
        let due = self.shared.stock.next_due().filter(|at| *at > self.now);
        [due, self.shared.gather.ends(self.now), pace, paused].into_iter().flatten().min()
    }

    /// Ends an intent, whatever came of it.
    pub(super) fn settle_intent(&mut self, no: EniNo, token: &IntentToken, out: &mut Outbox) {
        self.shared.stock.edit(no, |shelf| {
            (shelf.asked, shelf.work) = (AddressCounts::default(), Work::Open);
            (shelf.doubt, shelf.refused) = (false, false);
        });
        self.set_assigning(token, None, out);
    }

    /// Whether this ENI's addresses are of any interest still.
    pub(super) fn serves(&self, no: EniNo) -> bool {
        self.shared.stock.get(no).is_some_and(|shelf| !matches!(shelf.stage, Stage::Closed | Stage::Creating))
    }
}
