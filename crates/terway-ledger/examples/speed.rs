//! Prints how fast the ledger is in a directory: `cargo run --release -p terway-ledger --example speed -- DIR`.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use terway_ledger::measure::{Content, MeasureError, commits, fill, start};
use terway_ledger::{HistoryQuery, Ledger};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = PathBuf::from(env::args_os().nth(1).ok_or("which directory?")?);
    let empty = dir.join("empty.redb");
    drop(Ledger::open(&empty)?);
    println!("empty: {} bytes", fs::metadata(&empty)?.len());
    for (name, history) in [("records", 0), ("records+history", 10_000)] {
        let content = Content { history, ..Content::LARGE };
        let path = dir.join(format!("{name}.redb"));
        fill(&path, content)?;
        let starts = (0..9).map(|_| start(&path)).collect::<Result<Vec<_>, _>>()?;
        let open = median(starts.iter().map(|start| start.open));
        let snapshot = median(starts.iter().map(|start| start.snapshot));
        let bytes = starts[0].bytes;
        println!(
            "{name}: open {open:?}, snapshot {snapshot:?}, {bytes} bytes, {} bytes per record",
            bytes / u64::from(content.records() + history)
        );
        let killed = dir.join(format!("{name}.killed"));
        let ledger = Ledger::open(&path)?;
        fs::copy(&path, &killed)?;
        drop(ledger);
        let start = start(&killed)?;
        println!("{name}, killed: open {:?}, snapshot {:?}", start.open, start.snapshot);
        time_commits(&path)?;
    }
    Ok(())
}

/// Commits of so many changes that remember so much.
const KINDS: [(u32, u32); 6] = [(1, 0), (1, 1), (4, 0), (4, 1), (64, 0), (64, 16)];

fn time_commits(path: &std::path::Path) -> Result<(), MeasureError> {
    let mut ledger = Ledger::open(path)?;
    let mut taken = KINDS.map(|_| Vec::new());
    // In turns, so that whatever else the machine does hits all alike.
    for _ in 0..40 {
        for ((changes, remembered), taken) in KINDS.into_iter().zip(&mut taken) {
            taken.extend(commits(&mut ledger, 10, changes, remembered)?);
        }
    }
    for ((changes, remembered), taken) in KINDS.into_iter().zip(taken) {
        println!("  commit of {changes} changes, {remembered} remembered: {:?}", median(taken.into_iter()));
    }
    let begin = Instant::now();
    let found = ledger.history(&HistoryQuery::default())?.len();
    println!("  history of {found}: {:?}", begin.elapsed());
    Ok(())
}

fn median(times: impl Iterator<Item = Duration>) -> Duration {
    let mut times: Vec<_> = times.collect();
    times.sort_unstable();
    times[times.len() / 2]
}
