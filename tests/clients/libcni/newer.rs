//! What came with libcni 1.2: it chooses among `cniVersions`, and sends STATUS and GC.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use serde_json::Value;
use terway_rig::namespace;
use terway_rig::world::Plan;

use super::client::{Libcni, Sandbox};
use super::reused;
use crate::stage::{books_agree, booted, in_use, trial, wait_free};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("libcni2::the_newest_common_version_is_spoken", version),
        trial("libcni2::status_tells_whether_a_pod_could_start", status),
        trial("libcni2::gc_takes_what_is_not_named_and_spares_what_is", gc),
        trial("libcni2::gc_of_nothing_valid_ends_with_nothing_held", gc_of_all),
        trial("libcni2::gc_of_nothing_valid_spares_what_lives", gc_of_all_beside),
        trial("libcni2::gc_with_the_old_namespace_leaves_the_new_sandbox_alone", |name| {
            reused(name, Libcni::newer, |libcni, _, new| libcni.succeed("gc", &new.id, "eth0"))
        }),
    ]
}

fn version(name: &str) -> Result<()> {
    let mut world = booted(&Plan { name: name.to_owned(), ..Plan::default() })?;
    let (libcni, sandbox) = (Libcni::newer(&world.nodes[0])?, Sandbox::new(name, 0)?);
    let result: Value = serde_json::from_str(&libcni.run("add", &sandbox, "eth0")?)?;
    ensure!(result["cniVersion"] == "1.1.0", "{result}");
    // What 1.1.0 has and the versions before it have not.
    ensure!(result["interfaces"][0]["mtu"] == 1500, "{result}");
    libcni.run("check", &sandbox, "eth0")?;
    libcni.succeed("status", "", "")?;
    libcni.succeed("gc", &sandbox.id, "eth0")?;
    libcni.run("del", &sandbox, "eth0")?;
    libcni.hold(&world.nodes[0])?;
    namespace::remove(&sandbox.netns)?;
    books_agree(&mut world, 0, &[])
}

/// A daemon that is away is the node's answer of no; it says so by code and word.
fn status(name: &str) -> Result<()> {
    let mut world = booted(&Plan { name: name.to_owned(), ..Plan::default() })?;
    let libcni = Libcni::newer(&world.nodes[0])?;
    libcni.succeed("status", "", "")?;
    world.nodes[0].stop()?;
    let output = libcni.call("status", "", "", "")?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(!output.status.success() && said.contains("daemon-unreachable"), "{said}");
    world.nodes[0].start()?;
    world.nodes[0].wait_ready()?;
    libcni.succeed("status", "", "")?;
    books_agree(&mut world, 0, &[])
}

/// Three sandboxes: one lives, one went and libcni remembers it, one went and libcni forgot it. libcni deletes the second
/// by itself; only GC can find the third.
fn gc(name: &str) -> Result<()> {
    let mut world = booted(&Plan { name: name.to_owned(), pool: (3, 4), ..Plan::default() })?;
    let libcni = Libcni::newer(&world.nodes[0])?;
    let sandboxes = (0..3).map(|number| Sandbox::new(name, number)).collect::<Result<Vec<_>>>()?;
    let [lives, remembered, forgotten] = sandboxes.as_slice() else { unreachable!("there are three") };
    libcni.run("add", forgotten, "eth0")?;
    fs::remove_dir_all(&libcni.cache)?;
    libcni.run("add", lives, "eth0")?;
    libcni.run("add", remembered, "eth0")?;
    for gone in [remembered, forgotten] {
        namespace::remove(&gone.netns)?;
    }
    ensure!(in_use(&world.nodes[0])? == 3 && libcni.kept() == 2);
    libcni.succeed("gc", &lives.id, "eth0")?;
    ensure!(in_use(&world.nodes[0])? == 1, "{:?}", world.nodes[0].mapping());
    ensure!(libcni.kept() == 1);
    libcni.run("check", lives, "eth0")?;
    libcni.run("del", lives, "eth0")?;
    namespace::remove(&lives.netns)?;
    books_agree(&mut world, 0, &[])
}

/// A list of valid attachments that is `null` or empty, as a runtime sends it that knows of no pod.
fn gc_of_all(name: &str) -> Result<()> {
    let mut world = booted(&Plan { name: name.to_owned(), pool: (2, 4), ..Plan::default() })?;
    let libcni = Libcni::newer(&world.nodes[0])?;
    for number in 0..2 {
        let sandbox = Sandbox::new(name, number)?;
        libcni.run("add", &sandbox, "eth0")?;
        namespace::remove(&sandbox.netns)?;
    }
    fs::remove_dir_all(&libcni.cache)?;
    libcni.succeed("gc", "", "")?;
    wait_free(&world.nodes[0])?;
    books_agree(&mut world, 0, &[])
}

/// The same while a sandbox lives, of a runtime that has lost what it knew: libcni's cache is gone, and with it the DELs
/// that it would send itself. The plugin takes what nobody has any more, names what lives, and spares it.
fn gc_of_all_beside(name: &str) -> Result<()> {
    let mut world = booted(&Plan { name: name.to_owned(), pool: (2, 4), ..Plan::default() })?;
    let libcni = Libcni::newer(&world.nodes[0])?;
    let (lives, gone) = (Sandbox::new(name, 0)?, Sandbox::new(name, 1)?);
    libcni.run("add", &lives, "eth0")?;
    libcni.run("add", &gone, "eth0")?;
    namespace::remove(&gone.netns)?;
    let aside = libcni.cache.with_extension("aside");
    fs::rename(&libcni.cache, &aside)?;
    let output = libcni.call("gc", "", "", "")?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(!output.status.success() && said.contains(&lives.id), "libcni gc: {said}");
    ensure!(in_use(&world.nodes[0])? == 1, "{:?}", world.nodes[0].mapping());
    let calls = libcni.plugins.calls()?;
    let gc = calls.last().context("no call was recorded")?;
    ensure!(gc.verb() == "GC" && gc.input["cni.dev/valid-attachments"].is_null(), "{gc:?}");
    ensure!(gc.input.get("cni.dev/valid-attachments").is_some(), "the list is absent: {gc:?}");
    fs::rename(&aside, &libcni.cache)?;
    libcni.run("check", &lives, "eth0")?;
    libcni.run("del", &lives, "eth0")?;
    namespace::remove(&lives.netns)?;
    books_agree(&mut world, 0, &[])
}
