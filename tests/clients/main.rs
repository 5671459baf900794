//! Real container runtimes call the shipped plugin on simulated nodes: containerd through the CRI, podman with its
//! CNI backend, libcni itself. Each scenario has a world of its own; all of them live in one sandbox.

mod alone;
mod cgroups;
mod chain;
mod containerd;
mod cri;
mod crowd;
mod ctr;
mod fixture;
mod image;
mod interrupted;
mod kubelet;
mod libcni;
mod newer;
mod podman;
mod recording;
mod replay;
mod sandboxes;
mod serving;
mod stage;
mod traps;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use libtest_mimic::{Arguments, Trial};
use nix::mount::{MsFlags, mount};
use nix::unistd::Uid;
use terway_rig::{sandbox, slowest};

fn main() -> ExitCode {
    let outside = sandbox::outside() == std::process::id();
    if outside && !Uid::effective().is_root() {
        eprintln!("error: container runtimes want root; run as root, or leave this out (--skip clients)");
        return ExitCode::FAILURE;
    }
    let code = sandbox::run(inside);
    if outside && let Err(error) = cgroups::sweep() {
        eprintln!("error: {error:#}");
        return ExitCode::FAILURE;
    }
    code
}

fn inside() -> Result<ExitCode> {
    let binaries = stage::binaries();
    if !binaries.join("terway").exists() {
        bail!("the shipped binaries are missing in {}; run `cargo xtask build`", binaries.display());
    }
    private_folders()?;
    let mut arguments = Arguments::from_args();
    // Runtimes are heavy: more than a few at once only wait for each other.
    arguments.test_threads = Some(arguments.test_threads.unwrap_or(2));
    let trials = [
        sandboxes::trials(),
        interrupted::trials(),
        crowd::trials(),
        ctr::trials(),
        traps::trials(),
        chain::trials(),
        serving::trials(),
        alone::trials(),
        libcni::trials(),
        newer::trials()?,
        fixture::trials(),
        replay::trials(),
    ];
    let conclusion = libtest_mimic::run(&arguments, trials.into_iter().flatten().collect::<Vec<Trial>>());
    slowest::tell();
    Ok(conclusion.exit_code())
}

/// Runtimes and libcni keep things at fixed places; here those are as short-lived as the sandbox.
fn private_folders() -> Result<()> {
    for folder in ["/var/lib", "/var/tmp", "/opt"] {
        mount(Some("tmpfs"), Path::new(folder), Some("tmpfs"), MsFlags::empty(), Some("mode=755"))
            .with_context(|| format!("failed to mount a {folder} of our own"))?;
    }
    Ok(())
}
