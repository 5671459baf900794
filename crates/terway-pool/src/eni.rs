//! One ENI in memory: its durable record, and what this life of the daemon knows besides.

use terway_types::{AfterClaim, EniPhase, EniRecord, Fault, SecurityGroupId, Timestamp};

use crate::classes::ClassNo;
use crate::effect::OperationId;
use crate::failure::TRIES;
use crate::quarantine::{Rest, rest};
use crate::reconcile::Rule;
use crate::settings::PoolSettings;
use crate::tally::Stand;

/// The cloud's part in a phase that needs a cloud operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// Not asked yet.
    Open,
    /// Under way; taken for lost after `until`.
    Running { operation: OperationId, until: Timestamp },
    /// Failed; to be tried again then.
    Retry(Timestamp),
    /// The cloud confirmed that the ENI is gone, or not here; its netdev is still on the node.
    CloudGone,
}

/// How an ENI serves attachments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    /// As a whole, one at a time.
    Whole,
    /// By its addresses; nobody holds one.
    Shared,
    /// By its addresses; attachments hold some.
    Lent,
}

/// What looks have made of an ENI. Ends with its phase.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flags {
    /// Whether it is not to be given until a look clears it.
    pub(crate) suspect: bool,
    /// Whether it leaves by detach and delete after its release.
    pub(crate) leaves: bool,
    /// The rule that people were told of last.
    pub(crate) told: Option<Rule>,
}

/// One ENI.
#[derive(Clone, Debug)]
pub(crate) struct Eni {
    pub(crate) record: EniRecord,
    pub(crate) class: ClassNo,
    pub(crate) service: Service,
    /// Whether its netdev is in the host's namespace, as far as we were told.
    pub(crate) link: bool,
    /// Since when its netdev is awaited; meaningful while it is away.
    pub(crate) awaited: Timestamp,
    pub(crate) work: Work,
    /// Counts the phases it went through in this life: answers belong to the one they were asked in.
    pub(crate) stint: u32,
    /// Operations of this stint that were taken for lost; they may still be answered.
    pub(crate) overdue: Vec<OperationId>,
    /// Failed cloud operations in a row.
    pub(crate) failures: u32,
    /// Whether a create call may have made the ENI without our hearing of it.
    pub(crate) doubt: bool,
    /// Whether the cloud has refused to make it since the last doubt.
    pub(crate) refused: bool,
    /// Whether its netdev did not come home in time.
    pub(crate) strayed: bool,
    pub(crate) flags: Flags,
    /// The security groups before the change under way, if this life saw them.
    pub(crate) former_groups: Option<Vec<SecurityGroupId>>,
    /// Until then a call whose answer was lost may still land.
    pub(crate) unsettled_until: Timestamp,
    pub(crate) last_fault: Option<Box<Fault>>,
}

impl Eni {
    pub(crate) fn new(record: EniRecord, class: ClassNo, now: Timestamp) -> Self {
        Self {
            record,
            class,
            service: Service::Whole,
            link: false,
            awaited: now,
            work: Work::Open,
            stint: 0,
            overdue: Vec::new(),
            failures: 0,
            doubt: false,
            refused: false,
            strayed: false,
            flags: Flags::default(),
            former_groups: None,
            unsettled_until: Timestamp(0),
            last_fault: None,
        }
    }

    /// Enters a phase. What belonged to the phase before ends with it.
    pub(crate) fn enter(&mut self, phase: EniPhase, now: Timestamp) {
        let again = self.record.phase == EniPhase::Deleting;
        match phase {
            EniPhase::Ready => (self.failures, self.last_fault) = (0, None),
            // Going back and forth between detaching and deleting must slow down, so the count stays.
            EniPhase::Detaching if !again => self.failures = 0,
            EniPhase::Regrouping | EniPhase::Kept => self.failures = 0,
            _ => {}
        }
        // A released ENI stays suspect: nothing has spoken for it since.
        let suspect = self.flags.suspect && matches!(phase, EniPhase::Quarantined { .. });
        self.flags = Flags { suspect, ..Flags::default() };
        (self.record.phase, self.record.since) = (phase, now);
        (self.awaited, self.work, self.strayed) = (now, Work::Open, false);
        (self.doubt, self.refused) = (false, false);
        self.stint = self.stint.wrapping_add(1);
        self.overdue.clear();
    }

