//! The one thing of the host that containers leave behind: control groups have no namespace that ends with them. All
//! of ours are below one parent, named after the process outside, who takes it away when everything inside has ended.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use terway_rig::eventually::eventually;
use terway_rig::sandbox;

const PREFIX: &str = "terway-clients-";
const ROOT: &str = "/sys/fs/cgroup";

/// The parent of all containers of this run, as runtimes want to be told.
pub(crate) fn parent() -> String {
    format!("/{PREFIX}{}", sandbox::outside())
}

/// Takes away what this run has left, and what runs left whose outer process was killed.
pub(crate) fn sweep() -> Result<()> {
    for group in ours()? {
        eventually(&format!("{} is gone", group.display()), Duration::from_secs(10), || remove(&group).ok())?;
    }
    Ok(())
}

/// Groups of this run or of a dead one, in every hierarchy: there is one (version 2) or many (version 1).
fn ours() -> Result<Vec<PathBuf>> {
    let hierarchies = folders(Path::new(ROOT)).with_context(|| format!("failed to read {ROOT}"))?;
    let all = hierarchies.iter().flat_map(|hierarchy| folders(hierarchy).unwrap_or_default());
    Ok(all.chain(hierarchies.clone()).filter(|group| is_ours(group)).collect())
}

fn is_ours(group: &Path) -> bool {
    let name = group.file_name().unwrap_or_default().to_string_lossy();
    let pid = name.strip_prefix(PREFIX).and_then(|pid| pid.parse::<u32>().ok());
    pid.is_some_and(|pid| pid == sandbox::outside() || !Path::new(&format!("/proc/{pid}")).exists())
}

/// Removes a group and those below it; the kernel refuses while a process is in one.
fn remove(group: &Path) -> io::Result<()> {
    for below in folders(group)? {
        remove(&below)?;
    }
    fs::remove_dir(group)
}

fn folders(path: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(path)?.collect::<io::Result<Vec<_>>>()?;
    Ok(entries
        .into_iter()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect())
}
