//! The program: reads a world description, brings it to life, says where on one line of standard output,
//! and takes everything down on SIGTERM or SIGINT.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use serde_json::json;
use terway_cloudsim::{Config, Endpoints, Options, Place, World, live, serve, status};
use tokio::signal::unix::{SignalKind, signal};

/// A simulated cloud: ECS, VPC and metadata APIs over a real kernel data path.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
struct Arguments {
    #[command(subcommand)]
    question: Option<Question>,
    /// The world description (JSON).
    #[arg(long, required = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where to put the control socket (HTTP).
    #[arg(long, value_name = "PATH")]
    control: Option<PathBuf>,
    /// Make no links and namespaces: API and metadata service only, over plain TCP.
    #[arg(long)]
    no_fabric: bool,
    /// The TCP address without a fabric; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS:PORT", requires = "no_fabric", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// What to log, e.g. `info` or `terway_cloudsim=debug`.
    #[arg(long, value_name = "FILTER", default_value = "info")]
    log_level: String,
}

/// What to ask a simulation that runs.
#[derive(Debug, Subcommand)]
enum Question {
    /// Shows the whole VPC: vSwitches, nodes, ENIs, calls, faults.
    Status {
        /// The simulation's control socket.
        #[arg(long, value_name = "PATH")]
        control: PathBuf,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    if let Some(Question::Status { control }) = &arguments.question {
        let page = status::page(control)?;
        return std::io::stdout().write_all(page.as_bytes()).context("failed to show the page");
    }
    tracing_subscriber::fmt()
        .with_env_filter(&arguments.log_level)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    let path = arguments.config.context("--config is missing")?;
    let config = Config::read(&path)?;
    let world = World::from_config(config, live::system_clock())?;
    let place = if arguments.no_fabric { Place::Loopback(arguments.listen) } else { Place::Fabric };
    // Before anything is made: from here on a signal leads to a clean end.
    let mut terminate = signal(SignalKind::terminate()).context("failed to catch SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("failed to catch SIGINT")?;
    let options = Options { control: arguments.control, ..Options::new(place) };
    let running = serve(world, options).await?;
    let endpoints = running.endpoints();
    let Endpoints { ecs, metadata } = endpoints;
    let ready = json!({ "ready": true, "ecs": ecs, "api": ecs, "metadata": metadata });
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{ready}").and_then(|()| stdout.flush()).context("failed to say that it is ready")?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    running.stop().await;
    Ok(())
}
