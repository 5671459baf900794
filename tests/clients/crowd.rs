//! Many sandboxes at once.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::thread;
use std::time::Instant;

use anyhow::{Result, anyhow, ensure};
use libtest_mimic::Trial;
use terway_rig::world::Plan;

use crate::containerd::Containerd;
use crate::cri::Cri;
use crate::stage::{books_agree, booted, in_use, trial};

/// How many; each has an ENI and a caller of its own.
const CROWD: u32 = 50;

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("containerd::fifty_sandboxes_at_once", fifty)]
}

/// Every sandbox comes about at the first try, with addresses nobody else has; all go again and leave nothing.
fn fifty(name: &str) -> Result<()> {
    let plan = Plan {
        name: name.to_owned(),
        enis: CROWD + 1,
        pool: (CROWD, CROWD),
        latency: [1, 5, 5, 1],
        ..Plan::default()
    };
    let mut world = booted(&plan)?;
    let containerd = Containerd::start(&world.nodes[0])?;
    containerd.wait_network()?;
    let names: Vec<String> = (0..CROWD).map(|number| format!("web{number}")).collect();
    let made = at_once(&containerd, &names, |cri, name| cri.run(&containerd.pod(name)))?;
    let cri = containerd.cri()?;
    let made = made
        .into_iter()
        .map(|id| Ok((cri.addresses(&id)?, cri.netns(&id)?, id)))
        .collect::<Result<Vec<_>>>()?;
    let all: BTreeSet<&String> = made.iter().flat_map(|(addresses, ..)| addresses).collect();
    ensure!(all.len() == 2 * CROWD as usize, "{} addresses for {CROWD} sandboxes", all.len());
    let namespaces: Vec<PathBuf> = made.iter().map(|(_, netns, _)| netns.clone()).collect();
    let paths: Vec<&Path> = namespaces.iter().map(PathBuf::as_path).collect();
    books_agree(&mut world, 0, &paths)?;
    world.nodes[0].start()?;
    world.nodes[0].wait_ready()?;
    let ids: Vec<String> = made.into_iter().map(|(.., id)| id).collect();
    at_once(&containerd, &ids, |cri, id| cri.stop(id).and_then(|()| cri.remove(id)))?;
    ensure!(in_use(&world.nodes[0])? == 0, "ENIs are still held");
    books_agree(&mut world, 0, &[])
}

/// One caller for each, who has connected before anybody begins; all calls are under way at one moment. What they found.
fn at_once<T: Send>(
    containerd: &Containerd,
    names: &[String],
    call: impl Fn(&Cri, &str) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let all_here = Barrier::new(names.len());
    let one = |name: &str| {
        let cri = containerd.cri().and_then(|cri| cri.version().map(|_| cri));
        all_here.wait();
        let begun = Instant::now();
        let found = call(&cri?, name)?;
        Ok((found, begun, Instant::now()))
    };
    let answers = thread::scope(|scope| {
        let one = &one;
        let callers: Vec<_> = names.iter().map(|name| scope.spawn(move || one(name))).collect();
        let joined =
            callers.into_iter().map(|caller| caller.join().map_err(|_| anyhow!("a caller panicked"))?);
        joined.collect::<Result<Vec<_>>>()
    })?;
    let last = answers.iter().map(|(_, begun, _)| *begun).max();
    let first = answers.iter().map(|(.., ended)| *ended).min();
    ensure!(last < first, "the first call ended before the last began");
    Ok(answers.into_iter().map(|(found, ..)| found).collect())
}
