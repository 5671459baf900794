//! The command line of `terwayd`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser};
use ipnetwork::IpNetwork;
use terway_cloud::Provider;
use terway_types::NodeMode;

/// The node daemon that owns the pool of ENIs.
#[derive(Clone, Debug, Parser)]
#[command(name = "terwayd", version, about)]
#[command(after_help = "`terwayd recover --help` tells how to make a new ledger for a damaged or lost one.")]
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
    /// Where the plugin keeps the locks of attachments: the key run_dir of its configuration
    #[arg(long, value_name = "DIR", default_value = "/var/run/eni/attachments")]
    pub run_dir: PathBuf,
    /// Where the node's root folder is mounted, to name processes that take pods' routes away and to see RDMA devices
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub host_root: PathBuf,
    /// Do not put back what others take away of pods' links, routes and rules on the node
    #[arg(long)]
    pub no_host_guard: bool,
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
    /// How pods get addresses: ENIOnly, a whole ENI per pod; ENIMultiIP, an address of a shared one; or VPC
    /// (deprecated), one of the node's --pod-cidr. Decided by the first start on a state directory; a later change
    /// is refused
    #[arg(long, value_name = "MODE", default_value = "ENIOnly", value_parser = daemon_mode)]
    pub daemon_mode: DaemonMode,
    /// With --daemon-mode VPC: the ranges that the VPC's route table leads to this node, one per family (repeat the flag
    /// or separate by commas): spec.podCIDRs of its Node object
    #[arg(long = "pod-cidr", value_name = "CIDR", env = "POD_CIDRS", value_delimiter = ',')]
    pub pod_cidrs: Vec<IpNetwork>,
    /// The value of the node's label k8s.aliyun.com/exclusive-mode-eni-type; eniOnly asks for a whole ENI per pod
    /// whatever --daemon-mode says
    #[arg(long, value_name = "VALUE", env = "EXCLUSIVE_MODE_ENI_TYPE", default_value = "", hide_default_value = true, value_parser = exclusive_label)]
    pub exclusive_mode_eni_type: ExclusiveLabel,
    /// The node has the label alibabacloud.com/lingjun-worker: ENIs by EFLO unless ECS serves the node, no dual stack
    #[arg(long, env = "LINGJUN_WORKER")]
    pub lingjun_worker: bool,
    /// The name of this node, as ENIs are tagged with it
    #[arg(long, value_name = "NAME", env = "NODE_NAME", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub node_name: String,
    /// The cluster, as ENIs are tagged with it
    #[arg(long, value_name = "ID", env = "CLUSTER_ID", default_value = "default", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub cluster_id: String,
    /// A kernel link kind that counts as a network card besides those without a kind (simulated clouds)
    #[arg(long = "nic-kind", value_name = "KIND")]
    pub nic_kinds: Vec<String>,
    /// The cloud: aliyun or tencent; found by its metadata service if not said
    #[arg(long, value_name = "NAME", env = "CLOUD_PROVIDER")]
    pub provider: Option<Provider>,
    /// Which of the cloud's endpoints to call: those inside the VPC, or public for those on the Internet
    #[arg(long, value_name = "NETWORK", env = "ALICLOUD_ENDPOINT_TYPE", default_value = "vpc", value_parser = endpoint_type)]
    pub endpoint_type: EndpointType,
    /// The elastic compute API instead of the region's own
    #[arg(long, value_name = "URL", env = "ECS_ENDPOINT")]
    pub ecs_endpoint: Option<String>,
    /// The VPC API instead of the region's own
    #[arg(long, value_name = "URL", env = "VPC_ENDPOINT")]
    pub vpc_endpoint: Option<String>,
    /// The API of Lingjun nodes' ENIs instead of the region's own
    #[arg(long, value_name = "URL", env = "EFLO_ENDPOINT")]
    pub eflo_endpoint: Option<String>,
    /// The certificate authorities (PEM) that the cloud's endpoints are believed by, instead of the system's
    #[arg(long, value_name = "FILE", env = "CLOUD_CA_FILE")]
    pub cloud_ca_file: Option<PathBuf>,
    /// The instance metadata service
    #[arg(long, value_name = "URL", env = "METADATA_ENDPOINT")]
    pub metadata_endpoint: Option<String>,
    /// For crash tests: die before carrying out effect N+1
    #[arg(long, value_name = "N", hide = true)]
    pub die_after_effects: Option<u64>,
}

/// Makes a new ledger for a damaged or lost one, from what the cloud lists and what the kernel shows. Refuses while
/// a terwayd uses the state directory, and where the ledger is sound. Puts the old file aside and deletes nothing.
#[derive(Clone, Debug, Parser)]
#[command(name = "terwayd recover", bin_name = "terwayd recover", version, after_help = "")]
struct RecoverLine {
    #[command(flatten)]
    flags: Flags,
    #[command(flatten)]
    options: RecoveryOptions,
}

