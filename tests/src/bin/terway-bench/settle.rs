//! Between two parts: the kernel takes apart the namespaces that the one before has left. Parts keep the sandboxes of their
//! pods, for the sake of what is measured next; with thousands of them everybody who looks for a switch would be slower.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::mount::{MntFlags, umount2};
use terway_datapath::kernel::namespace::Netns;
use terway_datapath::kernel::netlink::Netlink;
use terway_rig::eventually::eventually;
use terway_rig::{namespace, reader};

const NAMED: &str = "/run/netns";
/// What ends when the kernel gets to it.
const LAST: &str = "last";
/// The kernel takes some hundreds a second apart.
const LIMIT: Duration = Duration::from_mins(2);

/// Takes every name away, and waits until nothing is left of the namespaces.
pub(crate) fn settle() -> Result<()> {
    // Where a simulated node shares the folder with its programs it lies over itself, and what was mounted before under that.
    unmount(Path::new(NAMED));
    for entry in fs::read_dir(NAMED).context("no namespace has a name")?.flatten() {
        unname(&entry.path())?;
    }
    // The kernel takes apart together what has come together: the first of these goes with them or after them, and the
    // second after all that was left to do for the first.
    for _ in 0..2 {
        one_more()?;
    }
    Ok(())
}

fn unmount(path: &Path) {
    // As often as it is mounted.
    while umount2(path, MntFlags::MNT_DETACH).is_ok() {}
}

/// Takes a name away.
fn unname(path: &Path) -> Result<()> {
    unmount(path);
    fs::remove_file(path).with_context(|| format!("failed to remove {}", path.display()))
}

/// A namespace that ends at once, until the kernel has got to it.
fn one_more() -> Result<()> {
    let (path, here) = (Path::new(NAMED).join(LAST), Netns::current()?);
    namespace::create(&path)?;
    let own = ["link", "add", LAST, "type", "veth", "peer", "name", LAST, "netns", LAST];
    reader::text(Path::new("/proc/thread-self/ns/net"), "ip", &own)?;
    unname(&path)?;
    let mut netlink = Netlink::open(&here)?;
    let gone = || matches!(netlink.link_by_name(LAST), Ok(None)).then_some(());
    eventually("the namespaces of the part before are taken apart", LIMIT, gone)
}
