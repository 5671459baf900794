//! The committed budget, and the verdict on what was counted: more than so many percent above it fails, with the crates
//! in which the difference was spent.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::callgrind::Profile;
use crate::measure::Count;

/// How far a count may be above its budget, in percent.
const TOLERANCE: u64 = 5;
/// How many crates a breakdown names.
const NAMED: usize = 8;

/// What each call may spend.
pub(crate) struct Budget(BTreeMap<String, Profile>);

/// Whether all budgets hold, and a table for people.
pub(crate) struct Verdict {
    pub(crate) held: bool,
    pub(crate) table: String,
}

impl Budget {
    /// Reads the part of the file for one target; a target that nobody has counted for has no budget.
    pub(crate) fn read(path: &Path, target: &str) -> Result<Self> {
        let calls = &file(path)?[target];
        let entries = calls.as_object().into_iter().flatten();
        Ok(Self(entries.map(|(what, value)| (what.clone(), profile(value))).collect()))
    }

    /// Writes what was counted as the budget of one target.
    pub(crate) fn write(path: &Path, target: &str, counts: &[Count]) -> Result<()> {
        let mut all = file(path)?;
        let calls: serde_json::Map<String, Value> = counts
            .iter()
            .map(|count| {
                let Profile { total, crates } = &count.profile;
                // Small ones say nothing and change with every compiler.
                let crates: BTreeMap<_, _> =
                    crates.iter().filter(|(_, spent)| **spent * 50 >= *total).collect();
                (count.what.to_owned(), json!({ "total": total, "crates": crates }))
            })
            .collect();
        all[target] = Value::Object(calls);
        let text = serde_json::to_string_pretty(&all)? + "\n";
        fs::write(path, text).with_context(|| format!("failed to write {}", path.display()))
    }

    /// Holds counts against the budget.
    pub(crate) fn judge(&self, counts: &[Count]) -> Verdict {
        let mut verdict = Verdict { held: true, table: String::new() };
        let table = &mut verdict.table;
        let _ = writeln!(
            table,
            "\n{:<26}  {:>12}  {:>12}  {:>8}  held",
            "instructions", "counted", "budget", "change"
        );
        for Count { what, profile } in counts {
            let Some(budget) = self.0.get(*what) else {
                let _ = writeln!(
                    table,
                    "{what:<26}  {:>12}  {:>12}  {:>8}  NO: there is no budget yet",
                    profile.total, "-", "-"
                );
                verdict.held = false;
                continue;
            };
            let held = profile.total * 100 <= budget.total * (100 + TOLERANCE);
            let change = change(profile.total, budget.total);
            let word = if held { "yes" } else { "NO" };
            let _ = writeln!(
                table,
                "{what:<26}  {:>12}  {:>12}  {change:>8}  {word}",
                profile.total, budget.total
            );
            if !held {
                table.push_str(&breakdown(profile, budget));
                verdict.held = false;
            }
        }
        if !verdict.held {
            let _ = writeln!(
                table,
                "\nA count is more than {TOLERANCE} % above its budget. If that is what you want, and say why in the commit, write \
                 a new budget: cargo xtask instructions --update yes"
            );
        }
        verdict
    }
}

/// The crates that spend more than they did, those with the largest difference first.
fn breakdown(counted: &Profile, budget: &Profile) -> String {
    let before = |name: &String| budget.crates.get(name).copied().unwrap_or(0);
    let mut more: Vec<_> = counted
        .crates
        .iter()
        .filter(|(name, spent)| **spent > before(name))
        .map(|(name, spent)| (*spent - before(name), name, *spent))
        .collect();
    more.sort_unstable_by(|left, right| right.cmp(left));
    let lines = more.iter().take(NAMED).map(|(difference, name, spent)| {
        format!("    {name:<22}  {spent:>12}  {:>12}  {:>8}\n", before(name), format!("+{difference}"))
    });
    lines.collect()
}

fn change(counted: u64, budget: u64) -> String {
    let sign = if counted < budget { '-' } else { '+' };
    let tenths = counted.abs_diff(budget) * 1000 / budget.max(1);
    format!("{sign}{}.{} %", tenths / 10, tenths % 10)
}

fn file(path: &Path) -> Result<Value> {
    match fs::read_to_string(path) {
        Ok(text) => serde_json::from_str(&text).with_context(|| format!("{} is no JSON", path.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(json!({})),
        Err(error) => Err(error).with_context(|| format!("failed to read {}", path.display())),
    }
}

fn profile(value: &Value) -> Profile {
    let crates = value["crates"].as_object().into_iter().flatten();
    Profile {
        total: value["total"].as_u64().unwrap_or(0),
        crates: crates.filter_map(|(name, count)| Some((name.clone(), count.as_u64()?))).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(total: u64, crates: &[(&str, u64)]) -> Count {
        let crates = crates.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        Count { what: "plugin, STATUS", profile: Profile { total, crates } }
    }

    fn budget_of(count: &Count) -> Budget {
        Budget(BTreeMap::from([(count.what.to_owned(), count.profile.clone())]))
    }

    #[test]
    fn five_percent_more_is_held_and_a_little_more_is_not() {
        let budget = budget_of(&count(1000, &[("serde_json", 400), ("core", 600)]));
        assert!(budget.judge(&[count(1050, &[])]).held);
        assert!(budget.judge(&[count(500, &[])]).held);
        let daemons = |total| Count { what: "daemon, ADD, shared", ..count(total, &[]) };
        assert!(!budget_of(&daemons(1000)).judge(&[daemons(1051)]).held);
        let verdict = budget.judge(&[count(1051, &[("serde_json", 451), ("core", 590), ("h2", 10)])]);
        assert!(!verdict.held);
        let broken_down: Vec<_> = verdict.table.lines().filter(|line| line.starts_with("    ")).collect();
        assert!(broken_down[0].contains("serde_json") && broken_down[0].contains("+51"), "{}", verdict.table);
        assert!(broken_down[1].contains("h2") && broken_down.len() == 2, "{}", verdict.table);
    }

    #[test]
    fn what_has_no_budget_does_not_pass() {
        assert!(!Budget(BTreeMap::new()).judge(&[count(1, &[])]).held);
    }

    #[test]
    fn a_budget_comes_back_as_it_was_written_beside_those_of_other_targets() {
        let path = std::env::temp_dir().join(format!("terway-budget-{}", std::process::id()));
        let counts = [count(1000, &[("core", 1000)])];
        Budget::write(&path, "one", &counts).unwrap();
        Budget::write(&path, "two", &[]).unwrap();
        let (one, other) = (Budget::read(&path, "one").unwrap(), Budget::read(&path, "three").unwrap());
        fs::remove_file(&path).unwrap();
        assert_eq!(one.0["plugin, STATUS"], counts[0].profile);
        assert!(other.0.is_empty());
    }
}