/// What is said to `terwayd recover` besides the daemon's flags.
#[derive(Args, Clone, Copy, Debug)]
pub struct RecoveryOptions {
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// Reads a command line, of the daemon or of its recovery. A wrong one ends the process with the reason.
pub fn read(mut line: impl Iterator<Item = OsString>) -> (Flags, Option<RecoveryOptions>) {
    let program = line.next().unwrap_or_default();
    let mut rest = line.peekable();
    if rest.next_if(|word| word == "recover").is_some() {
        let RecoverLine { flags, options } = RecoverLine::parse_from(std::iter::once(program).chain(rest));
        return (flags, Some(options));
    }
    (Flags::parse_from(std::iter::once(program).chain(rest)), None)
}

/// How pods get addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DaemonMode {
    /// A whole ENI per pod.
    EniOnly,
    /// An address of a shared ENI per pod.
    EniMultiIp,
    /// An address of a range that the VPC leads to the node.
    Vpc,
}

/// What the node's label says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExclusiveLabel {
    /// Nothing, or that the node is as others are.
    Default,
    /// A whole ENI per pod.
    EniOnly,
}

/// Where the cloud's endpoints are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndpointType {
    /// Inside the VPC.
    Vpc,
    /// On the Internet.
    Public,
}

impl Flags {
    /// The mode they ask for.
    pub fn mode(&self) -> NodeMode {
        match (self.exclusive_mode_eni_type, self.daemon_mode) {
            (ExclusiveLabel::EniOnly, _) | (_, DaemonMode::EniOnly) => NodeMode::Exclusive,
            (ExclusiveLabel::Default, DaemonMode::EniMultiIp) => NodeMode::Shared,
            (ExclusiveLabel::Default, DaemonMode::Vpc) => NodeMode::VpcRoute,
        }
    }
}

fn daemon_mode(text: &str) -> Result<DaemonMode, String> {
    match text {
        "ENIOnly" => Ok(DaemonMode::EniOnly),
        "ENIMultiIP" => Ok(DaemonMode::EniMultiIp),
        "VPC" => Ok(DaemonMode::Vpc),
        _ => Err("the modes are ENIOnly, ENIMultiIP and VPC".to_owned()),
    }
}

fn endpoint_type(text: &str) -> Result<EndpointType, String> {
    match text {
        "" | "vpc" => Ok(EndpointType::Vpc),
        "public" => Ok(EndpointType::Public),
        _ => Err("the networks are vpc and public".to_owned()),
    }
}

fn exclusive_label(text: &str) -> Result<ExclusiveLabel, String> {
    match text {
        "" | "default" => Ok(ExclusiveLabel::Default),
        "eniOnly" => Ok(ExclusiveLabel::EniOnly),
        _ => Err("the only value with a meaning is eniOnly".to_owned()),
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
        let error = parse(&["--daemon-mode", "x"]).unwrap_err();
        assert!(error.contains("the modes are ENIOnly, ENIMultiIP and VPC"), "{error}");
    }

    #[test]
    fn a_slip_in_the_network_of_endpoints_is_refused() {
        let of = |text| parse(&["--endpoint-type", text]).map(|flags| flags.endpoint_type);
        assert_eq!([of("public"), of("vpc"), of("")].map(Result::unwrap), {
            [EndpointType::Public, EndpointType::Vpc, EndpointType::Vpc]
        });
        assert!(of("Public").unwrap_err().contains("the networks are vpc and public"));
    }

    #[test]
    fn the_help_of_a_recovery_says_how_to_call_it() {
        let line = ["terwayd", "--help"];
        let help = RecoverLine::try_parse_from(line).unwrap_err().to_string();
        assert!(help.contains("Usage: terwayd recover [OPTIONS]"), "{help}");
        assert!(help.contains("--dry-run") && !help.contains("recover --help"), "{help}");
    }

    #[test]
    fn ranges_are_repeated_or_separated() {
        let two = ["--daemon-mode", "VPC", "--pod-cidr", "10.9.1.0/24,fd00:9::/64"];
        let flags = parse(&two).unwrap();
        assert_eq!((flags.mode(), flags.pod_cidrs.len()), (NodeMode::VpcRoute, 2));
        let repeated = ["--pod-cidr", "10.9.1.0/24", "--pod-cidr", "fd00:9::/64"];
        assert_eq!(parse(&repeated).unwrap().pod_cidrs, flags.pod_cidrs);
        assert!(parse(&["--pod-cidr", "10.9.1.0/33"]).unwrap_err().contains("--pod-cidr"));
    }

    #[test]
    fn recovery_takes_the_daemons_flags() {
        let line = ["terwayd", "recover", "--node-name", "n1", "--state-dir", "/s", "--dry-run"];
        let (flags, options) = read(line.into_iter().map(OsString::from));
        assert_eq!(flags.state_dir, PathBuf::from("/s"));
        assert!(options.unwrap().dry_run);
        let (_, options) = read(["terwayd", "--node-name", "n1"].into_iter().map(OsString::from));
        assert!(options.is_none());
    }

    #[test]
    fn the_label_wins_over_the_mode() {
        for (arguments, mode) in [
            (&[][..], NodeMode::Exclusive),
            (&["--daemon-mode", "ENIMultiIP"], NodeMode::Shared),
            (&["--daemon-mode", "ENIMultiIP", "--exclusive-mode-eni-type", "eniOnly"], NodeMode::Exclusive),
            (&["--daemon-mode", "ENIMultiIP", "--exclusive-mode-eni-type", ""], NodeMode::Shared),
        ] {
            assert_eq!(parse(arguments).unwrap().mode(), mode, "{arguments:?}");
        }
        assert!(parse(&["--exclusive-mode-eni-type", "eniMaybe"]).unwrap_err().contains("eniOnly"));
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
