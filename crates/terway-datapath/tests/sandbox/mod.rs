//! Namespaces of the test's own: whatever a test does to links, rules and switches stays inside and ends with the
//! process. Root is not needed where the system lets users make namespaces.

use std::fs;
use std::process::Command;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getegid, geteuid};

/// Enters own user (unless root), mount and network namespaces, with empty `/run/netns` and the own network's
/// `/sys`. Must be called before the process has a second thread, which is why these tests bring their own `main`.
pub(crate) fn enter() {
    let (uid, gid) = (geteuid(), getegid());
    let mut flags = CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET;
    if !uid.is_root() {
        flags |= CloneFlags::CLONE_NEWUSER;
    }
    unshare(flags).unwrap_or_else(|errno| {
        panic!("these tests need root or unprivileged user namespaces (kernel.unprivileged_userns_clone, AppArmor): {errno}")
    });
    if !uid.is_root() {
        fs::write("/proc/self/uid_map", format!("0 {uid} 1")).unwrap();
        fs::write("/proc/self/setgroups", "deny").unwrap();
        fs::write("/proc/self/gid_map", format!("0 {gid} 1")).unwrap();
    }
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
    mount(Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::empty(), none).unwrap();
    mount(Some("sysfs"), "/sys", Some("sysfs"), MsFlags::empty(), none).unwrap();
    fs::create_dir_all("/run/netns").unwrap();
}

/// Runs a command line and gives its output. Fails the test with what it said if it fails.
pub(crate) fn run(line: &str) -> String {
    let output = Command::new("sh").args(["-c", line]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "`{line}` failed: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