    /// Drops what does not decide the future.
    #[cfg(test)]
    pub(crate) fn forget_past(&mut self, now: Timestamp) {
        (self.last_fault, self.stint) = (None, 0);
        if let EniPhase::Quarantined { until } = &mut self.record.phase
            && *until <= now
        {
            *until = Timestamp(0);
        }
        if self.unsettled_until <= now {
            self.unsettled_until = Timestamp(0);
        }
        let phase = &self.record.phase;
        let waits = matches!(phase, EniPhase::Attached | EniPhase::Ready | EniPhase::Quarantined { .. });
        if self.link || self.strayed || !waits {
            self.awaited = Timestamp(0);
        }
    }

    /// What becomes of it once no attachment has it, if it belongs to a claim.
    pub(crate) fn then(&self) -> Option<AfterClaim> {
        self.record.claim.as_ref().map(|claim| claim.then)
    }

    /// Whether it is one that the control plane named, and that nothing was done to so far.
    pub(crate) fn is_sought(&self) -> bool {
        let named = self.record.id.is_some() && self.record.claim.is_some();
        named && self.record.phase == EniPhase::Creating
    }

    /// Where it stands, as far as supply and demand care.
    pub(crate) fn stand(&self) -> Stand {
        match self.record.phase {
            // Those that do not come for long must not take the places of those that may.
            EniPhase::Creating if self.refused || self.failures >= TRIES => Stand::Leaving,
            EniPhase::Creating | EniPhase::Detached | EniPhase::Attaching => Stand::Coming,
            EniPhase::Ready if self.service == Service::Lent => Stand::Sharing,
            EniPhase::Ready if self.link && self.service == Service::Shared => Stand::Sharing,
            EniPhase::Ready if self.link && self.flags.suspect => Stand::Suspect,
            EniPhase::Ready if self.link && self.record.claim.is_none() => Stand::Idle,
            EniPhase::Attached | EniPhase::Ready | EniPhase::Regrouping => Stand::Linking,
            EniPhase::InUse(_) => Stand::Held,
            EniPhase::Quarantined { .. } if self.strayed => Stand::Strayed,
            EniPhase::Quarantined { .. } => Stand::Resting,
            EniPhase::Detaching | EniPhase::Deleting => Stand::Leaving,
            EniPhase::Kept => Stand::Kept,
        }
    }

    /// When the passing of time alone changes something.
    pub(crate) fn due(&self, settings: &PoolSettings) -> Option<Timestamp> {
        match self.record.phase {
            EniPhase::Creating
            | EniPhase::Attaching
            | EniPhase::Regrouping
            | EniPhase::Detaching
            | EniPhase::Deleting => self.work_due(),
            EniPhase::Kept if self.then() == Some(AfterClaim::Forget) => self.work_due(),
            EniPhase::Attached | EniPhase::Ready => {
                let patient = !self.link && !self.strayed;
                patient.then(|| self.awaited + settings.link_timeout)
            }
            EniPhase::Quarantined { .. } if self.flags.suspect => None,
            EniPhase::Quarantined { until } => {
                // Asked at the beginning of time, a quarantine tells when it wants to be asked again.
                match rest(until, self.link, self.awaited, Timestamp(0), settings) {
                    Rest::Until(at) if !self.strayed => Some(at),
                    _ => None,
                }
            }
            EniPhase::Detached | EniPhase::InUse(_) | EniPhase::Kept => None,
        }
    }

    fn work_due(&self) -> Option<Timestamp> {
        match self.work {
            Work::Retry(at) => Some(at),
            Work::Running { until, .. } => Some(until),
            Work::Open | Work::CloudGone => None,
        }
    }
}
