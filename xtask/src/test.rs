//! Everything that must hold before a change lands, in the order in which it fails fastest.

use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result};
use clap::Args;
use serde::Deserialize;

use crate::metadata::Metadata;
use crate::stages::{self, Choice, Stage};
use crate::workspace::{Workspace, run as run_command};
use crate::{build, check, dependencies, r#gen, host, lab, newer, rig, tools};

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

/// The clouds there are providers for.
const CLOUDS: &[&str] = &["aliyun", "tencent"];

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
    Stage { name: "unit", about: "tests with the usual harness", needs: Some("tools"), run: unit },
    Stage { name: "kernel", about: "tests in namespaces of their own", needs: Some("tools"), run: kernel },
    Stage {
        name: "lab",
        about: "the same tests inside a stock kernel",
        needs: Some("tools"),
        run: |workspace| lab::run(workspace, &lab::Arguments::everything()),
    },
    Stage { name: "morning", about: "a thousand engines in virtual time", needs: None, run: morning },
    Stage { name: "build", about: "the shipped programs", needs: None, run: build::run },
    Stage {
        name: "instructions",
        about: "what plugin and daemon spend on each verb, against the budget",
        needs: Some("build"),
        run: instructions,
    },
    Stage {
        name: "ratios",
        about: "what must not grow, by the bench: ratios and counts, no times",
        needs: Some("build"),
        run: ratios,
    },
    Stage {
        name: "world",
        about: "the shipped programs against the simulated cloud",
        needs: Some("build"),
        run: world,
    },
    Stage {
        name: "clients",
        about: "containerd, podman and libcni call the shipped plugin",
        needs: Some("build"),
        run: clients,
    },
    Stage {
        name: "demo",
        about: "the demonstration keeps its promises on every cloud",
        needs: Some("build"),
        run: demo,
    },
];

/// The stages in their order, for `--help`.
pub(crate) fn stages_for_people() -> String {
    let lines = STAGES.iter().map(|Stage { name, about, .. }| format!("\n  {name:<12}  {about}"));
    format!("Stages, in their order:\n{}", lines.collect::<String>())
}

/// Runs the chosen stages.
pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    let choice = Choice { only: arguments.only.clone(), skip: arguments.skip.clone() };
    stages::run(workspace, STAGES, &choice)
}

fn unit(workspace: &Workspace) -> Result<()> {
    let mut command = workspace.cargo("test --workspace --all-features --no-fail-fast --lib --bins");
    for test in test_binaries(workspace)?.iter().filter(|test| test.harness) {
        command.args(["--test", &test.name]);
    }
    run_command(&mut command)
}

/// Tests on namespaces, links and routes bring their own harness: it has to make the namespaces before it
/// starts threads.
fn kernel(workspace: &Workspace) -> Result<()> {
    let mut command = workspace.cargo("test --workspace --all-features --no-fail-fast");
    for test in test_binaries(workspace)?.iter().filter(|test| !test.harness) {
        command.args(["--test", &test.name]);
    }
    let deselected = workspace.target().join("deselected");
    if deselected.exists() {
        fs::remove_file(&deselected).with_context(|| format!("failed to remove {}", deselected.display()))?;
    }
    command.env("TERWAY_DESELECTED", &deselected);
    host::unchanged(|| run_command(&mut command))?;
    for lab::Deselection { file, test, reason } in lab::deselections(&deselected)? {
        eprintln!("   left to the lab: {file} {test}: {reason}");
    }
    Ok(())
}

/// Shows its table, which a test's output otherwise hides.
fn morning(workspace: &Workspace) -> Result<()> {
    run_command(&mut workspace.cargo("test --workspace --all-features --test morning -- --nocapture"))
}

fn world(workspace: &Workspace) -> Result<()> {
    // With all of the workspace's features, as the tests before: anything else would build most of it once more.
    let mut command = workspace.cargo("test --workspace --all-features --test world");
    command.env("TERWAY_BIN_DIR", workspace.dist());
    host::unchanged(|| run_command(&mut command))
}

