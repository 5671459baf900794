//! podman with its CNI backend on a simulated node: its own configuration and storage, the node's network, our image.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use terway_rig::namespace;
use terway_rig::node::Node;

use crate::recording::Plugins;
use crate::{cgroups, image};

/// A podman.
pub(crate) struct Podman {
    /// Where it finds plugins.
    pub(crate) plugins: Plugins,
    netns: PathBuf,
    directory: PathBuf,
}

impl Podman {
    /// Writes its configuration and loads the image. Its networks are the node's conflists.
    pub(crate) fn new(node: &Node) -> Result<Self> {
        let directory = node.path("podman");
        fs::create_dir_all(&directory)?;
        let plugins = Plugins::install(&node.path("bin"), &node.binaries.join("terway"))?;
        let podman = Self { plugins, netns: node.netns.clone(), directory };
        let place = podman.directory.display();
        // No limits beyond our own: to raise them takes a capability which containers of CI often lack.
        let containers = format!(
            r#"[network]
network_backend = "cni"
cni_plugin_dirs = ["{}"]
network_config_dir = "{}"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
tmp_dir = "{place}/tmp"
[containers]
default_sysctls = []
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
apparmor_profile = "unconfined"
"#,
            podman.plugins.folder.display(),
            node.path("net.d").display(),
        );
        fs::write(podman.directory.join("containers.conf"), containers)?;
        let storage = format!(
            "[storage]\ndriver = \"vfs\"\ngraphroot = \"{place}/storage\"\nrunroot = \"{place}/run\"\n"
        );
        fs::write(podman.directory.join("storage.conf"), storage)?;
        let policy = podman.directory.join("policy.json");
        fs::write(&policy, r#"{"default":[{"type":"insecureAcceptAnything"}]}"#)?;
        let archive = podman.directory.join("image.tar");
        image::write(&archive)?;
        podman.run(&[
            "load",
            "--quiet",
            "--signature-policy",
            &policy.to_string_lossy(),
            "--input",
            &archive.to_string_lossy(),
        ])?;
        Ok(podman)
    }

    /// Runs podman in the node's network; what it printed.
    pub(crate) fn run(&self, words: &[&str]) -> Result<String> {
        let mut command = Command::new("podman");
        command.args(words).stdin(Stdio::null()).current_dir("/");
        command.env("CONTAINERS_CONF", self.directory.join("containers.conf"));
        command.env("CONTAINERS_STORAGE_CONF", self.directory.join("storage.conf"));
        command.env("HOME", &self.directory).env("TMPDIR", "/var/tmp");
        let output =
            namespace::inside(&self.netns, move || command.output())?.context("failed to run podman")?;
        if !output.status.success() {
            bail!("podman {}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Starts a container that sleeps; its id.
    pub(crate) fn start(&self, name: &str, networks: &[&str]) -> Result<String> {
        let group = cgroups::parent();
        let mut words = vec!["run", "--detach", "--pull=never", "--cgroup-parent", &group, "--name", name];
        for network in networks {
            words.extend(["--network", network]);
        }
        words.push(image::NAME);
        self.run(&words)
    }

    /// Runs a command in a container; what it printed.
    pub(crate) fn exec(&self, name: &str, command: &[&str]) -> Result<String> {
        self.run(&[&["exec", name], command].concat())
    }

    /// What podman says of a container's networks.
    pub(crate) fn networks(&self, name: &str) -> Result<Value> {
        let text = self.run(&["inspect", "--format", "{{json .NetworkSettings}}", name])?;
        serde_json::from_str(&text).context("podman inspect printed no JSON")
    }
}
