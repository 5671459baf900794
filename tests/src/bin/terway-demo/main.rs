//! The whole product on one machine: a simulated cloud, two nodes, six pods with an ENI each, and what they can and
//! cannot do. Run it by `cargo xtask demo`.

mod chapter;
mod story;

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use terway_rig::sandbox;

fn main() -> ExitCode {
    sandbox::run(|| {
        let report = story::tell(&binaries()?)?;
        Ok(if report { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
}

/// `--bin-dir DIR`, the folder with the shipped binaries; by default the one this program lies in.
fn binaries() -> Result<PathBuf> {
    let mut arguments = env::args_os().skip(1);
    while let Some(argument) = arguments.next() {
        if argument == "--bin-dir" {
            return arguments.next().map(PathBuf::from).context("--bin-dir needs a folder");
        }
    }
    let own = env::current_exe().context("failed to find this program")?;
    Ok(own.parent().context("this program lies in no folder")?.to_owned())
}
