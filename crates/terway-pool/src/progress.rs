//! What an ENI does next by itself: start the cloud operation of its phase, become ready, end its quarantine,
//! be given up. Asked after everything that touched the ENI, and when its time comes.

use terway_types::{AfterClaim, EniPhase, Fault, FaultCode, Timestamp};

use crate::books::EniNo;
use crate::effect::Note;
use crate::engine::Pool;
use crate::eni::{Eni, Service, Work};
use crate::eni_life::{Proof, Step};
use crate::outbox::Outbox;
use crate::quarantine::{Rest, rest};
use crate::routed::ranges;
use crate::settings::PoolSettings;
use crate::sharing::sharing;
use crate::supply::Job;

/// What an ENI does next.
#[derive(Debug, PartialEq, Eq)]
enum Move {
    Take(Step),
    /// Start the cloud operation of the phase.
    Start,
    /// The operation has taken too long.
    TimeOut,
    /// The netdev did not appear, or is lost: the ENI is of no use.
    GiveUp,
    /// The netdev did not come home: say so and leave it at that.
    Stray,
    /// Give it to the attachment that waits for its claim.
    HandOver,
    Forget(Proof),
}

/// What an ENI does next; nothing while it waits for the cloud, the kernel, a pod or the clock. `wanted`: whether
/// somebody waits for it, or the pool wants it. `leave`: whether it goes as soon as nobody holds it.
fn next_move(
    eni: &Eni,
    wanted: impl Fn() -> bool,
    leave: bool,
    now: Timestamp,
    settings: &PoolSettings,
) -> Option<Move> {
    let claimed = eni.then().is_some();
    match eni.record.phase {
        EniPhase::Creating if eni.is_sought() && !wanted() && eni.then() != Some(AfterClaim::Delete) => {
            Some(Move::Forget(Proof::NeverTouched))
        }
        EniPhase::Detached => Some(Move::Take(match eni.then() {
            _ if wanted() => Step::Attach,
            Some(AfterClaim::Keep | AfterClaim::Forget) => Step::Keep,
            Some(AfterClaim::Delete) | None => Step::Discard,
        })),
        EniPhase::Kept if eni.then() == Some(AfterClaim::Delete) => Some(Move::Take(Step::Discard)),
        EniPhase::Kept if eni.then() != Some(AfterClaim::Forget) => None,
        EniPhase::Creating
        | EniPhase::Attaching
        | EniPhase::Regrouping
        | EniPhase::Detaching
        | EniPhase::Deleting
        | EniPhase::Kept => match eni.work {
            Work::Open => Some(Move::Start),
            Work::Retry(at) => (at <= now).then_some(Move::Start),
            Work::Running { until, .. } => (until <= now).then_some(Move::TimeOut),
            // The second proof: a link that is still there speaks against the cloud's word.
            Work::CloudGone if eni.link => None,
            Work::CloudGone if eni.record.phase == EniPhase::Kept => Some(Move::Forget(Proof::Moved)),
            Work::CloudGone => Some(Move::Forget(Proof::Deleted)),
        },
        EniPhase::Attached | EniPhase::Ready if leave && eni.service != Service::Lent => {
            Some(Move::Take(Step::Detach))
        }
        // A netdev that is not home may be in a pod, of which a lost ledger knew.
        EniPhase::Quarantined { .. } if leave && eni.link => Some(Move::Take(Step::Detach)),
        EniPhase::Attached | EniPhase::Ready if claimed && !wanted() => Some(Move::Take(Step::Detach)),
        EniPhase::Attached if eni.link => Some(Move::Take(Step::LinkSeen)),
        EniPhase::Ready if claimed && eni.link && !eni.flags.suspect => Some(Move::HandOver),
        EniPhase::Ready if eni.service != Service::Lent && is_misfit(eni, settings) => {
            Some(Move::Take(Step::Detach))
        }
        EniPhase::Attached | EniPhase::Ready => {
            let lost = !eni.link && now >= eni.awaited + settings.link_timeout;
            match eni.service {
                // Attachments hold addresses of it: say so, and leave it at that.
                Service::Lent => (lost && !eni.strayed).then_some(Move::Stray),
                Service::Whole | Service::Shared => lost.then_some(Move::GiveUp),
            }
        }
        EniPhase::InUse(_) => None,
        // It would be given as soon as it is ready; the next look decides.
        EniPhase::Quarantined { .. } if eni.flags.suspect => None,
        EniPhase::Quarantined { until } => match rest(until, eni.link, eni.awaited, now, settings) {
            Rest::Over => Some(Move::Take(Step::Rested)),
            Rest::Strayed => (!eni.strayed).then_some(Move::Stray),
            Rest::Until(_) => None,
        },
    }
}

/// Whether an ENI serves in the way of another mode than the node's.
fn is_misfit(eni: &Eni, settings: &PoolSettings) -> bool {
    (eni.service == Service::Whole) == sharing(settings).is_some() && eni.record.claim.is_none()
}

impl Pool {
    /// Lets an ENI do what it can do without further news.
    pub(crate) fn advance(&mut self, number: EniNo, out: &mut Outbox) {
        while let Some(eni) = self.books.get(number) {
            // A claim's ENI goes by who waits for the claim.
            let leave = self.retired && eni.record.claim.is_none() && ranges(&self.settings).is_none();
            let Some(next) = next_move(eni, || self.wanted(eni), leave, self.now, &self.settings) else {
                return;
            };
            let moved = match next {
                Move::Take(step) => {
                    if step == Step::LinkSeen {
                        self.supply.succeeded(Job::Replace);
                    }
                    self.step(number, step, out)
                }
                Move::Start => self.start(number, out),
                Move::TimeOut => self.timed_out(number, out),
                Move::GiveUp => self.link_lost(number, out),
                Move::Stray => self.stray(number, out),
                Move::HandOver => self.hand_over(number, out),
                Move::Forget(proof) => self.forget(number, proof, out),
            };
            if !moved {
                return;
            }
        }
    }

