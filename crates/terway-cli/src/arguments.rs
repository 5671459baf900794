//! The command line. Commands, types and names are those people already type; what is new has new names.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use terway_rpc::DEFAULT_SOCKET;

/// Over what every command takes, in the help of each.
const ANYWHERE: &str = "Options of all commands";

/// Look into a node's pool of ENIs and its attachments.
#[derive(Debug, Parser)]
#[command(name = "terway-cli", version, arg_required_else_help = true)]
#[command(
    after_help = "Exit codes: 0 fine, 1 failed, 2 wrong command line, 3 the node is not ready, or doctor found something wrong"
)]
pub(crate) struct CommandLine {
    /// The daemon's socket.
    #[arg(long, global = true, help_heading = ANYWHERE, env = "TERWAY_SOCKET", default_value = DEFAULT_SOCKET, value_name = "PATH")]
    pub(crate) socket: PathBuf,
    /// How to print.
    #[arg(short, long, global = true, help_heading = ANYWHERE, value_enum, default_value_t = Format::Table)]
    pub(crate) output: Format,
    /// How long the daemon may take to answer, in seconds.
    #[arg(long, global = true, help_heading = ANYWHERE, default_value_t = 30, value_name = "SECONDS",
          value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) timeout: u64,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// How to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Table,
    /// For programs.
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Whether the node can serve pods now, and the state of its pool.
    Status,
    /// Which ENI serves which pod.
    Mapping {
        /// Print again after every change, until interrupted.
        #[arg(short, long)]
        watch: bool,
    },
    /// Everything known about a pod's or a sandbox's attachments.
    Explain {
        #[command(flatten)]
        subject: Subject,
    },
    /// Who held an address, an ENI, or what a pod held, and what was asked of the cloud; newest first.
    History {
        #[command(flatten)]
        query: HistoryQuery,
    },
    /// What the node's operator should have heard of lately.
    Events,
    /// Look at this node: daemon, configuration, plugin, and the services of its operating system that may take
    /// pods' links away. Changes nothing; exits with 3 if something is wrong.
    Doctor {
        /// The node's root folder, where it is mounted elsewhere.
        #[arg(long, default_value = "/", value_name = "PATH")]
        root: PathBuf,
    },
    /// Look at all ENIs now, in the cloud and in the node's metadata, and compare them with the ledger.
    Inventory,
    /// The node goes away: serve no new pod, and delete every ENI as soon as nobody holds it. Lasts until terwayd
    /// is started again.
    Drain,
    /// List the types of resources, or the resources of a type.
    List {
        /// network_service, resource_pool or factory.
        #[arg(value_name = "TYPE")]
        kind: Option<String>,
    },
    /// Show configuration and state of a resource.
    Show {
        /// network_service, resource_pool or factory; or addresses, for every address of every ENI.
        #[arg(value_name = "TYPE")]
        kind: String,
        /// The resource; by default the first of its type.
        name: Option<String>,
    },
    /// Run a command of a resource.
    Execute {
        /// The resource's type.
        #[arg(value_name = "TYPE")]
        kind: String,
        /// The resource.
        name: String,
        /// The command.
        command: String,
        /// Its arguments.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Put a program into a folder of the host, by rename, so that nobody ever starts half of it.
    Install {
        /// The program.
        #[arg(long, value_name = "FILE")]
        from: PathBuf,
        /// Its new place: a folder, or a file name in one.
        #[arg(long, value_name = "PATH")]
        to: PathBuf,
    },
}

/// A pod or a sandbox.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
pub(crate) struct Subject {
    /// A pod, as NAMESPACE/NAME.
    #[arg(value_name = "NAMESPACE/POD", value_parser = pod)]
    pub(crate) pod: Option<(String, String)>,
    /// A sandbox, by its container id.
    #[arg(long, value_name = "ID")]
    pub(crate) container: Option<String>,
}

/// What to look for; nothing asks for all.
#[derive(Args, Debug)]
pub(crate) struct HistoryQuery {
    /// A pod, as NAMESPACE/NAME.
    #[arg(value_name = "NAMESPACE/POD", value_parser = pod)]
    pub(crate) pod: Option<(String, String)>,
    /// An address.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) address: Option<std::net::IpAddr>,
    /// An ENI, by the cloud's id.
    #[arg(long, value_name = "ID")]
    pub(crate) eni: Option<String>,
    /// A sandbox, by its container id.
    #[arg(long, value_name = "ID")]
    pub(crate) container: Option<String>,
    /// An intent, as ENIs are tagged with it.
    #[arg(long, value_name = "TOKEN")]
    pub(crate) intent: Option<String>,
    /// Only what ended in so many last minutes, or lasts.
    #[arg(long, value_name = "MINUTES")]
    pub(crate) minutes: Option<u32>,
    /// At most so many entries.
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) limit: u32,
}

fn pod(text: &str) -> Result<(String, String), String> {
    match text.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() => {
            Ok((namespace.to_owned(), name.to_owned()))
        }
        _ => Err("write it as NAMESPACE/NAME".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn global_options_stand_anywhere() {
        let line =
            CommandLine::try_parse_from(["terway-cli", "mapping", "-o", "json", "--socket", "/s"]).unwrap();
        assert_eq!((line.output, line.socket), (Format::Json, "/s".into()));
    }

    #[test]
    fn a_wrong_line_is_a_usage_error() {
        for line in [
            vec!["terway-cli"],
            vec!["terway-cli", "show"],
            vec!["terway-cli", "explain"],
            vec!["terway-cli", "explain", "pod-without-namespace"],
            vec!["terway-cli", "status", "-o", "xml"],
            vec!["terway-cli", "status", "--timeout", "0"],
            vec!["terway-cli", "history", "--address", "10.0.0"],
            vec!["terway-cli", "history", "--limit", "0"],
        ] {
            assert_eq!(CommandLine::try_parse_from(&line).unwrap_err().exit_code(), 2, "{line:?}");
        }
    }
}
