//! containerd and libcni newer than those that are installed: they ask for STATUS, know GC, and choose among
//! `cniVersions`. `cargo xtask test` unpacks them into the folder that `TERWAY_NEWER_DIR` names.

use std::env;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use terway_rig::eventually::eventually;
use terway_rig::world::Plan;

use crate::containerd::{Containerd, Release};
use crate::recording::Call;
use crate::stage::{LIMIT, books_agree, prepared, trial, wait_warm};
use crate::{interrupted, libcni, sandboxes};

/// All scenarios with them; where they are not to be had, each is told by its name.
pub(crate) fn trials() -> Vec<Trial> {
    let trials = [
        vec![
            trial("containerd2::the_network_is_as_ready_as_status_says", status),
            trial("containerd2::a_dual_stack_sandbox_lives_and_goes", |name| {
                sandboxes::life(name, Release::Newer)
            }),
            trial("containerd2::a_restart_keeps_its_sandboxes", |name| {
                interrupted::restart(name, Release::Newer)
            }),
            trial("containerd2::an_add_that_waits_is_killed_and_undone", |name| {
                interrupted::killed_waiting(name, Release::Newer)
            }),
            trial("containerd2::an_add_killed_at_any_moment_is_undone", |name| {
                interrupted::killed_anywhere(name, Release::Newer)
            }),
        ],
        libcni::newer_trials(),
    ];
    let trials = trials.into_iter().flatten();
    match starts() {
        Ok(()) => trials.collect(),
        Err(reason) => {
            trials.for_each(|trial| eprintln!("deselected: {}: {reason:#}", trial.name()));
            vec![]
        }
    }
}

fn folder() -> Result<PathBuf> {
    let folder = env::var_os("TERWAY_NEWER_DIR").context("TERWAY_NEWER_DIR is not set")?;
    Ok(folder.into())
}

/// The root that the runtimes were unpacked into.
pub(crate) fn runtimes() -> Result<PathBuf> {
    Ok(folder()?.join("runtimes"))
}

/// The root that Go was unpacked into.
pub(crate) fn go() -> Result<PathBuf> {
    Ok(folder()?.join("go"))
}

/// Whether they start here: they are built for a system that may be newer than this one.
fn starts() -> Result<()> {
    let program = runtimes()?.join("usr/bin/containerd");
    let output = Command::new(&program).arg("--version").output();
    let output = output.with_context(|| format!("failed to start {}", program.display()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{} does not start here: {}", program.display(), said.trim());
    Ok(())
}

/// kubelet believes the runtime, and this one asks the plugin: without a conflist, with a daemon, and without one, when
/// the reason reaches kubelet too.
fn status(name: &str) -> Result<()> {
    let mut world = prepared(&Plan { name: name.to_owned(), ..Plan::default() })?;
    let containerd = Containerd::of(Release::Newer, &world.nodes[0], 1)?;
    let cri = containerd.cri()?;
    ensure!(!cri.network_ready()?.0, "the network is ready without a conflist");
    world.boot()?;
    containerd.wait_network()?;
    wait_warm(&world.nodes[0], 1)?;
    world.nodes[0].stop()?;
    let (ready, message) = cri.network_ready()?;
    ensure!(!ready && message.contains("daemon-unreachable"), "without a daemon: {ready}, {message}");
    world.nodes[0].start()?;
    world.nodes[0].wait_ready()?;
    eventually("the network is ready again", LIMIT, || cri.network_ready().ok()?.0.then_some(()))
        .with_context(|| containerd.log())?;
    let calls = containerd.plugins.calls()?;
    let asked: Vec<&Call> = calls.iter().filter(|call| call.verb() == "STATUS").collect();
    ensure!(asked.len() >= 3, "{} calls of STATUS", asked.len());
    ensure!(asked.iter().all(|call| call.input["cniVersion"] == "1.1.0"), "{asked:?}");
    books_agree(&mut world, 0, &[])
}
