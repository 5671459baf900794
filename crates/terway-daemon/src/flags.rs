//! The command line of `terwayd`.

use std::path::PathBuf;

use clap::Parser;

/// The node daemon that owns the pool of ENIs.
#[derive(Clone, Debug, Parser)]
#[command(name = "terwayd", version, about)]
pub struct Flags {
    /// The operator's configuration
    #[arg(long, value_name = "FILE", default_value = "/etc/eni/eni.json")]
    pub config: PathBuf,
    /// The socket the CNI plugin and terway-cli call
    #[arg(long, value_name = "PATH", default_value = "/var/run/eni/eni.socket")]
    pub socket: PathBuf,
    /// Where the ledger and the spool of releases live; must survive a reboot
    #[arg(long, value_name = "DIR", default_value = "/var/lib/cni/terway")]
    pub state_dir: PathBuf,
    /// The CNI configuration to install once pods can be served; none is installed without this flag
    #[arg(long, value_name = "FILE")]
    pub cni_conf: Option<PathBuf>,
    /// The runtime's directory to install it in, as 10-terway.conflist
    #[arg(long, value_name = "DIR", default_value = "/etc/cni/net.d")]
    pub cni_conf_dir: PathBuf,
    /// Where health and metrics are served: unix:///path or host:port
    #[arg(long, value_name = "ADDRESS", default_value = "unix:///var/run/eni/eni_debug.socket")]
    pub readonly_listen: Listen,
    /// Least level of log lines: error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    pub log_level: tracing::level_filters::LevelFilter,
    /// Write log lines as JSON
    #[arg(long)]
    pub log_json: bool,
    /// How pods get addresses; only ENIOnly, a whole ENI per pod, is served
    #[arg(long, value_name = "MODE", default_value = "ENIOnly", value_parser = daemon_mode)]
    pub daemon_mode: DaemonMode,
    /// The name of this node, as ENIs are tagged with it
    #[arg(long, value_name = "NAME", env = "NODE_NAME", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub node_name: String,
    /// The cluster, as ENIs are tagged with it
    #[arg(long, value_name = "ID", env = "CLUSTER_ID", default_value = "default", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub cluster_id: String,
    /// A kernel link kind that counts as a network card besides those without a kind (simulated clouds)
    #[arg(long = "nic-kind", value_name = "KIND")]
    pub nic_kinds: Vec<String>,
    /// The elastic compute API instead of the region's own
    #[arg(long, value_name = "URL", env = "ECS_ENDPOINT")]
    pub ecs_endpoint: Option<String>,
    /// The VPC API instead of the region's own
    #[arg(long, value_name = "URL", env = "VPC_ENDPOINT")]
    pub vpc_endpoint: Option<String>,
    /// The instance metadata service
    #[arg(long, value_name = "URL", env = "METADATA_ENDPOINT")]
    pub metadata_endpoint: Option<String>,
    /// For crash tests: die before carrying out effect N+1
    #[arg(long, value_name = "N", hide = true)]
    pub die_after_effects: Option<u64>,
}

/// How pods get addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DaemonMode {
    /// A whole ENI per pod.
    EniOnly,
}

fn daemon_mode(text: &str) -> Result<DaemonMode, String> {
    match text {
        "ENIOnly" => Ok(DaemonMode::EniOnly),
        "ENIMultiIP" => Err("several pods on one ENI are not supported yet; use ENIOnly on nodes whose pods may own an ENI each".to_owned()),
        "VPC" => Err("the VPC mode was dropped long ago; use ENIOnly".to_owned()),
        _ => Err("the only mode is ENIOnly".to_owned()),
    }
}

/// Where to listen for HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// A Unix socket.
    Unix(PathBuf),
    /// `host:port`.
    Tcp(String),
}

impl std::str::FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(path) = text.strip_prefix("unix://") {
            return if path.starts_with('/') {
                Ok(Self::Unix(path.into()))
            } else {
                Err(format!("{path:?} is not an absolute path"))
            };
        }
        match text.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => {
                Ok(Self::Tcp(text.to_owned()))
            }
            _ => Err("is neither unix:///path nor host:port".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Flags, String> {
        let all = ["terwayd", "--node-name", "n1"].iter().chain(arguments);
        Flags::try_parse_from(all).map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_are_the_paths_nodes_already_have() {
        let flags = parse(&[]).unwrap();
        assert_eq!(flags.socket, PathBuf::from("/var/run/eni/eni.socket"));
        assert_eq!(flags.readonly_listen, Listen::Unix("/var/run/eni/eni_debug.socket".into()));
        assert_eq!(flags.daemon_mode, DaemonMode::EniOnly);
    }

    #[test]
    fn modes_we_do_not_serve_are_refused_with_the_reason() {
        for (mode, reason) in [("ENIMultiIP", "not supported yet"), ("VPC", "dropped"), ("x", "only mode")] {
            let error = parse(&["--daemon-mode", mode]).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn addresses_to_listen_at() {
        assert_eq!("127.0.0.1:80".parse(), Ok(Listen::Tcp("127.0.0.1:80".to_owned())));
        assert_eq!("[::1]:80".parse(), Ok(Listen::Tcp("[::1]:80".to_owned())));
        for bad in ["", "x", ":80", "host:", "host:99999", "unix://rel/path", "unix://"] {
            assert!(bad.parse::<Listen>().is_err(), "{bad}");
        }
    }
}
