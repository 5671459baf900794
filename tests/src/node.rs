//! A simulated node: a network namespace with a primary NIC, and the shipped `terwayd` in it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::cloud::Cloud;
use crate::eventually::eventually;
use crate::pod::{self, Pod};
use crate::{namespace, plugin};

/// How long anything the node promises may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A node.
#[derive(Debug)]
pub struct Node {
    /// The cloud it is in.
    pub cloud: Cloud,
    /// Its name in the cluster.
    pub name: String,
    /// Its instance id in the cloud.
    pub instance: String,
    /// Its network namespace.
    pub netns: PathBuf,
    /// Its files: configuration, state, logs.
    pub directory: PathBuf,
    /// Its sockets and locks: below `/run`, where paths are short enough for sockets.
    pub run: PathBuf,
    /// Where the shipped binaries are.
    pub binaries: PathBuf,
    /// Where the daemon looks for the cloud's API.
    pub api: String,
    /// Where it looks for the metadata service, if it is not to find it by itself.
    pub metadata: Option<String>,
    /// The daemon's mode.
    pub mode: &'static str,
    /// Further flags for the next start of the daemon.
    pub flags: Vec<String>,
    /// Further variables for the next start of the daemon.
    pub environment: Vec<(String, String)>,
    daemon: Option<Child>,
    pods: usize,
}

impl Node {
    /// A node whose namespace exists already; it has no configuration yet.
    pub fn new(cloud: Cloud, name: &str, netns: &Path, directory: PathBuf, binaries: &Path) -> Result<Self> {
        let run = Path::new("/run").join(netns.file_name().context("the node's namespace has no name")?);
        for folder in [&directory.join("state"), &directory.join("net.d"), &run] {
            fs::create_dir_all(folder).with_context(|| format!("failed to create {}", folder.display()))?;
        }
        let node = Self {
            name: name.to_owned(),
            instance: format!("{}{name}", cloud.names().instance),
            cloud,
            netns: netns.to_owned(),
            directory,
            run,
            binaries: binaries.to_owned(),
            api: "http://100.100.100.201".to_owned(),
            metadata: None,
            mode: "ENIOnly",
            flags: Vec::new(),
            environment: Vec::new(),
            daemon: None,
            pods: 0,
        };
        fs::write(node.path("10-terway.conflist"), serde_json::to_vec_pretty(&node.source_conflist())?)?;
        Ok(node)
    }

    /// Writes the daemon's configuration.
    pub fn configure(&self, eni_conf: &Value) -> Result<()> {
        fs::write(self.path("eni_conf"), serde_json::to_vec_pretty(eni_conf)?)
            .context("failed to write eni_conf")
    }

    fn source_conflist(&self) -> Value {
        json!({
            "cniVersion": "1.0.0",
            "cniVersions": ["0.4.0", "1.0.0", "1.1.0"],
            "name": "terway",
            "plugins": [{
                "type": "terway",
                "capabilities": { "bandwidth": true },
                "host_stack_cidrs": ["169.254.20.10/32"],
                "socket_path": self.socket(),
                "state_dir": self.path("state"),
                "run_dir": self.run,
            }],
        })
    }

    /// Sets a key of our entry in the CNI configuration that the daemon will install.
    pub fn tell_plugin(&self, key: &str, value: Value) -> Result<()> {
        let path = self.path("10-terway.conflist");
        let mut list: Value = serde_json::from_slice(&fs::read(&path)?).context("the conflist is no JSON")?;
        list["plugins"][0][key] = value;
        fs::write(&path, serde_json::to_vec_pretty(&list)?).context("failed to write the conflist")
    }

    /// A file of this node.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// The daemon's socket.
    pub fn socket(&self) -> PathBuf {
        self.run.join("eni.socket")
    }

    /// The conflist the daemon writes once it is ready.
    pub fn conflist(&self) -> PathBuf {
        self.path("net.d/10-terway.conflist")
    }

    /// The daemon's command line.
    pub fn daemon_command(&self) -> Command {
        let mut command = Command::new(self.binaries.join("terwayd"));
        command.arg("--config").arg(self.path("eni_conf"));
        command.arg("--socket").arg(self.socket());
        command.arg("--state-dir").arg(self.path("state"));
        command.arg("--run-dir").arg(&self.run);
        command.arg("--cni-conf").arg(self.path("10-terway.conflist"));
        command.arg("--cni-conf-dir").arg(self.path("net.d"));
        command
            .arg("--readonly-listen")
            .arg(format!("unix://{}", self.run.join("eni_debug.socket").display()));
        command.args(["--node-name", &self.name, "--cluster-id", "sim", "--nic-kind", "veth"]);
        command.args(["--daemon-mode", self.mode]);
        for api in ["--ecs-endpoint", "--vpc-endpoint", "--eflo-endpoint"] {
            command.args([api, &self.api]);
        }
        if let Some(metadata) = &self.metadata {
            command.args(["--metadata-endpoint", metadata]);
        }
        command.args(&self.flags).envs(self.environment.iter().cloned());
        command
    }

