//! A service of a node's operating system, in the node's network namespace, with an `/etc` and a `/run` of its own.

use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use terway_rig::namespace;
use terway_rig::node::Node;

/// What every service finds: an `/etc` that forgets what is written, an empty `/run`, and the node's own links in
/// `/sys`.
const PREPARE: &str = "set -e
mount -t sysfs sysfs /sys
mount -t tmpfs tmpfs /run
mkdir -p /run/above /run/scratch /run/systemd /run/udev
mount -t overlay overlay -o lowerdir=/etc,upperdir=/run/above,workdir=/run/scratch /etc
rm -f /etc/systemd/network/*
";

/// A running service; ended when dropped.
pub(crate) struct Service {
    child: Child,
}

impl Service {
    /// Starts what the script ends with, after what it does before. The script is told where our settings for such
    /// services are: `$SETTINGS`.
    pub(crate) fn start(node: &Node, script: &str) -> Result<Self> {
        Self::inside(&node.netns, script)
    }

    /// The same in another network namespace.
    pub(crate) fn inside(netns: &Path, script: &str) -> Result<Self> {
        let settings = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/host");
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", &format!("{PREPARE}{script}")]).env("SETTINGS", settings);
        // What it says is the guest's to keep: it shows why a test failed.
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::inherit()).process_group(0);
        Ok(Self { child: namespace::spawn(netns, command)? })
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What a program says that sees what the service sees.
    pub(crate) fn ask(&self, words: &[&str]) -> Result<String> {
        let target = self.child.id().to_string();
        let mut command = Command::new("nsenter");
        command.args(["--target", &target, "--mount", "--net", "--"]).args(words).stdin(Stdio::null());
        let output = command.output().context("failed to run nsenter")?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{words:?}: {}: {said}{errors}", output.status);
        Ok(said)
    }

    /// The root folder as the service sees it.
    pub(crate) fn root(&self) -> String {
        format!("/proc/{}/root", self.child.id())
    }

    /// A file as the service sees it; none if there is none.
    pub(crate) fn file(&self, path: &str) -> Option<String> {
        let mut text = String::new();
        let mut file = std::fs::File::open(self.root() + path).ok()?;
        file.read_to_string(&mut text).ok()?;
        Some(text)
    }

    fn process(&self) -> Result<Pid> {
        Ok(Pid::from_raw(i32::try_from(self.child.id())?))
    }

    /// Ends it as an init does.
    pub(crate) fn stop(mut self) -> Result<()> {
        kill(self.process()?, Signal::SIGTERM).context("failed to end a service")?;
        self.child.wait().map(drop).context("failed to wait for a service")
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // Also what its script left running. It may all have ended already.
        if let Ok(group) = self.process() {
            let _ = killpg(group, Signal::SIGKILL);
        }
        let _ = self.child.wait();
    }
}
