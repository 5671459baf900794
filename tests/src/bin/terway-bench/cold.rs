//! A cold page cache: the plugin's file has to come from the disk, as at the first pod after a boot. Only the pages of a
//! copy are dropped; nothing else on the machine becomes slower.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use serde_json::json;
use terway_rig::node::Node;
use terway_rig::pod::Pod;

use crate::Options;
use crate::rest::rest;
use crate::stats::Samples;
use crate::subject;
use crate::table::Table;

/// A copy of the plugin whose pages can be dropped.
struct Copy {
    path: PathBuf,
    file: File,
}

impl Copy {
    fn make(program: &Path, folder: &Path) -> Result<Self> {
        let path = folder.join("terway");
        fs::create_dir_all(folder).with_context(|| format!("failed to create {}", folder.display()))?;
        fs::copy(program, &path).with_context(|| format!("failed to copy {}", program.display()))?;
        let file = File::open(&path).context("failed to open the copy")?;
        // Pages that are not on the disk yet cannot be dropped.
        file.sync_all().context("failed to write the copy out")?;
        Ok(Self { path, file })
    }

    fn forget(&self) -> Result<()> {
        posix_fadvise(&self.file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)
            .context("failed to drop pages")
    }
}

const VERBS: [&str; 4] = ["STATUS", "ADD", "CHECK", "DEL"];

/// Every verb with the plugin's file in memory and not, in turns.
pub(crate) fn run(table: &mut Table, options: &Options, node: &mut Node, mode: &str) -> Result<()> {
    let copy = Copy::make(&options.binaries.join("terway"), &options.state.join(format!("cold-{mode}")))?;
    let mut all: [[Samples; 2]; 4] = Default::default();
    let mut faults = [0, 0];
    for number in 0..options.rounds.div_ceil(2) {
        for (at, cold) in [true, false].into_iter().enumerate() {
            subject::warm_either(node)?;
            let mut pod = node.pod("cold")?;
            pod.program.clone_from(&copy.path);
            rest(number);
            let before = faults_of_children()?;
            for (verb, samples) in VERBS.iter().zip(&mut all) {
                if cold {
                    copy.forget()?;
                }
                samples[at].add(elapsed(&mut pod, verb)?);
            }
            faults[at] += faults_of_children()? - before;
        }
    }
    let told = |samples: &[Samples; 2]| {
        let [cold, warm] = samples.each_ref().map(|samples| samples.quantile(0.5));
        format!("{cold:.1} / {warm:.1}")
    };
    let [cold, warm] = faults;
    let seen = if cold > warm { "" } else { "; the file system kept the pages: no cold start here" };
    table.figure(
        format!("{mode}, page cache cold / warm: {}", VERBS.join(", ")),
        format!("p50 {} ms{seen}", all.each_ref().map(told).join(", ")),
    );
    table.raw(&format!("{mode}_cold_faults"), json!({ "cold": cold, "warm": warm }));
    for (verb, samples) in VERBS.iter().zip(&all) {
        for (samples, name) in samples.iter().zip(["cold", "warm"]) {
            table.raw(&format!("{mode}_{}_{name}", verb.to_lowercase()), samples.json());
        }
    }
    Ok(())
}

/// How long one call for the pod takes.
fn elapsed(pod: &mut Pod, verb: &str) -> Result<Duration> {
    match verb {
        "ADD" => Ok(pod.add()?.elapsed),
        "CHECK" => Ok(pod.call_with_result(verb).run()?.expect_ok(verb)?.elapsed),
        "DEL" => Ok(pod.del()?.elapsed),
        _ => subject::bare(pod, verb),
    }
}

/// Pages that ended children of this process had to wait for a disk for.
fn faults_of_children() -> Result<u64> {
    let text = fs::read_to_string("/proc/self/stat").context("failed to read /proc/self/stat")?;
    // Behind the name in brackets: state is the third field, cmajflt the thirteenth (proc_pid_stat(5)).
    let field = text.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(10));
    field.and_then(|text| text.parse().ok()).context("/proc/self/stat has no field 13")
}
