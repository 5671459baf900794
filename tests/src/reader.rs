//! The kernel's state as iproute2 tells it: a second pair of eyes beside our own reader.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::namespace;

/// `ip -j <words>` (or `tc -j`) inside `netns`.
pub fn json(netns: &Path, program: &str, words: &[&str]) -> Result<Value> {
    let text = text(netns, program, &[&["-j"], words].concat())?;
    if text.trim().is_empty() {
        return Ok(Value::Array(Vec::new()));
    }
    serde_json::from_str(&text).with_context(|| format!("{program} -j {} printed {text:?}", words.join(" ")))
}

/// Runs a program of iproute2 inside `netns` and returns what it prints.
pub fn text(netns: &Path, program: &str, words: &[&str]) -> Result<String> {
    let mut command = Command::new(program);
    command.args(words);
    let output = namespace::inside(netns, move || command.output())?
        .with_context(|| format!("failed to run {program}; install iproute2"))?;
    if !output.status.success() {
        bail!("{program} {} failed: {}", words.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Everything a person would compare before and after: links, addresses, routes of all tables, rules, permanent
/// neighbours and qdiscs. What only moves by itself (counters, learned neighbours, life times) is left out.
pub fn recording(netns: &Path) -> Result<String> {
    let mut all = String::new();
    for words in [
        &["-o", "link", "show"][..],
        &["-o", "address", "show"],
        &["-4", "route", "show", "table", "all"],
        &["-6", "route", "show", "table", "all"],
        &["-4", "rule", "show"],
        &["-6", "rule", "show"],
        &["neighbour", "show", "nud", "permanent"],
    ] {
        let mut lines: Vec<String> =
            text(netns, "ip", words)?.lines().map(|line| line.trim().to_owned()).collect();
        lines.sort();
        all.extend([format!("# ip {}", words.join(" "))].into_iter().chain(lines).map(|line| line + "\n"));
    }
    Ok(all)
}

/// The link with this name, as `ip -j -d link` shows it.
pub fn link(netns: &Path, name: &str) -> Result<Option<Value>> {
    let links = json(netns, "ip", &["-d", "link", "show"])?;
    Ok(links.as_array().into_iter().flatten().find(|link| link["ifname"] == name).cloned())
}

/// The link with this hardware address that is no child of another one.
pub fn link_by_mac(netns: &Path, mac: &str) -> Result<Option<Value>> {
    let links = json(netns, "ip", &["-d", "link", "show"])?;
    Ok(links.as_array().into_iter().flatten().find(|link| link["address"] == mac).cloned())
}
