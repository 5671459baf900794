//! `cargo xtask lab`: the data path's test files inside another kernel than this machine's. The guest is user-mode
//! Linux, an ordinary program: it needs neither root nor virtualisation, its root is this machine's, read-only, and
//! all it may write is one folder below `target/lab`.

use std::fs;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::Args;

use crate::tools;
use crate::workspace::Workspace;

mod cable;
mod guest;
mod init;
mod job;
mod kernel;
mod modules;
mod report;
mod test_files;

pub(crate) use init::main as init;
pub(crate) use test_files::{Deselection, deselections};

use cable::Cable;
use guest::Guest;
use job::{Job, Program};
use kernel::Kernel;
use report::Report;
use test_files::TestFile;

/// What to run, and in which kernel.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Only tests whose names contain this.
    filter: Option<String>,
    /// Only this test file (repeatable), e.g. `exclusive`.
    #[arg(long, value_name = "FILE")]
    test: Vec<String>,
    /// A user-mode kernel of your own instead of the one Debian packages.
    #[arg(long, value_name = "PATH")]
    kernel: Option<PathBuf>,
    /// Seconds until a guest that has not finished is ended.
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    deadline: u64,
}

impl Arguments {
    /// Everything, in the default kernel: what the tests' stage runs.
    pub(crate) fn everything() -> Self {
        Self { filter: None, test: Vec::new(), kernel: None, deadline: 600 }
    }
}

/// Runs the test files in a guest and prints which kernel ran which test. Fails unless every test ran well or was
/// deselected by name because its kernel lacks what it needs, and at least one ran.
pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    let kernel = Kernel::choose(arguments.kernel.as_deref())?;
    tools::ensure(&[tools::LAB, &kernel.needs].concat())?;
    let files = test_files::build(workspace, &arguments.test)?;
    let folder = workspace.target().join("lab");
    fs::create_dir_all(&folder).with_context(|| format!("failed to make {}", folder.display()))?;
    let plugs =
        tempfile::Builder::new().prefix("terway-lab-").tempdir().context("failed to make a folder")?;
    let deadline = Duration::from_secs(arguments.deadline);
    let filter = arguments.filter.as_deref();
    let guests = thread::scope(|scope| {
        // One processor each; so they run side by side.
        let started = files.iter().map(|file| {
            let (kernel, place, plugs) = (&kernel, folder.join(&file.name), plugs.path());
            scope.spawn(move || alone(kernel, file, filter, &place, plugs, deadline).map(|job| (place, job)))
        });
        let started: Vec<_> = started.collect();
        started
            .into_iter()
            .map(|guest| guest.join().unwrap_or_else(|panic| resume_unwind(panic)))
            .collect::<Vec<_>>()
    });
    let mut report = Report::default();
    for guest in guests {
        let (place, job) = guest?;
        report.add(&place, &job)?;
    }
    print!("{report}");
    ensure!(!report.is_empty(), "no test file has a test of this name");
    report.verdict().with_context(|| format!("what the guests left is in {}", folder.display()))
}

/// Runs one test file in a guest of its own.
fn alone(
    kernel: &Kernel,
    file: &TestFile,
    filter: Option<&str>,
    place: &Path,
    plugs: &Path,
    deadline: Duration,
) -> Result<Job> {
    // Back to itself: cards 0 and 1 are connected, and so are 2 and 3.
    let name = |card: u8| format!("{}{card}", file.name);
    let one = Cable::new(plugs, [&name(0), &name(1)])?;
    let two = Cable::new(plugs, [&name(2), &name(3)])?;
    let cards = vec![one.card(0, 0, 0), one.card(1, 1, 1), two.card(0, 2, 2), two.card(1, 3, 3)];
    let job = Job { modules: kernel.modules.clone(), programs: vec![Program::test(file, filter)] };
    Guest { kernel, cards, folder: place, deadline }
        .run(&job)
        .with_context(|| format!("{} failed", file.name))?;
    Ok(job)
}
