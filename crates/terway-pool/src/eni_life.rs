//! The life of an ENI as a table: which step leads from which phase to which. Every change of a phase
//! goes through here, and whatever the table does not list is refused.

use terway_types::{AttachmentKey, EniPhase, Timestamp};

/// One step in an ENI's life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The cloud made it, or found it made.
    Created {
        /// Attached to this node already.
        attached: bool,
    },
    /// It shall be attached.
    Attach,
    /// The cloud says it is attached.
    AttachConfirmed,
    /// Its netdev is on the node.
    LinkSeen,
    /// An attachment gets it.
    Assign(AttachmentKey),
    /// The attachment gave it back.
    Release {
        /// The earliest time of reuse.
        until: Timestamp,
    },
    /// The quarantine is over and its netdev is home.
    Rested,
    /// It shall leave: surplus, lost, or of no use.
    Detach,
    /// The cloud says it is attached to nothing.
    DetachConfirmed,
    /// It shall leave before it was ever attached.
    Discard,
    /// The cloud says that it is attached after all.
    StillAttached,
    /// It shall get the security groups in its record.
    Regroup,
    /// It has the security groups in its record.
    Regrouped,
    /// The attachment gave it back, and it leaves: it was a claim's, or is of no use any more.
    Dismiss,
    /// Somebody else detached it.
    FoundDetached,
    /// Somebody else attached it.
    FoundAttached,
    /// It is attached to nothing and is kept for its claim.
    Keep,
}

/// Why an ENI may leave the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    /// The cloud refused to make it, and no earlier call can have made it unheard.
    NeverMade,
    /// The delete call confirmed that it is gone, and its netdev is not on the node.
    Deleted,
    /// The control plane named it, and nothing was done to it.
    NeverTouched,
    /// Two looks at the cloud apart in time do not show it, and its netdev is not on the node.
    Vanished,
    /// Two looks at the cloud apart in time show it on another instance, or the control plane says so and the cloud
    /// does not have it attached here; and its netdev is not on the node.
    Moved,
}

/// A step that the phase does not allow. Never a matter of the world outside: a defect of ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an ENI in phase {phase} cannot take the step {step}")]
pub(crate) struct IllegalStep {
    phase: &'static str,
    step: String,
}

impl IllegalStep {
    /// An ENI of which attachments hold addresses does not leave.
    pub(crate) fn lent(step: &Step) -> Self {
        Self { phase: "Ready with addresses in use", step: format!("{step:?}") }
    }
}

/// The phase after a step.
pub(crate) fn next(phase: &EniPhase, step: Step) -> Result<EniPhase, IllegalStep> {
    use EniPhase as P;
    Ok(match (phase, step) {
        (P::Creating, Step::Created { attached: false })
        | (P::Attached | P::Ready | P::Quarantined { .. }, Step::FoundDetached) => P::Detached,
        (P::Detached | P::Kept, Step::Attach) => P::Attaching,
        (P::Creating, Step::Created { attached: true })
        | (P::Attaching, Step::AttachConfirmed)
        | (P::Detached | P::Kept, Step::FoundAttached) => P::Attached,
        (P::Attached, Step::LinkSeen)
        | (P::Quarantined { .. }, Step::Rested)
        | (P::Regrouping, Step::Regrouped) => P::Ready,
        (P::Ready, Step::Regroup) => P::Regrouping,
        (P::Ready, Step::Assign(key)) => P::InUse(key),
        (P::InUse(_), Step::Release { until }) => P::Quarantined { until },
        (P::Attaching | P::Attached | P::Ready | P::Regrouping | P::Quarantined { .. }, Step::Detach)
        | (P::InUse(_), Step::Dismiss)
        | (P::Deleting | P::Kept, Step::StillAttached) => P::Detaching,
        (P::Detached | P::Detaching, Step::Keep) => P::Kept,
        (P::Detached | P::Kept, Step::Discard) | (P::Detaching, Step::DetachConfirmed) => P::Deleting,
        (phase, step) => {
            return Err(IllegalStep { phase: phase.name(), step: format!("{step:?}") });
        }
    })
}

/// Whether nobody holds the ENI and no operation of ours is to move it.
fn at_rest(phase: &EniPhase) -> bool {
    use EniPhase as P;
    matches!(phase, P::Detached | P::Kept | P::Attached | P::Ready | P::Quarantined { .. })
}

