//! `cargo xtask lab`: the data path's test files inside another kernel than this machine's. The guest is user-mode
//! Linux, an ordinary program: it needs neither root nor virtualisation, its root is this machine's with a layer over it
//! that takes what is written, and all that stays is one folder below `target/lab`.

use std::fs;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;

use crate::workspace::Workspace;
use crate::{rig, tools};

mod agents;
mod cable;
mod errand;
mod guest;
mod init;
mod initramfs;
mod job;
mod kernel;
mod kernel_build;
mod modules;
mod qemu;
mod report;
mod setting;
mod stock;
mod test_files;

pub(crate) use errand::{bench, matrix};
pub(crate) use init::main as init;
pub(crate) use test_files::{Deselection, deselections};

use kernel::{Choice, Kernel};
use report::Report;
use setting::{Places, Setting};

/// What to run, and in which kernel.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// Only tests whose names contain this.
    filter: Option<String>,
    /// Only this test file (repeatable), e.g. `exclusive`.
    #[arg(long, value_name = "FILE")]
    test: Vec<String>,
    /// A user-mode kernel of your own instead of the one Debian packages.
    #[arg(long, value_name = "PATH", conflicts_with = "build_kernel")]
    kernel: Option<PathBuf>,
    /// A small user-mode kernel with netdevsim, made from Debian's source the first time (some fifteen minutes of one
    /// processor) and kept in `target/lab-cache`.
    #[arg(long)]
    build_kernel: bool,
    /// A stock distribution kernel in a machine that qemu emulates, with NICs on a PCI bus and systemd-udevd; only the
    /// test files that are named, else `nics`. Slow.
    #[arg(long, conflicts_with_all = ["kernel", "build_kernel"])]
    qemu: bool,
    /// Instead of tests, what the bench measures of devices, of modes whose ENI stays on the node and of data paths, in the
    /// kernel of --build-kernel, which has what they all need.
    #[arg(long, conflicts_with_all = ["kernel", "build_kernel", "qemu", "test", "filter"])]
    bench: bool,
    /// Seconds until a guest that has not finished is ended.
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    deadline: u64,
}

impl Arguments {
    /// Everything, in the default kernel: what the tests' stage runs.
    pub(crate) fn everything() -> Self {
        Self {
            filter: None,
            test: Vec::new(),
            kernel: None,
            build_kernel: false,
            qemu: false,
            bench: false,
            deadline: 600,
        }
    }

    fn choice<'a>(&'a self, built: &'a Path) -> Choice<'a> {
        match &self.kernel {
            _ if self.build_kernel => Choice::Built(built),
            Some(path) => Choice::Own(path),
            None => Choice::Packaged,
        }
    }
}

/// Runs the test files in a guest and prints which kernel ran which test. Fails unless every test ran well or was
/// deselected by name because its kernel lacks what it needs, and at least one ran.
pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    if arguments.bench {
        return rig::bench_in_a_guest(workspace);
    }
    let (folder, cache) = (workspace.target().join("lab"), workspace.target().join("lab-cache"));
    visible(&workspace.root)?;
    visible(&folder)?;
    fs::create_dir_all(&folder).with_context(|| format!("failed to make {}", folder.display()))?;
    let init = first_process(&folder)?;
    let plugs =
        tempfile::Builder::new().prefix("terway-lab-").tempdir().context("failed to make a folder")?;
    let places = Places { left: &folder, cache: &cache, plugs: plugs.path() };
    let report = if arguments.qemu {
        in_a_machine(workspace, arguments, &init, &places)?
    } else {
        in_guests(workspace, arguments, &init, &places)?
    };
    print!("{report}");
    ensure!(!report.is_empty(), "no test file has a test of this name");
    report.verdict().with_context(|| format!("what the guests left is in {}", folder.display()))
}

