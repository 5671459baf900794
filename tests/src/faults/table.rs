//! The fault matrix for people and for programs.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{Cell, Mode, Outcome};
use crate::cloud::Cloud;

/// Two tables per cloud, of calls that end badly and of clouds that stand badly, and what failed.
pub fn text(outcomes: &[Outcome]) -> String {
    let mut page = String::new();
    for cloud in Cloud::ALL {
        let (standing, calls): (Vec<&Outcome>, Vec<&Outcome>) = outcomes
            .iter()
            .filter(|outcome| outcome.cell.cloud == *cloud)
            .partition(|outcome| outcome.cell.action == "*");
        // Writing to a string cannot fail.
        let _ = writeln!(page, "{cloud}: how many seconds longer a node's story takes when a call of ...\n");
        of_calls(&mut page, &calls);
        of_standing(&mut page, &standing);
    }
    let failed = outcomes.iter().filter_map(|outcome| Some((&outcome.cell, outcome.took.as_ref().err()?)));
    let recovered = outcomes.len() - failed.clone().count();
    let _ = writeln!(page, "{recovered} of {} recovered, books agree", outcomes.len());
    for (Cell { cloud, mode, action, manner }, why) in failed {
        let _ = writeln!(page, "\nFAILED {cloud} {mode:?} {action} {}: {why}", manner.name);
    }
    page
}

/// Actions down, manners across, in each cell how much longer everything took.
fn of_calls(page: &mut String, outcomes: &[&Outcome]) {
    let mut manners: Vec<&str> = Vec::new();
    let mut rows: BTreeMap<&str, BTreeMap<&str, String>> = BTreeMap::new();
    for outcome in outcomes {
        let Cell { action, manner, .. } = &outcome.cell;
        if !manners.contains(&manner.name) {
            manners.push(manner.name);
        }
        rows.entry(action).or_default().insert(manner.name, figure(outcome));
    }
    let _ = write!(page, "{:<32}", "... ends like this:");
    for manner in &manners {
        let _ = write!(page, "  {manner:>6}");
    }
    page.push('\n');
    for (action, cells) in &rows {
        let _ = write!(page, "{action:<32}");
        for manner in &manners {
            let figure = cells.get(manner).map_or("", String::as_str);
            let _ = write!(page, "  {figure:>width$}", width = manner.len().max(6));
        }
        page.push('\n');
    }
}

/// What the whole cloud is like down, the modes of a node across.
fn of_standing(page: &mut String, outcomes: &[&Outcome]) {
    let (so, whole, shared) = ("... or the whole cloud is so:", "whole ENIs", "shared");
    let _ = writeln!(page, "\n{so:<32}  {whole:>10}  {shared:>10}");
    let mut rows: BTreeMap<&str, [String; 2]> = BTreeMap::new();
    for outcome in outcomes {
        let column = usize::from(outcome.cell.mode == Mode::Shared);
        rows.entry(outcome.cell.manner.name).or_default()[column] = figure(outcome);
    }
    for (manner, [exclusive, shared]) in &rows {
        let _ = writeln!(page, "{manner:<32}  {exclusive:>10}  {shared:>10}");
    }
    page.push('\n');
}

/// One outcome, as it comes.
pub fn line(outcome: &Outcome) -> String {
    let Cell { cloud, mode, action, manner } = &outcome.cell;
    format!("{cloud} {mode:?} {action} {}: {}", manner.name, figure(outcome))
}

fn figure(outcome: &Outcome) -> String {
    match &outcome.took {
        Ok(_) => format!("{:.1}", outcome.longer.as_secs_f64()),
        Err(_) => "FAILED".to_owned(),
    }
}

/// All cells, for programs.
pub fn json(outcomes: &[Outcome]) -> Value {
    let cell = |outcome: &Outcome| {
        json!({
            "cloud": outcome.cell.cloud.name(),
            "mode": if outcome.cell.mode == Mode::Exclusive { "exclusive" } else { "shared" },
            "action": outcome.cell.action,
            "manner": outcome.cell.manner.name,
            "recovered": outcome.took.is_ok(),
            "seconds": outcome.took.as_ref().ok().map(std::time::Duration::as_secs_f64),
            "longer_seconds": outcome.longer.as_secs_f64(),
            "failure": outcome.took.as_ref().err(),
        })
    };
    outcomes.iter().map(cell).collect()
}
