//! How applying a layout fails.

use std::fmt;

use terway_types::{Fault, FaultCode, IpFamily, MacAddr, fault::chain};

use crate::kernel::sysctl::SysctlError;
use crate::kernel::{Cause, KernelError, NetnsError, NicError};
use crate::remove::RemoveError;

/// The steps of applying a layout, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// Links moved and made.
    Links,
    /// Switches of the node that other attachments share.
    NodeSwitches,
    /// Switches of those links.
    LinkSwitches,
    /// Everything on the links in the pod.
    Pod,
    /// Everything on the links in the host, and source translation.
    Host,
    /// The pod's `lo`.
    Loopback,
}

impl Step {
    /// All steps, in order.
    pub const ALL: [Self; 6] =
        [Self::Links, Self::NodeSwitches, Self::LinkSwitches, Self::Pod, Self::Host, Self::Loopback];
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Links => "move and make the links",
            Self::NodeSwitches => "set the node's switches",
            Self::LinkSwitches => "set the links' switches",
            Self::Pod => "set up the pod's side",
            Self::Host => "set up the host's side",
            Self::Loopback => "set up the pod's lo",
        })
    }
}

/// A layout that could not be applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The pod shares the host's namespace, where the ENI's netdev must stay.
    #[error("the pod's network namespace is the host's own")]
    HostNamespace,
    /// The pod has links of these names already.
    #[error("the pod has a link named {} already", names.join(" and one named "))]
    NameTaken {
        /// The names.
        names: Vec<String>,
    },
    /// Another network of the pod leads everywhere.
    #[error("the pod has an {family} default route by {holder} already")]
    DefaultRouteTaken {
        /// The family.
        family: IpFamily,
        /// The link it leads by.
        holder: String,
    },
    /// The ENI's netdev cannot be told.
    #[error(transparent)]
    Nic(#[from] NicError),
    /// The ENI got another name since the node was looked at.
    #[error("the NIC with MAC {mac} was renamed from {from} to {to} meanwhile")]
    NicRenamed {
        /// The name it had.
        from: String,
        /// The name it has.
        to: String,
        /// Its MAC.
        mac: MacAddr,
    },
    /// The MAC leads to a link the node needs for itself.
    #[error("{name}, the NIC with MAC {mac}, is {why}")]
    NicInUse {
        /// The link.
        name: String,
        /// Its MAC.
        mac: MacAddr,
        /// What the node needs it for.
        why: String,
    },
    /// The pod's host link cannot be made: a link nobody of us made has its name.
    #[error("the host has a link named {name} that is not a pod's")]
    HostLinkTaken {
        /// The name.
        name: String,
    },
    /// The kernel could not be asked.
    #[error(transparent)]
    Look(#[from] KernelError),
    /// A step failed, and what was done before has been undone.
    #[error("failed to {step}{}", undone(.undo.as_deref()))]
    Step {
        /// The step.
        step: Step,
        /// Why.
        #[source]
        source: Box<StepError>,
        /// What could not be undone, if anything.
        undo: Option<Box<RemoveError>>,
    },
}

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// The kernel refused.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// A namespace could not be entered.
    #[error(transparent)]
    Netns(#[from] NetnsError),
    /// A switch could not be set.
    #[error(transparent)]
    Sysctl(#[from] SysctlError),
    /// A link that was made is not there.
    #[error("link {0} has vanished")]
    Vanished(String),
    /// The caller stopped it.
    #[error("stopped: {0}")]
    Stopped(String),
}

impl ApplyError {
    /// The failure as a person meets it.
    pub fn fault(&self) -> Fault {
        let code = match self {
            Self::Nic(error) => return error.fault(),
            Self::HostLinkTaken { name } => {
                let remedy = format!("delete or rename link {name} of the node");
                return Fault::new(FaultCode::InterfaceExists, self.to_string()).remedy(remedy);
            }
            Self::DefaultRouteTaken { .. } => {
                let remedy = "set default_route to false in the configuration of one of the pod's networks";
                return Fault::new(FaultCode::PlanInvalid, self.to_string()).remedy(remedy);
            }
            Self::HostNamespace => FaultCode::NetnsInvalid,
            Self::NameTaken { .. } => FaultCode::InterfaceExists,
            Self::NicRenamed { .. } => FaultCode::KernelRefused,
            Self::NicInUse { .. } => FaultCode::PlanInvalid,
            Self::Look(error) => code_of(error),
            Self::Step { source, .. } => source.code(),
        };
        let fault = Fault::new(code, self.to_string());
        match std::error::Error::source(self) {
            Some(cause) => fault.because(chain(cause)),
            None => fault,
        }
    }
}

impl StepError {
    fn code(&self) -> FaultCode {
        match self {
            Self::Netns(_) => FaultCode::NetnsInvalid,
            Self::Kernel(error) => code_of(error),
            Self::Sysctl(_) | Self::Vanished(_) | Self::Stopped(_) => FaultCode::KernelRefused,
        }
    }
}

fn code_of(error: &KernelError) -> FaultCode {
    if matches!(error.cause(), Cause::Netns(_)) { FaultCode::NetnsInvalid } else { FaultCode::KernelRefused }
}

fn undone(error: Option<&RemoveError>) -> String {
    error.map_or_else(String::new, |error| format!(" (and to undo it: {error})"))
}

#[cfg(test)]
mod tests {
    use nix::errno::Errno;
    use terway_types::{AttachmentKey, ContainerId, IfName, NetworkName};

    use super::*;
    use crate::kernel::error::Refusal;

    fn refused(what: &str, errno: Errno) -> KernelError {
        KernelError::new(what, Refusal { errno, extack: None })
    }

    #[test]
    fn what_could_not_be_undone_stands_beside_what_failed() {
        let key = AttachmentKey {
            network: NetworkName::new("terway").unwrap(),
            container: ContainerId::new("c0ffee").unwrap(),
            ifname: IfName::new("eth0").unwrap(),
        };
        let failures =
            vec![refused("move NIC eth0 to the host", Errno::EBUSY), refused("list links", Errno::EPERM)];
        let error = ApplyError::Step {
            step: Step::Pod,
            source: Box::new(refused("add route default", Errno::EEXIST).into()),
            undo: Some(Box::new(RemoveError { key, failures })),
        };
        let fault = error.fault();
        assert_eq!(fault.code, FaultCode::KernelRefused);
        insta::assert_snapshot!(fault, @"kernel-refused: failed to set up the pod's side (and to undo it: attachment terway/c0ffee/eth0 is not removed completely: failed to move NIC eth0 to the host: Device or resource busy (EBUSY); failed to list links: Operation not permitted (EPERM)): failed to add route default: File exists (EEXIST) (remedy: see the cause; check kernel version, modules and privileges)");
    }

    #[test]
    fn failures_have_the_code_of_their_cause() {
        let step = |source| ApplyError::Step { step: Step::Pod, source: Box::new(source), undo: None };
        let gone = || NetnsError::Missing { path: "/run/netns/x".into() };
        for (error, code) in [
            (ApplyError::HostNamespace, FaultCode::NetnsInvalid),
            (ApplyError::NameTaken { names: vec!["eth0".into()] }, FaultCode::InterfaceExists),
            (ApplyError::Look(refused("list links", Errno::EPERM)), FaultCode::KernelRefused),
            (ApplyError::Look(KernelError::new("list links", gone())), FaultCode::NetnsInvalid),
            (step(gone().into()), FaultCode::NetnsInvalid),
            (step(KernelError::new("list links", gone()).into()), FaultCode::NetnsInvalid),
            (step(StepError::Vanished("veth1".into())), FaultCode::KernelRefused),
        ] {
            assert_eq!(error.fault().code, code, "{error}");
        }
    }
}
