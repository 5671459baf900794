//! The figures beside their budgets: as a table for people, as JSON for the record.

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

    /// Prints the table.
    pub(crate) fn print(&self) {
        let width = |pick: fn(&Line) -> &str| {
            self.lines.iter().map(|line| pick(line).chars().count()).max().unwrap_or(0)
        };
        let (first, second, third) =
            (width(|line| line.what), width(|line| &line.measured), width(|line| &line.budget));
        println!("\n{:first$}  {:second$}  {:third$}  held", "what", "measured", "budget");
        for line in &self.lines {
            let held = line.held.map_or("-", |held| if held { "yes" } else { "NO" });
            println!("{:first$}  {:second$}  {:third$}  {held}", line.what, line.measured, line.budget);
        }
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
