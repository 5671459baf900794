//! What the kernel can do at all, asked without changing anything.

use nix::errno::Errno;

use super::error::KernelError;
use super::netlink::Netlink;
use super::request::Request;

/// Kinds of qdiscs that a kernel may lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QdiscKind {
    /// Fair queueing, which sends packets at the time they bear.
    Fq,
    /// Classes of which one goes before the other.
    Prio,
}

impl QdiscKind {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fq => "fq",
            Self::Prio => "prio",
        }
    }
}

impl Netlink {
    /// Whether the kernel has a kind of qdisc; it may load a module to say so.
    pub fn has_qdisc(&mut self, kind: QdiscKind) -> Result<bool, KernelError> {
        let Err(error) = self.transact(&[Request::probe_qdisc(kind)]) else { return Ok(true) };
        match error.errno() {
            // "Specified qdisc kind is unknown"
            Some(Errno::ENOENT) => Ok(false),
            // It is known, and wants other parameters.
            Some(Errno::EINVAL | Errno::ERANGE) => Ok(true),
            _ => Err(error),
        }
    }

    /// Whether the kernel makes IPVlan links; it may load a module to say so.
    pub fn has_ipvlan(&mut self) -> Result<bool, KernelError> {
        let Err(error) = self.transact(&[Request::add_orphaned_ipvlan()]) else { return Ok(true) };
        match error.errno() {
            // "Unknown device type".
            Some(Errno::EOPNOTSUPP) => Ok(false),
            // It is known, and wants a parent.
            Some(Errno::EINVAL) => Ok(true),
            _ => Err(error),
        }
    }
}
