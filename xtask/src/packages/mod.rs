//! Debian packages unpacked into folders. Nothing of them is installed on this machine: a guest sees the folder as a
//! layer of its root, a test starts a program by its place in it, or a file of it is all that is wanted.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use nix::unistd::Uid;

use crate::workspace::run;

mod release;

pub(crate) use release::{KEYS, Release};

/// Folders that Debian merged into `/usr`; some packages still bring files for the old ones, and a layer with such a
/// folder would hide the link.
const MERGED: [&str; 3] = ["bin", "sbin", "lib"];

/// Makes the folder hold the files of these packages of this machine's release, unless it does already. What the folder
/// holds is written beside it.
pub(crate) fn unpack(packages: &[&str], folder: &Path) -> Result<()> {
    unpack_fetched(packages, folder, |download| fetch(packages, download))
}

/// The same with packages of another release of Debian.
pub(crate) fn unpack_of(release: &Release, packages: &[&str], folder: &Path) -> Result<()> {
    unpack_fetched(packages, folder, |download| release.fetch(packages, download))
}

fn unpack_fetched(packages: &[&str], folder: &Path, fetch: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let (note, wanted) = (folder.with_extension("packages"), packages.join("\n"));
    if folder.is_dir() && fs::read_to_string(&note).is_ok_and(|held| held == wanted) {
        return Ok(());
    }
    for stale in [folder, &folder.with_extension("download")] {
        if stale.exists() {
            fs::remove_dir_all(stale).with_context(|| format!("failed to empty {}", stale.display()))?;
        }
    }
    let download = folder.with_extension("download");
    for place in [folder, &download] {
        fs::create_dir_all(place).with_context(|| format!("failed to make {}", place.display()))?;
    }
    fetch(&download)?;
    for file in fs::read_dir(&download).context("failed to read what was downloaded")? {
        run(Command::new("dpkg").arg("--extract").arg(file?.path()).arg(folder))?;
    }
    merge(folder)?;
    fs::remove_dir_all(&download).context("failed to remove what was downloaded")?;
    fs::write(&note, wanted).with_context(|| format!("failed to write {}", note.display()))
}

/// Downloads packages. Lists that are missing or too old are fetched anew once, which only root may do.
fn fetch(packages: &[&str], folder: &Path) -> Result<()> {
    let mut command = Command::new("apt-get");
    // Without its own unprivileged user, who may not write here.
    command.args(["--quiet=2", "--option", "APT::Sandbox::User=root", "download"]);
    command.args(packages).current_dir(folder);
    let Err(first) = run(&mut command) else { return Ok(()) };
    let by_hand = format!("apt-get update && apt-get download {}", packages.join(" "));
    if !Uid::effective().is_root() {
        return Err(first.context(format!(
            "packages cannot be downloaded; if the package lists are old, run as root: apt-get update; {by_hand}"
        )));
    }
    run(Command::new("apt-get").args(["--quiet=2", "update"]))?;
    match run(&mut command) {
        Ok(()) => Ok(()),
        Err(error) => bail!("{error:#}; by hand: {by_hand}"),
    }
}

fn merge(folder: &Path) -> Result<()> {
    for old in MERGED.map(|name| folder.join(name)).iter().filter(|old| old.is_dir() && !old.is_symlink()) {
        let new = folder.join("usr").join(old.file_name().context("a folder without a name")?);
        move_into(old, &new).with_context(|| format!("failed to merge {}", old.display()))?;
    }
    Ok(())
}

fn move_into(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() && target.is_dir() {
            move_into(&entry.path(), &target)?;
        } else {
            fs::rename(entry.path(), target)?;
        }
    }
    Ok(fs::remove_dir(from)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_not_fetched_again() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("layer");
        fs::create_dir(&place).unwrap();
        fs::write(folder.path().join("layer.packages"), "no-such-package-anywhere\nnor-this").unwrap();
        unpack(&["no-such-package-anywhere", "nor-this"], &place).unwrap();
    }

    #[test]
    fn old_folders_go_into_the_merged_ones() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        for path in ["lib/systemd/network", "usr/lib/systemd", "sbin"] {
            fs::create_dir_all(at(path)).unwrap();
        }
        fs::write(at("lib/systemd/systemd-udevd"), "old").unwrap();
        fs::write(at("usr/lib/systemd/other"), "new").unwrap();
        fs::write(at("sbin/dhclient"), "").unwrap();
        merge(folder.path()).unwrap();
        assert!(!at("lib").exists() && !at("sbin").exists());
        for path in ["usr/lib/systemd/systemd-udevd", "usr/lib/systemd/other", "usr/lib/systemd/network"] {
            assert!(at(path).exists(), "{path}");
        }
        assert!(at("usr/sbin/dhclient").exists());
    }
}
