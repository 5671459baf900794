//! An ENI on the node that serves several pods: what it must be for all of them. If it is the node's own NIC, nothing of
//! it is ours to change.

use terway_types::{InterfacePlan, Queueing};

use super::pair::ipv6_switches;
use crate::describe::{Class, NamespaceLayout, Queues, SharedNic, Sysctl};
use crate::facts::{HostFacts, NicFacts};
use crate::kernel::sysctl::{ipv4_conf, ipv6_conf};

/// Adds the ENI, which carries packets of the pods' size at least and has them wait as they are to.
pub(super) fn add(plan: &InterfacePlan, nic: &NicFacts, facts: &HostFacts, host: &mut NamespaceLayout) {
    let is_uplink = nic.name == facts.uplink;
    host.nics.push(SharedNic { name: nic.name.clone(), mac: nic.mac, mtu: (!is_uplink).then_some(plan.mtu) });
    if !is_uplink {
        queue(plan, &nic.name, host);
    }
}

/// Adds what its packets need to be forwarded by the node's stack.
pub(super) fn forward(plan: &InterfacePlan, nic: &NicFacts, facts: &HostFacts, host: &mut NamespaceLayout) {
    if nic.name == facts.uplink {
        return;
    }
    // Packets for pods come in by an ENI that the node's own routes would not answer by, so their sources cannot be
    // checked (RFC 3704): not even loosely, for a link without an address (`fib_validate_source`). The kernel takes the
    // stricter of the link's switch and the node's; other links keep their own.
    if plan.addresses.v4.is_some() {
        for link in ["all", &nic.name] {
            host.sysctls.push(Sysctl { path: ipv4_conf(link, "rp_filter"), value: "0".into() });
        }
    }
    ipv6_switches(&nic.name, plan.addresses.v6.is_some(), &mut host.sysctls);
    if plan.addresses.v6.is_some() {
        host.sysctls.push(Sysctl { path: ipv6_conf(&nic.name, "forwarding"), value: "1".into() });
    }
}

/// Adds how the pod's packets wait at an ENI that pods share.
fn queue(plan: &InterfacePlan, nic: &str, host: &mut NamespaceLayout) {
    let Queueing { paced, class } = plan.queueing;
    if paced || class.is_some() {
        host.queues.push(Queues { link: nic.to_owned(), paced, classes: class.is_some() });
    }
    let tagged = plan.datapath.vlan().is_some();
    let of = |class| move |source| Class { link: nic.to_owned(), source, class, tagged };
    host.classes.extend(class.into_iter().flat_map(|class| plan.addresses.iter().map(of(class))));
}
