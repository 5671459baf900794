//! libcni itself, by a small client built against the one that is installed (1.1.2): its cache, its version choice, its
//! habits. It sends neither GC nor STATUS, which came with 1.2; `newer` has them.

mod client;
mod newer;

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;
use std::thread;

use anyhow::{Context as _, Result, anyhow, ensure};
use libtest_mimic::Trial;
use serde_json::Value;
use terway_rig::node::Node;
use terway_rig::world::Plan;
use terway_rig::{namespace, reader};

use client::{Libcni, Sandbox};
pub(crate) use newer::trials as newer_trials;

use crate::stage::{books_agree, booted, in_use, trial, wait_free};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("libcni::a_sandbox_comes_is_checked_and_goes", life),
        trial("libcni::a_del_that_failed_is_tried_again_with_its_result", failed_del),
        trial("libcni::a_del_without_namespace_and_without_cache_frees_the_eni", nothing_left),
        trial("libcni::two_interfaces_of_one_sandbox_come_at_once", two_interfaces),
        trial("libcni::a_late_del_with_the_old_namespace_leaves_the_new_sandbox_alone", |name| {
            reused(name, Libcni::new, |libcni, old, _| libcni.run("del", old, "eth0").map(drop))
        }),
        trial("libcni::a_new_plugin_is_called_while_the_old_file_is_busy", busy),
    ]
}

/// ADD, CHECK with the result of the cache, a drift by its name, DEL, and DEL again.
fn life(name: &str) -> Result<()> {
    let mut world = booted(&Plan { name: name.to_owned(), ..Plan::default() })?;
    let (libcni, sandbox) = (Libcni::new(&world.nodes[0])?, Sandbox::new(name, 0)?);
    let result: Value = serde_json::from_str(&libcni.run("add", &sandbox, "eth0")?)?;
    // This libcni reads `cniVersion` only, which is why the conflist offers the newest in `cniVersions`.
    ensure!(result["cniVersion"] == "1.0.0", "{result}");
    ensure!(result["ips"].as_array().is_some_and(|ips| ips.len() == 2), "{result}");
    ensure!(libcni.kept() == 1 && in_use(&world.nodes[0])? == 1);
    libcni.run("check", &sandbox, "eth0")?;
    reader::text(&sandbox.netns, "ip", &["route", "del", "default"])?;
    let said = libcni.refusal("check", &sandbox)?;
    ensure!(said.contains("drift") && said.contains("default"), "the drift must be named: {said}");
    for _ in 0..2 {
        libcni.run("del", &sandbox, "eth0")?;
        ensure!(libcni.kept() == 0 && in_use(&world.nodes[0])? == 0);
    }
    let said = libcni.refusal("check", &sandbox)?;
    ensure!(said.contains("attachment-unknown"), "CHECK of what is gone: {said}");
    libcni.hold(&world.nodes[0])?;
    namespace::remove(&sandbox.netns)?;
    books_agree(&mut world, 0, &[])
}

/// Neither daemon nor spool can take the release. libcni says so and keeps the result, and with it the DEL to come works.
fn failed_del(name: &str) -> Result<()> {
    let mut world = booted(&Plan { name: name.to_owned(), ..Plan::default() })?;
    let (libcni, sandbox) = (Libcni::new(&world.nodes[0])?, Sandbox::new(name, 0)?);
    libcni.run("add", &sandbox, "eth0")?;
    world.nodes[0].kill()?;
    let (spool, aside) = (world.nodes[0].path("state/spool"), world.nodes[0].path("state/aside"));
    fs::rename(&spool, &aside).context("failed to put the spool aside")?;
    File::create(&spool)?;
    let said = libcni.refusal("del", &sandbox)?;
    ensure!(said.contains("spool") && !said.contains("not found"), "{said}");
    ensure!(libcni.kept() == 1, "libcni forgot the sandbox");
    fs::remove_file(&spool)?;
    fs::rename(&aside, &spool)?;
    libcni.run("del", &sandbox, "eth0")?;
    ensure!(libcni.kept() == 0);
    world.nodes[0].start()?;
    world.nodes[0].wait_ready()?;
    wait_free(&world.nodes[0])?;
    namespace::remove(&sandbox.netns)?;
    books_agree(&mut world, 0, &[])
}

