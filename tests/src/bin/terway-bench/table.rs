//! The figures beside their budgets: as a table for people, as JSON for the record.

use std::fmt::Write as _;

use serde_json::{Value, json};

/// One budget and what was measured against it.
pub(crate) struct Line {
    what: &'static str,
    measured: String,
    budget: String,
    held: Option<bool>,
}

/// All lines, and the raw figures.
#[derive(Default)]
pub(crate) struct Table {
    lines: Vec<Line>,
    figures: serde_json::Map<String, Value>,
}

impl Table {
    /// A figure with a budget.
    pub(crate) fn budget(&mut self, what: &'static str, measured: String, budget: &str, held: bool) {
        self.lines.push(Line { what, measured, budget: budget.to_owned(), held: Some(held) });
    }

    /// A figure without one.
    pub(crate) fn figure(&mut self, what: &'static str, measured: String) {
        self.lines.push(Line { what, measured, budget: String::new(), held: None });
    }

    /// The raw samples behind a line.
    pub(crate) fn raw(&mut self, name: &str, value: Value) {
        self.figures.insert(name.to_owned(), value);
    }

    /// How the medians of all series differ from those of an older run.
    pub(crate) fn against(&self, older: &Value) -> String {
        let median = |figure: &Value| figure["p50_ms"].as_f64().filter(|value| *value > 0.0);
        let mut text = format!("{:<18}  {:>10}  {:>10}  ratio\n", "p50", "now", "baseline");
        for (name, figure) in &self.figures {
            if let Some((now, then)) = median(figure).zip(median(&older["figures"][name])) {
                let _ = writeln!(text, "{name:<18}  {now:>7.2} ms  {then:>7.2} ms  {:>5.2}", now / then);
            }
        }
        text
    }

    /// What was measured in two groups, and where they are: their common median says nothing.
    pub(crate) fn two_groups(&self) -> Vec<String> {
        let told = |(name, figure): (&String, &Value)| {
            let groups = figure["two_groups_ms"].as_array()?;
            let [low, high] = [groups.first()?.as_f64()?, groups.get(1)?.as_f64()?];
            Some(format!("{name} falls into two groups, around {low:.1} ms and {high:.1} ms"))
        };
        self.figures.iter().filter_map(told).collect()
    }

    /// The table as people read it.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        let width = |pick: fn(&Line) -> &str| {
            self.lines.iter().map(|line| pick(line).chars().count()).max().unwrap_or(0)
        };
        let (first, second, third) =
            (width(|line| line.what), width(|line| &line.measured), width(|line| &line.budget));
        let _ = writeln!(text, "{:first$}  {:second$}  {:third$}  held", "what", "measured", "budget");
        for line in &self.lines {
            let held = line.held.map_or("-", |held| if held { "yes" } else { "NO" });
            let _ = writeln!(
                text,
                "{:first$}  {:second$}  {:third$}  {held}",
                line.what, line.measured, line.budget
            );
        }
        text
    }

    /// Everything as JSON.
    pub(crate) fn json(&self) -> Value {
        let lines: Vec<Value> = self
            .lines
            .iter()
            .map(|line| json!({ "what": line.what, "measured": line.measured, "budget": line.budget, "held": line.held }))
            .collect();
        json!({ "lines": lines, "figures": self.figures })
    }
}
