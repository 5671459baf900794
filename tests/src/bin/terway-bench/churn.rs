//! Sustained churn: pods come and go for a while, one after the other, and nothing may grow: not the time they take, not
//! the daemon's memory, files and sockets, not its ledger.

use std::fs;
use std::time::Instant;

use anyhow::{Context as _, Result};
use serde_json::json;
use terway_rig::node::Node;
use terway_rig::world::{Plan, World};

use crate::Options;
use crate::plot;
use crate::stats::Samples;
use crate::subject;
use crate::table::Table;

/// Rounds before the first look: caches fill, and memory is taken that is kept.
const WARM_UP: usize = 30;

/// What may grow.
struct Held {
    resident_kib: u64,
    files: usize,
    ledger: u64,
}

impl Held {
    fn by(node: &Node) -> Result<Self> {
        let pid = node.daemon_pid().context("no daemon")?;
        Ok(Self {
            resident_kib: subject::resident_kib(pid)?,
            files: fs::read_dir(format!("/proc/{pid}/fd")).context("the daemon is gone")?.count(),
            ledger: fs::metadata(node.path("state/ledger.redb")).context("no ledger")?.len(),
        })
    }
}

/// Measures for as long as the options say.
pub(crate) fn run(table: &mut Table, options: &Options) -> Result<()> {
    let plan = Plan {
        name: "churn".to_owned(),
        shared: true,
        pool: (4, 10),
        quarantine: "0s".to_owned(),
        ..Plan::default()
    };
    let mut world = World::start(&plan, &options.binaries, &options.state)?;
    world.boot()?;
    let node = &mut world.nodes[0];
    subject::warm_addresses(node, 4)?;
    let mut warm_up = Samples::new();
    for _ in 0..WARM_UP {
        round(node, &mut warm_up)?;
    }
    let before = Held::by(node)?;
    let (mut samples, begin) = (Samples::new(), Instant::now());
    while begin.elapsed() < options.churn || samples.all().len() < WARM_UP {
        round(node, &mut samples)?;
    }
    let after = Held::by(node)?;
    let (count, tenth) = (samples.all().len(), samples.all().len() / 10);
    let drift = samples.part(count - tenth..count).quantile(0.5) / samples.part(0..tenth).quantile(0.5);
    table.figure(
        "churn: time of the last tenth / of the first",
        format!("{drift:.2} over {count} pods in {:.0?}", begin.elapsed()),
    );
    table.figure(
        "churn: memory, ledger",
        format!(
            "{:+} KiB, {:+} KiB",
            after.resident_kib.cast_signed() - before.resident_kib.cast_signed(),
            (after.ledger.cast_signed() - before.ledger.cast_signed()) / 1024
        ),
    );
    let files = format!("{} before, {} after", before.files, after.files);
    table.budget("churn: open files and sockets", files, "as before", after.files <= before.files + 1);
    table.raw("churn", samples.json());
    table.raw(
        "churn_held",
        json!({ "resident_kib": [before.resident_kib, after.resident_kib], "files": [before.files, after.files],
                "ledger_bytes": [before.ledger, after.ledger] }),
    );
    let path = options.folder().join("churn.svg");
    plot::curve(&path, "ADD and DEL of one pod after the other", "pods", &[("ADD + DEL", &samples)])
}

/// A pod's whole life, its namespace included.
fn round(node: &mut Node, samples: &mut Samples) -> Result<()> {
    let mut pod = node.pod("churn")?;
    let add = pod.add()?.elapsed;
    let del = pod.del()?.elapsed;
    samples.add(add + del);
    pod.vanish()
}
