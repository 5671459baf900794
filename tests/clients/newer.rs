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
use crate::kubelet::Kubelet;
use crate::recording::Call;
use crate::stage::{LIMIT, books_agree, booted, prepared, trial, wait_warm};
use crate::{interrupted, libcni, sandboxes};

const CONTAINERD: &str = "usr/bin/containerd";
const LIBCNI: &str = "usr/share/gocode/src/github.com/containernetworking/cni/libcni";
/// Where Debian has Go.
pub(crate) const GO: &str = "usr/lib/go-1.24/bin/go";

/// All scenarios with them. Where this machine cannot run them, each is told by its name; so it is where they were not
/// brought, which CI takes for what it is: somebody has lost them.
pub(crate) fn trials() -> Result<Vec<Trial>> {
    let trials = [
        vec![
            trial("containerd2::the_network_is_as_ready_as_status_says", status),
            trial("containerd2::status_is_polled_beside_pods_that_run", polled),
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
    let reason = match brought().map(|()| starts()) {
        Ok(Ok(())) => return Ok(trials.collect()),
        Ok(Err(reason)) => reason,
        Err(missing) if env::var_os("CI").is_none() => missing,
        Err(missing) => {
            return Err(missing.context("the newer runtimes are missing, which CI must not pass over"));
        }
    };
    trials.for_each(|trial| eprintln!("deselected: {}: {reason:#}", trial.name()));
    Ok(vec![])
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

/// Whether all that was to be unpacked is there.
fn brought() -> Result<()> {
    for file in [runtimes()?.join(CONTAINERD), runtimes()?.join(LIBCNI), go()?.join(GO)] {
        ensure!(file.exists(), "there is no {}; cargo xtask test unpacks it", file.display());
    }
    Ok(())
}

/// Whether they start here: they are built for a system that may be newer than this one.
fn starts() -> Result<()> {
    let program = runtimes()?.join(CONTAINERD);
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

/// This one has no clock for STATUS: it asks the plugin each time that kubelet asks it, while pods come and go, and
/// through the death of the daemon, which the pods that run do not notice.
fn polled(name: &str) -> Result<()> {
    let mut world = booted(&Plan { name: name.to_owned(), pool: (2, 4), ..Plan::default() })?;
    let containerd = Containerd::of(Release::Newer, &world.nodes[0], 1)?;
    containerd.wait_network()?;
    let cri = containerd.cri()?;
    let stays = cri.run(&containerd.pod("stays"))?;
    let before = asked(&containerd)?;
    let kubelet = Kubelet::start(containerd.cri()?);
    let goes = cri.run(&containerd.pod("goes"))?;
    kubelet.hears("the network is ready beside two pods", |(ready, _)| *ready)?;
    cri.stop(&goes)?;
    cri.remove(&goes)?;
    let answers = kubelet.answers();
    ensure!(answers.iter().all(|(ready, _)| *ready), "{answers:?}");
    world.nodes[0].kill()?;
    kubelet.hears("the daemon is away", |(ready, why)| !ready && why.contains("daemon-unreachable"))?;
    ensure!(cri.addresses(&stays)?.len() == 2, "the pod lost its network");
    world.nodes[0].start()?;
    world.nodes[0].wait_ready()?;
    kubelet.hears("the daemon is back", |(ready, _)| *ready)?;
    let polls = kubelet.end()?.len();
    let calls = asked(&containerd)? - before;
    ensure!(calls == polls, "{polls} polls and {calls} calls of STATUS");
    cri.stop(&stays)?;
    cri.remove(&stays)?;
    books_agree(&mut world, 0, &[])
}

/// How often the plugin was asked for its STATUS.
fn asked(containerd: &Containerd) -> Result<usize> {
    Ok(containerd.plugins.calls()?.iter().filter(|call| call.verb() == "STATUS").count())
}
