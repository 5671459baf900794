//! Sustained churn: pods come and go for a while, one after the other, and nothing may grow: not the time they take, not
//! the daemon's memory, files and sockets, not its ledger.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::json;
use terway_rig::eventually::eventually;
use terway_rig::node::Node;
use terway_rig::world::Plan;

use crate::Options;
use crate::plot;
use crate::stats::Samples;
use crate::subject;
use crate::table::Table;

/// Rounds before the first look: caches fill, and memory is taken that is kept.
const WARM_UP: usize = 30;

/// How much longer a pod may take at the end.
const LATER: f64 = 2.0;
/// How much more memory the daemon may have at the end: the allocator's play, no leak of anything per pod.
const MORE_MEMORY: f64 = 1.1;
/// What a pod may leave in the ledger, in bytes: its history, which is bounded.
const LEDGER_PER_POD: usize = 2 * 1024;

/// In which time the daemon has let go of what has ended.
const SETTLED: Duration = Duration::from_secs(12);

/// What may grow.
struct Held {
    resident_kib: u64,
    files: usize,
    /// What the ledger says, in bytes of its export. The file doubles when it is full.
    ledger: usize,
}

impl Held {
    fn by(node: &Node) -> Result<Self> {
        let pid = node.daemon_pid().context("no daemon")?;
        Ok(Self {
            resident_kib: subject::resident_kib(pid)?,
            files: fs::read_dir(format!("/proc/{pid}/fd")).context("the daemon is gone")?.count(),
            ledger: content(node)?,
        })
    }
}

/// How much the ledger says. The daemon has it open, so a copy is read, which is whole while nothing is committed.
fn content(node: &Node) -> Result<usize> {
    let copy = node.path("ledger-copy");
    eventually("a whole copy of the ledger", SETTLED, || {
        fs::copy(node.path("state/ledger.redb"), &copy).ok()?;
        terway_ledger::export(&copy).ok().map(|lines| lines.len())
    })
}

/// What is held once nothing of it goes away any more.
fn settled(node: &Node) -> Result<Held> {
    let mut before = Held::by(node)?;
    loop {
        thread::sleep(SETTLED / 2);
        let now = Held::by(node)?;
        if now.files >= before.files {
            return Ok(now);
        }
        before = now;
    }
}

/// Measures for as long as the options say.
pub(crate) fn run(table: &mut Table, options: &Options) -> Result<()> {
    let plan = Plan {
        name: "churn".to_owned(),
        shared: true,
        pool: (4, 10),
        quarantine: "0s".to_owned(),
        // Looks at the cloud's own list belong to the time, not to pods.
        keys: vec![("ip_pool_sync_period", json!("0s"))],
        ..Plan::default()
    };
    let mut world = subject::world(&plan, options)?;
    let node = &mut world.nodes[0];
    subject::warm_addresses(node, 4)?;
    let mut warm_up = Samples::new();
    for _ in 0..WARM_UP {
        round(node, &mut warm_up)?;
    }
    let before = settled(node)?;
    let calls = world.cloud_calls(0)?.len();
    let node = &mut world.nodes[0];
    let (mut samples, begin) = (Samples::new(), Instant::now());
    while begin.elapsed() < options.churn || samples.all().len() < WARM_UP {
        round(node, &mut samples)?;
    }
    // The daemon lets the sockets of ended connections go after seconds, here as before the churn.
    let after = eventually("open files are as many as before", SETTLED, || {
        Held::by(node).ok().filter(|after| after.files <= before.files)
    })
    .or_else(|_| Held::by(node))?;
    let drift = drift(&samples);
    let pods = samples.all().len();
    table.promise(
        "churn: time of the last third / of the first",
        format!("{drift:.2} over {pods} pods in {:.0?}", begin.elapsed()),
        "<= 2",
        drift <= LATER,
    );
    grown(table, &before, &after, pods);
    let calls = world.cloud_calls(0)?.len() - calls;
    table.promise("churn: calls of the cloud, looks included", calls.to_string(), "0", calls == 0);
    table.raw("churn", samples.json());
    table.raw(
        "churn_held",
        json!({ "resident_kib": [before.resident_kib, after.resident_kib], "files": [before.files, after.files],
                "ledger_bytes": [before.ledger, after.ledger] }),
    );
    let path = options.folder().join("churn.svg");
    plot::curve(&path, "ADD and DEL of one pod after the other", "pods", &[("ADD + DEL", &samples)])
}

/// How much longer a pod takes at the end than at the beginning: in medians of thirds, which one slow call does not move.
fn drift(samples: &Samples) -> f64 {
    let (count, third) = (samples.all().len(), samples.all().len() / 3);
    samples.part(count - third..count).quantile(0.5) / samples.part(0..third).quantile(0.5)
}

fn grown(table: &mut Table, before: &Held, after: &Held, pods: usize) {
    #[expect(clippy::cast_precision_loss, reason = "kibibytes for people")]
    let times = |after: u64, before: u64| after as f64 / before as f64;
    let memory = times(after.resident_kib, before.resident_kib);
    table.promise(
        "churn: memory after / before",
        format!("{} / {} KiB = {memory:.2}", after.resident_kib, before.resident_kib),
        "<= 1.1",
        memory <= MORE_MEMORY,
    );
    let bytes = after.ledger.saturating_sub(before.ledger) / pods;
    table.promise(
        "churn: growth of the ledger per pod, its history",
        format!("{bytes} bytes"),
        "<= 2 KiB",
        bytes <= LEDGER_PER_POD,
    );
    let files = format!("{} before, {} after", before.files, after.files);
    table.promise("churn: open files and sockets", files, "as before", after.files <= before.files + 1);
}

/// A pod's whole life, its namespace included.
fn round(node: &mut Node, samples: &mut Samples) -> Result<()> {
    let mut pod = node.pod("churn")?;
    let add = pod.add()?.elapsed;
    let del = pod.del()?.elapsed;
    samples.add(add + del);
    pod.vanish()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn growth_of_any_kind_breaks_its_promise() {
        let held = |resident_kib, files, ledger| Held { resident_kib, files, ledger };
        let broken = |after: Held| {
            let mut table = Table::default();
            grown(&mut table, &held(10_000, 28, 100_000), &after, 100);
            table.broken()
        };
        assert_eq!(broken(held(10_900, 28, 300_000)), Vec::<String>::new());
        assert_eq!(
            broken(held(11_100, 28, 100_000)),
            ["churn: memory after / before: 11100 / 10000 KiB = 1.11, not <= 1.1"]
        );
        assert_eq!(
            broken(held(10_000, 31, 100_000)),
            ["churn: open files and sockets: 28 before, 31 after, not as before"]
        );
        let ledger = broken(held(10_000, 28, 400_000));
        assert_eq!(ledger, ["churn: growth of the ledger per pod, its history: 3000 bytes, not <= 2 KiB"]);
    }

    #[test]
    fn a_slow_call_is_no_drift() {
        let mut samples = Samples::new();
        for time in [10, 10, 90, 11, 12, 10, 15, 90, 15] {
            samples.add(Duration::from_millis(time));
        }
        assert_eq!(format!("{:.2}", drift(&samples)), "1.50");
    }
}
