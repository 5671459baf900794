//! What a guest shall do, handed to it as a file in the folder it shares with this machine.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::test_files::TestFile;

/// The name of the file with the job.
pub(super) const JOB: &str = "job.json";
/// Written by the guest when all programs have ended. A guest that ends without it did not finish.
pub(super) const DONE: &str = "done";
/// The guest's `uname -r`.
pub(super) const RELEASE: &str = "release";
/// One line per test its kernel cannot run: file, test and reason, with tabs between.
pub(super) const DESELECTED: &str = "deselected";

/// A file that a guest leaves, handed over by one that shares no folder with this machine.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct HandOver {
    /// Its name.
    pub(super) name: String,
    /// What is in it.
    pub(super) content: String,
}

/// Where a whole machine asks for what it wants and hands over what it leaves.
pub(super) const PORT: &str = "/dev/vport0p1";

/// A guest's work.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Job {
    /// Kernel modules to load first, with what they need; those the kernel does not have are left out.
    pub(super) modules: Vec<String>,
    /// Folders whose files lie over this machine's in the guest's root, the first on top.
    pub(super) layers: Vec<PathBuf>,
    /// Folders of this machine it may write to, besides its own.
    pub(super) shared: Vec<PathBuf>,
    /// Whether the guest is a machine with a root of its own that has all it needs.
    pub(super) whole_machine: bool,
    /// Programs, run one after the other.
    pub(super) programs: Vec<Program>,
}

/// A program to run in the guest.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Program {
    /// What it is called in the report, and the stem of its output's files.
    pub(super) name: String,
    /// Which part it plays among several guests with the same program.
    pub(super) part: Option<String>,
    /// Where it is; the guest sees this machine's files.
    pub(super) path: PathBuf,
    /// Its arguments.
    pub(super) arguments: Vec<String>,
    /// The folder it starts in.
    pub(super) directory: PathBuf,
    /// Further variables it gets.
    pub(super) environment: BTreeMap<String, PathBuf>,
}

impl Program {
    /// A test file that tells its events as JSON, one per line.
    pub(super) fn test(file: &TestFile, filter: Option<&str>) -> Self {
        let fixed = ["--format", "json", "--test-threads", "1"].map(str::to_owned);
        Self {
            name: file.name.clone(),
            part: None,
            path: file.path.clone(),
            arguments: fixed.into_iter().chain(filter.map(str::to_owned)).collect(),
            directory: file.directory.clone(),
            environment: file.environment.clone(),
        }
    }

    /// The file with what it prints.
    pub(super) fn output(&self) -> String {
        format!("{}.out", self.name)
    }

    /// The file with what it complains.
    pub(super) fn errors(&self) -> String {
        format!("{}.err", self.name)
    }

    /// The file with how it ended.
    pub(super) fn end(&self) -> String {
        format!("{}.end", self.name)
    }
}
