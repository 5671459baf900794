//! The program: reads a world description, brings it to life, says where on one line of standard output,
//! and takes everything down on SIGTERM or SIGINT.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Parser;
use serde_json::json;
use terway_cloudsim::{Config, Options, Place, World, live, serve};
use tokio::signal::unix::{SignalKind, signal};

/// A simulated cloud: ECS, VPC and metadata APIs over a real kernel data path.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// The world description (JSON).
    #[arg(long)]
    config: PathBuf,
    /// Where to put the control socket (HTTP).
    #[arg(long)]
    control: Option<PathBuf>,
    /// Make no links and namespaces: API and metadata service only, over plain TCP.
    #[arg(long)]
    no_fabric: bool,
    /// The TCP address without a fabric; port 0 takes a free one.
    #[arg(long, requires = "no_fabric", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// What to log, e.g. `info` or `terway_cloudsim=debug`.
    #[arg(long, default_value = "info")]
    log_level: String,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt()
        .with_env_filter(&arguments.log_level)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    let config = Config::read(&arguments.config)?;
    let world = World::from_config(config, live::system_clock())?;
    let place = if arguments.no_fabric { Place::Loopback(arguments.listen) } else { Place::Fabric };
    // Before anything is made: from here on a signal leads to a clean end.
    let mut terminate = signal(SignalKind::terminate()).context("failed to catch SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("failed to catch SIGINT")?;
    let options = Options { control: arguments.control, ..Options::new(place) };
    let running = serve(world, options).await?;
    let endpoints = running.endpoints();
    let ready = json!({ "ready": true, "ecs": endpoints.ecs, "metadata": endpoints.metadata });
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{ready}").and_then(|()| stdout.flush()).context("failed to say that it is ready")?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    running.stop().await;
    Ok(())
}
