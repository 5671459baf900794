//! What the pool wants done. The driver never goes past an [`Effect::Persist`] that failed; after it come the answers,
//! and then the rest, each of the two in order.

use std::fmt;

use terway_types::{
    AddressCounts, AddressSet, Addresses, AttachmentKey, EniId, EniRecord, Fault, IntentToken, LedgerChange,
    SecurityGroupId, VSwitchId,
};

/// Names a request of somebody who waits for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// Names a cloud operation of this life of the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperationId(pub u64);

impl fmt::Display for OperationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "op-{}", self.0)
    }
}

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Make these changes durable, all or none, before anything that follows.
    Persist(Vec<LedgerChange>),
    /// Start a cloud operation; its end comes back as an event.
    Cloud {
        /// Names it.
        operation: OperationId,
        /// What to do.
        action: CloudAction,
    },
    /// Answer a request.
    Reply {
        /// Which one.
        request: RequestId,
        /// With what.
        answer: Answer,
    },
    /// The number of pods that can be served changed.
    Publish(Capacity),
    /// Something worth a line in the log and the history.
    Note(Note),
}

/// One cloud operation, from the first call to the state it aims at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CloudAction {
    /// Make an ENI, or find the one this token made before.
    Create {
        /// Idempotency token and mark.
        token: IntentToken,
        /// Where.
        vswitch: VSwitchId,
        /// In which groups.
        security_groups: Vec<SecurityGroupId>,
        /// With how many addresses and prefixes; the primary IPv4 address counts.
        counts: AddressCounts,
    },
    /// Look at an ENI that exists; it comes back as [`crate::CloudAnswer::Created`].
    Find {
        /// Which.
        eni: EniId,
    },
    /// Attach to this node and watch until the cloud says attached.
    Attach {
        /// Which.
        eni: EniId,
    },
    /// Detach from this node and watch until the cloud says detached.
    Detach {
        /// Which.
        eni: EniId,
    },
    /// Delete and watch until the cloud says gone.
    Delete {
        /// Which.
        eni: EniId,
    },
    /// Replace its security groups.
    Regroup {
        /// Which.
        eni: EniId,
        /// By these.
        security_groups: Vec<SecurityGroupId>,
    },
    /// Give it further addresses or prefixes, or find those this token gave before.
    Assign {
        /// Which.
        eni: EniId,
        /// Idempotency token.
        token: IntentToken,
        /// How many.
        counts: AddressCounts,
    },
    /// Take addresses and prefixes off it, and look until they are gone.
    Unassign {
        /// Which.
        eni: EniId,
        /// What.
        addresses: AddressSet,
    },
}

/// What an attachment holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The ENI: its own, or the one it shares.
    pub eni: EniRecord,
    /// The attachment's addresses.
    pub addresses: Addresses,
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The attachment holds this; durable by now.
    Allocated(Box<Grant>),
    /// The attachment holds nothing; durable by now. Says what it held.
    Released(Option<Box<Grant>>),
    /// These attachments were released.
    Collected(Vec<AttachmentKey>),
    /// It did not work.
    Failed(Fault),
}

/// How many more pods the node can serve.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capacity {
    /// Whole ENIs, or addresses of shared ones, that are ready.
    pub now: u32,
    /// Those, and what pending work and the node's limit still allow.
    pub later: u32,
}

/// Something worth remembering.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// An ENI changed its phase.
    Phase {
        /// Which.
        token: IntentToken,
        /// Its id, if it has one.
        eni: Option<EniId>,
        /// The phase it left; empty for a new one.
        from: &'static str,
        /// The phase it entered, or `gone`.
        to: &'static str,
    },
    /// A cloud operation failed.
    Failure {
        /// On which ENI.
        token: IntentToken,
        /// Why, and what the pool does about it.
        fault: Fault,
    },
    /// The node's operator should hear of it.
    Event {
        /// A short name in CamelCase, e.g. `EniVanished`.
        reason: &'static str,
        /// What happened and what the pool does about it.
        message: String,
    },
}
