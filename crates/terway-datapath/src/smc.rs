//! What connections may go over RDMA between: the entries of SMC-R's table that an attachment needs. A device's entry serves
//! all pods on its ENI and stays; a pod's goes with its link.

use std::collections::BTreeSet;

use crate::kernel::{KernelError, Netns, SmcEntry, SmcMember, SmcTable};

/// Adds the entries that are missing. What is in another network already is somebody's wish.
pub(crate) fn add_missing(wanted: &[SmcEntry], netns: &Netns) -> Result<(), KernelError> {
    if wanted.is_empty() {
        return Ok(());
    }
    let Some(mut table) = SmcTable::open(netns)? else { return Ok(()) };
    let there = table.entries()?;
    for entry in wanted.iter().filter(|entry| !there.iter().any(|one| one.member == entry.member)) {
        match table.add(entry) {
            // Another pod on the ENI was quicker.
            Err(error) if error.is_exists() => {}
            outcome => outcome?,
        }
    }
    Ok(())
}

/// Takes the pod's links out of their networks. The kernel forgets a network as a whole, so what else is in it stays only
/// if it is added again.
pub(crate) fn forget(links: &[&str], pod: &Netns) -> Result<(), KernelError> {
    let Some(mut table) = SmcTable::open(pod)? else { return Ok(()) };
    let there = table.entries()?;
    let is_theirs =
        |entry: &&SmcEntry| matches!(&entry.member, SmcMember::Link(name) if links.contains(&name.as_str()));
    let networks: BTreeSet<_> = there.iter().filter(is_theirs).map(|entry| &entry.network).collect();
    for network in networks {
        table.remove(network)?;
        for entry in there.iter().filter(|entry| entry.network == *network && !is_theirs(entry)) {
            table.add(entry)?;
        }
    }
    Ok(())
}
