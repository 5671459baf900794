//! The whole fault matrix on both clouds, with the shipped programs: run it by `cargo xtask faults`. It takes minutes;
//! a selection runs with every run of the scenarios.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail, ensure};
use terway_rig::cloud::Cloud;
use terway_rig::faults::{self, Cell};
use terway_rig::sandbox;

fn main() -> ExitCode {
    sandbox::run(|| {
        let options = Options::read(env::args().skip(1))?;
        let clouds = options.cloud.map_or(Cloud::ALL.to_vec(), |cloud| vec![cloud]);
        let chosen = |cell: &Cell| format!("{} {}", cell.action, cell.manner.name).contains(&options.only);
        let cells: Vec<Cell> = clouds.into_iter().flat_map(faults::cells).filter(chosen).collect();
        ensure!(!cells.is_empty(), "no cell of the matrix is called {:?}", options.only);
        println!("{} cells, {} at a time", cells.len(), options.workers);
        let outcomes = faults::run(
            &cells,
            options.workers,
            &options.binaries,
            Path::new("/run/terway"),
            "m",
            &|outcome| {
                println!("{}", faults::line(outcome));
            },
        );
        println!("\n{}", faults::text(&outcomes));
        fs::write(&options.out, serde_json::to_vec_pretty(&faults::json(&outcomes))?)
            .with_context(|| format!("failed to write {}", options.out.display()))?;
        println!("written to {}", options.out.display());
        let recovered = outcomes.iter().all(|outcome| outcome.took.is_ok());
        Ok(if recovered { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
}

/// What can be told, for people; `cargo xtask faults --help` shows it as well.
const OPTIONS: &str = include_str!("options.txt");

struct Options {
    binaries: PathBuf,
    out: PathBuf,
    cloud: Option<Cloud>,
    only: String,
    workers: usize,
}

impl Options {
    fn read(mut words: impl Iterator<Item = String>) -> Result<Self> {
        let own = env::current_exe().context("failed to find this program")?;
        let mut options = Self {
            binaries: own.parent().context("this program lies in no folder")?.to_owned(),
            out: PathBuf::from("faults.json"),
            cloud: None,
            only: String::new(),
            workers: 3,
        };
        while let Some(word) = words.next() {
            let value =
                words.next().with_context(|| format!("{word} needs a value; the options are\n{OPTIONS}"))?;
            match word.as_str() {
                "--bin-dir" => options.binaries = value.into(),
                "--out" => options.out = value.into(),
                "--cloud" => options.cloud = Some(value.parse()?),
                "--only" => options.only = value,
                "--workers" => {
                    let number = value.parse().ok().filter(|number| *number > 0);
                    options.workers = number
                        .with_context(|| format!("--workers needs a number from 1 on, not {value:?}"))?;
                }
                _ => bail!("unknown option {word}; the options are\n{OPTIONS}"),
            }
        }
        Ok(options)
    }
}
