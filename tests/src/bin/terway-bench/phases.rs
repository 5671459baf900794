//! Where a call's time goes: the plugin writes down its own phases when it is asked to (`TERWAY_TIMELINE`), the daemon
//! counts its commits, and what is missing between spawn and end is starting and ending the process.

use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use serde_json::Value;
use terway_rig::node::Node;
use terway_rig::plugin::Call;
use terway_rig::world::Plan;

use crate::Options;
use crate::machine;
use crate::stats::Samples;
use crate::subject;
use crate::table::Table;

/// From the spawn to the end; `daemon` is without `commit`.
const PHASES: [&str; 8] = ["exec", "prepare", "connect", "daemon", "commit", "kernel", "print", "exit"];
/// In which place of a line's phases its keys go; all others are the kernel's.
const PLACES: [(&str, usize); 5] =
    [("prepare_us", 1), ("connect_us", 2), ("daemon_us", 3), ("release_us", 3), ("print_us", 6)];
const VERBS: [&str; 4] = ["ADD", "CHECK", "DEL", "STATUS"];

/// A breakdown of every verb in each mode.
pub(crate) fn run(table: &mut Table, options: &Options) -> Result<()> {
    for (mode, shared) in [("exclusive", false), ("shared", true)] {
        let plan = Plan {
            name: format!("phases-{mode}"),
            shared,
            pool: (4, 8),
            quarantine: "0s".to_owned(),
            ..Plan::default()
        };
        let mut world = subject::world(&plan, options)?;
        machine::pinned(|| break_down(table, options, &mut world.nodes[0], mode))?;
    }
    Ok(())
}

fn break_down(table: &mut Table, options: &Options, node: &mut Node, mode: &str) -> Result<()> {
    let mut all: [Vec<[f64; 8]>; 4] = Default::default();
    let bare = node.pod("bare")?;
    let file = options.state.join(format!("timeline-{mode}"));
    for _ in 0..options.rounds.div_ceil(2) {
        subject::warm_either(node)?;
        let mut pod = node.pod("phases")?;
        for (verb, told) in VERBS.iter().zip(&mut all) {
            let call = match *verb {
                "STATUS" => subject::without_pod(&bare, verb),
                "ADD" => pod.call(verb),
                _ => pod.call_with_result(verb),
            };
            let (outcome, phases) = timed(node, &call, verb, &file)?;
            told.extend(phases);
            if *verb == "ADD" {
                pod.result = Some(outcome);
            }
        }
    }
    println!("{mode}: where the time of each verb goes");
    for (verb, told) in VERBS.iter().zip(&all) {
        let what = format!("{mode} {verb}: where it goes, p50");
        if told.is_empty() {
            table.figure(what, "deselected: this plugin writes no timeline".to_owned());
            continue;
        }
        let series = series(told);
        let median = |(phase, samples): (&&str, &Samples)| format!("{phase} {:.2}", samples.quantile(0.5));
        let medians: Vec<_> = PHASES.iter().zip(&series).map(median).collect();
        table.figure(what, format!("{} ms", medians.join(", ")));
        for (phase, samples) in PHASES.iter().zip(&series) {
            table.raw(&format!("{mode}_{}_{phase}", verb.to_lowercase()), samples.json());
        }
    }
    Ok(())
}

/// One series for each phase.
fn series(told: &[[f64; 8]]) -> [Samples; 8] {
    let mut all = [const { Samples::new() }; 8];
    for phases in told {
        for (samples, milliseconds) in all.iter_mut().zip(phases) {
            samples.add_ms(*milliseconds);
        }
    }
    all
}

/// Runs a call that writes its timeline; none if the plugin cannot.
fn timed(
    node: &Node,
    call: &Call,
    verb: &str,
    file: &Path,
) -> Result<(terway_rig::plugin::Outcome, Option<[f64; 8]>)> {
    let _ = fs::remove_file(file);
    let call = call.clone().with("TERWAY_TIMELINE", &file.to_string_lossy());
    let before = Commits::of(&subject::metrics(node)?);
    let spawned = unix_us()?;
    let outcome = call.run()?.expect_ok(verb)?;
    let ended = spawned + outcome.elapsed.as_secs_f64() * 1e6;
    let Ok(text) = fs::read_to_string(file) else { return Ok((outcome, None)) };
    let line: Value =
        serde_json::from_str(text.trim()).context("the plugin's timeline is no line of JSON")?;
    let commit = Commits::of(&subject::metrics(node)?).mean_us_since(&before);
    Ok((outcome, Some(phases(&line, spawned, ended, commit).with_context(|| format!("timeline {line}"))?)))
}

