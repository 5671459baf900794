//! `terway-cli`: a person's way into a node's pool and its attachments. It asks the daemon over its
//! socket, prints tables or JSON, and tells by its exit code how it went.

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Parser as _;
use terway_rpc::DaemonClient;
use terway_types::{Fault, FaultCode, Timestamp};

use crate::arguments::{Command, CommandLine, Format};
use crate::screen::Screen;

mod addresses;
mod age;
mod arguments;
mod doctor;
mod events;
mod explain;
mod history;
mod install;
mod inventory;
mod mapping;
mod pool;
mod resources;
mod screen;
mod status;
mod table;
mod tree;

/// How a command ended well enough to have printed its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// Exit code 0.
    Fine,
    /// Exit code 3: the node cannot serve an ADD now, or something on it is wrong.
    NotReady,
}

fn main() -> ExitCode {
    // A wrong command line ends inside, with exit code 2.
    let line = CommandLine::parse();
    match run(&line) {
        Ok(Verdict::Fine) => ExitCode::SUCCESS,
        Ok(Verdict::NotReady) => ExitCode::from(3),
        Err(fault) => {
            // Nothing is left to tell a person whose stderr is closed.
            let _ = writeln!(io::stderr(), "{}", complaint(&fault, line.output));
            ExitCode::FAILURE
        }
    }
}

fn run(line: &CommandLine) -> Result<Verdict, Fault> {
    if let Command::Install { from, to } = &line.command {
        let installed = install::install(from, to).map_err(|error| error.fault())?;
        Screen::new(line.output).line(&format!("installed {}", installed.display()))?;
        return Ok(Verdict::Fine);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Fault::new(FaultCode::Internal, "failed to start a runtime").caused_by(&error))?;
    runtime.block_on(ask(line))
}

/// Connects, asks and prints, all in one `block_on`: the connection lives on tasks of this runtime.
async fn ask(line: &CommandLine) -> Result<Verdict, Fault> {
    let deadline = Duration::from_secs(line.timeout);
    if let Command::Doctor { root } = &line.command {
        let place = doctor::Place { root, socket: &line.socket, deadline };
        return doctor::run(&place, &mut Screen::new(line.output)).await;
    }
    let client = DaemonClient::connect(&line.socket, deadline).await?;
    let mut screen = Screen::new(line.output);
    match &line.command {
        Command::Status => return status::run(&client, &mut screen, now()).await,
        Command::Mapping { watch: false } => mapping::run(&client, &mut screen, now()).await?,
        Command::Mapping { watch: true } => mapping::watch(&client, &mut screen, now).await?,
        Command::Explain { subject } => explain::run(&client, &mut screen, subject, now()).await?,
        Command::List { kind } => resources::list(&client, &mut screen, kind.as_deref()).await?,
        Command::History { query } => history::run(&client, &mut screen, query, now()).await?,
        Command::Events => events::run(&client, &mut screen, now()).await?,
        Command::Inventory => inventory::run(&client, &mut screen, now()).await?,
        Command::Drain => inventory::drain(&client, &mut screen).await?,
        Command::Show { kind, name: None } if kind == "addresses" => {
            addresses::run(&client, &mut screen, now()).await?;
        }
        Command::Show { kind, name } => resources::show(&client, &mut screen, kind, name.as_deref()).await?,
        Command::Execute { kind, name, command, args } => {
            resources::execute(&client, &mut screen, kind, name, command, args).await?;
        }
        Command::Install { .. } | Command::Doctor { .. } => {}
    }
    Ok(Verdict::Fine)
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// A fault as it goes to stderr.
fn complaint(fault: &Fault, format: Format) -> String {
    if format == Format::Json {
        return serde_json::json!({ "error": pool::FaultView::from(fault) }).to_string();
    }
    let cause = if fault.cause.is_empty() { String::new() } else { format!("\n  cause:  {}", fault.cause) };
    format!("error: {} ({}){cause}\n  remedy: {}", fault.what, fault.code.name(), fault.remedy)
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    #[test]
    fn a_complaint_says_what_why_and_what_to_do() {
        let fault = Fault::new(FaultCode::QuotaReached, "cannot bind an 8th ENI").because("limit 7");
        assert_snapshot!(complaint(&fault, Format::Table), @r"
        error: cannot bind an 8th ENI (quota-reached)
          cause:  limit 7
          remedy: raise the quota named, or use a larger instance type
        ");
        assert_snapshot!(complaint(&fault, Format::Json), @r#"{"error":{"cause":"limit 7","code":"quota-reached","remedy":"raise the quota named, or use a larger instance type","what":"cannot bind an 8th ENI"}}"#);
    }
}
