//! Measures the shipped binaries against the kernel floor and the reference plugins, in one run, as ratios beside the
//! budgets. Run it by `cargo xtask bench`; nothing else should run on the machine meanwhile.

mod churn;
mod crowds;
mod decisions;
mod durable;
mod exclusive;
mod floor;
mod guard;
mod plot;
mod reference;
mod shared;
mod stats;
mod storm;
mod subject;
mod table;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use terway_rig::sandbox;

use table::Table;

fn main() -> ExitCode {
    sandbox::run(|| {
        let options = Options::read()?;
        let mut table = Table::default();
        decisions::run(&mut table);
        exclusive::run(&mut table, &options)?;
        guard::run(&mut table, &options)?;
        crowds::run(&mut table, &options)?;
        storm::run(&mut table, &options)?;
        shared::run(&mut table, &options)?;
        churn::run(&mut table, &options)?;
        durable::run(&mut table, &options)?;
        println!("\n{}", table.text());
        for line in table.two_groups() {
            println!("{line}");
        }
        if let Some(path) = &options.baseline {
            let older =
                fs::read(path).with_context(|| format!("failed to read the baseline {}", path.display()))?;
            println!("\n{}", table.against(&serde_json::from_slice(&older)?));
        }
        fs::write(options.folder().join("table.txt"), table.text())?;
        fs::write(&options.out, serde_json::to_vec_pretty(&table.json())?)
            .with_context(|| format!("failed to write {}", options.out.display()))?;
        println!("\nwritten to {}", options.folder().display());
        Ok(ExitCode::SUCCESS)
    })
}

/// `--bin-dir DIR --out FILE --baseline FILE --rounds N --attachments N --pods N --churn SECONDS`.
struct Options {
    binaries: PathBuf,
    out: PathBuf,
    state: PathBuf,
    /// An older record to compare with.
    baseline: Option<PathBuf>,
    rounds: usize,
    attachments: u32,
    /// How many pods of shared ENIs the curve of costs goes up to.
    pods: usize,
    churn: Duration,
}

impl Options {
    fn read() -> Result<Self> {
        let own = env::current_exe().context("failed to find this program")?;
        let mut options = Self {
            binaries: own.parent().context("this program lies in no folder")?.to_owned(),
            out: std::path::absolute("bench.json")?,
            state: PathBuf::new(),
            baseline: None,
            rounds: 40,
            attachments: 200,
            pods: 500,
            churn: Duration::from_mins(1),
        };
        let mut words = env::args().skip(1);
        while let Some(word) = words.next() {
            let value = words.next().with_context(|| format!("{word} needs a value"))?;
            match word.as_str() {
                "--bin-dir" => options.binaries = value.into(),
                // The state beside it goes into configurations, which want absolute paths.
                "--out" => options.out = std::path::absolute(value)?,
                "--rounds" => options.rounds = value.parse().context("--rounds needs a number")?,
                "--attachments" => {
                    options.attachments = value.parse().context("--attachments needs a number")?;
                }
                "--baseline" => options.baseline = Some(value.into()),
                "--pods" => options.pods = value.parse().context("--pods needs a number")?,
                "--churn" => {
                    options.churn = Duration::from_secs(value.parse().context("--churn needs seconds")?);
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

    /// Where everything that is written goes.
    fn folder(&self) -> &Path {
        self.out.parent().unwrap_or(Path::new("."))
    }
}

/// Keeps the folder of state files out of the way of the next run.
impl Drop for Options {
    fn drop(&mut self) {
        let state: &Path = &self.state;
        let _ = fs::remove_dir_all(state);
    }
}
