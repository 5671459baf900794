//! The matrix for people and for programs.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{Cell, Mode, Outcome};
use crate::cloud::Cloud;

/// A table per cloud: actions down, manners across, in each cell how much longer everything took; and what failed.
pub fn text(outcomes: &[Outcome]) -> String {
    let mut page = String::new();
    for cloud in Cloud::ALL {
        let of_calls: Vec<&Outcome> = outcomes
            .iter()
            .filter(|outcome| outcome.cell.cloud == *cloud && outcome.cell.action != "*")
            .collect();
        // Writing to a string cannot fail.
        let _ = writeln!(page, "{cloud}: how many seconds longer a node's story takes when a call of ...\n");
        let mut manners: Vec<&str> = Vec::new();
        for outcome in &of_calls {
            if !manners.contains(&outcome.cell.manner.name) {
                manners.push(outcome.cell.manner.name);
            }
        }
        let mut rows: BTreeMap<&str, BTreeMap<&str, String>> = BTreeMap::new();
        for outcome in &of_calls {
            rows.entry(outcome.cell.action).or_default().insert(outcome.cell.manner.name, figure(outcome));
        }
        let widths: Vec<usize> = manners.iter().map(|manner| manner.len().max(6)).collect();
        let _ = write!(page, "{:<32}", "... ends like this:");
        for (manner, width) in manners.iter().zip(&widths) {
            let _ = write!(page, "  {manner:>width$}");
        }
        page.push('\n');
        for (action, cells) in &rows {
            let _ = write!(page, "{action:<32}");
            for (manner, width) in manners.iter().zip(&widths) {
                let _ = write!(page, "  {:>width$}", cells.get(manner).map_or("", String::as_str));
            }
            page.push('\n');
        }
        let _ = writeln!(
            page,
            "\n{:<32}  {:>10}  {:>10}",
            "... or the whole cloud is so:", "whole ENIs", "shared"
        );
        let standing =
            outcomes.iter().filter(|outcome| outcome.cell.cloud == *cloud && outcome.cell.action == "*");
        let mut whole: BTreeMap<&str, [String; 2]> = BTreeMap::new();
        for outcome in standing {
            let column = usize::from(outcome.cell.mode == Mode::Shared);
            whole.entry(outcome.cell.manner.name).or_default()[column] = figure(outcome);
        }
        for (manner, [exclusive, shared]) in &whole {
            let _ = writeln!(page, "{manner:<32}  {exclusive:>10}  {shared:>10}");
        }
        page.push('\n');
    }
    let failed: Vec<&Outcome> = outcomes.iter().filter(|outcome| outcome.took.is_err()).collect();
    let _ = writeln!(page, "{} of {} recovered, books agree", outcomes.len() - failed.len(), outcomes.len());
    for outcome in failed {
        let Err(why) = &outcome.took else { continue };
        let cell = &outcome.cell;
        let _ = writeln!(
            page,
            "\nFAILED {} {:?} {} {}: {why}",
            cell.cloud, cell.mode, cell.action, cell.manner.name
        );
    }
    page
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
