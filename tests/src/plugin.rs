//! Calls the shipped plugin as a runtime does: environment, configuration on standard input, result on standard
//! output.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use crate::namespace;

/// One call, not yet made.
#[derive(Clone, Debug)]
pub struct Call {
    /// The executable.
    pub program: PathBuf,
    /// The node's namespace, in which runtimes run plugins.
    pub host: PathBuf,
    /// The environment.
    pub environment: Vec<(String, String)>,
    /// The network configuration as libcni would send it.
    pub configuration: Value,
}

/// What came of a call.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The exit code; 128 and the signal's number when the plugin was killed.
    pub code: i32,
    /// What stood on standard output, if it was JSON.
    pub output: Value,
    /// What stood on standard error.
    pub log: String,
    /// From before the start to after the end of the process.
    pub elapsed: Duration,
}

impl Outcome {
    /// Whether the plugin exited with 0.
    pub fn ok(&self) -> bool {
        self.code == 0
    }

    /// The outcome of a call that must succeed.
    pub fn expect_ok(self, what: &str) -> Result<Self> {
        if !self.ok() {
            bail!("{what} exited with {}: {} {}", self.code, self.output, self.log.trim());
        }
        Ok(self)
    }

    /// The error object's code and whole text, of a call that must fail.
    pub fn expect_error(&self, what: &str) -> Result<(u64, String)> {
        if self.ok() {
            bail!("{what} succeeded: {}", self.output);
        }
        let code = self.output["code"]
            .as_u64()
            .with_context(|| format!("{what}: no error code in {}", self.output))?;
        Ok((code, format!("{} {}", self.output["msg"], self.output["details"])))
    }

    /// The n-th address of the result, without its prefix length.
    pub fn address(&self, version: usize) -> Result<String> {
        let ips = self.output["ips"].as_array().context("the result has no ips")?;
        let found = ips
            .iter()
            .filter_map(|ip| ip["address"].as_str())
            .find(|text| text.contains(':') == (version == 6));
        let text = found.with_context(|| format!("no IPv{version} address in {}", self.output))?;
        Ok(text.split('/').next().unwrap_or(text).to_owned())
    }
}

impl Call {
    /// Starts the plugin and hands it its input.
    pub fn start(&self) -> Result<Child> {
        let mut command = Command::new(&self.program);
        command.env_clear().envs(self.environment.iter().map(|(key, value)| (key, value)));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = namespace::spawn(&self.host, command)?;
        let input =
            if self.configuration.is_null() { Vec::new() } else { serde_json::to_vec(&self.configuration)? };
        // A plugin that refuses the environment may end before it reads its input.
        let _ = child.stdin.take().context("no standard input")?.write_all(&input);
        Ok(child)
    }

    /// Runs the plugin to its end.
    pub fn run(&self) -> Result<Outcome> {
        let start = Instant::now();
        let child = self.start()?;
        let output = child.wait_with_output().context("failed to wait for the plugin")?;
        let elapsed = start.elapsed();
        Ok(Outcome {
            code: exit_code(output.status),
            output: serde_json::from_slice(&output.stdout).unwrap_or(Value::Null),
            log: String::from_utf8_lossy(&output.stderr).into_owned(),
            elapsed,
        })
    }

    /// Sets or replaces a variable.
    #[must_use]
    pub fn with(mut self, key: &str, value: &str) -> Self {
        self.environment.retain(|(name, _)| name != key);
        self.environment.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Removes a variable.
    #[must_use]
    pub fn without(mut self, key: &str) -> Self {
        self.environment.retain(|(name, _)| name != key);
        self
    }

    /// Sets a key of the configuration.
    #[must_use]
    pub fn configured(mut self, key: &str, value: Value) -> Self {
        if let Some(object) = self.configuration.as_object_mut() {
            object.insert(key.to_owned(), value);
        }
        self
    }
}

fn exit_code(status: std::process::ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt as _;
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1)
}

/// The configuration libcni makes of a conflist's first plugin: name and version of the list, the keys of the plugin.
pub fn configuration(conflist: &Path, version: &str) -> Result<Value> {
    let text = std::fs::read_to_string(conflist)
        .with_context(|| format!("failed to read {}", conflist.display()))?;
    let list: Value =
        serde_json::from_str(&text).with_context(|| format!("{} is not JSON", conflist.display()))?;
    let mut plugin = list["plugins"][0].clone();
    let object = plugin.as_object_mut().context("the conflist has no plugin")?;
    object.remove("capabilities");
    object.insert("name".to_owned(), list["name"].clone());
    object.insert("cniVersion".to_owned(), json!(version));
    Ok(plugin)
}
