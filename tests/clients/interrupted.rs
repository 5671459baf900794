//! What goes wrong between runtime and plugin: plugins killed in the middle, runtimes that die, namespaces that vanish.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use libtest_mimic::Trial;
use terway_rig::eventually::eventually;
use terway_rig::world::Plan;
use terway_rig::{namespace, reader};

use crate::containerd::{Containerd, Release};
use crate::fixture;
use crate::recording::Call;
use crate::stage::{LIMIT, books_agree, booted, in_use, trial, wait_free};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("containerd::an_add_that_waits_is_killed_and_undone", |name| {
            killed_waiting(name, Release::Installed)
        }),
        trial("containerd::an_add_killed_at_any_moment_is_undone", |name| {
            killed_anywhere(name, Release::Installed)
        }),
        trial("containerd::a_restart_keeps_its_sandboxes", |name| restart(name, Release::Installed)),
        trial("containerd::a_sandbox_whose_namespace_vanished_goes", vanished),
        trial("containerd::sandboxes_go_while_the_daemon_is_away", away),
    ]
}

/// kubelet goes away while the daemon has nothing to give: SIGKILL, and a DEL with the same namespace.
pub(crate) fn killed_waiting(name: &str, release: Release) -> Result<()> {
    let mut world = booted(&Plan { name: name.to_owned(), enis: 2, pool: (1, 1), ..Plan::default() })?;
    let containerd = Containerd::of(release, &world.nodes[0], 1)?;
    containerd.wait_network()?;
    let cri = containerd.cri()?;
    let first = cri.run(&containerd.pod("first"))?;
    // There is one ENI only.
    containerd.cri()?.abandon(&containerd.pod("second"), || {
        of_pod(&containerd, "second").is_ok_and(|calls| !calls.is_empty())
    })?;
    let calls = eventually("the second sandbox is taken down", LIMIT, || {
        let calls = of_pod(&containerd, "second").ok()?;
        calls.iter().any(|call| call.verb() == "DEL").then_some(calls)
    })?;
    let [add, del, ..] = calls.as_slice() else { bail!("{calls:?}") };
    ensure!(add.verb() == "ADD" && add.answer.is_none(), "killed, it cannot have answered: {add:?}");
    ensure!(del.variable("CNI_NETNS") == add.variable("CNI_NETNS"), "{del:?}");
    fixture::hold("containerd-killed", &cri.version()?.runtime_version, &world.nodes[0], &calls)?;
    cri.stop(&first)?;
    cri.remove(&first)?;
    wait_free(&world.nodes[0])?;
    books_agree(&mut world, 0, &[])
}

/// Deadlines from shorter than an ADD to longer than it: whenever the plugin dies, the DEL that follows undoes all.
pub(crate) fn killed_anywhere(name: &str, release: Release) -> Result<()> {
    let mut world = booted(&Plan { name: name.to_owned(), pool: (2, 4), ..Plan::default() })?;
    let containerd = Containerd::of(release, &world.nodes[0], 1)?;
    containerd.wait_network()?;
    let cri = containerd.cri()?;
    let mut killed = 0;
    for step in 0.. {
        let pod = containerd.pod(&format!("web{step}"));
        let outcome = cri.run_within(&pod, Duration::from_millis(40 + 25 * step));
        if let Ok(id) = outcome {
            cri.stop(&id)?;
            cri.remove(&id)?;
            break;
        }
        ensure!(step < 200, "no sandbox came about: {outcome:?}");
        let calls = eventually("the sandbox is taken down", LIMIT, || {
            // A deadline may end after the work and before its answer; then kubelet finds a sandbox it does not want.
            for stray in cri.list().ok()? {
                cri.stop(&stray.id).and_then(|()| cri.remove(&stray.id)).ok()?;
            }
            let calls = of_pod(&containerd, &format!("web{step}")).ok()?;
            (calls.iter().filter(|call| call.verb() == "ADD").count()
                <= calls.iter().filter(|call| call.verb() == "DEL").count())
            .then_some(calls)
        })?;
        killed += calls.iter().filter(|call| call.verb() == "ADD" && call.answer.is_none()).count();
    }
    ensure!(killed > 0, "no plugin was killed in the middle");
    wait_free(&world.nodes[0])?;
    let host = reader::recording(&world.nodes[0].netns)?;
    ensure!(
        !host.contains("cali") && !host.contains("proto 157"),
        "left behind after {killed} kills: {host}"
    );
    books_agree(&mut world, 0, &[])
}

/// The sandbox of before the crash has its network afterwards, and goes in full.
pub(crate) fn restart(name: &str, release: Release) -> Result<()> {
    let mut world = booted(&Plan { name: name.to_owned(), ..Plan::default() })?;
    let mut containerd = Containerd::of(release, &world.nodes[0], 1)?;
    containerd.wait_network()?;
    let id = containerd.cri()?.run(&containerd.pod("web"))?;
    let (addresses, netns) = (containerd.cri()?.addresses(&id)?, containerd.cri()?.netns(&id)?);
    containerd.end()?;
    ensure!(reader::link(&netns, "eth0")?.is_some(), "the pod lost its NIC with containerd");
    containerd.launch()?;
    containerd.wait_network()?;
    let cri = containerd.cri()?;
    ensure!(cri.addresses(&id)? == addresses);
    cri.stop(&id)?;
    ensure!(in_use(&world.nodes[0])? == 0, "the ENI is still held");
    cri.remove(&id)?;
    wait_free(&world.nodes[0])?;
    books_agree(&mut world, 0, &[])
}

/// Somebody unmounted the namespace: containerd calls DEL without one, again and again, and each must succeed.
fn vanished(name: &str) -> Result<()> {
    let mut world = booted(&Plan { name: name.to_owned(), ..Plan::default() })?;
    let containerd = Containerd::start(&world.nodes[0])?;
    containerd.wait_network()?;
    let cri = containerd.cri()?;
    let id = cri.run(&containerd.pod("web"))?;
    namespace::remove(&cri.netns(&id)?)?;
    cri.stop(&id)?;
    cri.stop(&id)?;
    cri.remove(&id)?;
    let calls = containerd.plugins.calls_of(&id)?;
    let empty = calls.iter().filter(|call| call.verb() == "DEL" && call.variable("CNI_NETNS").is_empty());
    ensure!(empty.count() >= 2, "{calls:?}");
    wait_free(&world.nodes[0])?;
    books_agree(&mut world, 0, &[])
}

/// With the daemon away DEL writes the release down; the daemon takes it up when it is back.
fn away(name: &str) -> Result<()> {
    let mut world = booted(&Plan { name: name.to_owned(), ..Plan::default() })?;
    let containerd = Containerd::start(&world.nodes[0])?;
    containerd.wait_network()?;
    let cri = containerd.cri()?;
    let id = cri.run(&containerd.pod("web"))?;
    world.nodes[0].kill()?;
    let refused = cri.run(&containerd.pod("early")).err().context("a sandbox without a daemon")?;
    ensure!(refused.to_string().contains("daemon-unreachable"), "the reason must reach kubelet: {refused:#}");
    cri.stop(&id)?;
    cri.remove(&id)?;
    world.nodes[0].start()?;
    world.nodes[0].wait_ready()?;
    wait_free(&world.nodes[0])?;
    books_agree(&mut world, 0, &[])
}

fn of_pod(containerd: &Containerd, name: &str) -> Result<Vec<Call>> {
    let mut calls = containerd.plugins.calls()?;
    let word = format!("K8S_POD_NAME={name}");
    calls.retain(|call| call.variable("CNI_ARGS").split(';').any(|pair| pair == word));
    Ok(calls)
}
