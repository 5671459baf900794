//! Traps of real runtimes that no other story walks into.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::thread;

use anyhow::{Context as _, Result, anyhow, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};
use terway_rig::eventually::eventually;
use terway_rig::reader;
use terway_rig::world::Plan;

use crate::alone::local_network;
use crate::containerd::{Containerd, Release};
use crate::stage::{LIMIT, books_agree, booted, in_use, trial, wait_free};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("traps::a_del_that_failed_is_no_success", failed_del),
        trial("traps::a_new_plugin_is_installed_while_the_old_one_runs", upgrade),
        trial("traps::networks_of_one_pod_are_attached_at_once", two_networks),
        trial("traps::a_gc_with_null_spares_what_lives", gc_null),
        trial("traps::a_changed_conflist_reaches_a_runtime_that_watches", changed_conflist),
    ]
}

/// containerd takes any DEL error with the words "not found" for success, and forgets the pod. Ours must not hold
/// them: here neither daemon nor spool can take the release, so the sandbox has to stay until they can.
fn failed_del(name: &str) -> Result<()> {
    let mut world = booted(&Plan { name: name.to_owned(), ..Plan::default() })?;
    let containerd = Containerd::start(&world.nodes[0])?;
    containerd.wait_network()?;
    let cri = containerd.cri()?;
    let id = cri.run(&containerd.pod("web"))?;
    world.nodes[0].kill()?;
    let spool = world.nodes[0].path("state/spool");
    let aside = world.nodes[0].path("state/aside");
    fs::rename(&spool, &aside).context("failed to put the spool aside")?;
    File::create(&spool)?;
    let refused = cri.stop(&id).err().context("StopPodSandbox passed over a DEL that failed")?;
    ensure!(refused.to_string().contains("spool"), "the reason must be told: {refused:#}");
    ensure!(cri.list()?.iter().any(|sandbox| sandbox.id == id), "the sandbox is forgotten");
    fs::remove_file(&spool)?;
    fs::rename(&aside, &spool)?;
    cri.stop(&id)?;
    cri.remove(&id)?;
    world.nodes[0].start()?;
    world.nodes[0].wait_ready()?;
    wait_free(&world.nodes[0])?;
    books_agree(&mut world, 0, &[])
}

/// A running program cannot be overwritten ("text file busy"), and libcni takes six such failures for a success.
/// `terway-cli install` puts the new plugin in place under a running one, which ends its work undisturbed.
fn upgrade(name: &str) -> Result<()> {
    let mut world = booted(&Plan { name: name.to_owned(), enis: 2, pool: (1, 1), ..Plan::default() })?;
    let containerd = Containerd::start(&world.nodes[0])?;
    containerd.wait_network()?;
    let cri = containerd.cri()?;
    let first = cri.run(&containerd.pod("first"))?;
    let plugin = containerd.plugins.plugin();
    thread::scope(|scope| {
        let second = scope.spawn(|| containerd.cri()?.run(&containerd.pod("second")));
        eventually("the plugin runs and cannot be written", LIMIT, || {
            let refused = File::options().write(true).open(&plugin).err()?;
            (refused.kind() == ErrorKind::ExecutableFileBusy).then_some(())
        })?;
        let shipped = world.nodes[0].binaries.join("terway");
        let words = ["install", "--from", &shipped.to_string_lossy(), "--to", &plugin.to_string_lossy()];
        let installed = world.nodes[0].cli(&words)?;
        ensure!(installed.status.success(), "{}", String::from_utf8_lossy(&installed.stderr));
        cri.stop(&first)?;
        cri.remove(&first)?;
        let second = second.join().map_err(|_| anyhow!("the caller panicked"))??;
        cri.stop(&second)?;
        cri.remove(&second)
    })?;
    books_agree(&mut world, 0, &[])
}

/// containerd attaches the networks of one pod in parallel, whatever the specification says: ours and one of the
/// reference plugins in one sandbox.
fn two_networks(name: &str) -> Result<()> {
    let mut world = booted(&Plan { name: name.to_owned(), pool: (2, 4), ..Plan::default() })?;
    local_network(&world.nodes[0])?;
    let containerd = Containerd::of(Release::Installed, &world.nodes[0], 2)?;
    containerd.wait_network()?;
    let cri = containerd.cri()?;
    let id = cri.run(&containerd.pod("web"))?;
    let netns = cri.netns(&id)?;
    for link in ["eth0", "eth1", "veth1"] {
        ensure!(reader::link(&netns, link)?.is_some(), "the pod has no {link}");
    }
    ensure!(in_use(&world.nodes[0])? == 1);
    cri.stop(&id)?;
    cri.remove(&id)?;
    ensure!(in_use(&world.nodes[0])? == 0, "the ENI is still held");
    books_agree(&mut world, 0, &[])
}

/// CRI-O writes its list of valid sandboxes as `null` when it knows of none. That is legal, and must not take the
/// network from a sandbox that lives.
fn gc_null(name: &str) -> Result<()> {
    let mut world = booted(&Plan { name: name.to_owned(), ..Plan::default() })?;
    let mut pod = world.nodes[0].pod("web")?;
    pod.add()?;
    let gc = ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS"]
        .iter()
        .fold(pod.call("GC"), |call, key| call.without(key))
        .configured("cni.dev/valid-attachments", Value::Null)
        .configured("cni.dev/attachments", Value::Null);
    let (code, text) = gc.run()?.expect_error("GC with null while a sandbox lives")?;
    ensure!(code == 7 && text.contains(&pod.container), "{code}: {text}");
    pod.call_with_result("CHECK").run()?.expect_ok("CHECK of the sandbox that lives")?;
    pod.vanish()?;
    gc.run()?.expect_ok("GC with null once no sandbox lives")?;
    wait_free(&world.nodes[0])?;
    books_agree(&mut world, 0, &[])
}

/// containerd's watcher does not see a file that was moved in from another folder: it waits for writes, renames within,
/// and removals. What an upgrade changes in the conflist has to reach the next pod all the same.
fn changed_conflist(name: &str) -> Result<()> {
    let mut world = booted(&Plan { name: name.to_owned(), pool: (2, 4), ..Plan::default() })?;
    let containerd = Containerd::start(&world.nodes[0])?;
    containerd.wait_network()?;
    let cri = containerd.cri()?;
    let told = |number: usize| -> Result<Value> {
        let id = cri.run(&containerd.pod(&format!("web{number}")))?;
        let calls = containerd.plugins.calls_of(&id)?;
        cri.stop(&id)?;
        cri.remove(&id)?;
        let add = calls.iter().find(|call| call.verb() == "ADD").context("no ADD was recorded")?;
        Ok(add.input["host_stack_cidrs"].clone())
    };
    ensure!(told(0)? == json!(["169.254.20.10/32"]));
    world.nodes[0].stop()?;
    world.nodes[0].tell_plugin("host_stack_cidrs", json!(["169.254.20.10/32", "169.254.20.11/32"]))?;
    world.nodes[0].start()?;
    world.nodes[0].wait_ready()?;
    let mut number = 0;
    eventually("containerd reads the conflist anew", LIMIT, || {
        number += 1;
        (told(number).ok()? == json!(["169.254.20.10/32", "169.254.20.11/32"])).then_some(())
    })
    .with_context(|| containerd.log())?;
    books_agree(&mut world, 0, &[])
}
