//! The recorded calls of real runtimes once more, with no runtime needed: each is answered as it was.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};
use terway_rig::node::Node;
use terway_rig::plugin::Call;
use terway_rig::world::Plan;
use terway_rig::{namespace, pod};

use crate::fixture::{self, CONTAINER, NETNS, NODE, RUN};
use crate::stage::{books_agree, booted, trial};

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("replay::recorded_calls_are_answered_as_they_were", replay)]
}

fn replay(name: &str) -> Result<()> {
    let recordings = fixture::all()?;
    ensure!(recordings.len() >= 8, "only {} runtimes were recorded", recordings.len());
    let mut world = booted(&Plan { name: name.to_owned(), pool: (2, 4), ..Plan::default() })?;
    for (number, (runtime, calls)) in recordings.iter().enumerate() {
        let container = format!("{name}{number}");
        let netns = pod::sandbox(Path::new("/run/netns"), &container)?;
        let mut result = Value::Null;
        for (at, call) in calls.iter().enumerate() {
            let again = once_more(&world.nodes[0], call, &container, &netns, &result)?;
            let (adds, answer) = (call["environment"]["CNI_COMMAND"] == "ADD", &call["answer"]);
            if adds && answer.is_null() {
                killed(&again)?;
                continue;
            }
            let what = format!("{runtime}, call {at} ({})", call["environment"]["CNI_COMMAND"]);
            let output = again.run()?.expect_ok(&what)?.output;
            let mut masked = output.clone();
            fixture::replace(&mut masked, &[(netns.to_string_lossy().into_owned(), NETNS)]);
            ensure!(masked == *answer, "{what}: {masked} and not {answer}");
            if adds {
                result = output;
            }
        }
        namespace::remove(&netns)?;
    }
    books_agree(&mut world, 0, &[])
}

/// A call that was never answered: the plugin is killed, wherever it is just then.
fn killed(call: &Call) -> Result<()> {
    let mut plugin = call.start()?;
    plugin.kill()?;
    plugin.wait()?;
    Ok(())
}

/// The recorded call, for this node, this sandbox and the result of this ADD.
fn once_more(node: &Node, recorded: &Value, container: &str, netns: &Path, result: &Value) -> Result<Call> {
    let filled = |text: &str| {
        let place = |path: &Path| path.to_string_lossy().into_owned();
        text.replace(CONTAINER, container)
            .replace(NETNS, &place(netns))
            .replace(NODE, &place(&node.directory))
            .replace(RUN, &place(&node.run))
    };
    let environment = recorded["environment"].as_object().context("a recorded call has no environment")?;
    let input = recorded["input"].to_string();
    let mut configuration: Value = serde_json::from_str(&filled(&input))?;
    if let (Some(previous), Some(result)) = (configuration["prevResult"].as_object_mut(), result.as_object())
    {
        // What the runtime itself put into it stays.
        previous.extend(result.clone());
    } else if configuration.is_string() {
        configuration = json!(null);
    }
    let text = |value: &Value| filled(value.as_str().unwrap_or_default());
    Ok(Call {
        program: node.binaries.join("terway"),
        host: node.netns.clone(),
        environment: environment.iter().map(|(key, value)| (key.clone(), text(value))).collect(),
        configuration,
    })
}
