//! Symmetric routing, as the CNI configuration asks for it (`symmetric_routing` and `symmetric_routing_config` of our
//! entry, the keys of the existing implementation): made at the daemon's start, kept so, and taken away when it is
//! switched off.
//!
//! Task: one, until dropped.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use terway_datapath::facts::uplink_index;
use terway_datapath::kernel::{KernelError, Netlink, Netns};
use terway_datapath::symmetric::{self, SymmetricRouting};
use terway_types::fault::chain;

use crate::events::Events;
use crate::watched_dir::WatchedDir;

/// How often it is looked after while its file does not change.
const SLOW: Duration = Duration::from_mins(1);
/// Between the rules to pods (512) and from pods (2048).
const PRIORITIES: std::ops::RangeInclusive<u64> = 513..=2047;
/// Below the tables of ENIs, and none of the kernel's own.
const TABLES: std::ops::RangeInclusive<u64> = 1..=252;

/// What the configuration says: off, or how. An uplink that is not named is the link of the default route.
type Wish = Option<(Option<String>, SymmetricRouting)>;

/// Who looks after it.
#[derive(Debug)]
pub struct Symmetry {
    /// The CNI configuration.
    pub source: PathBuf,
    /// Where the operator hears of what is wrong with it.
    pub events: Arc<Events>,
}

impl Symmetry {
    /// Looks after it until dropped.
    pub async fn keep(self) {
        let mut told = None;
        let directory = self.source.parent().map(Path::to_owned).unwrap_or_default();
        loop {
            // Watch before looking, so that no change falls between.
            let watched = WatchedDir::new(&directory);
            let outcome = self.wish().and_then(apply);
            match outcome {
                Ok(changed) => {
                    told = None;
                    if changed {
                        tracing::info!("symmetric routing is as the CNI configuration has it");
                    }
                }
                Err(wrong) if told.as_ref() == Some(&wrong) => {}
                Err(wrong) => {
                    self.events
                        .note("SymmetricRoutingFailed", format!("symmetric routing is not set up: {wrong}"));
                    told = Some(wrong);
                }
            }
            match watched {
                Ok(watched) => watched.changed(SLOW).await,
                Err(_) => tokio::time::sleep(SLOW).await,
            }
        }
    }

    fn wish(&self) -> Result<Wish, String> {
        let text = fs::read(&self.source).map_err(|error| format!("{}: {error}", self.source.display()))?;
        read(&text)
    }
}

/// Makes it so. Quick enough for the daemon's own thread: a few requests.
fn apply(wish: Wish) -> Result<bool, String> {
    let host = Netns::current().map_err(|error| chain(&error))?;
    let Some((uplink, routing)) = wish else {
        return symmetric::remove(&host).map_err(|error| chain(&error));
    };
    let uplink = match uplink {
        Some(name) => Some(name),
        None => own_nic(&host).map_err(|error| chain(&error))?,
    };
    let Some(uplink) = uplink else { return Err("the node has no default route".to_owned()) };
    symmetric::install(&SymmetricRouting { uplink, ..routing }, &host).map_err(|error| chain(&error))
}

/// The link the node's packets leave by.
fn own_nic(host: &Netns) -> Result<Option<String>, KernelError> {
    let mut netlink = Netlink::open(host)?;
    let Some(index) = uplink_index(&mut netlink)? else { return Ok(None) };
    Ok(netlink.link_by_index(index)?.map(|link| link.name))
}

