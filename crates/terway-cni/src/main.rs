//! `terway`: the CNI plugin. This file is its edge: environment, standard streams, clock and exit code. The
//! verbs are a file each; the protocol is in `cni-protocol`, the kernel's side in `terway-datapath`.

mod add;
mod annotations;
mod blueprint;
mod build;
mod check;
mod daemon_client;
mod daemon_start;
mod del;
mod erdma;
#[cfg(test)]
mod fixture;
mod gc;
mod limits;
mod netconf;
mod outcome;
mod plan;
mod plugin;
mod queueing;
mod release;
mod sandbox;
mod spool;
mod status;
mod subject;
mod teardown;
mod timeline;
mod virtual_function;
mod virtual_type;

use std::io::{self, IsTerminal, Read, Write};
use std::panic;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use cni_protocol::{CniError, Outcome, Version, code, dispatch};
use terway_types::Timestamp;

use crate::plugin::Terway;

/// musl's own allocator asks the kernel for every other page and gives each back at once: three hundred system calls
/// of a plugin that ends before it has a megabyte. This one asks now and then.
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

fn main() -> ExitCode {
    report_panics();
    let verb = std::env::var("CNI_COMMAND").unwrap_or_default();
    timeline::begin(std::env::var_os(timeline::VARIABLE).map(Into::into), &verb);
    let plugin = Terway { now: now() };
    let outcome = dispatch(&plugin, &|name: &str| std::env::var_os(name), standard_input());
    let code = finish(&outcome);
    timeline::end("print");
    code
}

/// A person at a terminal sends no configuration; nobody shall wait for one.
fn standard_input() -> Box<dyn Read> {
    let stdin = io::stdin();
    if stdin.is_terminal() { Box::new(io::empty()) } else { Box::new(stdin.lock()) }
}

fn finish(outcome: &Outcome) -> ExitCode {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(&outcome.stdout).and_then(|()| stdout.flush()) {
        Ok(()) => ExitCode::from(outcome.exit_code),
        Err(error) => {
            eprintln!("terway: failed to write to standard output: {error}");
            ExitCode::FAILURE
        }
    }
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// A runtime reads standard output only, so even a defect of ours is said there. The process aborts after
/// it, and libcni reads what an aborted plugin has printed.
fn report_panics() {
    panic::set_hook(Box::new(|defect| {
        let error = CniError::new(code::INTERNAL, "internal: the plugin met a defect of its own")
            .details(format!("{defect}; remedy: report it with this message"));
        let _ = writeln!(io::stdout(), "{}", error.to_json(Version::HIGHEST.as_str()));
        eprintln!("terway: {defect}");
    }));
}