/// Installs valgrind itself.
fn instructions(workspace: &Workspace) -> Result<()> {
    host::unchanged(|| rig::instructions(workspace, &[]))
}

/// The parts of the bench whose ratios and counts hold on a busy machine too.
fn ratios(workspace: &Workspace) -> Result<()> {
    run_command(&mut workspace.cargo("build --workspace --all-features --bin terway-bench"))?;
    let mut command = Command::new(workspace.target().join("debug/terway-bench"));
    command.arg("--bin-dir").arg(workspace.dist());
    command.arg("--out").arg(workspace.target().join("ratios/bench.json"));
    for part in ["decisions", "crowds", "storm", "churn", "sizes"] {
        command.args(["--only", part]);
    }
    command.args(["--attachments", "50", "--churn", "15", "--check", "yes"]);
    host::unchanged(|| run_command(&mut command))
}

/// Installs container runtimes itself: nobody needs them who leaves this stage out.
fn clients(workspace: &Workspace) -> Result<()> {
    tools::ensure(tools::CLIENTS)?;
    let mut command = workspace.cargo("test --workspace --all-features --test clients");
    command.env("TERWAY_BIN_DIR", workspace.dist());
    command.env("TERWAY_NEWER_DIR", newer::unpack(workspace)?);
    host::unchanged(|| run_command(&mut command))
}

/// As `cargo xtask demo --cloud NAME` for each cloud, with the programs built already.
fn demo(workspace: &Workspace) -> Result<()> {
    run_command(&mut workspace.cargo("build --workspace --all-features --bin terway-demo"))?;
    for cloud in CLOUDS {
        let mut command = Command::new(workspace.target().join("debug/terway-demo"));
        command.arg("--bin-dir").arg(workspace.dist()).args(["--cloud", cloud]);
        host::unchanged(|| run_command(&mut command))?;
    }
    Ok(())
}

/// A `[[test]]` table of a manifest; cargo's metadata leaves the harness out.
#[derive(Deserialize)]
struct TestTable {
    name: String,
    #[serde(default = "usual_harness")]
    harness: bool,
}

fn usual_harness() -> bool {
    true
}

#[derive(Deserialize)]
struct Manifest {
    #[serde(default)]
    test: Vec<TestTable>,
}

/// The test binaries of a package that bring their own harness.
pub(crate) fn own_harness(workspace: &Workspace, package: &str) -> Result<Vec<String>> {
    let tests = test_binaries_of(workspace, |name| name == package)?;
    Ok(tests.into_iter().filter(|test| !test.harness).map(|test| test.name).collect())
}

/// All test binaries but the bench's.
fn test_binaries(workspace: &Workspace) -> Result<Vec<TestTable>> {
    test_binaries_of(workspace, |name| name != RIG)
}

/// The test binaries of some packages, each name once.
fn test_binaries_of(workspace: &Workspace, wanted: impl Fn(&str) -> bool) -> Result<Vec<TestTable>> {
    let metadata = Metadata::read(workspace)?;
    let mut tests = Vec::new();
    for member in metadata.members().filter(|member| wanted(&member.name)) {
        let path = &member.manifest_path;
        let text = fs::read_to_string(path).with_context(|| format!("failed to read {}", path.display()))?;
        let declared: Manifest =
            toml::from_str(&text).with_context(|| format!("failed to read {}", path.display()))?;
        let targets = member.targets.iter().filter(|target| target.kind == ["test"]);
        tests.extend(targets.map(|target| TestTable {
            name: target.name.clone(),
            harness: declared.test.iter().all(|table| table.name != target.name || table.harness),
        }));
    }
    tests.sort_by(|left, right| left.name.cmp(&right.name));
    tests.dedup_by(|left, right| left.name == right.name);
    Ok(tests)
}
