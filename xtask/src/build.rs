//! The shipped programs, built as they ship, in `target/dist`: the plugin static and small, the others
//! as ordinary release builds.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use crate::elf;
use crate::workspace::{Workspace, output, run as run_command};

/// The plugin's size budget in bytes, linked for musl and for glibc, which brings more along.
const MUSL_BUDGET: u64 = 1_500_000;
const GLIBC_BUDGET: u64 = 3_000_000;

/// Packages of the other programs, each with its program.
const OTHERS: &[(&str, &str)] =
    &[("terway-daemon", "terwayd"), ("terway-cli", "terway-cli"), ("terway-cloudsim", "terway-cloudsim")];

/// Builds all and says where they are, how large, and whether the plugin keeps its promises.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let plugin = build_plugin(workspace)?;
    let mut others = workspace.cargo("build --release");
    for (package, _) in OTHERS {
        others.args(["--package", package]);
    }
    run_command(&mut others)?;

    let dist = workspace.dist();
    fs::create_dir_all(&dist).with_context(|| format!("failed to create {}", dist.display()))?;
    strip(&plugin, &dist.join("terway"))?;
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

/// The plugin aborts on panic and has no symbols for a backtrace, so nobody reads unwind tables: its own code is built
/// without, and the linker script drops those of the standard library. Relocations packed are a tenth of the size.
const PLUGIN_FLAGS: &str =
    "-C target-feature=+crt-static -C force-unwind-tables=no -C link-arg=-Wl,-z,pack-relative-relocs";
const PLUGIN_SCRIPT: &str = "crates/terway-cni/link.ld";

/// Builds the plugin with its symbols.
fn build_plugin(workspace: &Workspace) -> Result<PathBuf> {
    let triple = plugin_target()?;
    eprintln!("   the plugin is linked statically for {triple}");
    // With an explicit --target, these flags do not reach build scripts and procedural macros.
    let variable = format!("CARGO_TARGET_{}_RUSTFLAGS", triple.replace('-', "_").to_uppercase());
    let script = workspace.root.join(PLUGIN_SCRIPT);
    let flags = format!("{PLUGIN_FLAGS} -C link-arg=-Wl,-T,{}{}", script.display(), short_paths()?);
    run_command(
        workspace
            .cargo("build --profile plugin --package terway-cni")
            .args(["--target", &triple])
            .env(variable, flags),
    )?;
    plugin_with_symbols(workspace)
}

/// Where the sources of dependencies are on this machine is in every place that may panic; no reader wants it.
fn short_paths() -> Result<String> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home =
        home.or_else(|| Some(std::env::home_dir()?.join(".cargo"))).context("there is no home directory")?;
    let Ok(registries) = fs::read_dir(home.join("registry/src")) else { return Ok(String::new()) };
    registries.map(|registry| Ok(format!(" --remap-path-prefix={}/=", registry?.path().display()))).collect()
}

/// Where the plugin with its symbols is once built.
pub(crate) fn plugin_with_symbols(workspace: &Workspace) -> Result<PathBuf> {
    Ok(workspace.target().join(plugin_target()?).join("plugin").join("terway"))
}

/// What the plugin is built for: musl, whose programs start faster and are smaller by 600 KB, where rustup has its
/// standard library or can get it; else the host's own glibc.
pub(crate) fn plugin_target() -> Result<String> {
    let host = host_triple()?;
    let musl = host.replace("-gnu", "-musl");
    let fetch = || Command::new("rustup").args(["target", "add", &musl]).status();
    let usable = is_installed(&musl) || fetch().is_ok_and(|status| status.success());
    Ok(if usable { musl } else { host })
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

/// The same without symbols; binutils' program is there wherever a linker is.
fn strip(from: &Path, to: &Path) -> Result<()> {
    let fresh = to.with_extension("fresh");
    run_command(Command::new("strip").arg("--strip-all").arg("-o").args([&fresh, from]))?;
    fs::rename(&fresh, to).with_context(|| format!("failed to install {}", to.display()))
}

fn check_plugin(plugin: &Path) -> Result<()> {
    let budget = if plugin_target()?.ends_with("musl") { MUSL_BUDGET } else { GLIBC_BUDGET };
    let image = fs::read(plugin).with_context(|| format!("failed to read {}", plugin.display()))?;
    match elf::is_static(&image) {
        Some(true) => {}
        Some(false) => bail!("{} needs a dynamic loader; it must run on any node", plugin.display()),
        None => bail!("{} is no 64-bit ELF program", plugin.display()),
    }
    let size = image.len() as u64;
    ensure!(
        size <= budget,
        "{} has {size} bytes, {} more than its budget of {budget}",
        plugin.display(),
        size - budget
    );
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "two digits for a person")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
