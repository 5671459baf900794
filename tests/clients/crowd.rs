//! Many sandboxes at once.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Result, anyhow, ensure};
use libtest_mimic::Trial;
use terway_rig::world::Plan;

use crate::containerd::Containerd;
use crate::stage::{books_agree, booted, in_use, trial};

/// How many; each has an ENI of its own.
const CROWD: u32 = 50;
/// How many callers share them.
const CALLERS: u32 = 10;

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
    let made = at_once(&containerd, |containerd, caller| {
        let cri = containerd.cri()?;
        let mine = (0..CROWD).filter(|number| number % CALLERS == caller);
        mine.map(|number| {
            let id = cri.run(&containerd.pod(&format!("web{number}")))?;
            Ok((id.clone(), cri.addresses(&id)?, cri.netns(&id)?))
        })
        .collect::<Result<Vec<_>>>()
    })?;
    let all: BTreeSet<&String> = made.iter().flat_map(|(_, addresses, _)| addresses).collect();
    ensure!(all.len() == 2 * CROWD as usize, "{} addresses for {CROWD} sandboxes", all.len());
    let namespaces: Vec<PathBuf> = made.iter().map(|(_, _, netns)| netns.clone()).collect();
    let paths: Vec<&Path> = namespaces.iter().map(PathBuf::as_path).collect();
    books_agree(&mut world, 0, &paths)?;
    world.nodes[0].start()?;
    world.nodes[0].wait_ready()?;
    let ids: Vec<String> = made.into_iter().map(|(id, _, _)| id).collect();
    at_once(&containerd, |containerd, caller| {
        let cri = containerd.cri()?;
        let mine = ids.iter().skip(caller as usize).step_by(CALLERS as usize);
        mine.map(|id| cri.stop(id).and_then(|()| cri.remove(id))).collect::<Result<Vec<_>>>()
    })?;
    ensure!(in_use(&world.nodes[0])? == 0, "ENIs are still held");
    books_agree(&mut world, 0, &[])
}

/// All callers at once; what they found, together.
fn at_once<T: Send>(
    containerd: &Containerd,
    work: impl Fn(&Containerd, u32) -> Result<Vec<T>> + Sync,
) -> Result<Vec<T>> {
    thread::scope(|scope| {
        let callers: Vec<_> = (0..CALLERS)
            .map(|caller| {
                scope.spawn({
                    let work = &work;
                    move || work(containerd, caller)
                })
            })
            .collect();
        let found =
            callers.into_iter().map(|caller| caller.join().map_err(|_| anyhow!("a caller panicked"))?);
        Ok(found.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
    })
}
