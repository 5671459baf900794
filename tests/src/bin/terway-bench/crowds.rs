//! Many pods: so many ADDs at once, the daemon's memory with all of them, and how soon it serves again after a kill.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::json;
use terway_rig::node::Node;
use terway_rig::world::{Plan, World};

use crate::Options;
use crate::floor::{Floor, Own};
use crate::subject;
use crate::table::Table;

/// How many at once, and the rows that tell of them.
const CROWDS: [(usize, &str, &str); 4] = [
    (1, "1 ADD", ""),
    (10, "10 ADDs at once", "10 ADDs at once, refused"),
    (50, "50 ADDs at once", "50 ADDs at once, refused"),
    (200, "200 ADDs at once", "200 ADDs at once, refused"),
];

/// The crowd that is held against the kernel's moves of NICs one by one, and how many of those before and after it.
const SERIAL: usize = 50;
const MOVES: usize = 25;

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
    let node = &mut world.nodes[0];
    subject::warm(node, count as usize)?;
    let mut floor = Floor::new(Own::Nic, &node.netns, &world.vpc)?;
    let mut single = f64::NAN;
    for (crowd, throughput_of, refusals_of) in CROWDS {
        if crowd > count as usize {
            println!("{crowd} at once: left out, there are only {count} ENIs");
            continue;
        }
        let pods =
            (0..crowd).map(|number| node.pod(&format!("crowd{number}"))).collect::<Result<Vec<_>>>()?;
        let mut moves = moved(&mut floor)?;
        let burst = subject::at_once(&pods, "ADD")?;
        println!("{crowd} at once: {:?}, {} refused", burst.elapsed, burst.refused);
        moves.extend(moved(&mut floor)?);
        #[expect(clippy::cast_precision_loss, reason = "a few pods")]
        let throughput = crowd as f64 / burst.elapsed.as_secs_f64();
        if crowd == 1 {
            single = throughput;
            table.figure(throughput_of, format!("{throughput:.1}/s"));
        } else {
            table.figure(throughput_of, format!("{throughput:.1}/s, {:.2} x one alone", throughput / single));
            table.promise(refusals_of, burst.refused.to_string(), "0", burst.refused == 0);
        }
        if crowd == SERIAL {
            serial(table, crowd, burst.elapsed.as_secs_f64(), &moves);
        }
        table.raw(
            &format!("burst_{crowd}"),
            json!({ "seconds": burst.elapsed.as_secs_f64(), "refused": burst.refused }),
        );
        subject::at_once(&pods, "DEL")?;
        subject::warm(node, count as usize)?;
    }
    memory(table, node, count)
}

/// Times of the move of a NIC, one after the other.
fn moved(floor: &mut Floor) -> Result<Vec<Duration>> {
    (0..MOVES).map(|_| floor.round().map(|round| round.own)).collect()
}

/// The kernel moves one netdev after the other: how many at once compare with that.
fn serial(table: &mut Table, crowd: usize, seconds: f64, moves: &[Duration]) {
    #[expect(clippy::cast_precision_loss, reason = "a few pods")]
    let (crowd, count) = (crowd as f64, moves.len() as f64);
    let mean = moves.iter().sum::<Duration>().as_secs_f64() / count;
    let ratio = seconds / (crowd * mean);
    table.budget(
        "50 ADDs at once / 50 moves one by one",
        format!("{seconds:.2} s / 50 x {:.1} ms = {ratio:.2}", mean * 1e3),
        "<= 1.1",
        ratio <= 1.1,
    );
    table.raw("crowd_serial_ratio", json!(ratio));
}

fn memory(table: &mut Table, node: &mut Node, count: u32) -> Result<()> {
    let pods = (0..count).map(|number| node.pod(&format!("many{number}"))).collect::<Result<Vec<_>>>()?;
    for some in pods.chunks(20) {
        subject::at_once(some, "ADD")?;
    }
    let resident = subject::resident_kib(node.daemon_pid().context("no daemon")?)?;
    let held = resident <= 20 * 1024;
    table.raw("daemon_resident_kib", json!(resident));
    #[expect(clippy::cast_precision_loss, reason = "mebibytes for people")]
    let measured = format!("{:.1} MiB with {count} attachments", resident as f64 / 1024.0);
    table.budget("terwayd resident memory", measured, "<= 20 MiB", held);
    let start = Instant::now();
    node.kill()?;
    node.start()?;
    node.wait_ready()?;
    let restart = start.elapsed();
    table.budget("kill -9 to serving again", format!("{restart:.0?}"), "< 500 ms", restart.as_millis() < 500);
    Ok(())
}
