//! What `ip monitor` tells of the node's rules and routes: a second pair of ears beside the daemon's, with times.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use terway_rig::eventually::eventually;
use terway_rig::namespace;
use terway_rig::node::{Node, PATIENCE};
use terway_rig::reader;

/// Hears of everything on a node until dropped.
pub(crate) struct Monitor {
    child: Child,
    heard: PathBuf,
}

impl Monitor {
    /// Begins to hear.
    pub(crate) fn start(node: &Node) -> Result<Self> {
        let heard = node.path("monitor");
        let mut command = Command::new("ip");
        command.args(["-ts", "monitor", "link", "address", "route", "rule"]);
        command.stdin(Stdio::null()).stdout(File::create(&heard)?);
        let monitor = Self { child: namespace::spawn(&node.netns, command)?, heard };
        // It hears once it tells of something.
        eventually("ip monitor hears", PATIENCE, || {
            for verb in ["add", "del"] {
                reader::text(&node.netns, "ip", &["rule", verb, "priority", "9999", "lookup", "main"])
                    .ok()?;
            }
            fs::read_to_string(&monitor.heard).ok()?.contains("9999").then_some(())
        })?;
        Ok(monitor)
    }

    /// Everything heard.
    pub(crate) fn text(&self) -> Result<String> {
        fs::read_to_string(&self.heard).context("failed to read what ip monitor told")
    }

    /// For each of our rules and routes that was taken away and came back, how long it was gone, shortest first; and
    /// how many are gone still.
    pub(crate) fn absences(&self) -> Result<(Vec<Duration>, usize)> {
        Ok(absences(&self.text()?))
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn absences(text: &str) -> (Vec<Duration>, usize) {
    let mut gone: Vec<(&str, Duration)> = Vec::new();
    let mut back = Vec::new();
    for (at, told) in text.lines().filter_map(event) {
        match told.strip_prefix("Deleted ") {
            Some(object) if is_ours(object) => gone.push((object.trim(), at)),
            None => {
                if let Some(place) = gone.iter().position(|(object, _)| *object == told.trim()) {
                    back.push(at.saturating_sub(gone.swap_remove(place).1));
                }
            }
            Some(_) => {}
        }
    }
    back.sort();
    (back, gone.len())
}

fn is_ours(object: &str) -> bool {
    object.contains("proto 157") || object.starts_with("512:") || object.starts_with("2048:")
}

/// A line's time within its day, and what it tells.
fn event(line: &str) -> Option<(Duration, &str)> {
    let (stamp, told) = line.strip_prefix('[')?.split_once("] ")?;
    let mut parts = stamp.split_once('T')?.1.split([':', '.']).map(str::parse::<u64>);
    let mut next = || parts.next()?.ok();
    let (hours, minutes, seconds, micros) = (next()?, next()?, next()?, next()?);
    Some((Duration::from_micros(((hours * 60 + minutes) * 60 + seconds) * 1_000_000 + micros), told))
}
