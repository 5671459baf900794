//! Many pods: so many ADDs at once, the plugin's memory and the daemon's with all of them, and how soon it serves again after a
//! kill.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::json;
use terway_rig::node::Node;
use terway_rig::world::{Plan, World};

use crate::Options;
use crate::serial::Crowd;
use crate::stats::Samples;
use crate::subject::{self, Burst};
use crate::table::Table;

/// How many at once, and the rows that tell of them.
const CROWDS: [(usize, &str, &str); 4] = [
    (1, "1 ADD", ""),
    (10, "10 ADDs at once", "10 ADDs at once, refused"),
    (50, "50 ADDs at once", "50 ADDs at once, refused"),
    (200, "200 ADDs at once", "200 ADDs at once, refused"),
];

/// The crowd that is held against the kernel's own part of it, and how often.
const SERIAL: usize = 50;
const TIMES: usize = 5;
/// The plugin may touch that much memory, in KiB; so many ADDs are looked at, and the greatest counts.
const PLUGIN_KIB: u64 = 2 * 1024;
const LOOKS: usize = 5;
/// Before what is compared: the kernel is done with what the one before left it to do.
const REST: Duration = Duration::from_secs(1);

/// One, ten, fifty and two hundred at once, and the daemon's memory with many attachments.
pub(crate) fn run(table: &mut Table, options: &Options) -> Result<()> {
    let count = options.attachments;
    let plan = Plan {
        name: "crowd".to_owned(),
        enis: count + 1,
        pool: (count, count),
        quarantine: "0s".to_owned(),
        latency: [1, 1, 1, 1],
        ..Plan::default()
    };
    let mut world = World::start(&plan, &options.binaries, &options.state)?;
    world.boot()?;
    let vpc = world.vpc.clone();
    let node = &mut world.nodes[0];
    subject::warm(node, count as usize)?;
    let mut single = f64::NAN;
    for (crowd, throughput_of, refusals_of) in CROWDS {
        if crowd > count as usize {
            println!("{crowd} at once: left out, there are only {count} ENIs");
            continue;
        }
        let burst = burst(node, crowd, count)?;
        #[expect(clippy::cast_precision_loss, reason = "a few pods")]
        let throughput = crowd as f64 / burst.elapsed.as_secs_f64();
        if crowd == 1 {
            single = throughput;
            table.figure(throughput_of, format!("{throughput:.1}/s"));
        } else {
            table.figure(throughput_of, format!("{throughput:.1}/s, {:.2} x one alone", throughput / single));
            table.promise(refusals_of, burst.refused.to_string(), "0", burst.refused == 0);
        }
        table.raw(
            &format!("burst_{crowd}"),
            json!({ "seconds": burst.elapsed.as_secs_f64(), "refused": burst.refused }),
        );
        if crowd == SERIAL {
            serial(table, node, &vpc, count)?;
        }
    }
    memory(table, node, count)
}

/// So many ADDs at once, and their DELs.
fn burst(node: &mut Node, crowd: usize, count: u32) -> Result<Burst> {
    let pods = (0..crowd).map(|number| node.pod(&format!("crowd{number}"))).collect::<Result<Vec<_>>>()?;
    thread::sleep(REST);
    let burst = subject::at_once(&pods, "ADD")?;
    println!("{crowd} at once: {:?}, {} refused", burst.elapsed, burst.refused);
    subject::at_once(&pods, "DEL")?;
    subject::warm(node, count as usize)?;
    Ok(burst)
}

/// Crowds in turns with the bare requests of as many ADDs, which the kernel serves one by one anyhow: each moves a NIC under
/// the lock that everybody needs.
fn serial(table: &mut Table, node: &mut Node, vpc: &Path, count: u32) -> Result<()> {
    let mut bare = Crowd::new(SERIAL, &node.netns, vpc)?;
    let [mut crowds, mut one_by_one, mut at_once] = [const { Samples::new() }; 3];
    let rest = || thread::sleep(REST);
    for _ in 0..TIMES {
        one_by_one.add(bare.one_by_one(rest)?);
        at_once.add(bare.at_once(rest)?);
        crowds.add(burst(node, SERIAL, count)?.elapsed);
    }
    let [ours, serial, together] = [&crowds, &one_by_one, &at_once].map(|samples| samples.quantile(0.5));
    let ratio = ours / serial;
    table.budget(
        "50 ADDs at once / the floor's one by one, p50",
        format!("{ours:.0} / {serial:.0} ms = {ratio:.2}"),
        "<= 1.1",
        ratio <= 1.1,
    );
    table.figure(
        "the floor's at once / one by one, p50",
        format!("{together:.0} ms, {:.2}", together / serial),
    );
    for (name, samples) in
        [("crowd", &crowds), ("crowd_floor_one_by_one", &one_by_one), ("crowd_floor_at_once", &at_once)]
    {
        table.raw(name, samples.json());
    }
    Ok(())
}

fn memory(table: &mut Table, node: &mut Node, count: u32) -> Result<()> {
    let peaks = (0..LOOKS).map(|_| peak(node)).collect::<Result<Vec<_>>>()?;
    let peak = peaks.into_iter().max().unwrap_or(u64::MAX);
    let measured = format!("{peak} KiB");
    table.promise("the plugin's memory in an ADD, at most", measured, "<= 2 MiB", peak <= PLUGIN_KIB);
    table.raw("plugin_peak_kib", json!(peak));
    subject::warm(node, count as usize)?;
    let pods = (0..count).map(|number| node.pod(&format!("many{number}"))).collect::<Result<Vec<_>>>()?;
    for some in pods.chunks(20) {
        subject::at_once(some, "ADD")?;
    }
    let resident = subject::resident_kib(node.daemon_pid().context("no daemon")?)?;
    let held = resident <= 20 * 1024;
    table.raw("daemon_resident_kib", json!(resident));
    #[expect(clippy::cast_precision_loss, reason = "mebibytes for people")]
    let measured = format!("{:.1} MiB with {count} attachments", resident as f64 / 1024.0);
    table.promise("terwayd resident memory", measured, "<= 20 MiB", held);
    let start = Instant::now();
    node.kill()?;
    node.start()?;
    node.wait_ready()?;
    let restart = start.elapsed();
    table.budget("kill -9 to serving again", format!("{restart:.0?}"), "< 500 ms", restart.as_millis() < 500);
    Ok(())
}

/// The most memory that one ADD had resident.
fn peak(node: &mut Node) -> Result<u64> {
    subject::warm(node, 1)?;
    let mut pod = node.pod("peak")?;
    let peak = subject::peak_kib(&pod.call("ADD"))?;
    pod.del()?;
    Ok(peak)
}
