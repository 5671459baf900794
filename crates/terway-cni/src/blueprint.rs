//! Plans laid out on this node: the layouts ADD applies and CHECK compares, with the rule by which the
//! ENIs are found.

use std::path::Path;
use std::time::Instant;

use terway_datapath::kernel::{KernelError, Netlink, Netns, NicRule};
use terway_datapath::{HostFacts, Layout, Seen, layout};
use terway_types::{Fault, InterfacePlan, IpFamily, MacAddr};

use crate::erdma::find_devices;
use crate::subject::Subject;

/// One interface, completely described.
#[derive(Clone, Debug)]
pub(crate) struct Blueprint {
    /// What it should be.
    pub(crate) plan: InterfacePlan,
    /// How that looks in the kernel.
    pub(crate) layout: Layout,
    /// The index its ENI's netdev was last seen under.
    pub(crate) nic_index: Option<u32>,
}

impl Blueprint {
    /// Which links count as a NIC on this node.
    pub(crate) fn nic_rule(&self) -> NicRule {
        NicRule::with_kinds(&self.plan.nic_kinds)
    }
}

/// What was seen of the node before anybody knew what the pod gets: its facts, if it has both families. Of one family they
/// are quickly read when it is known which, and so are those that were seen long ago.
#[derive(Debug, Default)]
pub(crate) struct Node {
    connection: Option<Netlink>,
    facts: Option<Seen<HostFacts>>,
}

impl Node {
    /// Looks. What fails is tried again by whoever needs it, and told then.
    pub(crate) fn look(host: &Netns) -> Self {
        let mut connection = Netlink::open(host).ok();
        let look =
            |netlink: &mut Netlink| Seen::by(|| HostFacts::observe_over(netlink, host, IpFamily::BOTH)).ok();
        Self { facts: connection.as_mut().and_then(look), connection }
    }

    /// The connection to the node by which it was looked at, or a new one.
    pub(crate) fn connection(&mut self, host: &Netns) -> Result<Netlink, KernelError> {
        self.connection.take().map_or_else(|| Netlink::open(host), Ok)
    }
}

/// Lays out every plan. Nothing is changed by this; the netdevs of ENIs that stay on the node are looked for where they
/// were seen, and awaited until the deadline.
pub(crate) fn lay_out(
    plans: Vec<InterfacePlan>,
    subject: &Subject,
    (host, node): (&Netns, Node),
    auto_mtu: bool,
    seen: &[(MacAddr, u32)],
    deadline: Instant,
) -> Result<Vec<Blueprint>, Fault> {
    let facts = host_facts(&plans, (host, node), auto_mtu, seen, deadline)?;
    plans
        .into_iter()
        .map(|mut plan| {
            if auto_mtu {
                plan.mtu = facts.uplink_mtu;
            }
            let layout = layout(&plan, &subject.key, &subject.pod, &facts).map_err(|error| error.fault())?;
            let nic_index = index_of(seen, plan.mac);
            Ok(Blueprint { plan, layout, nic_index })
        })
        .collect()
}

fn index_of(seen: &[(MacAddr, u32)], mac: MacAddr) -> Option<u32> {
    seen.iter().find(|(one, _)| *one == mac).map(|(_, index)| *index)
}

/// The node's address per family is needed by links to the node, its MTU where the pods' follows it. Without these the
/// facts serve only to keep the node's uplink from being taken for an ENI, and may be missing.
fn host_facts(
    plans: &[InterfacePlan],
    (host, node): (&Netns, Node),
    auto_mtu: bool,
    seen: &[(MacAddr, u32)],
    deadline: Instant,
) -> Result<HostFacts, Fault> {
    let in_use = |family: &IpFamily| plans.iter().any(|plan| plan.addresses.get(*family).is_some());
    let families: Vec<_> = IpFamily::BOTH.into_iter().filter(in_use).collect();
    let shared = |plan: &&InterfacePlan| plan.datapath.shares_the_eni();
    let meets_the_node =
        |plan: &InterfacePlan| plan.host_peer || plan.datapath.is_a_pair() || plan.datapath.shares_the_eni();
    let needs_the_node = auto_mtu || plans.iter().any(meets_the_node);
    let seen_before = node.facts.filter(|_| families == IpFamily::BOTH).and_then(Seen::fresh);
    let mut facts = match seen_before.map_or_else(|| HostFacts::observe(host, families), Ok) {
        Ok(facts) => facts,
        Err(_) if !needs_the_node => HostFacts::default(),
        Err(error) => return Err(error.fault()),
    };
    for plan in plans.iter().filter(shared) {
        let rule = NicRule::with_kinds(&plan.nic_kinds);
        let found = facts.find_nic(host, plan.mac, &rule, index_of(seen, plan.mac), deadline);
        found.map_err(|error| error.fault())?;
    }
    find_devices(Path::new("/"), plans, host, &mut facts)?;
    Ok(facts)
}