    pub(crate) fn link_lost(&mut self, number: EniNo, out: &mut Outbox) -> bool {
        let awaited = self.books.get(number).map_or(self.now, |eni| eni.awaited);
        let fault = self.nic_missing(number, "it is detached", self.now.since(awaited).as_secs_f64());
        // Should ENIs of this node never show a netdev, replacing them must not become a busy loop.
        self.supply.shut(Job::Replace, self.settings.retry_first, &fault, self.now, &self.settings);
        self.failed(number, fault, out);
        self.step(number, Step::Detach, out)
    }

    fn stray(&mut self, number: EniNo, out: &mut Outbox) -> bool {
        let fault = self.nic_missing(number, "it is set aside", self.settings.home_timeout.as_secs_f64());
        self.books.edit(number, &self.settings, |eni| eni.strayed = true);
        self.follow_if_shared(number, out);
        self.failed(number, fault, out);
        true
    }

    fn nic_missing(&self, number: EniNo, reaction: &str, seconds: f64) -> Fault {
        let record = self.books.get(number).map(|eni| &eni.record);
        let id = record.and_then(|record| record.id.as_ref()).map_or("-", |id| id.as_str());
        let mac = record.and_then(|record| record.mac).map_or_else(String::new, |mac| mac.to_string());
        let what = format!("the netdev {mac} of ENI {id} was not in the host's namespace for {seconds:.1} s");
        Fault::new(FaultCode::NicMissing, format!("{what}; {reaction}"))
    }

    /// Keeps a failure with its ENI and tells it.
    pub(crate) fn failed(&mut self, number: EniNo, fault: Fault, out: &mut Outbox) {
        let Some(token) = self.books.get(number).map(|eni| eni.record.token.clone()) else { return };
        self.books.edit(number, &self.settings, |eni| eni.last_fault = Some(Box::new(fault.clone())));
        out.note(Note::Failure { token, fault });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classes::Classes;
    use crate::testing::{key, record, settings};
    use terway_types::ClaimHold;

    fn eni(phase: EniPhase, then: Option<AfterClaim>) -> Eni {
        let claim = then.map(|then| ClaimHold { id: "c".into(), then });
        let record = terway_types::EniRecord { claim, ..record("t", phase) };
        let class = Classes::default().intern(&record.vswitch, &record.security_groups);
        Eni::new(record, class, Timestamp(1))
    }

    fn next(eni: &Eni, wanted: bool, leave: bool) -> Option<Move> {
        next_move(eni, || wanted, leave, Timestamp(u64::MAX), &settings())
    }

    #[test]
    fn an_eni_is_forgotten_on_both_proofs_only() {
        for (phase, then, proof) in [
            (EniPhase::Deleting, None, Proof::Deleted),
            (EniPhase::Kept, Some(AfterClaim::Forget), Proof::Moved),
        ] {
            let mut eni = eni(phase, then);
            assert_eq!(next(&eni, false, false), Some(Move::Start));
            (eni.work, eni.link) = (Work::CloudGone, true);
            assert_eq!(next(&eni, false, false), None, "its netdev is still on the node");
            eni.link = false;
            assert_eq!(next(&eni, false, false), Some(Move::Forget(proof)));
            eni.work = Work::Retry(Timestamp(5));
            assert_eq!(next(&eni, false, false), Some(Move::Start), "a link gone alone proves nothing");
        }
    }

    #[test]
    fn an_eni_in_use_is_moved_by_nothing() {
        let eni = eni(EniPhase::InUse(key(1)), None);
        assert_eq!(next(&eni, false, true), None);
    }

    #[test]
    fn an_eni_that_rests_leaves_once_it_is_home() {
        let mut eni = eni(EniPhase::Quarantined { until: Timestamp(5) }, None);
        (eni.strayed, eni.link) = (true, false);
        assert_eq!(next(&eni, false, true), None, "it may be in a pod");
        eni.link = true;
        assert_eq!(next(&eni, false, true), Some(Move::Take(Step::Detach)));
    }

    #[test]
    fn a_claimed_eni_follows_its_claim() {
        use AfterClaim::{Delete, Forget, Keep};
        let take = |phase, then, wanted| match next(&eni(phase, Some(then)), wanted, false) {
            Some(Move::Take(step)) => Some(step),
            _ => None,
        };
        assert_eq!(take(EniPhase::Detached, Delete, true), Some(Step::Attach));
        assert_eq!(take(EniPhase::Detached, Delete, false), Some(Step::Discard));
        assert_eq!(take(EniPhase::Detached, Keep, false), Some(Step::Keep));
        assert_eq!(take(EniPhase::Kept, Delete, false), Some(Step::Discard));
        assert_eq!(take(EniPhase::Kept, Keep, false), None);
        assert_eq!(take(EniPhase::Ready, Forget, false), Some(Step::Detach));
        let sought = eni(EniPhase::Creating, Some(Keep));
        assert_eq!(next(&sought, false, false), Some(Move::Forget(Proof::NeverTouched)));
        assert_eq!(next(&sought, true, false), Some(Move::Start));
    }
}
