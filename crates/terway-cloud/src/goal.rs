//! When a wait for an ENI's state is over. Pure: every look at the cloud goes in, a verdict may come out.
//!
//! The cloud's reads may be stale. What speaks against the goal (the ENI is absent, on its way back, or
//! elsewhere) is believed only when two looks in a row, apart in time, say the same. That nothing has moved speaks
//! against it once looks cannot be older than the wait.

use std::fmt;
use std::time::Duration;

use terway_types::{CloudFailure, CloudFailureKind as Kind, EniId, InstanceId};
use tokio::time::Instant;

use crate::cloud::{CloudResult, EniDescription, EniStatus};
use crate::error::failure;
use crate::poller::WatchPace;

/// The call that looks, as both vendors name it.
pub(crate) const ACTION: &str = "DescribeNetworkInterfaces";

/// The state that is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Goal {
    /// After a create: exists and is on no way, that is available, or in use when an earlier life of the
    /// daemon attached it already.
    Settled,
    /// After an attach: in use by this instance.
    InUse(InstanceId),
    /// After a detach: attached to nothing. An ENI that is gone altogether ends the wait as
    /// [`Kind::Gone`].
    Available,
    /// After a delete: absent.
    Gone,
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Settled => f.write_str("become available"),
            Self::InUse(instance) => write!(f, "come into use by {instance}"),
            Self::Available => f.write_str("become detached"),
            Self::Gone => f.write_str("go away"),
        }
    }
}

/// What a look shows against the goal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doubt {
    Absent,
    Leaving,
    TurnedBack,
    Unmoved,
    Elsewhere,
}

enum Sight {
    Reached,
    OnTheWay,
    Doubtful(Doubt),
}

/// One wait, and what it has seen so far.
#[derive(Debug)]
pub(crate) struct Wait {
    pub(crate) eni: EniId,
    goal: Goal,
    pace: WatchPace,
    began: Instant,
    /// The last status seen.
    seen: Option<EniStatus>,
    /// Whether the ENI has been seen on its way to the goal.
    moved: bool,
    doubt: Option<(Doubt, Instant)>,
}

impl Wait {
    /// A wait that begins now: the call whose end it awaits has been accepted.
    pub(crate) fn new(eni: EniId, goal: Goal, pace: WatchPace, began: Instant) -> Self {
        Self { eni, goal, pace, began, seen: None, moved: false, doubt: None }
    }

    /// Takes in a look that began `now`.
    pub(crate) fn look(
        &mut self,
        now: Instant,
        found: Option<&EniDescription>,
    ) -> Option<CloudResult<Option<EniDescription>>> {
        let sight = self.sight(now, found);
        if let Some(found) = found {
            self.seen = Some(found.status);
            self.moved |= matches!(found.status, EniStatus::Attaching | EniStatus::Detaching);
        }
        match sight {
            Sight::Reached => Some(Ok(found.cloned())),
            Sight::OnTheWay => {
                self.doubt = None;
                None
            }
            Sight::Doubtful(doubt) => {
                if !self.confirms(doubt, now) {
                    return None;
                }
                match (doubt, &self.goal) {
                    (Doubt::Absent, Goal::Gone) => Some(Ok(None)),
                    // Just made and never seen: the cloud may still be making it known everywhere.
                    (Doubt::Absent, Goal::Settled | Goal::InUse(_)) if self.seen.is_none() => None,
                    _ => Some(Err(self.failed(doubt))),
                }
            }
        }
    }

    /// How a wait ends whose time is up. An ENI that a create call has just answered and no look has shown
    /// stays a doubt: calling it gone would be a leak if the looks were stale.
    pub(crate) fn expired(&self, now: Instant, waited: Duration) -> CloudFailure {
        if let Some((Doubt::Absent, since)) = self.doubt
            && self.goal != Goal::Settled
            && now.duration_since(since) >= self.pace.apart
        {
            return self.failed(Doubt::Absent);
        }
        let seen = match self.seen {
            Some(status) => format!("last seen {status:?}"),
            None => "never seen".to_owned(),
        };
        let message = format!("{} did not {} within {} s; {seen}", self.eni, self.goal, waited.as_secs());
        failure(Kind::Ambiguous, ACTION, message)
    }

