//! What runtimes really send, kept as files: recorded calls without what differs from run to run. `TERWAY_RECORD=1`
//! writes them anew; without it a runtime of a version that was recorded must still send the same.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use terway_rig::node::Node;

use crate::recording::Call;

/// Stand for what differs.
pub(crate) const CONTAINER: &str = "$CONTAINER";
pub(crate) const NETNS: &str = "$NETNS";
pub(crate) const NODE: &str = "$NODE";
pub(crate) const RUN: &str = "$RUN";

/// Compares the calls with the file of this runtime and version, or writes it.
pub(crate) fn hold(runtime: &str, version: &str, node: &Node, calls: &[Call]) -> Result<()> {
    let number: String =
        version.chars().take_while(|letter| letter.is_ascii_digit() || *letter == '.').collect();
    let path = folder().join(format!("{runtime}-{number}.json"));
    let fresh: Vec<Value> = calls.iter().map(|call| without_chance(call, node)).collect();
    if env::var_os("TERWAY_RECORD").is_some() {
        fs::create_dir_all(folder())?;
        let text = serde_json::to_string_pretty(&fresh)? + "\n";
        return fs::write(&path, text).with_context(|| format!("failed to write {}", path.display()));
    }
    if !path.exists() {
        eprintln!("{runtime} {number} was never recorded; run with TERWAY_RECORD=1 to keep what it sends");
        return Ok(());
    }
    let kept: Vec<Value> = serde_json::from_slice(&fs::read(&path)?)?;
    let (kept, fresh): (Vec<_>, Vec<_>) =
        (kept.iter().map(own_part).collect(), fresh.iter().map(own_part).collect());
    ensure!(kept == fresh, "{runtime} {number} sends something else than {}: {fresh:#?}", path.display());
    Ok(())
}

/// What the runtime itself adds to conflist and result: the variables, and these keys of the configuration.
fn own_part(call: &Value) -> Value {
    let input = &call["input"];
    json!({
        "environment": call["environment"],
        "cniVersion": input["cniVersion"],
        "name": input["name"],
        "runtimeConfig": input["runtimeConfig"],
        "prevResult": input["prevResult"].is_object(),
    })
}

/// All recordings: name and calls.
pub(crate) fn all() -> Result<Vec<(String, Vec<Value>)>> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder())
        .with_context(|| format!("failed to read {}", folder().display()))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    files.sort();
    let read = |file: &PathBuf| {
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Ok((name, serde_json::from_slice(&fs::read(file)?).with_context(|| file.display().to_string())?))
    };
    files.iter().map(read).collect()
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/fixtures")
}

fn without_chance(call: &Call, node: &Node) -> Value {
    let container = call.variable("CNI_CONTAINERID");
    let netns = call.variable("CNI_NETNS");
    let place = |path: &Path| path.to_string_lossy().into_owned();
    let mut pairs = vec![(place(&node.directory), NODE), (place(&node.run), RUN)];
    if !container.is_empty() {
        pairs.insert(0, (container.to_owned(), CONTAINER));
    }
    if !netns.is_empty() && netns != "dummy" {
        pairs.insert(0, (netns.to_owned(), NETNS));
    }
    let mut kept = json!({ "environment": call.environment, "input": call.input, "answer": call.answer });
    // The order is a matter of chance with containerd.
    let mut arguments: Vec<&str> = call.variable("CNI_ARGS").split(';').collect();
    arguments.sort_unstable();
    kept["environment"]["CNI_ARGS"] = json!(arguments.join(";"));
    replace(&mut kept, &pairs);
    kept
}

/// Replaces what differs in all texts, whatever they are in.
pub(crate) fn replace(value: &mut Value, pairs: &[(String, &str)]) {
    match value {
        Value::String(text) => {
            for (from, to) in pairs {
                *text = text.replace(from.as_str(), to);
            }
        }
        Value::Array(list) => list.iter_mut().for_each(|value| replace(value, pairs)),
        Value::Object(map) => {
            for (key, value) in map.iter_mut() {
                match key.as_str() {
                    "mac" => *value = json!("$MAC"),
                    "address" => *value = json!("$ADDRESS"),
                    "name" if value.as_str().is_some_and(|name| name.starts_with("cali")) => {
                        *value = json!("$HOSTLINK");
                    }
                    _ => replace(value, pairs),
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
