//! The reference plugins that do the nearest job, from Debian's `containernetworking-plugins`: `host-device` with
//! `static` addresses for whole ENIs, `ptp`, `ipvlan` and `vlan` with `host-local` for the others. IPv4 only: with IPv6 they wait
//! more than a second for duplicate address detection.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use terway_rig::namespace;
use terway_rig::plugin::{Call, Outcome};
use terway_rig::reader;

use crate::nic;

/// Where Debian puts the plugins.
const FOLDER: &str = "/usr/lib/cni";

/// A plugin on a node.
pub(crate) struct Reference {
    host: PathBuf,
    program: PathBuf,
    configuration: Value,
}

impl Reference {
    fn new(host: &Path, name: &str, mut configuration: Value) -> Result<Self> {
        let program = Path::new(FOLDER).join(name);
        ensure!(
            program.exists(),
            "{} is missing; install it: apt-get install containernetworking-plugins",
            program.display()
        );
        configuration["cniVersion"] = json!("1.0.0");
        configuration["name"] = json!("reference");
        configuration["type"] = json!(name);
        Ok(Self { host: host.to_owned(), program, configuration })
    }

    /// `host-device` with a NIC stand-in that it moves in and out of pods: one end on the node, the other in the VPC's
    /// namespace.
    pub(crate) fn host_device(host: &Path, vpc: &Path) -> Result<Self> {
        nic::stand_in(host, vpc, ["refnic", "refport"])?;
        let addresses = json!([{ "address": "10.9.1.50/24", "gateway": "10.9.1.1" }]);
        let ipam = json!({ "type": "static", "addresses": addresses, "routes": [{ "dst": "0.0.0.0/0" }] });
        Self::new(host, "host-device", json!({ "device": "refnic", "ipam": ipam }))
    }

    /// `ipvlan`, whose pods get children of a NIC stand-in.
    pub(crate) fn ipvlan(host: &Path, vpc: &Path, mode: &str) -> Result<Self> {
        let settings = json!({ "master": "childnic", "mode": mode, "ipam": host_local("10.9.8.0/22") });
        Self::with_children(host, vpc, "ipvlan", settings)
    }

    /// `vlan`, whose pods get links for a VLAN of a NIC stand-in: one at a time, for they all have the same.
    pub(crate) fn vlan(host: &Path, vpc: &Path) -> Result<Self> {
        let settings = json!({ "master": "childnic", "vlanId": 7, "ipam": host_local("10.9.12.0/22") });
        Self::with_children(host, vpc, "vlan", settings)
    }

    fn with_children(host: &Path, vpc: &Path, name: &str, settings: Value) -> Result<Self> {
        nic::stand_in(host, vpc, ["childnic", "childport"])?;
        reader::text(host, "ip", &["link", "set", "childnic", "up"])?;
        Self::new(host, name, settings)
    }

    /// `ptp`, whose pods reach the world by a pair of links and the node's routes.
    pub(crate) fn ptp(host: &Path) -> Result<Self> {
        Self::new(host, "ptp", json!({ "ipMasq": false, "ipam": host_local("10.9.4.0/22") }))
    }

    /// One ADD and one DEL; a new sandbox each time, with its loopback as runtimes leave it.
    pub(crate) fn round(&self, container: &str) -> Result<(Duration, Duration)> {
        self.round_after(container, || ())
    }

    /// The same, after a rest that the sandbox lies before.
    pub(crate) fn round_after(&self, container: &str, rest: impl FnOnce()) -> Result<(Duration, Duration)> {
        let netns = Path::new("/run/netns").join(container);
        namespace::create(&netns)?;
        rest();
        let add = self.call("ADD", container, &netns)?.elapsed;
        let del = self.call("DEL", container, &netns)?.elapsed;
        Ok((add, del))
    }

    fn call(&self, verb: &str, container: &str, netns: &Path) -> Result<Outcome> {
        let variables = [
            ("CNI_COMMAND", verb),
            ("CNI_CONTAINERID", container),
            ("CNI_NETNS", &netns.to_string_lossy()),
            ("CNI_IFNAME", "eth0"),
            ("CNI_PATH", FOLDER),
        ];
        Call {
            program: self.program.clone(),
            host: self.host.clone(),
            environment: variables
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
            configuration: self.configuration.clone(),
        }
        .run()?
        .expect_ok(&format!("{} {verb}", self.program.display()))
    }
}

/// Addresses out of a range, and a default route. A range has a folder of its own for those that are given.
fn host_local(subnet: &str) -> Value {
    let folder = format!("/run/host-local-{}", subnet.replace('/', "-"));
    json!({
        "type": "host-local", "dataDir": folder, "ranges": [[{ "subnet": subnet }]],
        "routes": [{ "dst": "0.0.0.0/0" }],
    })
}
