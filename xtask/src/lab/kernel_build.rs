//! A user-mode kernel of our own, made once from Debian's source and kept: unlike the one Debian packages it has
//! netdevsim, netkit, and nf_tables for every family, all built in, and boots in a fifth of a second.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use anyhow::{Context as _, Result, ensure};

use crate::packages;
use crate::tools;
use crate::workspace::run;

/// What is switched on in it.
const CONFIG: &str = include_str!("kernel.config");
/// The package with the source, and the archive in it.
const SOURCE: &str = "linux-source-6.12";
const ARCHIVE: &str = "usr/src/linux-source-6.12.tar.xz";

/// The kernel in this folder; made first if it is not there or was made with another configuration.
pub(super) fn kernel(folder: &Path) -> Result<PathBuf> {
    let (kernel, made_with) = (folder.join("linux"), folder.join("kernel.config"));
    if kernel.is_file() && fs::read_to_string(&made_with).is_ok_and(|text| text == CONFIG) {
        return Ok(kernel);
    }
    tools::ensure(tools::KERNEL_BUILD)?;
    eprintln!(
        "   building a user-mode kernel in {}: some fifteen minutes of one processor, once",
        folder.display()
    );
    let (package, source) = (folder.join("package"), folder.join("source"));
    packages::unpack(&[SOURCE], &package)?;
    if !source.join("Makefile").exists() {
        fs::create_dir_all(&source).with_context(|| format!("failed to make {}", source.display()))?;
        let archive = package.join(ARCHIVE);
        run(Command::new("tar")
            .arg("--extract")
            .arg("--file")
            .arg(&archive)
            .arg("--strip-components=1")
            .arg("--directory")
            .arg(&source))?;
    }
    let asked = folder.join("asked.config");
    fs::write(&asked, CONFIG).context("failed to write the configuration")?;
    run(make(&source).arg("allnoconfig").env("KCONFIG_ALLCONFIG", &asked))?;
    let got = fs::read_to_string(source.join(".config")).context("failed to read what was configured")?;
    let lacking = lacking(CONFIG, &got);
    ensure!(lacking.is_empty(), "this source cannot switch on {}", lacking.join(", "));
    let jobs = thread::available_parallelism().map_or(1, usize::from);
    run(make(&source).arg(format!("--jobs={jobs}")).arg("linux"))?;
    run(Command::new("strip").arg("-o").arg(&kernel).arg(source.join("linux")))?;
    fs::write(&made_with, CONFIG).context("failed to write what the kernel was made with")?;
    for done in [source, package] {
        fs::remove_dir_all(&done).with_context(|| format!("failed to remove {}", done.display()))?;
    }
    Ok(kernel)
}

fn make(source: &Path) -> Command {
    let mut command = Command::new("make");
    command.args(["--silent", "ARCH=um"]).current_dir(source);
    command
}

/// The lines asked for that are not among those got: what a symbol depends on may be missing or have another name.
fn lacking<'a>(asked: &'a str, got: &str) -> Vec<&'a str> {
    let got: Vec<&str> = got.lines().collect();
    let switched_on = asked.lines().filter(|line| line.starts_with("CONFIG_") && line.ends_with("=y"));
    switched_on.filter(|line| !got.contains(line)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_source_does_not_switch_on_is_told() {
        let asked = "# why\nCONFIG_A=y\nCONFIG_B=y\nCONFIG_C=n\n";
        assert_eq!(lacking(asked, "CONFIG_A=y\n# CONFIG_B is not set\n"), ["CONFIG_B=y"]);
        assert!(lacking(asked, "CONFIG_B=y\nCONFIG_A=y").is_empty());
    }

    #[test]
    fn the_configuration_has_what_the_lab_is_for_and_no_line_twice() {
        for wanted in ["NETDEVSIM", "NETKIT", "IPVLAN", "OVERLAY_FS", "UML_NET_VECTOR", "NF_TABLES_NETDEV"] {
            assert!(CONFIG.lines().any(|line| line == format!("CONFIG_{wanted}=y")), "{wanted}");
        }
        let mut lines: Vec<_> = CONFIG.lines().filter(|line| line.starts_with("CONFIG_")).collect();
        let all = lines.len();
        lines.sort_unstable();
        lines.dedup();
        assert_eq!(lines.len(), all);
    }

    #[test]
    fn a_kernel_made_with_this_configuration_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let linux = folder.path().join("linux");
        fs::write(&linux, "").unwrap();
        fs::write(folder.path().join("kernel.config"), CONFIG).unwrap();
        assert_eq!(kernel(folder.path()).unwrap(), linux);
    }
}
