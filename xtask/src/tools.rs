//! Programs of the operating system that a task needs: present, or installed, or named.

use std::env;
use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use nix::unistd::Uid;

use crate::packages;
use crate::workspace::run;

/// A program, and the Debian package that brings it.
#[derive(Clone, Copy)]
pub(crate) struct Tool {
    program: &'static str,
    package: &'static str,
    why: &'static str,
}

const IP: Tool = Tool { program: "ip", package: "iproute2", why: "reads the kernel's state back" };
const NFT: Tool = Tool { program: "nft", package: "nftables", why: "reads the kernel's nat rules back" };
const FAKETIME: Tool =
    Tool { program: "faketime", package: "faketime", why: "sets a daemon's clock in tests" };
const CC: Tool = Tool { program: "cc", package: "build-essential", why: "links Rust programs" };
const HOST_DEVICE: Tool = Tool {
    program: "/usr/lib/cni/host-device",
    package: "containernetworking-plugins",
    why: "is what the benchmark compares with",
};
const CONTAINERD: Tool =
    Tool { program: "containerd", package: "containerd", why: "calls the plugin through the CRI" };
const RUNC: Tool = Tool { program: "runc", package: "runc", why: "runs containers" };
const PODMAN: Tool = Tool { program: "podman", package: "podman", why: "calls the plugin without a cluster" };
const PORTMAP: Tool = Tool {
    program: "/usr/lib/cni/portmap",
    package: "containernetworking-plugins",
    why: "is chained behind the plugin",
};
const IPTABLES: Tool = Tool { program: "iptables", package: "iptables", why: "is what portmap uses" };
const VALGRIND: Tool = Tool { program: "valgrind", package: "valgrind", why: "counts instructions" };
const GO: Tool = Tool { program: "go", package: "golang-go", why: "builds a client of libcni" };
const LIBCNI: Tool = Tool {
    program: "/usr/share/gocode/src/github.com/containernetworking/cni/libcni",
    package: "golang-github-appc-cni-dev",
    why: "is what runtimes in Go call plugins by",
};
const DEBIAN: Tool = Tool {
    program: packages::KEYS,
    package: "debian-archive-keyring",
    why: "vouches for runtimes of later releases",
};
const BUSYBOX: Tool =
    Tool { program: "/bin/busybox", package: "busybox-static", why: "is what test containers run" };

const IPVSADM: Tool =
    Tool { program: "ipvsadm", package: "ipvsadm", why: "stands in for kube-proxy with IPVS" };

/// The kernel of the lab's guests.
pub(crate) const USER_MODE_LINUX: Tool =
    Tool { program: "linux.uml", package: "user-mode-linux", why: "is the other kernel that tests run in" };

/// What makes a kernel from its source.
pub(crate) const KERNEL_BUILD: &[Tool] = &[
    CC,
    Tool { program: "make", package: "make", why: "makes kernels" },
    Tool { program: "flex", package: "flex", why: "makes a kernel's own tools" },
    Tool { program: "bison", package: "bison", why: "makes a kernel's own tools" },
    Tool { program: "bc", package: "bc", why: "reckons for a kernel's makefiles" },
    Tool { program: "xz", package: "xz-utils", why: "unpacks a kernel's source" },
];

/// What the tests use.
pub(crate) const TEST: &[Tool] = &[CC, IP, NFT, FAKETIME];
/// What the tests use inside a guest of the lab, which sees this machine's programs.
pub(crate) const LAB: &[Tool] = &[CC, IP, NFT];
/// What real container runtimes need in tests.
pub(crate) const CLIENTS: &[Tool] =
    &[CC, IP, CONTAINERD, RUNC, PODMAN, PORTMAP, IPTABLES, BUSYBOX, GO, LIBCNI, DEBIAN];
