//! dhclient on an ENI of pods, as a stanza for every NIC that is plugged in starts it. The VPC's server answers it.

use anyhow::Result;

use crate::dhcp::{self, LEASED};
use crate::node::{check, cleared, of_pods, pods, restored, shared_nic, told, world};
use crate::service::Service;

pub(crate) fn configures(name: &str) -> Result<()> {
    let mut world = world(name)?;
    let server = dhcp::serve(&world)?;
    world.boot()?;
    let node = &mut world.nodes[0];
    let pods = pods(node)?;
    let (before, nic) = (of_pods(node)?, shared_nic(node)?);
    let script = format!("exec dhclient -d -v -lf /run/leases -pf /run/dhclient.pid {nic}");
    let service = Service::start(node, &script)?;
    told(node, "EniCleared", &[LEASED, "dhclient"])?;
    cleared(node, &nic)?;
    restored(node, &before)?;
    check(&pods)?;
    service.stop()?;
    server.stop()
}
