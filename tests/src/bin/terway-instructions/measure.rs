//! What is counted: each verb of the plugin as a whole process, and what the daemon spends on an ADD and a DEL.
//!
//! The node has exactly the ENIs that the pods need and may have no more: no refill of the pool runs beside.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use terway_rig::node::Node;
use terway_rig::pod::Pod;
use terway_rig::world::{Plan, World};

use crate::callgrind::{Counted, Profile};

/// How many pods the daemon's figures are an average of.
const PODS: u32 = 10;
/// How often a verb is counted; the least is taken, since nothing takes less than it needs: timers and looks of the daemon
/// fall into some counts and not into others.
const ROUNDS: usize = 3;

/// A profile and what it is of.
pub(crate) struct Count {
    pub(crate) what: &'static str,
    pub(crate) profile: Profile,
}

/// Counts everything. `plugin` is the plugin of `binaries` with its symbols.
pub(crate) fn run(binaries: &Path, plugin: &Path) -> Result<Vec<Count>> {
    let folder = Path::new("/run/terway/counted");
    fs::create_dir_all(folder).context("failed to create a folder for scripts")?;
    let daemon = Counted::new(folder, "terwayd", &binaries.join("terwayd"), false)?;
    for program in ["terway-cli", "terway-cloudsim", "terway"] {
        let link = folder.join(program);
        std::os::unix::fs::symlink(binaries.join(program), &link)
            .with_context(|| format!("failed to link {}", link.display()))?;
    }
    let mut counts = Vec::new();
    for (shared, words) in [
        (
            false,
            [
                "plugin, ADD, exclusive",
                "plugin, DEL, exclusive",
                "daemon, ADD, exclusive",
                "daemon, DEL, exclusive",
            ],
        ),
        (true, ["plugin, ADD, shared", "plugin, DEL, shared", "daemon, ADD, shared", "daemon, DEL, shared"]),
    ] {
        let mut world = world(shared, folder)?;
        let node = &mut world.nodes[0];
        let [add, del, daemon_add, daemon_del] = words;
        let serving = on_the_daemon(node, &daemon)?;
        let of_plugin = on_the_plugin(node, folder, plugin, shared)?;
        for (what, profile) in
            [add, del, daemon_add, daemon_del].into_iter().zip(of_plugin.add_del.into_iter().chain(serving))
        {
            counts.push(Count { what, profile });
        }
        counts.extend(of_plugin.others);
    }
    Ok(counts)
}

fn world(shared: bool, folder: &Path) -> Result<World> {
    let plan = Plan {
        name: if shared { "counts" } else { "counte" }.to_owned(),
        enis: if shared { 3 } else { PODS + 1 },
        pool: if shared { (PODS + 2, PODS + 2) } else { (PODS, PODS) },
        quarantine: "0s".to_owned(),
        shared,
        ..Plan::default()
    };
    let mut world = World::start(&plan, folder, Path::new("/run/terway"))?;
    // The guard looks when it thinks it should; what it spends belongs to no call.
    world.nodes[0].flags.push("--no-host-guard".to_owned());
    world.boot()?;
    world.nodes[0].wait_phase("Ready", if shared { 2 } else { PODS as usize })?;
    Ok(world)
}

/// What the daemon spends on an ADD and on a DEL.
fn on_the_daemon(node: &mut Node, daemon: &Counted) -> Result<[Profile; 2]> {
    let pid = node.daemon_pid().context("no daemon")?;
    let mut pods = (0..PODS).map(|_| node.pod("counted")).collect::<Result<Vec<_>>>()?;
    daemon.begin(pid)?;
    // Once without looking: what is done once only.
    each(&mut pods, |pod| pod.add().map(drop))?;
    each(&mut pods, |pod| pod.del().map(drop))?;
    let (mut add, mut del) = (None, None);
    for round in 0..ROUNDS {
        daemon.zero(pid)?;
        each(&mut pods, |pod| pod.add().map(drop))?;
        least(&mut add, per_pod(daemon.since(pid, 2 * round + 1)?));
        each(&mut pods, |pod| pod.del().map(drop))?;
        least(&mut del, per_pod(daemon.since(pid, 2 * round + 2)?));
    }
    Ok([add.context("no ADD was counted")?, del.context("no DEL was counted")?])
}

fn each(pods: &mut [Pod], verb: impl Fn(&mut Pod) -> Result<()>) -> Result<()> {
    pods.iter_mut().try_for_each(verb)
}

fn per_pod(all: Profile) -> Profile {
    let pods = u64::from(PODS);
    let crates = all.crates.into_iter().map(|(name, count)| (name, count / pods)).collect();
    Profile { total: all.total / pods, crates }
}

struct OfPlugin {
    add_del: Vec<Profile>,
    others: Vec<Count>,
}

/// What each verb costs the plugin.
fn on_the_plugin(node: &mut Node, folder: &Path, plugin: &Path, shared: bool) -> Result<OfPlugin> {
    let own = folder.join("plugin");
    fs::create_dir_all(&own)?;
    let counted = Counted::new(&own, "terway", plugin, true)?;
    let mut pod = node.pod("counted")?;
    pod.program = own.join("terway");
    let (mut add, mut del) = (None, None);
    for _ in 0..ROUNDS {
        pod.add()?;
        least(&mut add, counted.of_last_run()?);
        pod.del()?;
        least(&mut del, counted.of_last_run()?);
    }
    let mut others = Vec::new();
    if !shared {
        pod.add()?;
        counted.of_last_run()?;
        let mut check = None;
        for _ in 0..ROUNDS {
            pod.call_with_result("CHECK").run()?.expect_ok("CHECK")?;
            least(&mut check, counted.of_last_run()?);
        }
        others.extend(check.map(|profile| Count { what: "plugin, CHECK, exclusive", profile }));
        for (verb, what) in [("STATUS", "plugin, STATUS"), ("VERSION", "plugin, VERSION")] {
            let call = ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS"]
                .iter()
                .fold(pod.call(verb), |call, key| call.without(key));
            let mut best = None;
            for _ in 0..ROUNDS {
                call.run()?.expect_ok(verb)?;
                least(&mut best, counted.of_last_run()?);
            }
            others.extend(best.map(|profile| Count { what, profile }));
        }
    }
    Ok(OfPlugin { add_del: add.into_iter().chain(del).collect(), others })
}

fn least(best: &mut Option<Profile>, profile: Profile) {
    if best.as_ref().is_none_or(|best| profile.total < best.total) {
        *best = Some(profile);
    }
}
