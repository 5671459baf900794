//! The pod's network namespace, proven to be one, and proven not to be the host's.

use terway_datapath::Seen;
use terway_datapath::kernel::objects::Link;
use terway_datapath::kernel::{KernelError, Netlink, Netns, NetnsError};
use terway_types::{Fault, FaultCode, IfName};

/// Both sides of an attachment.
#[derive(Debug)]
pub(crate) struct Sandbox {
    /// The namespace the runtime calls us in.
    pub(crate) host: Netns,
    /// The pod's.
    pub(crate) pod: Netns,
    /// A connection to the pod's.
    pub(crate) inside: Netlink,
    /// The pod's links, once they were looked at.
    pub(crate) there: Option<Seen<Vec<Link>>>,
}

impl Sandbox {
    /// Opens the namespace at the path of `CNI_NETNS`. Working in the host's own would take the node's NIC
    /// away from it, so that is found out before anything is touched.
    pub(crate) fn open(path: &str) -> Result<Self, Fault> {
        let host = host()?;
        let unusable = |error: NetnsError| {
            Fault::new(FaultCode::NetnsInvalid, format!("CNI_NETNS {path:?} cannot be used"))
                .caused_by(&error)
        };
        let pod = Netns::open(path).map_err(unusable)?;
        if pod.is_same(&host) {
            let what = format!("CNI_NETNS {path:?} is the host's own network namespace");
            return Err(Fault::new(FaultCode::NetnsInvalid, what));
        }
        let refused = |error: KernelError| {
            Fault::new(FaultCode::KernelRefused, "failed to talk with the kernel").caused_by(&error)
        };
        let pod = pod.returning_to(&host);
        // To be entered is the proof that it is of the network kind: the others look alike until then.
        let inside = pod.run(Netlink::here).map_err(unusable)?.map_err(refused)?;
        Ok(Self { host, pod, inside, there: None })
    }

    /// Fails if the pod has a link of this name already.
    pub(crate) fn require_free(&mut self, ifname: &IfName) -> Result<(), Fault> {
        let kernel = |error: KernelError| {
            Fault::new(FaultCode::KernelRefused, format!("failed to look for {ifname} in the pod"))
                .caused_by(&error)
        };
        let links = Seen::by(|| self.inside.links()).map_err(kernel)?;
        let taken = links.then().iter().find(|link| link.name == ifname.as_str()).cloned();
        self.there = Some(links);
        match taken {
            None => Ok(()),
            Some(link) => {
                let owner = link.alias.map_or_else(String::new, |alias| format!(", marked {alias:?}"));
                let what = format!("the pod has an interface {ifname} already{owner}");
                Err(Fault::new(FaultCode::InterfaceExists, what))
            }
        }
    }
}

/// Opens a namespace and proves that it is one of the network kind: the others look alike until entered.
pub(crate) fn open(path: &str) -> Result<Netns, NetnsError> {
    let pod = Netns::open(path)?;
    pod.run(|| ())?;
    Ok(pod)
}

/// The namespace the runtime calls us in.
pub(crate) fn host() -> Result<Netns, Fault> {
    Netns::current().map_err(|error| {
        Fault::new(FaultCode::KernelRefused, "failed to open the host's own network namespace")
            .caused_by(&error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_own_namespace_is_refused() {
        let fault = Sandbox::open("/proc/thread-self/ns/net").unwrap_err();
        assert_eq!(fault.code, FaultCode::NetnsInvalid);
        assert!(fault.what.contains("the host's own"), "{fault}");
    }

    #[test]
    fn what_is_no_namespace_is_refused() {
        for path in ["/proc/self/ns/mnt", "/dev/null", "/", "/run/netns/there-is-none"] {
            let fault = Sandbox::open(path).unwrap_err();
            assert_eq!(fault.code, FaultCode::NetnsInvalid, "{path}");
            assert!(fault.what.contains(path), "{fault}");
        }
    }
}