/// Reads the keys of our entry; no value, zero or an empty text means the default.
fn read(configuration: &[u8]) -> Result<Wish, String> {
    let list: Value = serde_json::from_slice(configuration).map_err(|error| error.to_string())?;
    let plugins = list.get("plugins").and_then(Value::as_array);
    let ours = plugins.into_iter().flatten().find(|plugin| plugin["type"] == "terway").unwrap_or(&list);
    match &ours["symmetric_routing"] {
        Value::Bool(true) => {}
        Value::Bool(false) | Value::Null => return Ok(None),
        other => return Err(format!("symmetric_routing is {other}, not true or false")),
    }
    let keys = &ours["symmetric_routing_config"];
    let number = |key: &str, default: u32| match &keys[key] {
        Value::Null => Ok(u64::from(default)),
        value => value
            .as_u64()
            .map(|number| if number == 0 { u64::from(default) } else { number })
            .ok_or_else(|| format!("symmetric_routing_config.{key} is {value}, not a whole number")),
    };
    let (mark, mask) = (number("mark", 0x10)?, number("mask", 0x10)?);
    let (table, priority) = (number("table_id", 100)?, number("rule_priority", 600)?);
    if mark & !mask != 0 || mask > u64::from(u32::MAX) {
        return Err(format!(
            "symmetric_routing_config.mark {mark:#x} has bits that mask {mask:#x} has not; both have 32 bits"
        ));
    }
    if !TABLES.contains(&table) {
        return Err(format!("symmetric_routing_config.table_id is {table}, not in {TABLES:?}"));
    }
    if !PRIORITIES.contains(&priority) {
        return Err(format!("symmetric_routing_config.rule_priority is {priority}, not in {PRIORITIES:?}"));
    }
    let text = |key: &str| match &keys[key] {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text.clone()).filter(|text| !text.is_empty())),
        other => Err(format!("symmetric_routing_config.{key} is {other}, not a text")),
    };
    match text("backend")?.as_deref() {
        // Whatever stands there, the marks are nf_tables'.
        None | Some("nftables" | "iptables") => {}
        Some(other) => return Err(format!("symmetric_routing_config.backend is {other:?}, not nftables")),
    }
    let in_32_bits = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    let routing = SymmetricRouting {
        uplink: String::new(),
        mark: in_32_bits(mark),
        mask: in_32_bits(mask),
        table: in_32_bits(table),
        priority: in_32_bits(priority),
    };
    Ok(Some((text("interface")?, routing)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(entry: &Value) -> Result<Wish, String> {
        let mut entry = entry.clone();
        entry["type"] = json!("terway");
        read(json!({ "name": "terway", "plugins": [{ "type": "x" }, entry] }).to_string().as_bytes())
    }

    #[test]
    fn the_defaults_are_those_of_the_existing_implementation() {
        assert_eq!(of(&json!({})), Ok(None));
        assert_eq!(of(&json!({ "symmetric_routing": false })), Ok(None));
        let routing =
            SymmetricRouting { uplink: String::new(), mark: 16, mask: 16, table: 100, priority: 600 };
        assert_eq!(of(&json!({ "symmetric_routing": true })), Ok(Some((None, routing.clone()))));
        let keys =
            json!({ "interface": "eth0", "mark": 0x20, "mask": 0xf0, "table_id": 0, "rule_priority": 700 });
        let wanted = SymmetricRouting { mark: 0x20, mask: 0xf0, priority: 700, ..routing };
        let entry = json!({ "symmetric_routing": true, "symmetric_routing_config": keys });
        assert_eq!(of(&entry), Ok(Some((Some("eth0".to_owned()), wanted))));
    }

    #[test]
    fn what_cannot_be_is_refused_with_key_and_value() {
        for (keys, words) in [
            (json!({ "mark": 3, "mask": 1 }), ["mark 0x3", "mask 0x1"]),
            (json!({ "mask": 0x1_0000_0010_u64 }), ["mask 0x100000010", "32 bits"]),
            (json!({ "table_id": 254 }), ["table_id is 254", "252"]),
            (json!({ "rule_priority": 512 }), ["rule_priority is 512", "513"]),
            (json!({ "mark": -1 }), ["mark is -1", "whole number"]),
            (json!({ "backend": "ebtables" }), ["ebtables", "nftables"]),
            (json!({ "backend": true }), ["backend is true", "not a text"]),
            (json!({ "interface": 0 }), ["interface is 0", "not a text"]),
        ] {
            let said =
                of(&json!({ "symmetric_routing": true, "symmetric_routing_config": keys })).unwrap_err();
            assert!(words.iter().all(|word| said.contains(word)), "{said}");
        }
        assert!(of(&json!({ "symmetric_routing": "yes" })).unwrap_err().contains("\"yes\""));
    }
}