    fn sight(&self, now: Instant, found: Option<&EniDescription>) -> Sight {
        let Some(found) = found else { return Sight::Doubtful(Doubt::Absent) };
        match (&self.goal, found.status) {
            (Goal::Settled, EniStatus::Available | EniStatus::InUse)
            | (Goal::Available, EniStatus::Available) => Sight::Reached,
            (Goal::InUse(instance), EniStatus::InUse) if found.instance.as_ref() == Some(instance) => {
                Sight::Reached
            }
            (Goal::InUse(_), EniStatus::InUse) => Sight::Doubtful(Doubt::Elsewhere),
            (Goal::InUse(_), EniStatus::Available) | (Goal::Available, EniStatus::InUse) => {
                self.as_before(now)
            }
            (Goal::Gone, _) => Sight::OnTheWay,
            (_, EniStatus::Deleting) => Sight::Doubtful(Doubt::Leaving),
            _ => Sight::OnTheWay,
        }
    }

    /// The ENI is as it was before the call. It was turned back, unless the look is older than the call.
    fn as_before(&self, now: Instant) -> Sight {
        if self.moved {
            Sight::Doubtful(Doubt::TurnedBack)
        } else if now.duration_since(self.began) >= self.pace.stale {
            Sight::Doubtful(Doubt::Unmoved)
        } else {
            Sight::OnTheWay
        }
    }

    /// Whether the look before showed the same, long enough ago.
    fn confirms(&mut self, doubt: Doubt, now: Instant) -> bool {
        match self.doubt {
            Some((known, since)) if known == doubt => now.duration_since(since) >= self.pace.apart,
            _ => {
                self.doubt = Some((doubt, now));
                false
            }
        }
    }

    fn failed(&self, doubt: Doubt) -> CloudFailure {
        let (kind, what) = match doubt {
            Doubt::Absent => (Kind::Gone, "the cloud no longer lists it"),
            Doubt::Leaving => (Kind::InvalidState, "it is being deleted"),
            Doubt::TurnedBack => (Kind::InvalidState, "the cloud began and then took it back"),
            // Nobody saw it turn back, so it may yet begin.
            Doubt::Unmoved => (Kind::Ambiguous, "the cloud accepted it, but nothing came of it"),
            Doubt::Elsewhere => (Kind::InvalidState, "it is in use by another instance"),
        };
        failure(kind, ACTION, format!("{} will not {}: {what}", self.eni, self.goal))
    }
}

#[cfg(test)]
mod tests {
    use terway_types::{AddressSet, Addresses, MacAddr};

    use super::*;
    use crate::cloud::EniKind;

    const SECOND: Duration = Duration::from_secs(1);
    const PACE: WatchPace =
        WatchPace { shortest: SECOND, longest: SECOND, apart: SECOND, stale: Duration::from_secs(4) };

    fn eni(status: EniStatus, instance: Option<&str>) -> EniDescription {
        EniDescription {
            id: "eni-1".into(),
            status,
            mac: MacAddr([0, 0x16, 0x3e, 0, 0, 1]),
            vswitch: "vsw-1".into(),
            zone: "z".into(),
            security_groups: Vec::new(),
            addresses: Addresses::default(),
            instance: instance.map(InstanceId::from),
            assigned: AddressSet::default(),
            kind: EniKind::Secondary,
            vlan_id: None,
            trunk: None,
            description: String::new(),
            tags: std::collections::BTreeMap::default(),
        }
    }

    /// Looks a second apart; the first verdict, with the number of the look it came at.
    fn verdict(goal: Goal, looks: &[Option<EniDescription>]) -> Option<(usize, CloudResult<bool>)> {
        let start = Instant::now();
        let mut wait = Wait::new("eni-1".into(), goal, PACE, start);
        looks.iter().zip(0..).find_map(|(found, n)| {
            let verdict = wait.look(start + SECOND * n, found.as_ref())?;
            Some((n as usize, verdict.map(|eni| eni.is_some())))
        })
    }

    fn kind_of(goal: Goal, looks: &[Option<EniDescription>]) -> Option<Kind> {
        verdict(goal, looks).and_then(|(_, verdict)| verdict.err()).map(|failure| failure.kind)
    }

    #[test]
    fn attaching_ends_when_in_use_by_the_right_instance() {
        let goal = || Goal::InUse("i-1".into());
        let available = || Some(eni(EniStatus::Available, None));
        let attaching = || Some(eni(EniStatus::Attaching, Some("i-1")));
        let ours = || Some(eni(EniStatus::InUse, Some("i-1")));
        let other = || Some(eni(EniStatus::InUse, Some("i-2")));
        assert_eq!(verdict(goal(), &[available(), available(), attaching(), ours()]), Some((3, Ok(true))));
        assert_eq!(verdict(goal(), &[available(), available(), available()]), None);
        assert_eq!(verdict(goal(), &[other()]), None);
        assert_eq!(kind_of(goal(), &[other(), other()]), Some(Kind::InvalidState));
        assert_eq!(kind_of(goal(), &[attaching(), available(), available()]), Some(Kind::InvalidState));
        assert_eq!(verdict(goal(), &[attaching(), available(), ours()]), Some((2, Ok(true))));
    }