    /// Starts the daemon; its log goes to `terwayd.log`.
    pub fn start(&mut self) -> Result<()> {
        let log = File::options().create(true).append(true).open(self.path("terwayd.log"))?;
        let mut command = self.daemon_command();
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        self.daemon = Some(namespace::spawn(&self.netns, command)?);
        Ok(())
    }

    /// Waits until the daemon says it is ready.
    pub fn wait_ready(&mut self) -> Result<()> {
        let what = format!("terwayd of {} is ready", self.name);
        let result = eventually(&what, PATIENCE, || {
            match self.daemon.as_mut().and_then(|child| child.try_wait().ok()) {
                Some(None) => {
                    self.cli(&["status"]).ok().filter(|output| output.status.success()).map(|_| Ok(()))
                }
                _ => Some(Err(())),
            }
        });
        match result {
            Ok(Ok(())) => Ok(()),
            Ok(Err(())) => {
                bail!("terwayd of {} has ended; its log ends with:\n{}", self.name, self.log_tail())
            }
            Err(error) => Err(error.context(self.log_tail())),
        }
    }

    /// Waits until `count` ENIs of the pool are in `phase`.
    pub fn wait_phase(&self, phase: &str, count: usize) -> Result<()> {
        let what = format!("{count} ENIs of {} are {phase}", self.name);
        eventually(&what, PATIENCE, || {
            (self.phases().ok()?.iter().filter(|p| *p == phase).count() == count).then_some(())
        })
        .with_context(|| format!("phases: {:?}\n{}", self.phases(), self.log_tail()))
    }

    /// The phase of every ENI of the pool.
    pub fn phases(&self) -> Result<Vec<String>> {
        let enis = self.mapping()?;
        Ok(enis.iter().filter_map(|eni| eni["phase"].as_str().map(str::to_owned)).collect())
    }

    /// The ENIs as `terway-cli mapping -o json` tells them.
    pub fn mapping(&self) -> Result<Vec<Value>> {
        let output = self.cli(&["mapping", "-o", "json"])?;
        if !output.status.success() {
            bail!("terway-cli mapping failed: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        let value: Value =
            serde_json::from_slice(&output.stdout).context("terway-cli mapping printed no JSON")?;
        Ok(value["enis"].as_array().cloned().unwrap_or_default())
    }

    /// Whether the daemon still runs.
    pub fn is_running(&mut self) -> bool {
        self.daemon.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Waits for a daemon that ends by itself.
    pub fn wait_end(&mut self) -> Result<()> {
        if let Some(mut child) = self.daemon.take() {
            child.wait().context("failed to wait for terwayd")?;
        }
        Ok(())
    }

    /// Ends the daemon by SIGKILL.
    pub fn kill(&mut self) -> Result<()> {
        self.end(Signal::SIGKILL)
    }

    /// Ends the daemon as Kubernetes does.
    pub fn stop(&mut self) -> Result<()> {
        self.end(Signal::SIGTERM)
    }

    fn end(&mut self, signal: Signal) -> Result<()> {
        if let Some(child) = &mut self.daemon
            && child.try_wait().context("failed to look after terwayd")?.is_none()
        {
            let pid = Pid::from_raw(i32::try_from(child.id())?);
            kill(pid, signal).context("failed to signal terwayd")?;
        }
        self.wait_end()
    }

    /// The daemon's process id.
    pub fn daemon_pid(&self) -> Option<u32> {
        self.daemon.as_ref().map(Child::id)
    }

    /// Runs `terway-cli` on this node.
    pub fn cli(&self, words: &[&str]) -> Result<Output> {
        let mut command = Command::new(self.binaries.join("terway-cli"));
        command.arg("--socket").arg(self.socket()).args(words).stdin(Stdio::null());
        namespace::inside(&self.netns, move || command.output())?.context("failed to run terway-cli")
    }

    /// Makes a sandbox on this node. The name becomes the pod's; every call gives a new container id.
    pub fn pod(&mut self, name: &str) -> Result<Pod> {
        self.pods += 1;
        let node = self.netns.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
        let container = format!("{node}-{name}-{}", self.pods);
        let netns = pod::sandbox(Path::new("/run/netns"), &container)?;
        Ok(Pod {
            name: name.to_owned(),
            container,
            netns,
            host: self.netns.clone(),
            program: self.binaries.join("terway"),
            configuration: plugin::configuration(&self.path("10-terway.conflist"), "1.1.0")?,
            result: None,
        })
    }

    /// The end of the daemon's log, for messages.
    pub fn log_tail(&self) -> String {
        let text = fs::read_to_string(self.path("terwayd.log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}
