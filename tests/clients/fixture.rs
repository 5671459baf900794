//! What runtimes really send, kept as files: recorded calls without what differs from run to run. `TERWAY_RECORD=1`
//! writes them anew; without it a runtime must still send what the nearest version of it sent that was recorded.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};
use terway_rig::node::Node;

use crate::recording::Call;
use crate::stage::trial;

/// Stand for what differs.
pub(crate) const CONTAINER: &str = "$CONTAINER";
pub(crate) const NETNS: &str = "$NETNS";
pub(crate) const NODE: &str = "$NODE";
pub(crate) const RUN: &str = "$RUN";

/// What to do when a runtime sends something new.
const REMEDY: &str = "see whether the plugin should care, and keep what is sent now: \
                      TERWAY_RECORD=1 cargo xtask test --only build --only clients";

/// Compares the calls with what is kept of this runtime, or writes it. Another minor version than the kept ones is held
/// to them too: a package that moves on needs nobody as long as it sends the same.
pub(crate) fn hold(runtime: &str, version: &str, node: &Node, calls: &[Call]) -> Result<()> {
    let fresh = without_chance(calls, node);
    if env::var_os("TERWAY_RECORD").is_some() {
        fs::create_dir_all(folder())?;
        let number: Vec<String> = numbers(version).iter().map(u32::to_string).collect();
        let path = folder().join(format!("{runtime}-{}.json", number.join(".")));
        let text = serde_json::to_string_pretty(&fresh)? + "\n";
        return fs::write(&path, text).with_context(|| format!("failed to write {}", path.display()));
    }
    let recorded = all()?;
    let names: Vec<&str> = recorded.iter().map(|(name, _)| name.as_str()).collect();
    let name = nearest(&names, runtime, version)
        .with_context(|| format!("nothing is kept of a {runtime} like {version}; {REMEDY}"))?;
    let kept = recorded.iter().find(|(other, _)| other == name).map_or(&[][..], |(_, calls)| calls);
    let ours = keys_of_ours(node)?;
    let parts = |calls: &[Value]| calls.iter().map(|call| own_part(call, &ours)).collect::<Vec<_>>();
    let (kept, fresh) = (parts(kept), parts(&fresh));
    ensure!(kept == fresh, "{runtime} {version} sends something else than {name}: {fresh:#?}; {REMEDY}");
    Ok(())
}

/// The version of the same major number that comes before this one, else the first after it.
fn nearest<'a>(names: &[&'a str], runtime: &str, version: &str) -> Option<&'a str> {
    let wanted = numbers(version);
    let of_runtime = names.iter().filter_map(|name| {
        let (other, version) = name.rsplit_once('-')?;
        (other == runtime && numbers(version).first() == wanted.first()).then(|| (numbers(version), *name))
    });
    let mut known: Vec<_> = of_runtime.collect();
    known.sort();
    let before = known.iter().rev().find(|(numbers, _)| *numbers <= wanted);
    before.or(known.first()).map(|(_, name)| *name)
}

/// `1.6.20~ds1` is 1, 6, 20.
fn numbers(version: &str) -> Vec<u32> {
    let end = version.find(|letter: char| letter != '.' && !letter.is_ascii_digit()).unwrap_or(version.len());
    version[..end].split('.').map_while(|number| number.parse().ok()).collect()
}

/// The keys that our entry of the conflist has: what else a runtime sends is its own.
fn keys_of_ours(node: &Node) -> Result<Vec<String>> {
    let list: Value = serde_json::from_slice(&fs::read(node.path("10-terway.conflist"))?)?;
    let entry = list["plugins"][0].as_object().context("the conflist has no plugin")?;
    Ok(entry.keys().cloned().collect())
}

/// What the runtime itself adds to conflist and result. The result is ours: the names in it say what became of it.
fn own_part(call: &Value, ours: &[String]) -> Value {
    let mut part = json!({ "environment": call["environment"], "input": call["input"] });
    if let Some(input) = part["input"].as_object_mut() {
        input.retain(|key, _| !ours.contains(key));
        input.entry("prevResult").and_modify(|result| *result = shape(result));
    }
    part
}

/// The names at every depth, without values.
fn shape(value: &Value) -> Value {
    match value {
        Value::Array(list) => list.iter().map(shape).collect(),
        Value::Object(map) => {
            Value::Object(map.iter().map(|(key, value)| (key.clone(), shape(value))).collect())
        }
        _ => Value::Null,
    }
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

/// The calls for one sandbox without what differs from run to run.
fn without_chance(calls: &[Call], node: &Node) -> Vec<Value> {
    let place = |path: &Path| path.to_string_lossy().into_owned();
    let mut pairs = vec![(place(&node.directory), NODE), (place(&node.run), RUN)];
    // A namespace may be named after its container.
    for (variable, name) in [("CNI_NETNS", NETNS), ("CNI_CONTAINERID", CONTAINER)] {
        let values = calls.iter().map(|call| call.variable(variable));
        let real = values.filter(|value| !value.is_empty() && *value != "dummy");
        pairs.extend(real.map(|value| (value.to_owned(), name)));
    }
    let one = |call: &Call| {
        let mut kept = json!({ "environment": call.environment, "input": call.input, "answer": call.answer });
        if kept["environment"]["CNI_ARGS"].is_string() {
            // The order is a matter of chance with containerd.
            let mut arguments: Vec<&str> = call.variable("CNI_ARGS").split(';').collect();
            arguments.sort_unstable();
            kept["environment"]["CNI_ARGS"] = json!(arguments.join(";"));
        }
        replace(&mut kept, &pairs);
        kept
    };
    calls.iter().map(one).collect()
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

/// A trial of its own: no runtime here has a version that was never recorded.
pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("fixture::an_unknown_version_is_held_to_the_nearest", |_| unknown_version())]
}

fn unknown_version() -> Result<()> {
    let kept = ["containerd-1.6.20", "containerd-1.10.3", "containerd-killed-2.1.9", "containerd-2.1.9"];
    for (version, expected) in [
        ("1.6.20~ds1", Some("containerd-1.6.20")),
        ("1.7.24", Some("containerd-1.6.20")),
        ("1.11.0", Some("containerd-1.10.3")),
        ("1.6.3", Some("containerd-1.6.20")),
        ("2.2.0+unknown", Some("containerd-2.1.9")),
        ("3.0.0", None),
    ] {
        let found = nearest(&kept, "containerd", version);
        ensure!(found == expected, "{version}: {found:?} and not {expected:?}");
    }
    ensure!(nearest(&kept, "crio", "1.6.20").is_none());
    Ok(())
}
