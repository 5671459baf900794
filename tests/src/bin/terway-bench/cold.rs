//! A cold page cache: the plugin's file has to come from the disk, as at the first pod after a boot. Only the pages of a
//! copy are dropped; nothing else on the machine becomes slower.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use serde_json::json;
use terway_rig::node::Node;

use crate::Options;
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

/// STATUS and ADD on a shared ENI with the plugin's file in memory and not, in turns.
pub(crate) fn run(table: &mut Table, options: &Options, node: &mut Node) -> Result<()> {
    let copy = Copy::make(&options.binaries.join("terway"), &options.state.join("cold"))?;
    let mut bare = node.pod("cold")?;
    bare.program.clone_from(&copy.path);
    let [mut status, mut add] = [const { [const { Samples::new() }; 2] }; 2];
    let mut faults = [0, 0];
    for _ in 0..options.rounds.div_ceil(2) {
        for (at, cold) in [true, false].into_iter().enumerate() {
            subject::warm_addresses(node, 1)?;
            let mut pod = node.pod("cold")?;
            pod.program.clone_from(&copy.path);
            let before = faults_of_children()?;
            if cold {
                copy.forget()?;
            }
            status[at].add(subject::bare(&bare, "STATUS")?);
            if cold {
                copy.forget()?;
            }
            add[at].add(pod.add()?.elapsed);
            faults[at] += faults_of_children()? - before;
            pod.del()?;
        }
    }
    let told = |samples: &[Samples; 2]| {
        let [cold, warm] = samples.each_ref().map(|samples| samples.quantile(0.5));
        format!("{cold:.2} / {warm:.2} ms = {:.2}", cold / warm)
    };
    let [cold, warm] = faults;
    let seen = if cold > warm { "" } else { "; the file system kept the pages: no cold start here" };
    table.figure("STATUS, page cache cold / warm, p50", format!("{}{seen}", told(&status)));
    table.figure("ADD on a shared ENI, page cache cold / warm, p50", format!("{}{seen}", told(&add)));
    table.raw("cold_faults", json!({ "cold": cold, "warm": warm }));
    for (name, samples) in [("status", &status), ("shared_add", &add)] {
        table.raw(&format!("{name}_cold"), samples[0].json());
        table.raw(&format!("{name}_warm"), samples[1].json());
    }
    Ok(())
}

/// Pages that ended children of this process had to wait for a disk for.
fn faults_of_children() -> Result<u64> {
    let text = fs::read_to_string("/proc/self/stat").context("failed to read /proc/self/stat")?;
    // Behind the name in brackets: state is the third field, cmajflt the thirteenth (proc_pid_stat(5)).
    let field = text.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(10));
    field.and_then(|text| text.parse().ok()).context("/proc/self/stat has no field 13")
}
