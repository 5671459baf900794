//! An ENI on the node that serves several pods: what it must be for all of them. If it is the node's own NIC, nothing of
//! it is ours to change.

use std::net::Ipv6Addr;

use terway_types::{InterfacePlan, MacAddr, Queueing};

use super::pair::ipv6_switches;
use crate::describe::{Class, NamespaceLayout, Queues, SharedNic, Sysctl};
use crate::facts::{HostFacts, NicFacts};
use crate::kernel::sysctl::{ipv4_conf, ipv6_conf};

/// Adds the ENI, which carries packets of the pods' size at least and has them wait as they are to.
pub(super) fn add(plan: &InterfacePlan, nic: &NicFacts, facts: &HostFacts, host: &mut NamespaceLayout) {
    let is_uplink = nic.name == facts.uplink;
    let mtu = (!is_uplink).then_some(plan.mtu);
    host.nics.push(SharedNic { name: nic.name.clone(), mac: nic.mac, mtu, link_local: None });
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

/// Lets the node ask by the ENI who has its gateway's IPv6 address. For a packet that it forwards it asks with the
/// link-local address of the link and with no other (`ndisc_solicit`); services of the node may have turned off that the
/// kernel makes one, or have taken it away.
pub(super) fn can_solicit(plan: &InterfacePlan, facts: &HostFacts, host: &mut NamespaceLayout) {
    if plan.addresses.v6.is_none() {
        return;
    }
    for nic in host.nics.iter_mut().filter(|nic| nic.name != facts.uplink) {
        nic.link_local = Some(link_local(nic.mac));
    }
}

/// The address that the kernel itself makes of a MAC.
fn link_local(mac: MacAddr) -> Ipv6Addr {
    let mut bytes = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0).octets();
    bytes[8..].copy_from_slice(&mac.eui64());
    Ipv6Addr::from(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_local_address_is_made_of_the_mac() {
        let made = |mac| link_local(MacAddr(mac)).to_string();
        assert_eq!(made([0, 0x16, 0x3e, 0, 2, 4]), "fe80::216:3eff:fe00:204");
        assert_eq!(made([2, 0, 0, 0xab, 0xcd, 0xef]), "fe80::ff:feab:cdef");
    }
}
