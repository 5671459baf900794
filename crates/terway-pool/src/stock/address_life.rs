//! The life of an address of a shared ENI, and of a prefix, as tables: which step leads from where to where.
//! Every change goes through here, and whatever the tables do not list is refused.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use terway_types::{AddressPhase, AttachmentKey, PrefixPhase, Timestamp};

/// What an ENI has: an address of its own, or a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Item {
    Address(IpAddr),
    Prefix(IpNetwork),
}

/// What looks at the cloud have made of an address or a prefix. Only what is sure is given; a restart trusts anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Trust {
    #[default]
    Sure,
    /// A look missed it.
    Suspect,
    /// Looks miss it, and it stays: somebody holds it. People were told.
    Contradicted,
}

/// Where an address is in its life. Who holds it is known by the attachments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    Idle,
    InUse,
    Resting { until: Timestamp },
    Unassigning,
}

/// One step in an address's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// An attachment gets it.
    Give,
    /// The attachment gave it back.
    Release {
        /// The earliest time of reuse.
        until: Timestamp,
    },
    /// Somebody still mentions it: it rests on.
    Mention {
        /// The earliest time of reuse.
        until: Timestamp,
    },
    /// The quarantine is over.
    Rested,
    /// It shall leave its ENI.
    Unassign,
}

/// A step that the phase does not allow. Never a matter of the world outside: a defect of ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an address that is {life:?} cannot take the step {step:?}")]
pub(crate) struct IllegalStep {
    life: Life,
    step: Step,
}

/// Where an address is after a step.
pub(crate) fn next(life: Life, step: Step) -> Result<Life, IllegalStep> {
    match (life, step) {
        (Life::Idle, Step::Give) => Ok(Life::InUse),
        (Life::InUse, Step::Release { until }) | (Life::Resting { .. }, Step::Mention { until }) => {
            Ok(Life::Resting { until })
        }
        (Life::Resting { .. }, Step::Rested) => Ok(Life::Idle),
        (Life::Idle, Step::Unassign) => Ok(Life::Unassigning),
        (life, step) => Err(IllegalStep { life, step }),
    }
}

/// Whether a prefix may go from one phase to another. `idle` tells whether all of its addresses are.
pub(crate) fn prefix_may(from: PrefixPhase, to: PrefixPhase, idle: bool) -> bool {
    match (from, to) {
        (PrefixPhase::Ready, PrefixPhase::Frozen) | (PrefixPhase::Frozen, PrefixPhase::Ready) => true,
        (PrefixPhase::Ready | PrefixPhase::Frozen, PrefixPhase::Unassigning) => idle,
        _ => false,
    }
}

impl Life {
    /// As the ledger keeps it. `holder` is who holds it, if somebody does.
    pub(crate) fn phase(self, holder: Option<&AttachmentKey>) -> Option<AddressPhase> {
        Some(match self {
            Self::Idle => AddressPhase::Idle,
            Self::InUse => AddressPhase::InUse(holder?.clone()),
            Self::Resting { until } => AddressPhase::Quarantined { until },
            Self::Unassigning => AddressPhase::Unassigning,
        })
    }

    /// As it was kept in the ledger.
    pub(crate) fn of(phase: &AddressPhase) -> Self {
        match *phase {
            AddressPhase::Idle => Self::Idle,
            AddressPhase::InUse(_) => Self::InUse,
            AddressPhase::Quarantined { until } => Self::Resting { until },
            AddressPhase::Unassigning => Self::Unassigning,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Timestamp = Timestamp(9);
    const LIVES: [Life; 4] =
        [Life::Idle, Life::InUse, Life::Resting { until: Timestamp(5) }, Life::Unassigning];
    const STEPS: [Step; 5] =
        [Step::Give, Step::Release { until: AT }, Step::Mention { until: AT }, Step::Rested, Step::Unassign];

    /// The whole table, written a second time, one row per life in the order of `STEPS`.
    const TABLE: [[Option<Life>; 5]; 4] = {
        const RESTS: Option<Life> = Some(Life::Resting { until: AT });
        [
            [Some(Life::InUse), None, None, None, Some(Life::Unassigning)],
            [None, RESTS, None, None, None],
            [None, None, RESTS, Some(Life::Idle), None],
            [None; 5],
        ]
    };

    #[test]
    fn only_the_table_is_allowed() {
        for (life, row) in LIVES.into_iter().zip(TABLE) {
            for (step, wanted) in STEPS.into_iter().zip(row) {
                assert_eq!(next(life, step).ok(), wanted, "{life:?} {step:?}");
            }
        }
        let refused = next(Life::InUse, Step::Unassign).unwrap_err().to_string();
        assert_eq!(refused, "an address that is InUse cannot take the step Unassign");
    }

    #[test]
    fn a_prefix_leaves_only_when_nobody_uses_it() {
        use PrefixPhase as P;
        let all = [P::Ready, P::Frozen, P::Unassigning];
        let legal = |idle| {
            let pairs = all.into_iter().flat_map(|from| all.map(|to| (from, to)));
            pairs.filter(|(from, to)| prefix_may(*from, *to, idle)).collect::<Vec<_>>()
        };
        assert_eq!(legal(false), [(P::Ready, P::Frozen), (P::Frozen, P::Ready)]);
        let leaving = [(P::Ready, P::Unassigning), (P::Frozen, P::Unassigning)];
        assert!(leaving.iter().all(|step| legal(true).contains(step)) && legal(true).len() == 4);
    }

    #[test]
    fn a_life_survives_the_ledger() {
        let key = crate::testing::key(1);
        for life in LIVES {
            assert_eq!(Life::of(&life.phase(Some(&key)).unwrap()), life);
        }
        assert_eq!(Life::InUse.phase(None), None, "an address in use names its holder");
    }
}
