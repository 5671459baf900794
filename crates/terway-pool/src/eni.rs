//! One ENI in memory: its durable record, and what this life of the daemon knows besides.

use terway_types::{EniPhase, EniRecord, Fault, Timestamp};

use crate::effect::OperationId;
use crate::quarantine::{Rest, rest};
use crate::reconcile::Rule;
use crate::settings::PoolSettings;
use crate::tally::Stand;

/// The cloud's part in a phase that needs a cloud operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// Not asked yet.
    Open,
    /// Under way.
    Running(OperationId),
    /// Failed; to be tried again then.
    Retry(Timestamp),
    /// The delete call confirmed that the ENI is gone; its netdev is still on the node.
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
    pub(crate) service: Service,
    /// Whether its netdev is in the host's namespace, as far as we were told.
    pub(crate) link: bool,
    /// Since when its netdev is awaited; meaningful while it is away.
    pub(crate) awaited: Timestamp,
    pub(crate) work: Work,
    /// Failed cloud operations in a row.
    pub(crate) failures: u32,
    /// Whether a create call may have made the ENI without our hearing of it.
    pub(crate) doubt: bool,
    /// Whether the cloud has refused to make it since the last doubt.
    pub(crate) refused: bool,
    /// Whether its netdev did not come home in time.
    pub(crate) strayed: bool,
    pub(crate) flags: Flags,
    pub(crate) last_fault: Option<Fault>,
}

impl Eni {
    pub(crate) fn new(record: EniRecord, now: Timestamp) -> Self {
        Self {
            record,
            service: Service::Whole,
            link: false,
            awaited: now,
            work: Work::Open,
            failures: 0,
            doubt: false,
            refused: false,
            strayed: false,
            flags: Flags::default(),
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
            _ => {}
        }
        // A released ENI stays suspect: nothing has spoken for it since.
        let suspect = self.flags.suspect && matches!(phase, EniPhase::Quarantined { .. });
        self.flags = Flags { suspect, ..Flags::default() };
        (self.record.phase, self.record.since) = (phase, now);
        (self.awaited, self.work, self.strayed) = (now, Work::Open, false);
    }

    /// Where it stands, as far as supply and demand care.
    pub(crate) fn stand(&self) -> Stand {
        match self.record.phase {
            EniPhase::Creating if self.refused => Stand::Leaving,
            EniPhase::Creating | EniPhase::Detached | EniPhase::Attaching => Stand::Coming,
            EniPhase::Ready if self.service == Service::Lent => Stand::Sharing,
            EniPhase::Ready if self.link && self.service == Service::Shared => Stand::Sharing,
            EniPhase::Ready if self.link && self.flags.suspect => Stand::Suspect,
            EniPhase::Ready if self.link => Stand::Idle,
            EniPhase::Attached | EniPhase::Ready => Stand::Linking,
            EniPhase::InUse(_) => Stand::Held,
            EniPhase::Regrouping => Stand::Linking,
            EniPhase::Kept => Stand::Leaving,
            EniPhase::Quarantined { .. } if self.strayed => Stand::Strayed,
            EniPhase::Quarantined { .. } => Stand::Resting,
            EniPhase::Detaching | EniPhase::Deleting => Stand::Leaving,
        }
    }

    /// When the passing of time alone changes something.
    pub(crate) fn due(&self, settings: &PoolSettings) -> Option<Timestamp> {
        match self.record.phase {
            EniPhase::Creating | EniPhase::Attaching | EniPhase::Detaching | EniPhase::Deleting => {
                match self.work {
                    Work::Retry(at) => Some(at),
                    Work::Open | Work::Running(_) | Work::CloudGone => None,
                }
            }
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
            EniPhase::Detached | EniPhase::InUse(_) | EniPhase::Regrouping | EniPhase::Kept => None,
        }
    }
}