    #[test]
    fn what_was_turned_back_before_the_first_look_is_told_once_looks_cannot_be_older() {
        let available = || Some(eni(EniStatus::Available, None));
        let ours = || Some(eni(EniStatus::InUse, Some("i-1")));
        let early = vec![available(); 5];
        assert_eq!(verdict(Goal::InUse("i-1".into()), &early), None, "the looks may be older than the call");
        let attach = verdict(Goal::InUse("i-1".into()), &[early.clone(), vec![available()]].concat());
        let detach = verdict(Goal::Available, &vec![ours(); 6]);
        for (look, outcome) in [attach.unwrap(), detach.unwrap()] {
            assert_eq!((look, outcome.unwrap_err().kind), (5, Kind::Ambiguous));
        }
        let late = [early, vec![ours()]].concat();
        assert_eq!(verdict(Goal::InUse("i-1".into()), &late), Some((5, Ok(true))), "one look proves nothing");
    }

    #[test]
    fn absence_counts_when_seen_twice_in_a_row() {
        let deleting = || Some(eni(EniStatus::Deleting, None));
        assert_eq!(verdict(Goal::Gone, &[deleting(), None]), None);
        assert_eq!(verdict(Goal::Gone, &[deleting(), None, deleting(), None]), None);
        assert_eq!(verdict(Goal::Gone, &[deleting(), None, deleting(), None, None]), Some((4, Ok(false))));
        assert_eq!(verdict(Goal::Gone, &[None, None]), Some((1, Ok(false))));
    }

    #[test]
    fn two_looks_at_once_are_one() {
        let start = Instant::now();
        let mut wait = Wait::new("eni-1".into(), Goal::Gone, PACE, start);
        assert!(wait.look(start, None).is_none());
        assert!(wait.look(start + SECOND / 2, None).is_none());
        assert!(wait.look(start + SECOND, None).is_some());
    }

    #[test]
    fn a_new_eni_may_be_invisible_for_a_while() {
        let settled = || Some(eni(EniStatus::Available, None));
        assert_eq!(verdict(Goal::Settled, &[None, None, None, settled()]), Some((3, Ok(true))));
        let creating = || Some(eni(EniStatus::Creating, None));
        assert_eq!(kind_of(Goal::Settled, &[creating(), None, None]), Some(Kind::Gone));
        assert_eq!(verdict(Goal::Settled, &[Some(eni(EniStatus::InUse, Some("i-1")))]), Some((0, Ok(true))));
    }

    #[test]
    fn what_is_never_seen_is_a_matter_of_the_deadline() {
        let kinds = |goal| {
            let start = Instant::now();
            let mut wait = Wait::new("eni-1".into(), goal, PACE, start);
            assert!(wait.look(start, None).is_none());
            let early = wait.expired(start, SECOND).kind;
            assert!(wait.look(start + SECOND, None).is_none());
            (early, wait.expired(start + SECOND, SECOND).kind)
        };
        assert_eq!(
            kinds(Goal::InUse("i-1".into())),
            (Kind::Ambiguous, Kind::Gone),
            "one look proves nothing"
        );
        assert_eq!(
            kinds(Goal::Settled),
            (Kind::Ambiguous, Kind::Ambiguous),
            "it was answered, so it was made"
        );
    }

    #[test]
    fn a_detached_eni_that_is_gone_ends_the_wait() {
        assert_eq!(kind_of(Goal::Available, &[None, None]), Some(Kind::Gone));
        assert_eq!(
            kind_of(Goal::Available, &[None, Some(eni(EniStatus::Detaching, Some("i-1"))), None]),
            None
        );
    }

    #[test]
    fn an_expired_wait_says_what_it_saw() {
        let start = Instant::now();
        let mut wait = Wait::new("eni-1".into(), Goal::InUse("i-1".into()), PACE, start);
        assert!(wait.look(start, Some(&eni(EniStatus::Attaching, Some("i-1")))).is_none());
        let failure = wait.expired(start + SECOND * 60, SECOND * 60);
        assert_eq!(failure.kind, Kind::Ambiguous);
        assert_eq!(failure.message, "eni-1 did not come into use by i-1 within 60 s; last seen Attaching");
    }
}