fn unix_us() -> Result<f64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH).context("a clock before 1970")?.as_secs_f64() * 1e6)
}

/// The daemon's commits so far.
#[derive(Clone, Copy, Debug, Default)]
struct Commits {
    seconds: f64,
    count: f64,
}

impl Commits {
    fn of(metrics: &str) -> Self {
        let value = |end: &str| {
            let name = format!("terway_ledger_commit_seconds_{end}{{error=\"false\"}} ");
            let line = metrics.lines().find_map(|line| line.strip_prefix(&name));
            line.and_then(|text| text.trim().parse().ok()).unwrap_or_default()
        };
        Self { seconds: value("sum"), count: value("count") }
    }

    fn mean_us_since(self, before: &Self) -> f64 {
        let count = self.count - before.count;
        if count > 0.0 { (self.seconds - before.seconds) / count * 1e6 } else { 0.0 }
    }
}

/// Milliseconds of each phase. All times in microseconds; `commit` is part of what the daemon took.
fn phases(line: &Value, spawned: f64, ended: f64, commit: f64) -> Option<[f64; 8]> {
    let mut all = [0.0; 8];
    let started = line["started_unix_us"].as_f64()?;
    for (key, value) in line.as_object()? {
        let Some(value) = value.as_f64().filter(|_| key.ends_with("_us") && key != "started_unix_us") else {
            continue;
        };
        let place = PLACES.iter().find(|(name, _)| name == key).map_or(5, |(_, place)| *place);
        all[place] += value;
    }
    let inside: f64 = all.iter().sum();
    let commit = commit.min(all[3]);
    all[3] -= commit;
    all[4] = commit;
    // Two clocks: a step between them must not make a phase negative.
    all[0] = (started - spawned).max(0.0);
    all[7] = (ended - started - inside).max(0.0);
    Some(all.map(|microseconds| microseconds / 1e3))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_phases_of_a_call_are_the_whole_of_it() {
        let line = json!({
            "verb": "ADD", "started_unix_us": 1_000_300, "prepare_us": 100, "connect_us": 50, "daemon_us": 900,
            "facts_us": 10, "links_us": 20_000, "pod_us": 490, "print_us": 30,
        });
        let told = phases(&line, 1_000_000.0, 1_022_000.0, 400.0).expect("a timeline");
        assert_eq!(format!("{told:?}"), "[0.3, 0.1, 0.05, 0.5, 0.4, 20.5, 0.03, 0.12]");
        assert!((told.iter().sum::<f64>() - 22.0).abs() < 1e-9);
        let del = json!({ "started_unix_us": 0, "daemon_us": 5, "release_us": 7, "remove_us": 9 });
        let told = phases(&del, 0.0, 21.0, 99.0).expect("a timeline");
        assert_eq!(format!("{told:?}"), "[0.0, 0.0, 0.0, 0.0, 0.012, 0.009, 0.0, 0.0]");
        assert_eq!(phases(&json!({ "verb": "ADD" }), 0.0, 1.0, 0.0), None);
    }

    #[test]
    fn commits_are_counted_from_the_metrics() {
        let name = "terway_ledger_commit_seconds";
        let metrics = |sum: &str, count: u8| {
            let label = "{error=\"false\"}";
            Commits::of(&format!("# x\n{name}_sum{label} {sum}\n{name}_count{label} {count}\n"))
        };
        let (before, after) = (metrics("1.5", 3), metrics("1.501", 5));
        assert_eq!(format!("{:.0}", after.mean_us_since(&before)), "500");
        assert_eq!(format!("{:.0}", after.mean_us_since(&after)), "0");
    }
}