/// Each test file in guests of its own.
fn in_guests(
    workspace: &Workspace,
    arguments: &Arguments,
    init: &Path,
    places: &Places<'_>,
) -> Result<Report> {
    let kernel = Kernel::get(arguments.choice(&places.cache.join("kernel")))?;
    tools::ensure(&[tools::LAB, &kernel.needs].concat())?;
    let files = test_files::build(workspace, &arguments.test)?;
    let (filter, deadline) = (arguments.filter.as_deref(), Duration::from_secs(arguments.deadline));
    let settings = files.iter().map(|file| Setting::of(file, filter, &kernel, places));
    let settings = settings.collect::<Result<Vec<_>>>()?;
    let outcomes = thread::scope(|scope| {
        // A guest has one processor; so they run side by side.
        let (guests, kernel) = (settings.iter().flat_map(|setting| &setting.guests), &kernel);
        let started = guests.map(|guest| (guest, scope.spawn(move || guest.run(kernel, init, deadline))));
        let started: Vec<_> = started.collect();
        started
            .into_iter()
            .map(|(guest, run)| (guest, run.join().unwrap_or_else(|panic| resume_unwind(panic))))
            .collect::<Vec<_>>()
    });
    let mut report = Report::default();
    for (guest, outcome) in outcomes {
        outcome.with_context(|| format!("{} failed", guest.folder.display()))?;
        report.add(&guest.folder, &guest.job, &kernel.is)?;
    }
    Ok(report)
}

/// All test files in one machine.
fn in_a_machine(
    workspace: &Workspace,
    arguments: &Arguments,
    init: &Path,
    places: &Places<'_>,
) -> Result<Report> {
    tools::ensure(tools::LAB)?;
    let only = if arguments.test.is_empty() { vec!["nics".to_owned()] } else { arguments.test.clone() };
    let files = test_files::build(workspace, &only)?;
    let deadline = Duration::from_secs(arguments.deadline);
    let places = [places.left, places.cache, places.plugs];
    let left = stock::run(&files, arguments.filter.as_deref(), init, places, deadline)?;
    let mut report = Report::default();
    report.add(&left.folder, &left.job, stock::IS)?;
    Ok(report)
}

/// This very program, as a file that stays while cargo builds it anew.
fn first_process(folder: &Path) -> Result<PathBuf> {
    let init = folder.join("first-process");
    fs::copy("/proc/self/exe", &init).with_context(|| format!("failed to write {}", init.display()))?;
    Ok(init)
}

/// A guest has file systems of its own in some places, which cover what this machine has there.
fn visible(path: &Path) -> Result<()> {
    let places = ["/run", "/proc", "/sys", "/dev"];
    let Some(place) = places.into_iter().find(|place| path.starts_with(place)) else { return Ok(()) };
    bail!(
        "a guest of the lab has a {place} of its own and would not see {}; move the checkout elsewhere, or set \
         CARGO_TARGET_DIR to a folder elsewhere if only that is below {place}",
        path.display()
    )
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        arguments: Arguments,
    }

    #[test]
    fn a_kernel_is_chosen_by_one_flag_only() {
        let parse = |words: &[&str]| Cli::try_parse_from([&["lab"], words].concat());
        let built = Path::new("built");
        let chosen = |words: &[&str]| format!("{:?}", parse(words).unwrap().arguments.choice(built));
        assert_eq!(chosen(&[]), "Packaged");
        assert_eq!(chosen(&["--build-kernel"]), r#"Built("built")"#);
        assert_eq!(chosen(&["--kernel", "/boot/linux"]), r#"Own("/boot/linux")"#);
        for both in [["--kernel=/boot/linux", "--build-kernel"], ["--build-kernel", "--qemu"]] {
            assert!(parse(&both).is_err(), "{both:?}");
        }
        assert!(parse(&["--qemu"]).unwrap().arguments.qemu);
    }

    #[test]
    fn a_checkout_that_guests_cannot_see_is_told_of() {
        let said = visible(Path::new("/run/user/1000/terway")).unwrap_err().to_string();
        assert!(said.contains("a /run of its own") && said.contains("CARGO_TARGET_DIR"), "{said}");
        visible(Path::new("/tmp/terway")).unwrap();
        visible(Path::new("/runner/terway")).unwrap();
    }
}
