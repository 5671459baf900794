//! containerd on a simulated node: its own configuration, state and socket, the node's network, our image.

use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use terway_rig::eventually::eventually;
use terway_rig::namespace;
use terway_rig::node::Node;

use crate::cri::Cri;
use crate::cri::messages::{LinuxPodSandboxConfig, PodSandboxConfig, PodSandboxMetadata};
use crate::recording::Plugins;
use crate::stage::LIMIT;
use crate::{cgroups, image, newer};

/// Which containerd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Release {
    /// The one that is installed.
    Installed,
    /// One that knows CNI 1.1.0.
    Newer,
}

/// A containerd.
pub(crate) struct Containerd {
    /// Where it finds plugins.
    pub(crate) plugins: Plugins,
    /// The folders that its programs are in, as a search path.
    path: OsString,
    netns: PathBuf,
    directory: PathBuf,
    socket: PathBuf,
    process: Option<Child>,
}

impl Containerd {
    /// Starts it on a node and loads the image.
    pub(crate) fn start(node: &Node) -> Result<Self> {
        Self::of(Release::Installed, node, 1)
    }

    /// The same of a release, with so many networks per pod: the first conflists by name.
    pub(crate) fn of(release: Release, node: &Node, networks: usize) -> Result<Self> {
        let directory = node.path("containerd");
        let plugins = Plugins::install(&node.path("bin"), &node.binaries.join("terway"))?;
        let mut containerd = Self {
            socket: node.run.join("containerd.sock"),
            path: search_path(release)?,
            netns: node.netns.clone(),
            directory,
            plugins,
            process: None,
        };
        fs::create_dir_all(containerd.directory.join("logs"))?;
        fs::write(containerd.directory.join("config.toml"), containerd.configuration(node, networks))?;
        containerd.launch()?;
        let archive = containerd.directory.join("image.tar");
        image::write(&archive)?;
        containerd.ctr(&["--namespace", "k8s.io", "images", "import", &archive.to_string_lossy()])?;
        Ok(containerd)
    }

    fn configuration(&self, node: &Node, networks: usize) -> String {
        let (directory, socket) = (self.directory.display(), self.socket.display());
        let image = image::NAME;
        let plugins = self.plugins.folder.display();
        let net_d = node.path("net.d");
        let net_d = net_d.display();
        // No lower oom score: that takes a capability which containers of CI often lack. Copies instead of overlays:
        // our image is two megabytes, and not every file system can be the lower half of an overlay.
        format!(
            r#"version = 2
root = "{directory}/root"
state = "{directory}/state"
oom_score = 0
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.btrfs",
    "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.aufs"]
[grpc]
  address = "{socket}"
[ttrpc]
  address = "{socket}.ttrpc"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{image}"
  restrict_oom_score_adj = true
  disable_tcp_service = true
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{plugins}"
    conf_dir = "{net_d}"
    max_conf_num = {networks}
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "native"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
"#
        )
    }

    /// Starts the process and waits until it answers.
    pub(crate) fn launch(&mut self) -> Result<()> {
        let log = File::options().create(true).append(true).open(self.directory.join("log"))?;
        let mut command = Command::new("containerd");
        command.env("PATH", &self.path).arg("--config").arg(self.directory.join("config.toml"));
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        self.process = Some(namespace::spawn(&self.netns, command)?);
        let cri = self.cri()?;
        eventually("containerd answers", LIMIT, || cri.version().ok()).with_context(|| self.log()).map(drop)
    }

    /// Ends the process; the sandboxes live on.
    pub(crate) fn end(&mut self) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            kill(Pid::from_raw(i32::try_from(process.id())?), Signal::SIGKILL)?;
            process.wait()?;
        }
        Ok(())
    }

    /// A client of its own.
    pub(crate) fn cri(&self) -> Result<Cri> {
        Cri::new(&self.socket)
    }

    /// What kubelet would ask for a pod of this name; the uid makes it this very pod.
    pub(crate) fn pod(&self, name: &str) -> PodSandboxConfig {
        let metadata = PodSandboxMetadata {
            name: name.to_owned(),
            uid: format!("uid-{name}"),
            namespace: "default".to_owned(),
            attempt: 0,
        };
        PodSandboxConfig {
            metadata: Some(metadata),
            hostname: name.to_owned(),
            log_directory: self.directory.join("logs").to_string_lossy().into_owned(),
            linux: Some(LinuxPodSandboxConfig { cgroup_parent: cgroups::parent() }),
            ..PodSandboxConfig::default()
        }
    }

    /// The command line of containerd's own tool.
    pub(crate) fn ctr_command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("ctr");
        command.env("PATH", &self.path);
        command.arg("--address").arg(&self.socket).args(words).stdin(Stdio::null());
        command
    }

    /// Runs containerd's own tool.
    pub(crate) fn ctr(&self, words: &[&str]) -> Result<String> {
        let output = self.ctr_command(words).output().context("failed to run ctr")?;
        if !output.status.success() {
            bail!("ctr {}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Waits until it takes the network for ready.
    pub(crate) fn wait_network(&self) -> Result<()> {
        let cri = self.cri()?;
        eventually("containerd takes the network for ready", LIMIT, || {
            cri.network_ready().ok().filter(|(ready, _)| *ready).map(drop)
        })
        .with_context(|| self.log())
    }

    /// The end of its log.
    pub(crate) fn log(&self) -> String {
        let text = fs::read_to_string(self.directory.join("log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }
}

/// containerd finds its shim, and that runc, as a shell would.
fn search_path(release: Release) -> Result<OsString> {
    let path = env::var_os("PATH").unwrap_or_default();
    let first = match release {
        Release::Installed => None,
        Release::Newer => Some(newer::runtimes()?.join("usr/bin")),
    };
    Ok(env::join_paths(first.into_iter().chain(env::split_paths(&path)))?)
}

impl Drop for Containerd {
    fn drop(&mut self) {
        let _ = self.end();
    }
}
