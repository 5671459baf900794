//! Kernel settings under `/proc/sys/net`. They belong to the namespace of the thread that walks into their folder: call
//! the functions here inside [`Netns::run`](super::Netns::run), and keep a [`Sysctl`] for one namespace only.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::Mode;

/// A setting that could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum SysctlError {
    /// The kernel has no such setting, or no such link.
    #[error("sysctl {name} does not exist")]
    Missing {
        /// The setting, its parts separated by `/`.
        name: String,
    },
    /// It is there and cannot be read.
    #[error("failed to read sysctl {name}")]
    Unreadable {
        /// The setting.
        name: String,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// It is there and does not take the value. `EROFS`: the plugin's `/proc/sys` is mounted read-only.
    #[error("failed to set sysctl {name} to {value}")]
    Unwritable {
        /// The setting.
        name: String,
        /// The value refused.
        value: String,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
}

/// The settings of one namespace: that in which each family was first asked for, wherever it is asked for later. The way into
/// its folders is walked once: the kernel keeps the folders of a family of all namespaces in one list, so each walk costs more
/// with every pod of a node that has settings.
#[derive(Debug)]
pub struct Sysctl {
    root: PathBuf,
    ipv4: OnceLock<OwnedFd>,
    ipv6: OnceLock<OwnedFd>,
}

impl Sysctl {
    /// The settings under a root folder, normally `/proc/sys`.
    pub fn at(root: impl AsRef<Path>) -> Self {
        Self { root: root.as_ref().to_owned(), ipv4: OnceLock::new(), ipv6: OnceLock::new() }
    }

    /// Reads a setting. Parts are separated by `/`, because a link's name may contain dots:
    /// `net/ipv4/conf/eth0.100/rp_filter`.
    pub fn get(&self, name: &str) -> Result<String, SysctlError> {
        match self.open(name, OFlag::O_RDONLY).and_then(io::read_to_string) {
            Ok(text) => Ok(text.trim().to_owned()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(SysctlError::Missing { name: name.to_owned() })
            }
            Err(source) => Err(SysctlError::Unreadable { name: name.to_owned(), source }),
        }
    }

    /// Gives a setting a value unless it has it already, and says whether it had to. (Writing `forwarding` anew
    /// makes the kernel walk every link, and a read-only `/proc/sys` matters only if something must change.)
    pub fn set(&self, name: &str, value: &str) -> Result<bool, SysctlError> {
        if self.get(name)? == value {
            return Ok(false);
        }
        let unwritable =
            |source| SysctlError::Unwritable { name: name.to_owned(), value: value.to_owned(), source };
        let written = self.open(name, OFlag::O_WRONLY | OFlag::O_TRUNC);
        written.and_then(|mut file| file.write_all(value.as_bytes())).map_err(unwritable)?;
        Ok(true)
    }

    fn open(&self, name: &str, how: OFlag) -> io::Result<File> {
        for (family, folder) in [("net/ipv4/", &self.ipv4), ("net/ipv6/", &self.ipv6)] {
            let Some(rest) = name.strip_prefix(family) else { continue };
            let folder = if let Some(folder) = folder.get() {
                folder
            } else {
                let opened = File::open(self.root.join(family))?.into();
                folder.get_or_init(|| opened)
            };
            return Ok(openat(folder, rest, how | OFlag::O_CLOEXEC, Mode::empty())?.into());
        }
        Ok(open(&self.root.join(name), how | OFlag::O_CLOEXEC, Mode::empty())?.into())
    }
}

impl Default for Sysctl {
    fn default() -> Self {
        Self::at("/proc/sys")
    }
}

/// The name of a per-link IPv4 setting.
pub fn ipv4_conf(link: &str, key: &str) -> String {
    format!("net/ipv4/conf/{link}/{key}")
}

/// The name of a per-link IPv6 setting.
pub fn ipv6_conf(link: &str, key: &str) -> String {
    format!("net/ipv6/conf/{link}/{key}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::MetadataExt as _;

    #[test]
    fn the_way_into_the_folders_of_a_family_is_walked_once() {
        let root = tempfile::tempdir().unwrap();
        let name = ipv6_conf("eth0", "accept_ra");
        let file = root.path().join(&name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, "1\n").unwrap();
        let sysctl = Sysctl::at(root.path());
        assert_eq!(sysctl.get(&name).unwrap(), "1");
        fs::rename(root.path().join("net"), root.path().join("elsewhere")).unwrap();
        assert!(sysctl.set(&name, "2").unwrap());
        assert!(Sysctl::at(root.path()).get(&name).is_err(), "nothing is there any more");
    }

    #[test]
    fn a_value_that_is_there_is_not_written() {
        let root = std::env::temp_dir().join(format!("sysctl-{}", std::process::id()));
        let file = root.join(ipv4_conf("eth0.100", "rp_filter"));
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, "1\n").unwrap();
        let before = fs::metadata(&file).unwrap().mtime_nsec();
        let sysctl = Sysctl::at(&root);
        assert!(!sysctl.set("net/ipv4/conf/eth0.100/rp_filter", "1").unwrap());
        assert_eq!(fs::metadata(&file).unwrap().mtime_nsec(), before);
        assert!(sysctl.set("net/ipv4/conf/eth0.100/rp_filter", "2").unwrap());
        assert_eq!(sysctl.get("net/ipv4/conf/eth0.100/rp_filter").unwrap(), "2");
        let missing = sysctl.set("net/ipv4/conf/eth1/rp_filter", "2").unwrap_err();
        assert_eq!(missing.to_string(), "sysctl net/ipv4/conf/eth1/rp_filter does not exist");
        fs::remove_dir_all(root).unwrap();
    }
}
