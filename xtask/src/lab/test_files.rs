//! The data path's test files as programs, and which of their tests a kernel cannot run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::{fs, str};

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;

use crate::test::own_harness;
use crate::workspace::{Workspace, output};

/// The packages whose test files with a harness of their own the lab runs. Of the test bench it runs the one that is for
/// guests.
const PACKAGES: [&str; 2] = ["terway-datapath", "terway-cni"];
/// The node's own network services at work against the shipped programs.
pub(super) const AGENTS: &str = "agents";
/// Two nodes on one VPC, each a guest.
pub(super) const TWO_NODES: &str = "two_nodes";
/// Children of ENIs in every mode: it takes by far the longest.
pub(super) const CHILDREN: &str = "children";

/// A built test file.
pub(super) struct TestFile {
    /// Its name.
    pub(super) name: String,
    /// The program.
    pub(super) path: PathBuf,
    /// The folder of its package, where it expects to start.
    pub(super) directory: PathBuf,
    /// Variables it gets.
    pub(super) environment: BTreeMap<String, PathBuf>,
}

/// A line of `cargo --message-format json`, as far as it is about a finished program.
#[derive(Deserialize)]
struct Artifact {
    target: Option<Target>,
    executable: Option<PathBuf>,
    manifest_path: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

/// Builds the test files of these names, or all that bring a harness of their own. Built like those that run on this
/// machine's kernel, so that it is the same program that runs here and there.
pub(super) fn build(workspace: &Workspace, only: &[String]) -> Result<Vec<TestFile>> {
    let mut names = Vec::new();
    for package in PACKAGES {
        names.extend(own_harness(workspace, package)?);
    }
    names.push(AGENTS.to_owned());
    for name in only {
        ensure!(names.contains(name), "there is no test file {name}; there are: {}", names.join(", "));
    }
    let wanted: Vec<_> = names.iter().filter(|name| only.is_empty() || only.contains(name)).collect();
    // With the shipped programs in one go: built by themselves they would want most of the workspace once more.
    let mut command = workspace.cargo("build --workspace --all-features --bins --message-format json");
    for name in &wanted {
        command.args(["--test", name]);
    }
    let said = output(command.stderr(Stdio::inherit()))?;
    let said = str::from_utf8(&said).context("cargo's messages are not text")?;
    let mut files = wanted.iter().map(|name| find(said, name)).collect::<Result<Vec<_>>>()?;
    if let Some(agents) = files.iter_mut().find(|file| file.name == AGENTS) {
        agents.environment.insert("TERWAY_BIN_DIR".to_owned(), workspace.target().join("debug"));
    }
    Ok(files)
}

fn find(said: &str, name: &str) -> Result<TestFile> {
    for line in said.lines() {
        let Ok(artifact) = serde_json::from_str::<Artifact>(line) else { continue };
        let (Some(target), Some(path)) = (artifact.target, artifact.executable) else { continue };
        let directory = artifact.manifest_path.as_deref().and_then(Path::parent).map(Path::to_owned);
        if let (true, Some(directory)) = (target.name == name, directory) {
            let environment = BTreeMap::new();
            return Ok(TestFile { name: name.to_owned(), path, directory, environment });
        }
    }
    bail!("cargo did not tell where it built the test file {name}")
}

/// A test that its kernel cannot run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Deselection {
    /// The test file.
    pub(crate) file: String,
    /// The test.
    pub(crate) test: String,
    /// What the kernel lacks.
    pub(crate) reason: String,
}

/// The tests deselected by the test files that ran with `TERWAY_DESELECTED` set to this path; none if there is no
/// such file.
pub(crate) fn deselections(path: &Path) -> Result<Vec<Deselection>> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    let text = fs::read_to_string(path).with_context(|| format!("failed to read {}", path.display()))?;
    let parse = |line: &str| {
        let mut words = line.splitn(3, '\t').map(str::to_owned);
        let mut next = || words.next().with_context(|| format!("{} has the line {line:?}", path.display()));
        Ok(Deselection { file: next()?, test: next()?, reason: next()? })
    };
    text.lines().map(parse).collect()
}
