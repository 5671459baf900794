//! dhclient on an ENI of pods, as a stanza for every NIC that is plugged in starts it. Nobody answers it here, so what
//! its script does with an answer is done by hand: by its own script.

use anyhow::Result;
use terway_rig::eventually::eventually;
use terway_rig::reader;

use crate::node::{LIMIT, check, of_pods, pods, restored, shared_nic, told, world};
use crate::service::Service;

/// An answer as the vendor's DHCP server gives it; the script's variables are in dhclient-script(8).
const ANSWER: &str = "reason=BOUND new_ip_address=10.1.14.7 new_subnet_mask=255.255.240.0 \
                      new_routers=10.1.15.253 new_dhcp_lease_time=3600";

pub(crate) fn configures(name: &str) -> Result<()> {
    let mut world = world(name)?;
    world.boot()?;
    let node = &mut world.nodes[0];
    let pods = pods(node)?;
    let (before, nic) = (of_pods(node)?, shared_nic(node)?);
    let service =
        Service::start(node, &format!("exec dhclient -d -lf /run/leases -pf /run/dhclient.pid {nic}"))?;
    let comm = format!("/proc/{}/comm", service.pid());
    eventually("dhclient runs", LIMIT, || {
        std::fs::read_to_string(&comm).is_ok_and(|name| name == "dhclient\n").then_some(())
    })?;
    Service::run(node, &format!("env interface={nic} {ANSWER} dhclient-script"))?;
    told(node, "EniCleared", &["10.1.14.7/20", "dhclient"])?;
    eventually("the ENI has no address on the node", LIMIT, || {
        let said = reader::text(&node.netns, "ip", &["-4", "-o", "address", "show", "dev", &nic]).ok()?;
        said.is_empty().then_some(())
    })?;
    restored(node, &before)?;
    check(&pods)?;
    service.stop()
}
