//! The whole product on one machine: a simulated cloud, two nodes, six pods with an ENI each, and what they can and
//! cannot do. Run it by `cargo xtask demo`.

mod chapter;
mod story;

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use terway_rig::cloud::Cloud;
use terway_rig::sandbox;

fn main() -> ExitCode {
    sandbox::run(|| {
        let options = Options::read(env::args().skip(1))?;
        let held = story::tell(&options.binaries, options.cloud)?;
        Ok(if held { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
}

/// What can be told, for people; `cargo xtask demo --help` shows it as well.
const OPTIONS: &str = include_str!("options.txt");

struct Options {
    /// `--bin-dir DIR`: the folder with the shipped programs; by default the one this program lies in.
    binaries: PathBuf,
    /// `--cloud NAME`: whose protocols the simulated cloud speaks.
    cloud: Cloud,
}

impl Options {
    fn read(mut words: impl Iterator<Item = String>) -> Result<Self> {
        let own = env::current_exe().context("failed to find this program")?;
        let binaries = own.parent().context("this program lies in no folder")?.to_owned();
        let mut options = Self { binaries, cloud: Cloud::default() };
        while let Some(word) = words.next() {
            let value =
                words.next().with_context(|| format!("{word} needs a value; the options are\n{OPTIONS}"))?;
            match word.as_str() {
                "--bin-dir" => options.binaries = value.into(),
                "--cloud" => options.cloud = value.parse()?,
                _ => bail!("unknown option {word}; the options are\n{OPTIONS}"),
            }
        }
        Ok(options)
    }
}
