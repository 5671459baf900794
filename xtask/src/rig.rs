//! The programs of the test bench: built in release mode and started in place of this one, so that
//! signals, the terminal and the exit code are theirs.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};
use clap::Args;

use crate::tools::{self, Tool};
use crate::workspace::{Workspace, run};
use crate::{build, lab};

/// Everything behind the task's name goes to the program.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Options of the program, as below.
    #[arg(value_name = "OPTION", trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<OsString>,
}

/// A program of the bench.
pub(crate) struct Program {
    name: &'static str,
    needs: &'static [Tool],
    /// Where its record goes, below the target folder.
    record: Option<&'static str>,
    /// The page of the project that it writes a table into.
    page: Option<&'static str>,
}

/// `cargo xtask demo`
pub(crate) const DEMO: Program =
    Program { name: "terway-demo", needs: tools::DEMO, record: None, page: None };
/// `cargo xtask bench`
pub(crate) const BENCH: Program =
    Program { name: "terway-bench", needs: tools::BENCH, record: Some("bench/bench.json"), page: None };
/// `cargo xtask matrix`
const MATRIX: Program =
    Program { name: "terway-matrix", needs: tools::MATRIX, record: None, page: Some("README.md") };
/// `cargo xtask faults`
pub(crate) const FAULTS: Program =
    Program { name: "terway-faults", needs: tools::DEMO, record: Some("faults.json"), page: None };

/// What a program can be told: its own file, so that this cannot say something else than it does.
macro_rules! options_of {
    ($program:literal) => {
        concat!(
            "What can be told:\n\n",
            include_str!(concat!("../../tests/src/bin/", $program, "/options.txt"))
        )
    };
}
pub(crate) const BENCH_OPTIONS: &str = concat!(
    "Measures for several minutes, after a release build; nothing else should run on the machine. ",
    options_of!("terway-bench")
);
pub(crate) const DEMO_OPTIONS: &str = options_of!("terway-demo");
pub(crate) const FAULTS_OPTIONS: &str = options_of!("terway-faults");
pub(crate) const MATRIX_OPTIONS: &str = options_of!("terway-matrix");
pub(crate) const INSTRUCTIONS_OPTIONS: &str = options_of!("terway-instructions");

/// Builds everything the program needs and becomes it.
pub(crate) fn exec(workspace: &Workspace, program: &Program, arguments: &Arguments) -> Result<()> {
    build(workspace, program)?;
    become_it(workspace, program, &arguments.rest)
}

/// Tries who reaches whom in a guest of the lab first, whose kernel has everything, and then here: the page gets what
/// both found.
pub(crate) fn matrix(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    build(workspace, &MATRIX)?;
    eprintln!("── {} in a guest", MATRIX.name);
    let file = lab::matrix(workspace, &path(workspace, &MATRIX))?;
    let mut rest = arguments.rest.clone();
    rest.extend(["--beside".into(), file.into()]);
    become_it(workspace, &MATRIX, &rest)
}

/// Measures in a guest of the lab what this machine's kernel may lack. Its times are those of an emulated kernel: what
/// they say is how they go together.
pub(crate) fn bench_in_a_guest(workspace: &Workspace) -> Result<()> {
    build(workspace, &BENCH)?;
    eprintln!("── {} in a guest", BENCH.name);
    print!("{}", lab::bench(workspace, &path(workspace, &BENCH))?);
    Ok(())
}

fn path(workspace: &Workspace, program: &Program) -> PathBuf {
    workspace.target().join("release").join(program.name)
}

fn build(workspace: &Workspace, program: &Program) -> Result<()> {
    eprintln!("── building");
    tools::ensure(program.needs)?;
    build::run(workspace)?;
    run(workspace.cargo("build --release --package terway-rig").args(["--bin", program.name]))
}

fn become_it(workspace: &Workspace, program: &Program, rest: &[OsString]) -> Result<()> {
    eprintln!("── {}\n", program.name);
    let path = path(workspace, program);
    let mut command = Command::new(&path);
    command.arg("--bin-dir").arg(workspace.dist());
    if let Some(record) = program.record {
        command.arg("--out").arg(workspace.target().join(record));
    }
    if let Some(page) = program.page {
        command.arg("--page").arg(workspace.root.join(page));
    }
    let failure = command.args(rest).current_dir(&workspace.root).exec();
    Err(failure).with_context(|| format!("failed to start {}", path.display()))
}

/// Counts instructions in the shipped programs; with `rest`, e.g. `--update yes`, as told.
pub(crate) fn instructions(workspace: &Workspace, rest: &[OsString]) -> Result<()> {
    tools::ensure(tools::INSTRUCTIONS)?;
    run(&mut workspace.cargo("build --workspace --all-features --bin terway-instructions"))?;
    let mut command = Command::new(workspace.target().join("debug/terway-instructions"));
    command.arg("--bin-dir").arg(workspace.dist());
    command.arg("--plugin").arg(build::plugin_with_symbols(workspace)?);
    command.arg("--target").arg(build::plugin_target()?);
    command.arg("--budget").arg(workspace.root.join("tests/instructions.json"));
    run(command.args(rest))
}

/// `cargo xtask instructions`
pub(crate) fn instructions_of_a_fresh_build(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    build::run(workspace)?;
    instructions(workspace, &arguments.rest)
}