/// What counts instructions.
pub(crate) const INSTRUCTIONS: &[Tool] = &[CC, IP, VALGRIND];
/// What the demonstration uses.
pub(crate) const DEMO: &[Tool] = &[CC, IP];
/// What the reachability matrix uses, here and in a guest.
pub(crate) const MATRIX: &[Tool] = &[CC, IP, NFT, IPVSADM];
/// What the benchmark uses.
pub(crate) const BENCH: &[Tool] = &[CC, IP, HOST_DEVICE];

/// Installs what is missing, or says exactly what to install.
pub(crate) fn ensure(tools: &[Tool]) -> Result<()> {
    let missing = missing(tools, is_present);
    if missing.is_empty() {
        let names: Vec<_> = tools.iter().map(|tool| tool.program).collect();
        eprintln!("   present: {}", names.join(", "));
        return Ok(());
    }
    for tool in &missing {
        eprintln!("   missing: {} ({}), package {}", tool.program, tool.why, tool.package);
    }
    let packages: Vec<&str> = missing.iter().map(|tool| tool.package).collect();
    let by_hand = format!("apt-get install --no-install-recommends {}", packages.join(" "));
    if !Uid::effective().is_root() {
        bail!("programs are missing and only root may install them; run: sudo {by_hand}");
    }
    if !is_present("apt-get") {
        bail!(
            "programs are missing and there is no apt-get here; install what brings them: {}",
            packages.join(" ")
        );
    }
    let _quiet = NoServices::begin()?;
    run(&mut apt(&["update", "--quiet=2"]))?;
    run(apt(&["install", "--yes", "--quiet=2", "--no-install-recommends"]).args(&packages))?;
    match missing_names(tools) {
        still if still.is_empty() => Ok(()),
        still => bail!("still missing after {by_hand}: {}", still.join(", ")),
    }
}

/// While it lives, installing a package starts no service: Debian asks this file (policy-rc.d) before it does.
struct NoServices {
    ours: bool,
}

impl NoServices {
    const FILE: &str = "/usr/sbin/policy-rc.d";

    fn begin() -> Result<Self> {
        // Somebody's own policy stays what it is.
        let mut options = File::options();
        let file = options.write(true).create_new(true).mode(0o755).open(Self::FILE);
        match file {
            Ok(mut file) => {
                file.write_all(b"#!/bin/sh\nexit 101\n")
                    .with_context(|| format!("failed to write {}", Self::FILE))?;
                Ok(Self { ours: true })
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(Self { ours: false }),
            Err(error) => Err(error).with_context(|| format!("failed to create {}", Self::FILE)),
        }
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if self.ours
            && let Err(error) = fs::remove_file(Self::FILE)
        {
            eprintln!("   failed to remove {}: {error}", Self::FILE);
        }
    }
}

fn apt(words: &[&str]) -> Command {
    let mut command = Command::new("apt-get");
    command.args(words).env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null());
    command
}

fn missing(tools: &[Tool], is_present: impl Fn(&str) -> bool) -> Vec<&Tool> {
    tools.iter().filter(|tool| !is_present(tool.program)).collect()
}

fn missing_names(tools: &[Tool]) -> Vec<&str> {
    missing(tools, is_present).into_iter().map(|tool| tool.program).collect()
}

/// A program by its path, or in one of the search path's folders; the folders of root count too, because
/// an ordinary user's path often lacks them.
fn is_present(program: &str) -> bool {
    if program.starts_with('/') {
        return Path::new(program).exists();
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    folders.map(|folder| folder.join(program)).any(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_not_there_is_missing() {
        let found: Vec<_> =
            missing(BENCH, |program| program != "ip").iter().map(|tool| tool.package).collect();
        assert_eq!(found, ["iproute2"]);
        assert!(missing(TEST, |_| true).is_empty());
    }

    #[test]
    fn presence_is_looked_up_in_the_search_path() {
        assert!(is_present("sh"));
        assert!(is_present("/bin/sh"));
        assert!(!is_present("no-such-program-here"));
    }
}
