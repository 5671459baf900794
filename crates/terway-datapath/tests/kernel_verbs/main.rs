//! The kernel verbs against a real kernel. The program enters user, mount and network namespaces of its own
//! before it starts any thread (which libtest does not allow, hence `harness = false`), so it needs no root
//! where user namespaces are allowed, and cannot touch the machine's network. State is read back by `ip -j`
//! and `tc -j`, not by the reader under test.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on panics")]

mod addressing;
mod batches;
#[path = "../sandbox/needs.rs"]
mod needs;
#[path = "../sandbox/nft_needs.rs"]
mod nft_needs;

mod bench;
mod events;
mod links;
mod namespaces;
mod packets;
mod shaping;
mod translation;

use std::fs;
use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getgid, getuid};

use needs::Need;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    if !arguments.list {
        enter().expect("enter own user, mount and network namespaces");
    }
    needs::run(&arguments, trials())
}

fn trials() -> Vec<(Trial, &'static [Need])> {
    let anywhere = [
        namespaces::trials(),
        links::trials(),
        addressing::trials(),
        shaping::trials(),
        batches::trials(),
        events::trials(),
    ];
    let anywhere = anywhere.into_iter().flatten().map(|trial| (trial, &[][..]));
    anywhere.chain(translation::trials()).chain(packets::trials()).chain(events::of_the_filter()).collect()
}

fn enter() -> std::io::Result<()> {
    let (uid, gid) = (getuid(), getgid());
    let mut flags = CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET;
    if !uid.is_root() {
        flags |= CloneFlags::CLONE_NEWUSER;
    }
    unshare(flags)?;
    if !uid.is_root() {
        fs::write("/proc/self/setgroups", "deny")?;
        fs::write("/proc/self/uid_map", format!("0 {uid} 1"))?;
        fs::write("/proc/self/gid_map", format!("0 {gid} 1"))?;
    }
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)?;
    mount(Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::empty(), None::<&str>)?;
    fs::create_dir("/run/netns")
}
