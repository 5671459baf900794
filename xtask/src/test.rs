//! Everything that must hold before a change lands, in the order in which it fails fastest.

use anyhow::Result;
use clap::Args;

use crate::metadata::Metadata;
use crate::stages::{self, Choice, Stage};
use crate::workspace::{Workspace, run as run_command};
use crate::{build, check, dependencies, r#gen, tools};

/// Which stages to run.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Run only this stage (repeatable).
    #[arg(long, value_name = "STAGE")]
    only: Vec<String>,
    /// Leave this stage out (repeatable); the summary says so.
    #[arg(long, value_name = "STAGE")]
    skip: Vec<String>,
}

/// The package of the test bench. Its scenarios need the shipped programs, so they come last.
const RIG: &str = "terway-rig";

/// Test binaries with these names work on real namespaces, links and routes.
const KERNEL_TESTS: &[&str] = &["kernel", "fabric"];

const STAGES: &[Stage<Workspace>] = &[
    Stage {
        name: "tools",
        about: "programs of the operating system",
        needs: None,
        run: |_| tools::ensure(tools::TEST),
    },
    Stage {
        name: "format",
        about: "rustfmt",
        needs: None,
        run: |workspace| run_command(&mut workspace.cargo("fmt --all --check")),
    },
    Stage { name: "rules", about: "floors, absences, file sizes", needs: None, run: check::run },
    Stage {
        name: "licences",
        about: "third-party packages against deny.toml",
        needs: None,
        run: dependencies::run,
    },
    Stage {
        name: "generated",
        about: "committed generated code is current",
        needs: None,
        run: |workspace| r#gen::run(&workspace.root, true),
    },
    Stage {
        name: "lints",
        about: "clippy, warnings are errors",
        needs: None,
        run: |workspace| {
            run_command(
                &mut workspace.cargo("clippy --workspace --all-targets --all-features -- -D warnings"),
            )
        },
    },
    Stage { name: "unit", about: "tests that run anywhere", needs: None, run: unit },
    Stage { name: "kernel", about: "tests in namespaces of their own", needs: Some("tools"), run: kernel },
    Stage { name: "build", about: "the shipped programs", needs: None, run: build::run },
    Stage {
        name: "world",
        about: "the shipped programs against the simulated cloud",
        needs: Some("build"),
        run: world,
    },
];

/// Runs the chosen stages.
pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    let choice = Choice { only: arguments.only.clone(), skip: arguments.skip.clone() };
    stages::run(workspace, STAGES, &choice)
}

fn unit(workspace: &Workspace) -> Result<()> {
    let mut command = workspace.cargo("test --workspace --all-features --no-fail-fast --lib --bins");
    for name in test_binaries(workspace)?.iter().filter(|name| !is_kernel_test(name)) {
        command.args(["--test", name]);
    }
    run_command(&mut command)?;
    run_command(&mut workspace.cargo("test --workspace --all-features --doc"))
}

fn kernel(workspace: &Workspace) -> Result<()> {
    let names = test_binaries(workspace)?;
    let mut command = workspace.cargo("test --workspace --all-features --no-fail-fast");
    for name in names.iter().filter(|name| is_kernel_test(name)) {
        command.args(["--test", name]);
    }
    run_command(&mut command)
}

fn world(workspace: &Workspace) -> Result<()> {
    let mut command = workspace.cargo("test --test world");
    run_command(command.args(["--package", RIG]).env("TERWAY_BIN_DIR", workspace.dist()))
}

fn is_kernel_test(name: &str) -> bool {
    KERNEL_TESTS.contains(&name)
}

/// The names of all test binaries but the bench's, each once.
fn test_binaries(workspace: &Workspace) -> Result<Vec<String>> {
    let metadata = Metadata::read(workspace)?;
    let targets = metadata.members().filter(|member| member.name != RIG).flat_map(|member| &member.targets);
    let mut names: Vec<String> =
        targets.filter(|target| target.kind == ["test"]).map(|target| target.name.clone()).collect();
    names.sort();
    names.dedup();
    Ok(names)
}
