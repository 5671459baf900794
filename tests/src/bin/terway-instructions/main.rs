//! Counts the instructions that the shipped plugin and daemon spend on each verb, in user space, under valgrind's
//! callgrind, and holds them against the committed budget. Unlike times, counts are nearly the same on every run and every
//! machine, so a regression of a few percent can fail a test. Run it by `cargo xtask instructions`.

mod budget;
mod callgrind;
mod measure;

use std::env;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail, ensure};
use terway_rig::sandbox;

use budget::Budget;

fn main() -> ExitCode {
    sandbox::run(|| {
        let options = Options::read(env::args().skip(1))?;
        let counts = measure::run(&options.binaries, &options.plugin)?;
        let budget = Budget::read(&options.budget, &options.target)?;
        let verdict = budget.judge(&counts);
        print!("{}", verdict.table);
        if options.update {
            Budget::write(&options.budget, &options.target, &counts)?;
            println!("written to {}", options.budget.display());
            return Ok(ExitCode::SUCCESS);
        }
        Ok(if verdict.held { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
}

/// What can be told, for people; `cargo xtask instructions --help` shows it as well.
const OPTIONS: &str = include_str!("options.txt");

struct Options {
    /// `--bin-dir DIR`: the folder with the shipped programs.
    binaries: PathBuf,
    /// `--plugin FILE`: the shipped plugin with its symbols, for the breakdown.
    plugin: PathBuf,
    /// `--target TRIPLE`: what the plugin was built for; each has its budget.
    target: String,
    /// `--budget FILE`.
    budget: PathBuf,
    /// `--update yes`: write what was counted as the new budget.
    update: bool,
}

impl Options {
    fn read(mut words: impl Iterator<Item = String>) -> Result<Self> {
        let (mut binaries, mut plugin, mut target, mut budget, mut update) = (None, None, None, None, false);
        while let Some(word) = words.next() {
            let value =
                words.next().with_context(|| format!("{word} needs a value; the options are\n{OPTIONS}"))?;
            match word.as_str() {
                "--bin-dir" => binaries = Some(value),
                "--plugin" => plugin = Some(value),
                "--target" => target = Some(value),
                "--budget" => budget = Some(value),
                "--update" => {
                    ensure!(
                        value == "yes",
                        "--update needs the word yes, not {value:?}; leave it out to only compare"
                    );
                    update = true;
                }
                _ => bail!("unknown option {word}; the options are\n{OPTIONS}"),
            }
        }
        let absolute = |path: Option<String>, name: &str| {
            let path = path.with_context(|| format!("{name} is missing"))?;
            std::path::absolute(Path::new(&path)).with_context(|| format!("{name}: no path {path}"))
        };
        Ok(Self {
            binaries: absolute(binaries, "--bin-dir")?,
            plugin: absolute(plugin, "--plugin")?,
            target: target.context("--target is missing")?,
            budget: absolute(budget, "--budget")?,
            update,
        })
    }
}
