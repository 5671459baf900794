//! The programs of the test bench: built in release mode and started in place of this one, so that
//! signals, the terminal and the exit code are theirs.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::{Context as _, Result};
use clap::Args;

use crate::build;
use crate::tools::{self, Tool};
use crate::workspace::{Workspace, run};

/// Everything behind the task's name goes to the program.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Passed on to the program as they are.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<OsString>,
}

/// Builds everything the program needs and becomes it.
pub(crate) fn exec(
    workspace: &Workspace,
    program: &str,
    needs: &[Tool],
    arguments: &Arguments,
) -> Result<()> {
    eprintln!("── building");
    tools::ensure(needs)?;
    build::run(workspace)?;
    run(workspace.cargo("build --release --package terway-rig").args(["--bin", program]))?;
    let path = workspace.target().join("release").join(program);
    eprintln!("── {program}\n");
    let failure = Command::new(&path)
        .arg("--bin-dir")
        .arg(workspace.dist())
        .args(&arguments.rest)
        .current_dir(&workspace.root)
        .exec();
    Err(failure).with_context(|| format!("failed to start {}", path.display()))
}
