//! The shipped programs, built as they ship, in `target/dist`: the plugin static and small, the others
//! as ordinary release builds.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use crate::elf;
use crate::workspace::{Workspace, output, run as run_command};

/// The plugin's size budget in bytes.
const PLUGIN_BUDGET: u64 = 3_000_000;

/// Packages of the other programs, each with its program.
const OTHERS: &[(&str, &str)] =
    &[("terway-daemon", "terwayd"), ("terway-cli", "terway-cli"), ("terway-cloudsim", "terway-cloudsim")];

/// Builds all and says where they are, how large, and whether the plugin keeps its promises.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let plugin = plugin(workspace)?;
    let mut others = workspace.cargo("build --release");
    for (package, _) in OTHERS {
        others.args(["--package", package]);
    }
    run_command(&mut others)?;

    let dist = workspace.dist();
    fs::create_dir_all(&dist).with_context(|| format!("failed to create {}", dist.display()))?;
    install(&plugin, &dist.join("terway"))?;
    for (_, program) in OTHERS {
        install(&workspace.target().join("release").join(program), &dist.join(program))?;
    }
    check_plugin(&dist.join("terway"))?;
    for program in ["terway"].iter().chain(OTHERS.iter().map(|(_, program)| program)) {
        let size = fs::metadata(dist.join(program))?.len();
        eprintln!("   {:<16} {:>6.2} MB", program, megabytes(size));
    }
    eprintln!("   in {}", dist.display());
    Ok(())
}

/// The plugin aborts on panic and has no symbols for a backtrace, so nobody reads unwind tables.
const PLUGIN_FLAGS: &str = "-C target-feature=+crt-static -C force-unwind-tables=no";

/// Builds the plugin for the musl target if it is installed, else statically for the host's glibc.
fn plugin(workspace: &Workspace) -> Result<PathBuf> {
    let host = host_triple()?;
    let musl = host.replace("-gnu", "-musl");
    let triple = if is_installed(&musl) { musl } else { host };
    eprintln!("   the plugin is linked statically for {triple}");
    // With an explicit --target, these flags do not reach build scripts and procedural macros.
    let variable = format!("CARGO_TARGET_{}_RUSTFLAGS", triple.replace('-', "_").to_uppercase());
    run_command(
        workspace
            .cargo("build --profile plugin --package terway-cni")
            .args(["--target", &triple])
            .env(variable, PLUGIN_FLAGS),
    )?;
    Ok(workspace.target().join(triple).join("plugin").join("terway"))
}

fn host_triple() -> Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let text = String::from_utf8(output(Command::new(rustc).arg("-vV"))?)?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc -vV names no host")?.to_owned())
}

/// Whether rustup has the target's standard library; without rustup there is no telling, so no.
fn is_installed(triple: &str) -> bool {
    output(Command::new("rustup").args(["target", "list", "--installed"]))
        .is_ok_and(|list| String::from_utf8_lossy(&list).lines().any(|line| line == triple))
}

/// Puts a program in place by rename: a running one keeps its file, and nobody starts half a file.
fn install(from: &Path, to: &Path) -> Result<()> {
    let fresh = to.with_extension("fresh");
    fs::copy(from, &fresh)
        .and_then(|_| fs::rename(&fresh, to))
        .with_context(|| format!("failed to install {} as {}", from.display(), to.display()))
}

fn check_plugin(plugin: &Path) -> Result<()> {
    let image = fs::read(plugin).with_context(|| format!("failed to read {}", plugin.display()))?;
    match elf::is_static(&image) {
        Some(true) => {}
        Some(false) => bail!("{} needs a dynamic loader; it must run on any node", plugin.display()),
        None => bail!("{} is no 64-bit ELF program", plugin.display()),
    }
    let size = image.len() as u64;
    ensure!(
        size <= PLUGIN_BUDGET,
        "{} has {size} bytes, {} more than its budget of {PLUGIN_BUDGET}",
        plugin.display(),
        size - PLUGIN_BUDGET
    );
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "two digits for a person")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
