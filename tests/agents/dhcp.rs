//! A DHCP server in the VPC, as clouds have one: it gives an address to any NIC that asks.

use anyhow::Result;
use terway_rig::world::World;

use crate::service::Service;

/// How the addresses begin that it gives, which are nobody's.
pub(crate) const LEASED: &str = "10.1.14.";
/// What it has given, a line for each; not there before the first.
pub(crate) const LEASES: &str = "/run/leases";

/// Starts it on the gateway of the vSwitch that pods' ENIs are in.
pub(crate) fn serve(world: &World) -> Result<Service> {
    let script = format!(
        "exec dnsmasq --no-daemon --port=0 --conf-file=/dev/null --user=root --pid-file= --no-ping --dhcp-authoritative \
         --dhcp-range={LEASED}10,{LEASED}90,255.255.240.0,1h --dhcp-leasefile={LEASES}"
    );
    Service::inside(&world.vpc, &script)
}
