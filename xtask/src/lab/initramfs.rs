//! A root file system for a machine that sees nothing of this one: programs with the libraries they want, and kernel
//! modules, as a cpio archive (the kernel's Documentation/driver-api/early-userspace/buffer-format.rst).

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::workspace::output;

const FOLDER: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;

/// An archive in the making.
#[derive(Default)]
pub(super) struct Initramfs {
    archive: Vec<u8>,
    held: BTreeSet<PathBuf>,
}

impl Initramfs {
    /// A folder, with those it is in.
    pub(super) fn folder(&mut self, at: &Path) {
        if let Some(parent) = at.parent() {
            self.folder(parent);
        }
        if at.file_name().is_some() && self.held.insert(at.to_owned()) {
            self.entry(at, FOLDER, &[]);
        }
    }

    /// A file.
    pub(super) fn file(&mut self, at: &Path, content: &[u8]) {
        if let Some(parent) = at.parent() {
            self.folder(parent);
        }
        if self.held.insert(at.to_owned()) {
            self.entry(at, PROGRAM, content);
        }
    }

    /// A program of this machine, with its libraries where they are here.
    pub(super) fn program(&mut self, program: &Path, at: &Path) -> Result<()> {
        self.file(at, &read(program)?);
        let said = output(Command::new("ldd").arg(program))?;
        let said = String::from_utf8_lossy(&said);
        libraries(&said).try_for_each(|library| {
            let content = read(Path::new(library))?;
            self.file(Path::new(library), &content);
            Ok(())
        })
    }

    /// The first of these places that has the program.
    pub(super) fn tool(&mut self, name: &str) -> Result<()> {
        let places = ["/usr/sbin", "/usr/bin"].map(|folder| Path::new(folder).join(name));
        let Some(found) = places.iter().find(|place| place.exists()) else {
            bail!("there is no {name} here")
        };
        let program =
            found.canonicalize().with_context(|| format!("failed to follow {}", found.display()))?;
        self.program(&program, &Path::new("/bin").join(name))
    }

    /// The archive with its end.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.entry(Path::new("/TRAILER!!!"), 0, &[]);
        self.archive
    }

    fn entry(&mut self, at: &Path, mode: u32, content: &[u8]) {
        let name = at.to_string_lossy();
        let name = name.trim_start_matches('/');
        let number = self.held.len();
        let (links, size, length) = (1, content.len(), name.len() + 1);
        // Inode, mode, owner, group, links, time, size, two device numbers, two more, length of the name, sum.
        let header = format!(
            "070701{number:08x}{mode:08x}{zero}{zero}{links:08x}{zero}{size:08x}{zero}{zero}{zero}{zero}{length:08x}{zero}",
            zero = "00000000"
        );
        for part in [header.as_bytes(), name.as_bytes(), &[0]] {
            self.archive.extend_from_slice(part);
        }
        self.pad();
        self.archive.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.archive.resize(self.archive.len().next_multiple_of(4), 0);
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("failed to read {}", path.display()))
}

/// The files in what `ldd` says; the kernel's own library is none.
fn libraries(said: &str) -> impl Iterator<Item = &str> {
    said.split_whitespace().filter(|word| word.starts_with('/'))
}

/// Writes a copy of a program without what only debuggers read.
pub(super) fn stripped(program: &Path, at: &Path) -> Result<()> {
    crate::workspace::run(Command::new("strip").arg("-o").arg(at).arg(program))?;
    let executable = fs::Permissions::from_mode(0o755);
    fs::set_permissions(at, executable).with_context(|| format!("failed to mark {}", at.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_come_before_what_is_in_them_and_once() {
        let mut root = Initramfs::default();
        root.file(Path::new("/lib/a/one"), b"12345");
        root.file(Path::new("/lib/a/two"), b"");
        let archive = root.finish();
        let text = String::from_utf8_lossy(&archive);
        let names: Vec<_> =
            text.split("070701").skip(1).map(|entry| entry[104..].split('\0').next().unwrap()).collect();
        assert_eq!(names, ["lib", "lib/a", "lib/a/one", "lib/a/two", "TRAILER!!!"]);
        assert_eq!(archive.len() % 4, 0);
    }

    #[test]
    fn libraries_are_files() {
        let said =
            "\tlinux-vdso.so.1 (0x7f)\n\tlibc.so.6 => /lib/libc.so.6 (0x7f)\n\t/lib64/ld-linux.so.2 (0x7f)\n";
        assert_eq!(libraries(said).collect::<Vec<_>>(), ["/lib/libc.so.6", "/lib64/ld-linux.so.2"]);
    }
}
