//! Every developer task that is more than one cargo command: `cargo xtask --help` lists them.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};

mod r#gen;

#[derive(Parser)]
#[command(about = "Developer tasks of Terway", version)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Regenerate committed generated code.
    Gen {
        /// Only check that the committed code is current.
        #[arg(long)]
        check: bool,
    },
}

fn main() -> Result<()> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("xtask lives one folder below the repository's root")?
        .to_path_buf();
    match Cli::parse().task {
        Task::Gen { check } => r#gen::run(&root, check),
    }
}
