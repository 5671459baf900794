//! A program of the test bench that is no test file, run in a guest whose kernel has everything.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::guest::Guest;
use super::job::{Job, Program};
use super::kernel::{Choice, Kernel};
use super::{first_process, visible};
use crate::workspace::Workspace;

/// They try many things one after the other, on one slow processor.
const DEADLINE: Duration = Duration::from_mins(20);

/// Tries who reaches whom, with this program; gives the file with what came of it.
pub(crate) fn matrix(workspace: &Workspace, path: &Path) -> Result<PathBuf> {
    let folder = run(workspace, "matrix", path, "matrix.json", &[])?;
    Ok(folder.join("matrix.json"))
}

/// What the bench measures there: the parts that say more where the kernel has everything.
const MEASURED: &[&str] = &["--only", "devices", "--only", "shared", "--only", "paths", "--rounds", "20"];

/// Measures with this program what this machine's kernel may lack; gives the table.
pub(crate) fn bench(workspace: &Workspace, path: &Path) -> Result<String> {
    let folder = run(workspace, "bench", path, "bench.json", MEASURED)?;
    read(&folder.join("table.txt"))
}

/// Runs a program with its record in the folder that is given back. The kernel is the one that `--build-kernel` makes.
fn run(workspace: &Workspace, name: &str, path: &Path, record: &str, words: &[&str]) -> Result<PathBuf> {
    let (folder, cache) = (workspace.target().join("lab"), workspace.target().join("lab-cache"));
    visible(&workspace.root)?;
    visible(&folder)?;
    fs::create_dir_all(&folder).with_context(|| format!("failed to make {}", folder.display()))?;
    let kernel = Kernel::get(Choice::Built(&cache.join("kernel")))?;
    let (init, folder) = (first_process(&folder)?, folder.join(name));
    let places = [Path::new("--bin-dir"), &workspace.dist(), Path::new("--out"), &folder.join(record)];
    let places = places.iter().map(|word| word.display().to_string());
    let program = Program {
        name: name.to_owned(),
        part: None,
        path: path.to_owned(),
        arguments: places.chain(words.iter().map(|word| (*word).to_owned())).collect(),
        directory: workspace.root.clone(),
        environment: BTreeMap::new(),
    };
    let (errors, end) = (folder.join(program.errors()), folder.join(program.end()));
    let job = Job {
        modules: Vec::new(),
        layers: Vec::new(),
        shared: Vec::new(),
        whole_machine: false,
        programs: vec![program],
    };
    Guest { kernel: &kernel, cards: &[], init: &init, folder: &folder, deadline: DEADLINE }.run(&job)?;
    let (ended, said) = (read(&end)?, read(&errors)?);
    ensure!(
        ended == "exit status: 0",
        "the {name} in the guest ended with {ended}; it said:\n{}",
        said.trim_end()
    );
    Ok(folder)
}

fn read(file: &Path) -> Result<String> {
    fs::read_to_string(file).with_context(|| format!("failed to read {}", file.display()))
}
