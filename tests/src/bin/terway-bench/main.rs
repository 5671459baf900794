//! Measures the shipped binaries against the kernel floor and the reference plugins, in one run, as ratios beside the
//! budgets. Run it by `cargo xtask bench`; nothing else should run on the machine meanwhile.

mod decisions;
mod durable;
mod floor;
mod reference;
mod stats;
mod subject;
mod table;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use serde_json::json;
use terway_rig::node::Node;
use terway_rig::sandbox;
use terway_rig::world::{Plan, World};

use floor::Floor;
use reference::Reference;
use stats::Samples;
use table::Table;

fn main() -> ExitCode {
    sandbox::run(|| {
        let options = Options::read()?;
        let mut table = Table::default();
        decisions::run(&mut table);
        one_at_a_time(&mut table, &options)?;
        crowds(&mut table, &options)?;
        durable::run(&mut table, &options)?;
        table.print();
        fs::write(&options.out, serde_json::to_vec_pretty(&table.json())?)
            .with_context(|| format!("failed to write {}", options.out.display()))?;
        println!("\nwritten to {}", options.out.display());
        Ok(ExitCode::SUCCESS)
    })
}

/// `--bin-dir DIR --out FILE --rounds N --attachments N`.
struct Options {
    binaries: PathBuf,
    out: PathBuf,
    state: PathBuf,
    rounds: usize,
    attachments: u32,
}

impl Options {
    fn read() -> Result<Self> {
        let own = env::current_exe().context("failed to find this program")?;
        let mut options = Self {
            binaries: own.parent().context("this program lies in no folder")?.to_owned(),
            out: PathBuf::from("bench.json"),
            state: PathBuf::new(),
            rounds: 40,
            attachments: 200,
        };
        let mut words = env::args().skip(1);
        while let Some(word) = words.next() {
            let value = words.next().with_context(|| format!("{word} needs a value"))?;
            match word.as_str() {
                "--bin-dir" => options.binaries = value.into(),
                "--out" => options.out = value.into(),
                "--rounds" => options.rounds = value.parse().context("--rounds needs a number")?,
                "--attachments" => {
                    options.attachments = value.parse().context("--attachments needs a number")?;
                }
                _ => anyhow::bail!("unknown option {word}"),
            }
        }
        // The ledger's commits must reach a real disk, not the sandbox's /run.
        options.state = options.out.with_extension("state");
        let _ = fs::remove_dir_all(&options.state);
        fs::create_dir_all(&options.state)?;
        Ok(options)
    }
}

/// ADD and DEL of one warm ENI, interleaved with floor and reference; the plugin's cold start. No sandbox is removed
/// between rounds: the kernel would still be busy with it, under the lock everyone needs, while the next one is timed.
fn one_at_a_time(table: &mut Table, options: &Options) -> Result<()> {
    let plan = Plan { name: "one".to_owned(), pool: (2, 4), quarantine: "0s".to_owned(), ..Plan::default() };
    let mut world = World::start(&plan, &options.binaries, &options.state)?;
    world.boot()?;
    let host = world.nodes[0].netns.clone();
    let (mut floor, reference) = (Floor::new(&host, &world.vpc)?, Reference::new(&host, &world.vpc)?);
    let [mut ours, mut del, mut bare, mut bare_del, mut moves, mut theirs, mut their_del] =
        [const { Samples::new() }; 7];
    for number in 0..options.rounds {
        let round = floor.round()?;
        bare.add(round.add);
        bare_del.add(round.del);
        moves.add(round.move_in);
        let (add, delete) = subject::round(&mut world.nodes[0])?;
        ours.add(add);
        del.add(delete);
        let pod = reference::sandbox(number)?;
        theirs.add(reference.call("ADD", &format!("reference-{number}"), &pod)?.elapsed);
        their_del.add(reference.call("DEL", &format!("reference-{number}"), &pod)?.elapsed);
        println!("round {:2} of {}: floor, terway, host-device + static", number + 1, options.rounds);
    }
    let over = |share| ours.quantile(share) - bare.quantile(share);
    table.figure(
        "floor: ADD, of it the move of the NIC",
        format!("{:.1} ms, {:.1} ms", bare.quantile(0.5), moves.quantile(0.5)),
    );
    table.budget(
        "warm ADD over the floor, p50",
        format!("{:.1} - {:.1} = {:+.1} ms", ours.quantile(0.5), bare.quantile(0.5), over(0.5)),
        "<= +5 ms",
        over(0.5) <= 5.0,
    );
    table.budget(
        "warm ADD over the floor, p99",
        format!("{:.1} - {:.1} = {:+.1} ms", ours.quantile(0.99), bare.quantile(0.99), over(0.99)),
        "<= +10 ms",
        over(0.99) <= 10.0,
    );
    let ratio = ours.quantile(0.5) / theirs.quantile(0.5);
    table.budget(
        "warm ADD / host-device + static, p50",
        format!("{:.1} / {:.1} ms = {ratio:.2}", ours.quantile(0.5), theirs.quantile(0.5)),
        "< 1",
        ratio < 1.0,
    );
    table.figure(
        "DEL: terway / host-device / floor, p50",
        format!(
            "{:.1} / {:.1} / {:.1} ms",
            del.quantile(0.5),
            their_del.quantile(0.5),
            bare_del.quantile(0.5)
        ),
    );
    for (name, samples) in [
        ("add", &ours),
        ("del", &del),
        ("floor_add", &bare),
        ("floor_del", &bare_del),
        ("floor_move", &moves),
        ("reference_add", &theirs),
        ("reference_del", &their_del),
    ] {
        table.raw(name, samples.json());
    }
    cold_start(table, options, &mut world.nodes[0])
}

