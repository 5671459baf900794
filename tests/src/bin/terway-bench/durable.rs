//! What durability costs: a start over a large ledger, alone and of the whole daemon; commits with and without history.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use serde_json::json;
use terway_ledger::Ledger;
use terway_ledger::measure::{self, Content, MeasureError};
use terway_rig::world::{Plan, World};

use crate::Options;
use crate::machine;
use crate::stats::Samples;
use crate::table::Table;

/// Commits measured of each kind.
const COMMITS: u32 = 200;

/// All of it, on the disk the options name.
pub(crate) fn run(table: &mut Table, options: &Options) -> Result<()> {
    machine::pinned(|| commits(table, options))?;
    restart(table, options)
}

fn commits(table: &mut Table, options: &Options) -> Result<()> {
    let path = options.state.join("commits.redb");
    let mut ledger = Ledger::open(&path).map_err(|error| anyhow!("{}", error.fault()))?;
    let mut measured = |changes, remembered| -> Result<Samples> {
        let mut samples = Samples::new();
        let times = measure::commits(&mut ledger, COMMITS, changes, remembered).map_err(said)?;
        for time in times {
            samples.add(time);
        }
        Ok(samples)
    };
    let (one, batch, with_history) = (measured(1, 0)?, measured(64, 0)?, measured(1, 1)?);
    let ratio = |other: &Samples| other.quantile(0.5) / one.quantile(0.5);
    table.figure("a durable commit of one change, p50", format!("{:.2} ms", one.quantile(0.5)));
    table.figure("a commit of 64 / of one change", format!("{:.2}", ratio(&batch)));
    table.figure("a commit with / without history", format!("{:.2}", ratio(&with_history)));
    for (name, samples) in [("commit_1", &one), ("commit_64", &batch), ("commit_1_history", &with_history)] {
        table.raw(name, samples.json());
    }
    Ok(())
}

/// The cloud knows none of these ENIs, as after a bad restore; the daemon has to serve with them all the same.
fn restart(table: &mut Table, options: &Options) -> Result<()> {
    let plan = Plan { name: "large".to_owned(), shared: true, pool: (0, 5_000), ..Plan::default() };
    let mut world = World::start(&plan, &options.binaries, &options.state)?;
    let node = &mut world.nodes[0];
    let path = node.path("state/ledger.redb");
    measure::fill(&path, Content::LARGE).map_err(said)?;
    let alone = measure::start(&path).map_err(said)?;
    let begin = Instant::now();
    node.start()?;
    node.wait_ready()?;
    let serving = begin.elapsed();
    let records = Content::LARGE.records();
    let within = Duration::from_millis(500);
    table.figure(
        "ledger: check, open, read 10,000 records",
        format!("{:.0?} + {:.0?}", alone.open, alone.snapshot),
    );
    table.budget(
        "start with 10,000 records to serving",
        format!("{serving:.0?}, {} bytes per record", alone.bytes / u64::from(records)),
        "< 500 ms",
        serving < within,
    );
    table.raw(
        "large_start",
        json!({ "open_ms": alone.open.as_millis(), "snapshot_ms": alone.snapshot.as_millis(),
                "serving_ms": serving.as_millis(), "bytes": alone.bytes, "records": records }),
    );
    node.kill()?;
    fs::remove_file(&path).with_context(|| format!("failed to remove {}", path.display()))
}

fn said(error: MeasureError) -> anyhow::Error {
    anyhow!(error).context("failed to measure the ledger")
}
