//! How cloud calls fail, in the few kinds that lead to different decisions. Providers map their
//! vendor's codes to these; the pool decides by them.

use std::fmt;

/// What a failed cloud call means for the caller.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum CloudFailureKind {
    /// Too many calls; try later, and slower.
    Throttled,
    /// A quota is used up: which one, and its limit if the cloud says it.
    Quota {
        /// The vendor's name of the quota.
        which: String,
        /// The limit, if known.
        limit: Option<u32>,
    },
    /// The vSwitch has no free address.
    SubnetExhausted,
    /// The object is in a state that does not allow the call; look again.
    InvalidState,
    /// The object does not exist (any more).
    Gone,
    /// The credentials do not allow the call, or are not valid.
    Denied,
    /// The caller's clock is too far from the cloud's.
    ClockSkew,
    /// Another operation on the object is running, or the idempotency token was used differently.
    Conflict,
    /// A parameter is wrong; repeating cannot help.
    Invalid,
    /// Failed without effect; repeating may help.
    Transient,
    /// The outcome is unknown: look before acting again.
    Ambiguous,
}

impl CloudFailureKind {
    /// Whether the same call may succeed later without anybody changing anything.
    pub fn is_retryable(&self) -> bool {
        !matches!(self, Self::Denied | Self::Invalid | Self::Gone | Self::ClockSkew)
    }

    /// A short, stable name for metrics and logs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Throttled => "throttled",
            Self::Quota { .. } => "quota",
            Self::SubnetExhausted => "subnet-exhausted",
            Self::InvalidState => "invalid-state",
            Self::Gone => "gone",
            Self::Denied => "denied",
            Self::ClockSkew => "clock-skew",
            Self::Conflict => "conflict",
            Self::Invalid => "invalid",
            Self::Transient => "transient",
            Self::Ambiguous => "ambiguous",
        }
    }
}

/// A failed cloud call, with what a person needs to follow it up.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CloudFailure {
    /// What it means.
    pub kind: CloudFailureKind,
    /// The action, e.g. `AttachNetworkInterface`.
    pub action: String,
    /// The vendor's error code, if it answered with one.
    pub vendor_code: Option<String>,
    /// The vendor's request id, for its support.
    pub request_id: Option<String>,
    /// The vendor's or the transport's message.
    pub message: String,
}

impl fmt::Display for CloudFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failed ({}): ", self.action, self.kind.name())?;
        if let Some(code) = &self.vendor_code {
            write!(f, "{code}: ")?;
        }
        f.write_str(&self.message)?;
        if let Some(id) = &self.request_id {
            write!(f, " [request {id}]")?;
        }
        Ok(())
    }
}

impl std::error::Error for CloudFailure {}
