//! The reference plugins that do the nearest job: `host-device` with `static` addresses, from Debian's
//! `containernetworking-plugins`.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use terway_rig::namespace;
use terway_rig::plugin::{Call, Outcome};
use terway_rig::reader;

/// Where Debian puts the plugins.
const FOLDER: &str = "/usr/lib/cni";

/// One NIC stand-in on a node, moved in and out of pods by `host-device`.
pub(crate) struct Reference {
    host: PathBuf,
}

impl Reference {
    /// Makes the NIC: one end on the node, the other in the VPC's namespace.
    pub(crate) fn new(host: &Path, vpc: &Path) -> Result<Self> {
        ensure!(
            Path::new(FOLDER).join("host-device").exists(),
            "{FOLDER}/host-device is missing; install it: apt-get install containernetworking-plugins"
        );
        let vpc_name =
            vpc.file_name().and_then(|name| name.to_str()).context("the VPC's namespace has no name")?;
        reader::text(
            host,
            "ip",
            &["link", "add", "refnic", "type", "veth", "peer", "name", "refport", "netns", vpc_name],
        )?;
        reader::text(vpc, "ip", &["link", "set", "refport", "up"])?;
        Ok(Self { host: host.to_owned() })
    }

    /// One call for the sandbox `netns`.
    pub(crate) fn call(&self, verb: &str, container: &str, netns: &Path) -> Result<Outcome> {
        // IPv4 only: with IPv6 it waits more than a second for duplicate address detection.
        let addresses = json!([{ "address": "10.9.1.50/24", "gateway": "10.9.1.1" }]);
        let routes = json!([{ "dst": "0.0.0.0/0" }]);
        let variables = [
            ("CNI_COMMAND", verb),
            ("CNI_CONTAINERID", container),
            ("CNI_NETNS", &netns.to_string_lossy()),
            ("CNI_IFNAME", "eth0"),
            ("CNI_PATH", FOLDER),
        ];
        Call {
            program: Path::new(FOLDER).join("host-device"),
            host: self.host.clone(),
            environment: variables
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
            configuration: json!({
                "cniVersion": "1.0.0", "name": "reference", "type": "host-device", "device": "refnic",
                "ipam": { "type": "static", "addresses": addresses, "routes": routes },
            }),
        }
        .run()?
        .expect_ok(&format!("host-device {verb}"))
    }
}

/// A sandbox for the reference, with its loopback as runtimes leave it.
pub(crate) fn sandbox(number: usize) -> Result<PathBuf> {
    let path = Path::new("/run/netns").join(format!("reference-{number}"));
    namespace::create(&path)?;
    Ok(path)
}
