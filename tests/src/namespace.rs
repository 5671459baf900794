//! Work inside other network namespaces: on a short-lived thread each time, never on the caller's.

use std::path::Path;
use std::process::{Child, Command};

use anyhow::{Context as _, Result};
use terway_datapath::kernel::namespace::Netns;

/// Runs `work` inside the namespace at `path`.
pub fn inside<T: Send + 'static>(path: &Path, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let netns = Netns::open(path).with_context(|| format!("failed to open {}", path.display()))?;
    netns.run(work).with_context(|| format!("failed to enter {}", path.display()))
}

/// Starts a program inside the namespace at `path`.
pub fn spawn(path: &Path, mut command: Command) -> Result<Child> {
    let name = command.get_program().to_string_lossy().into_owned();
    inside(path, move || command.spawn())?.with_context(|| format!("failed to start {name}"))
}

/// Makes a named namespace with its loopback up.
pub fn create(path: &Path) -> Result<()> {
    Netns::create_named(path).with_context(|| format!("failed to create {}", path.display()))?;
    Ok(())
}

/// Takes the name away; the kernel ends the namespace once nobody is in it.
pub fn remove(path: &Path) -> Result<()> {
    Netns::remove_named(path).with_context(|| format!("failed to remove {}", path.display()))
}
