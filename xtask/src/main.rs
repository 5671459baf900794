//! Every developer task that is more than one cargo command: `cargo xtask --help` lists them.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::workspace::Workspace;

mod absences;
mod build;
mod check;
mod copies;
mod dependencies;
mod elf;
mod floors;
mod r#gen;
mod host;
mod lab;
mod licences;
mod metadata;
mod newer;
mod packages;
mod rig;
mod said;
mod sizes;
mod soak;
mod stages;
mod test;
mod tools;
mod vendors;
mod workspace;

#[derive(Parser)]
#[command(
    bin_name = "cargo xtask",
    about = "Developer tasks of Terway",
    version,
    arg_required_else_help = true
)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Show two simulated nodes giving pods whole ENIs that talk to each other.
    #[command(after_help = rig::DEMO_OPTIONS)]
    Demo(rig::Arguments),
    /// Measure ADD, DEL and the daemon against the kernel's floor and the reference plugins.
    #[command(after_help = rig::BENCH_OPTIONS)]
    Bench(rig::Arguments),
    /// Count the instructions of plugin and daemon and hold them against the committed budget.
    #[command(after_help = rig::INSTRUCTIONS_OPTIONS)]
    Instructions(rig::Arguments),
    /// Hold the node against every fault of every cloud action, and tell how long it takes to recover.
    #[command(after_help = rig::FAULTS_OPTIONS)]
    Faults(rig::Arguments),
    /// Try with real packets who reaches whom in every mode, and write the table into README.md.
    #[command(after_help = rig::MATRIX_OPTIONS)]
    Matrix(rig::Arguments),
    /// Run everything: format, lints, rules, unit, kernel and world tests.
    #[command(after_help = test::stages_for_people())]
    Test(test::Arguments),
    /// Run the data path's tests inside another kernel: user-mode Linux, as Debian packages it.
    Lab(lab::Arguments),
    /// What a guest of the lab runs first.
    #[command(hide = true)]
    LabGuest {
        /// The folder with its job.
        folder: PathBuf,
        /// What a user-mode kernel adds to its own command line arrives here.
        rest: Vec<String>,
    },
    /// Live many random histories of the pool, or explore its small worlds, for as long as you like.
    Soak(soak::Arguments),
    /// Build the shipped programs into target/dist.
    Build,
    /// Check the rules of the house: who may depend on whom, what appears nowhere, file sizes.
    Check,
    /// Check the licences and duplicates of third-party packages against deny.toml.
    Deps,
    /// Regenerate committed generated code.
    Gen {
        /// Only check that the committed code is current.
        #[arg(long)]
        check: bool,
    },
}

fn main() -> ExitCode {
    match run(Cli::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nerror: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<()> {
    let workspace = Workspace::here()?;
    match task {
        Task::Lab(arguments) => lab::run(&workspace, &arguments),
        Task::LabGuest { folder, .. } => lab::init(&folder),
        Task::Demo(arguments) => rig::exec(&workspace, &rig::DEMO, &arguments),
        Task::Bench(arguments) => rig::exec(&workspace, &rig::BENCH, &arguments),
        Task::Instructions(arguments) => rig::instructions_of_a_fresh_build(&workspace, &arguments),
        Task::Faults(arguments) => rig::exec(&workspace, &rig::FAULTS, &arguments),
        Task::Matrix(arguments) => rig::matrix(&workspace, &arguments),
        Task::Test(arguments) => test::run(&workspace, &arguments),
        Task::Soak(arguments) => soak::run(&workspace, &arguments),
        Task::Build => build::run(&workspace),
        Task::Check => check::run(&workspace),
        Task::Deps => dependencies::run(&workspace),
        Task::Gen { check } => r#gen::run(&workspace.root, check),
    }
}