fn cold_start(table: &mut Table, options: &Options, node: &mut Node) -> Result<()> {
    let pod = node.pod("bare")?;
    for (verb, what) in [("VERSION", "VERSION, whole process, p50"), ("STATUS", "STATUS, whole process, p50")]
    {
        let mut samples = Samples::new();
        for _ in 0..options.rounds * 3 {
            samples.add(subject::bare(&pod, verb)?);
        }
        let p50 = samples.quantile(0.5);
        table.budget(what, format!("{p50:.2} ms"), "<= 3 ms", p50 <= 3.0);
        table.raw(verb, samples.json());
    }
    let size = fs::metadata(options.binaries.join("terway"))?.len();
    #[expect(clippy::cast_precision_loss, reason = "megabytes for people")]
    table.budget("the plugin's size", format!("{:.2} MB", size as f64 / 1e6), "<= 1.5 MB", size <= 1_500_000);
    Ok(())
}

/// One, ten and fifty at once, and the daemon's memory with many attachments.
fn crowds(table: &mut Table, options: &Options) -> Result<()> {
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
    let mut single = f64::NAN;
    for crowd in [1usize, 10, 50] {
        let pods =
            (0..crowd).map(|number| node.pod(&format!("crowd{number}"))).collect::<Result<Vec<_>>>()?;
        let burst = subject::at_once(&pods, "ADD")?;
        #[expect(clippy::cast_precision_loss, reason = "a few pods")]
        let throughput = crowd as f64 / burst.elapsed.as_secs_f64();
        if crowd == 1 {
            single = throughput;
        }
        println!("{crowd} at once: {:?}, {} refused", burst.elapsed, burst.refused);
        let measured = format!("{throughput:.1}/s, {:.2} x one alone", throughput / single);
        match crowd {
            // No verdict on throughput: the kernel moves one netdev after the other, and how fast it could is not
            // measured apart.
            50 => {
                table.figure("50 ADDs at once", measured);
                let refused = burst.refused;
                table.budget("50 ADDs at once, refused", refused.to_string(), "0", refused == 0);
            }
            10 => table.figure("10 ADDs at once", measured),
            _ => table.figure("1 ADD", format!("{throughput:.1}/s")),
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
    let start = std::time::Instant::now();
    node.kill()?;
    node.start()?;
    node.wait_ready()?;
    let restart = start.elapsed();
    table.budget("kill -9 to serving again", format!("{restart:.0?}"), "< 500 ms", restart.as_millis() < 500);
    Ok(())
}

/// Keeps the folder of state files out of the way of the next run.
impl Drop for Options {
    fn drop(&mut self) {
        let state: &Path = &self.state;
        let _ = fs::remove_dir_all(state);
    }
}
