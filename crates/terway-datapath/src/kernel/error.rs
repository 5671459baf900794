//! What the kernel answers when it refuses: one error type for every netlink request, with the request
//! in words, the errno, and the kernel's own explanation (extended ack) where it gives one.

use std::fmt;
use std::io;

use nix::errno::Errno;
use terway_types::fault::chain;
use terway_types::{Fault, FaultCode};

use super::namespace::NetnsError;

/// A request to the kernel that failed.
#[derive(Debug, thiserror::Error)]
#[error("failed to {what}")]
pub struct KernelError {
    what: String,
    #[source]
    cause: Cause,
}

/// Why it failed.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// The kernel refused the request.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The kernel took the request and never answered it.
    #[error("the kernel gave no answer")]
    Unanswered,
    /// A dump was disturbed by changes each time it was tried.
    #[error("the list changed during each of {0} attempts to read it")]
    Interrupted(u32),
    /// The socket to the kernel failed.
    #[error("netlink socket error")]
    Socket(#[source] io::Error),
    /// The namespace to talk to is unusable.
    #[error(transparent)]
    Netns(#[from] NetnsError),
}

/// The kernel's own words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Refusal {
    /// The error number.
    pub errno: Errno,
    /// The extended ack's text, if the kernel sent one.
    pub extack: Option<String>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:?})", self.errno.desc(), self.errno)?;
        match &self.extack {
            // Runtimes take a DEL error with the words "not found" for success, and the kernel uses
            // them in several of its texts.
            Some(text) => write!(f, ": {}", text.replace("not found", "absent")),
            None => Ok(()),
        }
    }
}

impl KernelError {
    /// An error of the request that `what` describes as the end of "failed to ...".
    pub(crate) fn new(what: impl Into<String>, cause: impl Into<Cause>) -> Self {
        Self { what: what.into(), cause: cause.into() }
    }

    /// What was asked for, e.g. `add address 10.0.0.2/32 to link 4`.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// Why it failed.
    pub fn cause(&self) -> &Cause {
        &self.cause
    }

    /// The error number, if the kernel refused.
    pub fn errno(&self) -> Option<Errno> {
        match &self.cause {
            Cause::Refused(refusal) => Some(refusal.errno),
            _ => None,
        }
    }

    /// The kernel's explanation, if it gave one.
    pub fn extack(&self) -> Option<&str> {
        match &self.cause {
            Cause::Refused(refusal) => refusal.extack.as_deref(),
            _ => None,
        }
    }

    /// The failure as a person meets it.
    pub fn fault(&self) -> Fault {
        Fault::new(FaultCode::KernelRefused, self.to_string()).because(chain(&self.cause))
    }

    /// The object is already there.
    pub fn is_exists(&self) -> bool {
        self.errno() == Some(Errno::EEXIST)
    }

    /// The object, or what it hangs on, is not there: a link (`ENODEV`), a route (`ESRCH`), a qdisc or table
    /// (`ENOENT`), an address (`EADDRNOTAVAIL`).
    pub fn is_absent(&self) -> bool {
        use Errno::{EADDRNOTAVAIL, ENODEV, ENOENT, ENXIO, ESRCH};
        matches!(self.errno(), Some(ENODEV | ENOENT | ESRCH | EADDRNOTAVAIL | ENXIO))
    }

    /// The object is in use.
    pub fn is_busy(&self) -> bool {
        self.errno() == Some(Errno::EBUSY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_request_errno_and_extack_and_never_not_found() {
        let refusal = Refusal { errno: Errno::ENOENT, extack: Some("Parent Qdisc not found".into()) };
        let error = KernelError::new("remove the root qdisc of link 3", refusal);
        assert_eq!(
            chain(&error),
            "failed to remove the root qdisc of link 3: No such file or directory (ENOENT): Parent Qdisc absent"
        );
        assert!(error.is_absent() && !error.is_exists() && !error.is_busy());
    }
}
