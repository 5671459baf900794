//! What an ENI does next by itself: start the cloud operation of its phase, become ready, end its quarantine,
//! be given up. Asked after everything that touched the ENI, and when its time comes.

use terway_types::{AddressCounts, Addresses, Gateways};
use terway_types::{EniPhase, EniRecord, Fault, FaultCode, IntentToken, Subnets, Timestamp};

use crate::effect::Note;
use crate::engine::Pool;
use crate::eni::{Eni, Service, Work};
use crate::eni_life::{Proof, Step};
use crate::outbox::Outbox;
use crate::quarantine::{Rest, rest};
use crate::settings::PoolSettings;
use crate::sharing::sharing;
use crate::watermark::{balance, worth_attaching};

/// What an ENI does next.
#[derive(Debug, PartialEq, Eq)]
enum Move {
    Take(Step),
    /// Start the cloud operation of the phase.
    Start,
    /// The netdev did not appear, or is lost: the ENI is of no use.
    GiveUp,
    /// The netdev did not come home: say so and leave it at that.
    Stray,
    /// Gone from the cloud and from the node.
    Forget,
}

/// What an ENI does next; nothing while it waits for the cloud, the kernel, a pod or the clock.
fn next_move(eni: &Eni, wanted: bool, now: Timestamp, settings: &PoolSettings) -> Option<Move> {
    match eni.record.phase {
        EniPhase::Detached => Some(Move::Take(if wanted { Step::Attach } else { Step::Discard })),
        EniPhase::Creating | EniPhase::Attaching | EniPhase::Detaching | EniPhase::Deleting => match eni.work
        {
            Work::Open => Some(Move::Start),
            Work::Retry(at) => (at <= now).then_some(Move::Start),
            Work::Running(_) => None,
            // The second proof: a link that is still there speaks against the cloud's word.
            Work::CloudGone => (!eni.link).then_some(Move::Forget),
        },
        EniPhase::Attached if eni.link => Some(Move::Take(Step::LinkSeen)),
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
        EniPhase::InUse(_) | EniPhase::Regrouping | EniPhase::Kept => None,
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
    pub(crate) fn advance(&mut self, token: &IntentToken, out: &mut Outbox) {
        while let Some(eni) = self.books.get(token) {
            let wanted = self.is_wanted(token);
            let Some(next) = next_move(eni, wanted, self.now, &self.settings) else { return };
            let moved = match next {
                Move::Take(step) => {
                    if step == Step::LinkSeen {
                        self.supply.delivered();
                    }
                    self.step(token, step, out)
                }
                Move::Start => self.start(token, out),
                Move::GiveUp => self.link_lost(token, out),
                Move::Stray => self.stray(token, out),
                Move::Forget => self.forget(token, Proof::Deleted, out),
            };
            if !moved {
                return;
            }
        }
    }

    /// Whether an ENI that was just made is still worth attaching.
    pub(crate) fn is_wanted(&self, token: &IntentToken) -> bool {
        if sharing(&self.settings).is_some() {
            return self.worth_opening(token);
        }
        worth_attaching(self.books.tally(), self.waiters.len(), &self.settings)
    }

    /// Creates what is missing, lets go what is too much.
    pub(crate) fn balance(&mut self, out: &mut Outbox) {
        let balance = balance(self.books.tally(), self.waiters.len(), &self.settings);
        for _ in 0..balance.create {
            let Some(vswitch) = self.supply.vswitch(self.now, &self.settings).cloned() else { break };
            let record = EniRecord {
                token: self.supply.mint(),
                id: None,
                mac: None,
                vswitch,
                security_groups: self.settings.security_groups.clone(),
                addresses: Addresses::default(),
                subnets: Subnets::default(),
                gateways: Gateways::default(),
                phase: EniPhase::Creating,
                since: self.now,
                counts: AddressCounts {
                    ipv4: 1,
                    ipv6: u32::from(self.settings.ipv6),
                    ..AddressCounts::default()
                },
                claim: None,
                assigning: None,
            };
            let token = record.token.clone();
            out.put_eni(&record);
            out.note(Note::Phase { token: token.clone(), eni: None, from: "", to: record.phase.name() });
            self.books.insert(Eni::new(record, self.now), &self.settings);
            self.advance(&token, out);
        }
        if balance.release
            // The one idle longest is the next to be given, being the best rested; this one is not.
            && let Some(token) = self.books.shortest_idle().cloned()
            && self.step(&token, Step::Detach, out)
        {
            self.advance(&token, out);
        }
    }

    pub(crate) fn link_lost(&mut self, token: &IntentToken, out: &mut Outbox) -> bool {
        let awaited = self.books.get(token).map_or(self.now, |eni| eni.awaited);
        let seconds = self.now.since(awaited).as_secs_f64();
        let fault = self.nic_missing(token, "the ENI is replaced", seconds);
        self.supply.troubled(fault.clone());
        // Should ENIs of this node never show a netdev, replacing them must not become a busy loop.
        self.supply.pause(self.settings.retry_first, self.now, &self.settings);
        self.failed(token, fault, out);
        self.step(token, Step::Detach, out)
    }

    fn stray(&mut self, token: &IntentToken, out: &mut Outbox) -> bool {
        let fault = self.nic_missing(token, "the ENI is set aside", self.settings.home_timeout.as_secs_f64());
        self.books.edit(token, &self.settings, |eni| eni.strayed = true);
        self.follow(token, out);
        self.failed(token, fault, out);
        true
    }

    fn nic_missing(&self, token: &IntentToken, reaction: &str, seconds: f64) -> Fault {
        let record = self.books.get(token).map(|eni| &eni.record);
        let id = record.and_then(|record| record.id.as_ref()).map_or("-", |id| id.as_str());
        let mac = record.and_then(|record| record.mac).map_or_else(String::new, |mac| mac.to_string());
        let what = format!("the netdev {mac} of ENI {id} was not in the host's namespace for {seconds:.1} s");
        Fault::new(FaultCode::NicMissing, format!("{what}; {reaction}"))
    }

    /// Keeps a failure with its ENI and tells it.
    pub(crate) fn failed(&mut self, token: &IntentToken, fault: Fault, out: &mut Outbox) {
        self.books.edit(token, &self.settings, |eni| eni.last_fault = Some(fault.clone()));
        out.note(Note::Failure { token: token.clone(), fault });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{record, settings};

    #[test]
    fn an_eni_is_forgotten_on_both_proofs_only() {
        let mut eni = Eni::new(record("t", EniPhase::Deleting), Timestamp(1));
        let next = |eni: &Eni| next_move(eni, false, Timestamp(u64::MAX), &settings());
        assert_eq!(next(&eni), Some(Move::Start));
        (eni.work, eni.link) = (Work::CloudGone, true);
        assert_eq!(next(&eni), None, "its netdev is still on the node");
        eni.link = false;
        assert_eq!(next(&eni), Some(Move::Forget));
        eni.work = Work::Retry(Timestamp(5));
        assert_eq!(next(&eni), Some(Move::Start), "without the cloud's word a link gone proves nothing");
    }

    #[test]
    fn an_eni_in_use_is_moved_by_nothing() {
        let eni = Eni::new(record("t", EniPhase::InUse(crate::testing::key(1))), Timestamp(1));
        assert_eq!(next_move(&eni, false, Timestamp(u64::MAX), &settings()), None);
    }
}
