//! What shapes, switches and translates a layout's traffic.

use std::fmt;
use std::net::IpAddr;

use terway_types::PriorityClass;

use crate::kernel::Tbf;

/// A kernel switch under `/proc/sys`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sysctl {
    /// Its path below `/proc/sys`, e.g. `net/ipv4/conf/eth0/forwarding`.
    pub path: String,
    /// The value it must have.
    pub value: String,
}

/// A token bucket at the root of a link: limits what leaves by the link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// The link.
    pub link: String,
    /// Rate, bucket and queue.
    pub bucket: Tbf,
}

/// All traffic coming in by one link is first sent out by another, where a token bucket limits it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IngressRedirect {
    /// The link it comes in by.
    pub from: String,
    /// The link it passes.
    pub to: String,
}

/// What a link of the node does with the tags of VLANs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VlanTag {
    /// The link.
    pub link: String,
    /// What it does.
    pub tagging: Tagging,
}

/// A tag put on or taken off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tagging {
    /// What leaves with this source address gets the tag of this VLAN.
    On {
        /// The address.
        source: IpAddr,
        /// The VLAN's id.
        id: u16,
    },
    /// What comes in with any tag loses it. Serves all attachments on the link, and goes with the last.
    Off,
}

/// How what leaves by an ENI waits, per queue of its netdev. Serves all attachments on it, and stays as long as the ENI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queues {
    /// The ENI's link.
    pub link: String,
    /// Whether packets leave at the time they bear.
    pub paced: bool,
    /// Whether they wait by classes.
    pub classes: bool,
}

/// What leaves by an ENI with this source address waits in this class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Class {
    /// The ENI's link.
    pub link: String,
    /// The address.
    pub source: IpAddr,
    /// The class.
    pub class: PriorityClass,
    /// Whether its packets bear the tag of a VLAN by then.
    pub tagged: bool,
}

/// What leaves the node with the pod's address, and what others send to the pod through the node, gets the
/// node's address: a VPC drops packets whose source does not belong to the ENI they leave by, and answers
/// of the pod must come back the way the question came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceNat {
    /// The pod's address.
    pub pod: IpAddr,
    /// The node's address of the same family.
    pub node: IpAddr,
    /// Whether all that the pod sends passes the node's packet filter, so that only what goes to services (their
    /// destination was translated) may bear the node's address.
    pub of_services: bool,
}

impl Sysctl {
    /// The link a per-link switch belongs to: `net/<family>/conf/<link>/<switch>`.
    pub fn link(&self) -> Option<&str> {
        self.path.split('/').nth(3).filter(|name| !matches!(*name, "all" | "default"))
    }

    /// Whether a value read back is the wanted one. A switch the kernel does not have (an IPv6 switch on a
    /// kernel without IPv6) counts as off.
    pub fn is_satisfied_by(&self, found: Option<&str>) -> bool {
        found.map_or("0", str::trim) == self.value
    }
}

impl fmt::Display for Sysctl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sysctl {} = {}", self.path, self.value)
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tbf { rate, burst, limit } = self.bucket;
        write!(f, "qdisc tbf dev {} root rate {rate} bytes/s burst {burst} limit {limit}", self.link)
    }
}

impl fmt::Display for IngressRedirect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "filter ingress dev {} redirect to {}", self.from, self.to)
    }
}

impl fmt::Display for VlanTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.tagging {
            Tagging::On { source, id } => {
                write!(f, "filter egress dev {} src {source} vlan push {id}", self.link)
            }
            Tagging::Off => write!(f, "filter ingress dev {} vlan pop", self.link),
        }
    }
}

impl Queues {
    /// The kinds of qdiscs, as `prio of fq`.
    pub(crate) fn kinds(&self) -> String {
        let kinds = [("prio", self.classes), ("fq", self.paced)];
        let wanted = kinds.into_iter().filter(|(_, wanted)| *wanted);
        wanted.map(|(kind, _)| kind).collect::<Vec<_>>().join(" of ")
    }
}

impl fmt::Display for Queues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "qdisc {} dev {}", self.kinds(), self.link)
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { link, source, class, .. } = self;
        write!(f, "filter prio dev {link} src {source} class {}", class.word())
    }
}

impl fmt::Display for SourceNat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ip = if self.pod.is_ipv4() { "ip" } else { "ip6" };
        let Self { pod, node, of_services } = self;
        let which = if *of_services { " ct status dnat oifname != lo" } else { "" };
        write!(f, "nat {ip} saddr {pod}{which} snat to {node}, {ip} daddr {pod} snat to {node}")
    }
}
