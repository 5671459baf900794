//! The pair of links between a pod and the node, as every layout with such a pair has it: the node knows the pod's end
//! by permanent neighbours, speaks to the pod with its own address, and forwards what comes from there.

use ipnetwork::IpNetwork;
use terway_types::{AttachmentKey, InterfacePlan, IpFamily, MacAddr, PodRef};

use super::bandwidth;
use super::ways::{node, route};
use crate::describe::{Link, LinkKind, NamespaceLayout, Neighbour, Route, Sysctl};
use crate::facts::HostFacts;
use crate::kernel::sysctl::{ipv4_conf, ipv6_conf};
use crate::mark::Mark;
use crate::names::{self, ENI_MAC_GROUP, OwnLink};
use crate::source_check;

/// Whether the node takes a packet from the pod only if its answer would go back to the pod (RFC 3704): of IPv4 by a
/// switch of the link, of IPv6 by the group the link is in ([`source_check`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SourceCheck {
    /// It takes all: a check inherited from the node's defaults has no business there.
    Off,
    /// A pod cannot speak with the address of another.
    Strict,
}

impl SourceCheck {
    fn rp_filter(self) -> &'static str {
        match self {
            Self::Off => "0",
            Self::Strict => "1",
        }
    }
}

/// The two links between pod and node.
pub(super) struct Pair<'a> {
    plan: &'a InterfacePlan,
    facts: &'a HostFacts,
    /// The attachment as if this interface were its only one: gives names and MACs of its own to each.
    own: AttachmentKey,
    mark: Mark,
    /// The name of the pod's end.
    pub(super) pod_end: &'a str,
    /// The name of the node's end.
    pub(super) host_end: String,
}

impl<'a> Pair<'a> {
    pub(super) fn new(
        plan: &'a InterfacePlan,
        key: &AttachmentKey,
        pod: &PodRef,
        facts: &'a HostFacts,
        pod_end: &'a str,
    ) -> Self {
        let own = AttachmentKey { ifname: plan.ifname.clone(), ..key.clone() };
        let host_end = names::host_link(&plan.host_prefix, &own, pod);
        Self { plan, facts, own, mark: Mark::of(key), pod_end, host_end }
    }

    /// An RDMA connection finds its device by the hardware address of the link that its own address is on, so the pod's
    /// end has the ENI's for that (`cma_acquire_dev_by_src_ip`).
    fn mac(&self, which: OwnLink) -> MacAddr {
        match which {
            OwnLink::PodEnd if self.plan.erdma => self.plan.mac,
            OwnLink::HostEnd if self.plan.erdma => names::own_mac(&self.own, OwnLink::ErdmaHostEnd),
            which => names::own_mac(&self.own, which),
        }
    }

    /// The pod's end, and the node as it is seen there.
    pub(super) fn pod_side(&self, pod: &mut NamespaceLayout) {
        pod.links.push(Link {
            group: self.plan.erdma.then_some(ENI_MAC_GROUP),
            ..self.end(self.pod_end, &self.host_end, OwnLink::PodEnd)
        });
        ipv6_switches(self.pod_end, self.plan.addresses.v6.is_some(), &mut pod.sysctls);
        for address in self.plan.addresses.iter() {
            pod.neighbours.push(Neighbour {
                link: self.pod_end.to_owned(),
                address: node(IpFamily::of(&address)),
                mac: self.mac(OwnLink::HostEnd),
            });
        }
    }

    /// The node's end, and the way to the pod. What passes it goes on by the link `onward`.
    pub(super) fn host_side(&self, onward: &str, check: SourceCheck, host: &mut NamespaceLayout) {
        let checked = check == SourceCheck::Strict && self.plan.addresses.v6.is_some();
        host.links.push(Link {
            group: checked.then_some(source_check::GROUP),
            ..self.end(&self.host_end, self.pod_end, OwnLink::HostEnd)
        });
        self.host_switches(onward, check, &mut host.sysctls);
        for family in IpFamily::BOTH {
            let (Some(pod), Some(node)) = (self.plan.addresses.get(family), self.facts.addresses.get(family))
            else {
                continue;
            };
            host.routes.push(Route { source: Some(node), ..route(IpNetwork::from(pod), &self.host_end) });
            host.neighbours.push(Neighbour {
                link: self.host_end.clone(),
                address: pod,
                mac: self.mac(OwnLink::PodEnd),
            });
        }
        if let Some(limit) = self.plan.ingress {
            host.limits.push(bandwidth::limit(&self.host_end, limit, self.plan.mtu));
        }
    }

    /// Whatever passes between the pair and the other link is forwarded by both. IPv6 forwards as a whole node or not
    /// at all; the switch of the link alone would do nothing.
    fn host_switches(&self, onward: &str, check: SourceCheck, switches: &mut Vec<Sysctl>) {
        let link = &self.host_end;
        let mut set = |path: String, value: &str| switches.push(Sysctl { path, value: value.to_owned() });
        if self.plan.addresses.v4.is_some() {
            set(ipv4_conf(link, "forwarding"), "1");
            set(ipv4_conf(link, "rp_filter"), check.rp_filter());
            set(ipv4_conf(onward, "forwarding"), "1");
        }
        set(ipv6_conf(link, "accept_ra"), "0");
        if self.plan.addresses.v6.is_some() {
            set(ipv6_conf(link, "disable_ipv6"), "0");
            set(ipv6_conf("all", "forwarding"), "1");
            set(ipv6_conf(link, "forwarding"), "1");
        }
    }

    fn end(&self, name: &str, peer: &str, which: OwnLink) -> Link {
        Link {
            name: name.to_owned(),
            kind: LinkKind::PairEnd { peer: peer.to_owned() },
            mac: self.mac(which),
            mtu: self.plan.mtu,
            mark: self.mark.clone(),
            group: None,
        }
    }
}

/// No router but the layout's gateway, and no waiting for duplicate detection: the VPC gives out each address once.
pub(super) fn ipv6_switches(link: &str, has_ipv6: bool, switches: &mut Vec<Sysctl>) {
    let mut set = |name: &str, value: &str| {
        switches.push(Sysctl { path: ipv6_conf(link, name), value: value.to_owned() });
    };
    set("accept_ra", "0");
    if has_ipv6 {
        set("accept_dad", "0");
        set("disable_ipv6", "0");
    }
}
