//! A world of our own: user, mount, network and process namespaces made before anything else happens, so
//! that tests, demo and benchmarks leave the host as they found it, whatever way they end.
//!
//! The first process makes the namespaces and starts itself again inside, as process 1. When either of the
//! two ends, for whatever reason, the kernel ends everything inside and takes links, rules and mounts with it.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Read as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::thread;

use anyhow::{Context as _, Result, bail};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::{Pid, getegid, geteuid};

/// Set for the process inside; its value is the pid of the one outside.
const INSIDE: &str = "TERWAY_SANDBOX";

/// Runs `inside` in a sandbox and returns its exit code. Must be the first thing in `main`: namespaces can
/// only be made by a process with one thread.
pub fn run(inside: impl FnOnce() -> Result<ExitCode>) -> ExitCode {
    let outcome = if env::var_os(INSIDE).is_some() { enter().and_then(|()| inside()) } else { host() };
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

/// The id of the process outside, as seen from outside: the same in both of the processes. Names what cannot live in a
/// namespace.
pub fn outside() -> u32 {
    env::var(INSIDE).ok().and_then(|pid| pid.parse().ok()).unwrap_or_else(std::process::id)
}

/// Outside: make the namespaces, start ourselves inside them, pass signals on as an end.
fn host() -> Result<ExitCode> {
    isolate()?;
    let signals =
        [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGCHLD].into_iter().collect::<SigSet>();
    signals.thread_block().context("failed to block signals")?;
    let arguments: Vec<OsString> = env::args_os().skip(1).collect();
    let mut child = Command::new("/proc/self/exe")
        .args(arguments)
        .env(INSIDE, std::process::id().to_string())
        .stdin(Stdio::piped())
        .spawn()
        .context("failed to start the process inside the sandbox")?;
    let leash = child.stdin.take();
    let pid = Pid::from_raw(i32::try_from(child.id()).context("a pid beyond the kernel's range")?);
    loop {
        if let Some(status) = child.try_wait().context("failed to wait for the process inside the sandbox")? {
            drop(leash);
            let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
            return Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)));
        }
        match signals.wait().context("failed to wait for a signal")? {
            Signal::SIGCHLD => {}
            signal => {
                // Process 1 of a pid namespace takes everything in it along.
                let _ = kill(pid, Signal::SIGKILL);
                let _ = child.wait();
                return Ok(ExitCode::from(u8::try_from(128 + signal as i32).unwrap_or(1)));
            }
        }
    }
}

/// New namespaces for the children to come; a user namespace only where we are not root already.
fn isolate() -> Result<()> {
    let (uid, gid) = (geteuid(), getegid());
    let mut flags = CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWPID;
    if !uid.is_root() {
        flags |= CloneFlags::CLONE_NEWUSER;
    }
    unshare(flags).with_context(|| {
        format!(
            "failed to make namespaces as uid {uid}; run as root, or allow unprivileged user namespaces \
             (sysctl kernel.unprivileged_userns_clone=1, kernel.apparmor_restrict_unprivileged_userns=0)"
        )
    })?;
    if !uid.is_root() {
        fs::write("/proc/self/setgroups", "deny").context("failed to deny setgroups")?;
        fs::write("/proc/self/uid_map", format!("0 {uid} 1")).context("failed to map the user")?;
        fs::write("/proc/self/gid_map", format!("0 {gid} 1")).context("failed to map the group")?;
    }
    Ok(())
}

/// Inside: private mounts, a `/run` of our own, and an end when the process outside ends.
fn enter() -> Result<()> {
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
        .context("failed to make mounts private")?;
    mount(Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::empty(), Some("mode=755"))
        .context("failed to mount /run")?;
    fs::create_dir_all("/run/netns").context("failed to create /run/netns")?;
    // Programs that look themselves up by process id must find the ids of this pid namespace. Where a container masks
    // parts of /proc the kernel refuses this; then only foreign plugins miss it.
    if let Err(error) = mount(Some("proc"), "/proc", Some("proc"), MsFlags::empty(), none) {
        eprintln!("sandbox: keeping the /proc of outside: {error}");
    }
    if !Path::new("/proc/self/ns/net").exists() {
        bail!("/proc is not mounted");
    }
    SigSet::all().thread_unblock().context("failed to unblock signals")?;
    thread::spawn(|| {
        // End of file: the process outside is gone, and so must everything inside be.
        let mut rest = Vec::new();
        let _ = io::stdin().read_to_end(&mut rest);
        std::process::exit(130);
    });
    Ok(())
}
