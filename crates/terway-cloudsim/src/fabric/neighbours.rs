//! Who has which address: the VPC knows it and asks nobody. An ENI whose addresses are spread over pods need not answer
//! for them.

use std::collections::BTreeSet;
use std::net::IpAddr;

use terway_datapath::kernel::{KernelError, Netlink, Request};

use crate::model::{Nic, ipv4s_of};

/// What an ENI is known to have: its single addresses and those of its IPv4 prefixes. A prefix of IPv6 has too many to
/// be known one by one; there the ENI is asked.
fn known(nic: &Nic) -> BTreeSet<IpAddr> {
    let prefixes = nic.addresses.prefixes.iter().filter(|prefix| prefix.is_ipv4());
    nic.addresses.singles().chain(prefixes.flat_map(ipv4s_of).map(IpAddr::V4)).collect()
}

/// Makes what is known on a vSwitch's bridge fit the ENI; gives what is known now.
pub(super) fn learn(
    bridge: u32,
    nic: &Nic,
    before: &BTreeSet<IpAddr>,
    vpc: &mut Netlink,
) -> Result<BTreeSet<IpAddr>, KernelError> {
    let now = known(nic);
    forget(bridge, before.difference(&now), vpc)?;
    let new: Vec<_> =
        now.iter().map(|address| Request::replace_neighbour(bridge, *address, nic.mac)).collect();
    vpc.transact(&new)?;
    Ok(now)
}

/// Forgets addresses.
pub(super) fn forget<'a>(
    bridge: u32,
    addresses: impl IntoIterator<Item = &'a IpAddr>,
    vpc: &mut Netlink,
) -> Result<(), KernelError> {
    let old: Vec<_> =
        addresses.into_iter().map(|address| Request::delete_neighbour(bridge, *address)).collect();
    vpc.transact_if_present(&old).map(drop)
}