/// Whether an ENI may leave the ledger on this proof.
pub(crate) fn forget(phase: &EniPhase, proof: Proof) -> Result<(), IllegalStep> {
    use EniPhase as P;
    let enough = match proof {
        Proof::NeverMade | Proof::NeverTouched => matches!(phase, P::Creating),
        Proof::Deleted => matches!(phase, P::Deleting),
        Proof::Vanished => at_rest(phase),
        Proof::Moved => at_rest(phase) || matches!(phase, P::Detaching | P::Deleting),
    };
    if enough { Ok(()) } else { Err(IllegalStep { phase: phase.name(), step: format!("{proof:?}") }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::key;

    fn phases() -> Vec<EniPhase> {
        use EniPhase as P;
        let until = Timestamp(5);
        let mut all = vec![P::Creating, P::Detached, P::Attaching, P::Attached, P::Ready, P::InUse(key(1))];
        all.extend([P::Quarantined { until }, P::Regrouping, P::Kept, P::Detaching, P::Deleting]);
        all
    }

    fn steps() -> Vec<Step> {
        let mut all = vec![Step::Created { attached: false }, Step::Created { attached: true }, Step::Attach];
        all.extend([Step::AttachConfirmed, Step::LinkSeen, Step::Assign(key(2)), Step::Rested, Step::Detach]);
        all.extend([Step::Release { until: Timestamp(9) }, Step::DetachConfirmed, Step::Discard]);
        all.extend([Step::StillAttached, Step::Regroup, Step::Regrouped, Step::Keep]);
        all.extend([Step::Dismiss, Step::FoundDetached, Step::FoundAttached]);
        all
    }

    /// The whole table, written a second time: from, step, to. Everything else must be refused.
    const LEGAL: &[(&str, &str, &str)] = &[
        ("Creating", "Created { attached: false }", "Detached"),
        ("Creating", "Created { attached: true }", "Attached"),
        ("Detached", "Attach", "Attaching"),
        ("Detached", "Discard", "Deleting"),
        ("Detached", "Keep", "Kept"),
        ("Attaching", "AttachConfirmed", "Attached"),
        ("Attaching", "Detach", "Detaching"),
        ("Attached", "LinkSeen", "Ready"),
        ("Attached", "Detach", "Detaching"),
        ("Ready", "Assign", "InUse"),
        ("Ready", "Detach", "Detaching"),
        ("Ready", "Regroup", "Regrouping"),
        ("Regrouping", "Regrouped", "Ready"),
        ("Regrouping", "Detach", "Detaching"),
        ("InUse", "Release", "Quarantined"),
        ("InUse", "Dismiss", "Detaching"),
        ("Attached", "FoundDetached", "Detached"),
        ("Ready", "FoundDetached", "Detached"),
        ("Quarantined", "FoundDetached", "Detached"),
        ("Detached", "FoundAttached", "Attached"),
        ("Kept", "FoundAttached", "Attached"),
        ("Quarantined", "Rested", "Ready"),
        ("Quarantined", "Detach", "Detaching"),
        ("Detaching", "DetachConfirmed", "Deleting"),
        ("Detaching", "Keep", "Kept"),
        ("Kept", "Attach", "Attaching"),
        ("Kept", "Discard", "Deleting"),
        ("Kept", "StillAttached", "Detaching"),
        ("Deleting", "StillAttached", "Detaching"),
    ];

    #[test]
    fn only_the_table_is_allowed() {
        let mut allowed = 0;
        for phase in phases() {
            for step in steps() {
                let spelt = format!("{step:?}");
                let legal = LEGAL.iter().find(|(from, name, _)| {
                    *from == phase.name()
                        && (spelt == *name || spelt.starts_with(&format!("{name}(")) || {
                            !name.contains('{') && spelt.starts_with(&format!("{name} {{"))
                        })
                });
                match (next(&phase, step), legal) {
                    (Ok(to), Some((_, _, wanted))) => {
                        assert_eq!(to.name(), *wanted);
                        allowed += 1;
                    }
                    (Err(_), None) => {}
                    (got, legal) => panic!("{} + {spelt}: got {got:?}, table says {legal:?}", phase.name()),
                }
            }
        }
        assert_eq!(allowed, LEGAL.len());
    }

    #[test]
    fn an_assigned_eni_names_its_holder_and_a_released_one_its_rest() {
        assert_eq!(next(&EniPhase::Ready, Step::Assign(key(3))), Ok(EniPhase::InUse(key(3))));
        let until = Timestamp(77);
        assert_eq!(
            next(&EniPhase::InUse(key(3)), Step::Release { until }),
            Ok(EniPhase::Quarantined { until })
        );
    }

    #[test]
    fn an_eni_leaves_the_ledger_on_the_proof_that_its_phase_allows() {
        let at_rest = ["Detached", "Kept", "Attached", "Ready", "Quarantined"];
        for phase in phases() {
            let (name, leaving) = (phase.name(), ["Detaching", "Deleting"]);
            assert_eq!(forget(&phase, Proof::Vanished).is_ok(), at_rest.contains(&name));
            let moved = at_rest.contains(&name) || leaving.contains(&name);
            assert_eq!(forget(&phase, Proof::Moved).is_ok(), moved);
            assert_eq!(forget(&phase, Proof::NeverMade).is_ok(), phase == EniPhase::Creating);
            assert_eq!(forget(&phase, Proof::NeverTouched).is_ok(), phase == EniPhase::Creating);
            assert_eq!(forget(&phase, Proof::Deleted).is_ok(), phase == EniPhase::Deleting);
        }
    }

    #[test]
    fn a_refused_step_says_both_names() {
        let error = next(&EniPhase::Creating, Step::Rested).unwrap_err();
        assert_eq!(error.to_string(), "an ENI in phase Creating cannot take the step Rested");
    }
}