/// What is left after a crash of a node: no namespace, and a cache that somebody cleared away.
fn nothing_left(name: &str) -> Result<()> {
    let mut world = booted(&Plan { name: name.to_owned(), pool: (2, 4), ..Plan::default() })?;
    let libcni = Libcni::new(&world.nodes[0])?;
    for (number, forgets) in [false, true].into_iter().enumerate() {
        let sandbox = Sandbox::new(name, number)?;
        libcni.run("add", &sandbox, "eth0")?;
        namespace::remove(&sandbox.netns)?;
        if forgets {
            fs::remove_dir_all(&libcni.cache)?;
        }
        let output = libcni.call("del", &sandbox.id, "", "eth0")?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
        wait_free(&world.nodes[0])?;
    }
    books_agree(&mut world, 0, &[])
}

/// The key is the attachment: one container id, two interfaces, asked for and given back at the same time.
fn two_interfaces(name: &str) -> Result<()> {
    let mut world = booted(&Plan { name: name.to_owned(), pool: (3, 4), ..Plan::default() })?;
    let (libcni, sandbox) = (Libcni::new(&world.nodes[0])?, Sandbox::new(name, 0)?);
    let both = |verb: &'static str| -> Result<()> {
        thread::scope(|scope| {
            let other = scope.spawn(|| libcni.run(verb, &sandbox, "eth1"));
            libcni.run(verb, &sandbox, "eth0")?;
            other.join().map_err(|_| anyhow!("the caller panicked"))?.map(drop)
        })
    };
    both("add")?;
    for link in ["eth0", "eth1"] {
        ensure!(reader::link(&sandbox.netns, link)?.is_some(), "the sandbox has no {link}");
    }
    ensure!(in_use(&world.nodes[0])? == 2 && libcni.kept() == 2);
    both("check")?;
    both("del")?;
    ensure!(in_use(&world.nodes[0])? == 0 && libcni.kept() == 0);
    namespace::remove(&sandbox.netns)?;
    books_agree(&mut world, 0, &[])
}

/// libcni remembers the path of a sandbox's namespace, and the sandbox may have gone without a DEL. The one that comes late
/// has that path, and by then another sandbox lives there.
fn reused(
    name: &str,
    libcni: fn(&Node) -> Result<Libcni>,
    late: fn(&Libcni, &Sandbox, &Sandbox) -> Result<()>,
) -> Result<()> {
    let mut world = booted(&Plan { name: name.to_owned(), pool: (2, 4), ..Plan::default() })?;
    let (libcni, old) = (libcni(&world.nodes[0])?, Sandbox::new(name, 0)?);
    libcni.run("add", &old, "eth0")?;
    namespace::remove(&old.netns)?;
    namespace::create(&old.netns)?;
    let new = Sandbox { id: format!("{name}1"), netns: old.netns.clone() };
    libcni.run("add", &new, "eth0")?;
    late(&libcni, &old, &new)?;
    let calls = libcni.plugins.calls_of(&old.id)?;
    let del = calls.last().context("no call was recorded")?;
    ensure!(del.verb() == "DEL" && Path::new(del.variable("CNI_NETNS")) == new.netns, "{del:?}");
    libcni.run("check", &new, "eth0")?;
    ensure!(in_use(&world.nodes[0])? == 1, "{:?}", world.nodes[0].mapping());
    libcni.run("del", &new, "eth0")?;
    namespace::remove(&new.netns)?;
    books_agree(&mut world, 0, &[])
}

/// A file that somebody holds open for writing cannot be started, and after six such failures libcni takes the DEL for
/// done. `terway-cli install` puts another file in its place, so the DEL is one.
fn busy(name: &str) -> Result<()> {
    let mut world = booted(&Plan { name: name.to_owned(), ..Plan::default() })?;
    let (libcni, sandbox) = (Libcni::new(&world.nodes[0])?, Sandbox::new(name, 0)?);
    libcni.run("add", &sandbox, "eth0")?;
    let plugin = libcni.plugins.folder.join("terway");
    let _writer = File::options().write(true).open(&plugin).context("failed to open the plugin")?;
    let refused = Command::new(&plugin).spawn().err().context("a file that is being written was started")?;
    ensure!(refused.kind() == ErrorKind::ExecutableFileBusy, "{refused}");
    let shipped = world.nodes[0].binaries.join("terway");
    let words = ["install", "--from", &shipped.to_string_lossy(), "--to", &plugin.to_string_lossy()];
    let installed = world.nodes[0].cli(&words)?;
    ensure!(installed.status.success(), "{}", String::from_utf8_lossy(&installed.stderr));
    libcni.run("del", &sandbox, "eth0")?;
    ensure!(in_use(&world.nodes[0])? == 0, "libcni took a DEL for done that never ran");
    namespace::remove(&sandbox.netns)?;
    books_agree(&mut world, 0, &[])
}
