//! A folder of plugins for a runtime in which the recorder stands for `terway`, and what it has written down.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::Value;

/// Where Debian has the reference plugins.
pub(crate) const REFERENCE: &str = "/usr/lib/cni";

/// A folder of plugins.
#[derive(Clone, Debug)]
pub(crate) struct Plugins {
    /// The folder a runtime looks into.
    pub(crate) folder: PathBuf,
}

/// One call of the plugin.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// The variables of the protocol.
    pub(crate) environment: Value,
    /// The configuration.
    pub(crate) input: Value,
    /// What the plugin printed; `None` when it printed nothing or was killed.
    pub(crate) answer: Option<Value>,
}

impl Call {
    /// The verb.
    pub(crate) fn verb(&self) -> &str {
        self.variable("CNI_COMMAND")
    }

    /// A variable; empty when it was not set.
    pub(crate) fn variable(&self, name: &str) -> &str {
        self.environment[name].as_str().unwrap_or_default()
    }
}

impl Plugins {
    /// Fills `folder`: the recorder before the shipped plugin, and the reference plugins.
    pub(crate) fn install(folder: &Path, shipped: &Path) -> Result<Self> {
        let hidden = folder.join(".recorder");
        fs::create_dir_all(hidden.join("calls"))
            .with_context(|| format!("failed to create {}", hidden.display()))?;
        fs::copy(shipped, hidden.join("plugin")).context("failed to copy the plugin")?;
        fs::copy(env!("CARGO_BIN_EXE_terway-recorder"), folder.join("terway"))
            .context("failed to copy the recorder")?;
        let reference = fs::read_dir(REFERENCE)
            .with_context(|| format!("failed to read {REFERENCE}; install containernetworking-plugins"))?;
        for plugin in reference {
            let plugin = plugin?;
            symlink(plugin.path(), folder.join(plugin.file_name())).context("failed to link a plugin")?;
        }
        Ok(Self { folder: folder.to_owned() })
    }

    /// The real plugin behind the recorder.
    pub(crate) fn plugin(&self) -> PathBuf {
        self.folder.join(".recorder/plugin")
    }

    /// All calls so far, oldest first.
    pub(crate) fn calls(&self) -> Result<Vec<Call>> {
        let mut files: Vec<PathBuf> = fs::read_dir(self.folder.join(".recorder/calls"))?
            .map(|entry| Ok(entry?.path()))
            .collect::<Result<_>>()?;
        files.retain(|file| file.extension().is_some_and(|end| end == "call"));
        files.sort();
        files.iter().map(|file| read(file)).collect()
    }

    /// The calls for one sandbox.
    pub(crate) fn calls_of(&self, container: &str) -> Result<Vec<Call>> {
        let mut calls = self.calls()?;
        calls.retain(|call| call.variable("CNI_CONTAINERID") == container);
        Ok(calls)
    }
}

fn read(file: &Path) -> Result<Call> {
    let call: Value = serde_json::from_slice(&fs::read(file)?).context("a recorded call is no JSON")?;
    let answer = fs::read(file.with_extension("answer")).ok();
    Ok(Call {
        environment: call["environment"].clone(),
        input: call["input"].clone(),
        answer: answer.and_then(|text| serde_json::from_slice(&text).ok()),
    })
}
