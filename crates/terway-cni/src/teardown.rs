//! Taking an attachment out of the kernel, with as much as is known about it.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use terway_datapath::Mark;
use terway_datapath::attachment_lock::{self, AttachmentLock};
use terway_datapath::kernel::{Netlink, Netns, NicRule};
use terway_datapath::remove::{Removal, remove, remove_but_tables};
use terway_types::{AttachmentKey, Datapath, Fault, FaultCode, InterfacePlan, MacAddr};

/// What is known about an attachment that goes away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Known {
    /// The hardware address of the ENI that is its own. One it shares is nobody's to take away.
    pub(crate) mac: Option<MacAddr>,
    /// Its addresses.
    pub(crate) addresses: Vec<IpAddr>,
    /// Link kinds that count as a NIC besides those without any.
    pub(crate) nic_kinds: Vec<String>,
    /// The names of its links on the node.
    pub(crate) host_links: Vec<String>,
    /// The routing tables of ENIs it shares.
    pub(crate) tables: BTreeSet<u32>,
}

impl Known {
    /// What the plans of its interfaces say; the runtime's own comes first.
    pub(crate) fn of<'a>(plans: impl IntoIterator<Item = &'a InterfacePlan>) -> Self {
        let mut known = Self::default();
        for plan in plans {
            known.addresses.extend(plan.addresses.iter());
            if known.nic_kinds.is_empty() {
                known.nic_kinds.clone_from(&plan.nic_kinds);
            }
            if plan.datapath == Datapath::Exclusive && known.mac.is_none() {
                known.mac = Some(plan.mac);
            }
        }
        known
    }
}

/// Waits for another call for the same attachment. A folder for locks that cannot be written does not keep a pod
/// from going away.
pub(crate) fn lock(
    run_dir: &Path,
    key: &AttachmentKey,
    patience: Duration,
) -> Result<Option<AttachmentLock>, Fault> {
    match attachment_lock::acquire(run_dir, key, patience) {
        Ok(lock) => Ok(Some(lock)),
        Err(fault) if fault.code == FaultCode::AttachmentBusy => Err(fault),
        Err(fault) => {
            eprintln!("terway: going on without lock: {fault}");
            Ok(None)
        }
    }
}

/// Removes what is there; nothing being there is success.
pub(crate) fn tear_down(
    key: &AttachmentKey,
    known: &Known,
    host: &Netns,
    pod: Option<&Netns>,
) -> Result<(), Fault> {
    let (removal, rule) = removal(key, known);
    remove(&removal, host, pod, &rule).map(drop).map_err(|error| error.fault())
}

/// The same, but leaves alone what others on the ENI may need, and tells in which routing tables that is.
pub(crate) fn tear_down_own(
    key: &AttachmentKey,
    known: &Known,
    host: &Netns,
    pod: Option<&Netns>,
) -> Result<BTreeSet<u32>, Fault> {
    let (removal, rule) = removal(key, known);
    let removed = remove_but_tables(&removal, host, pod, &rule).map_err(|error| error.fault())?;
    Ok(&removed.tables | &known.tables)
}

fn removal(key: &AttachmentKey, known: &Known) -> (Removal, NicRule) {
    let removal = Removal {
        key: key.clone(),
        mac: known.mac,
        addresses: known.addresses.clone(),
        host_links: known.host_links.clone(),
    };
    (removal, NicRule::with_kinds(&known.nic_kinds))
}

/// Whether the attachment's ENI may still be in the pod. If the namespace cannot be read it may.
pub(crate) fn still_holds_nic(key: &AttachmentKey, known: &Known, pod: &Netns) -> bool {
    let Ok(links) = Netlink::open(pod).and_then(|mut netlink| netlink.links()) else { return true };
    let mark = Mark::of(key);
    let rule = NicRule::with_kinds(&known.nic_kinds);
    links.iter().any(|link| {
        let is_marked = link.alias.as_deref() == Some(mark.as_str());
        let is_the_pods = link.name == key.ifname.as_str();
        (known.mac.is_some() && link.mac == known.mac) || (is_marked && (is_the_pods || rule.is_nic(link)))
    })
}
