//! The figures beside their budgets: as a table for people, as JSON for the record, and against an older record.

use std::fmt::Write as _;

use serde_json::{Value, json};

/// How the figure and its budget go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    /// There is no budget.
    Open,
    /// A time or a rate: the budget counts on a quiet machine.
    Quiet(bool),
    /// A ratio within one run, or a count: the budget counts anywhere.
    Anywhere(bool),
}

/// One figure.
struct Line {
    part: String,
    what: String,
    measured: String,
    budget: String,
    held: Held,
}

/// All lines, and the raw figures.
#[derive(Default)]
pub(crate) struct Table {
    emulated: bool,
    part: String,
    lines: Vec<Line>,
    figures: serde_json::Map<String, Value>,
}

impl Table {
    /// For an emulated machine or a real one: only a real one's times are held against budgets.
    pub(crate) fn new(emulated: bool) -> Self {
        Self { emulated, ..Self::default() }
    }

    /// What comes now belongs to this part.
    pub(crate) fn begin(&mut self, part: &str) {
        part.clone_into(&mut self.part);
    }

    /// A time or a rate, with its budget.
    pub(crate) fn budget(&mut self, what: impl Into<String>, measured: String, budget: &str, held: bool) {
        if self.emulated && budget.ends_with(" ms") {
            self.figure(what, measured);
        } else {
            self.line(what.into(), measured, budget, Held::Quiet(held));
        }
    }

    /// A ratio within this run, or a count, with its budget: it has to hold on a busy machine as well, so `--check` looks
    /// at it.
    pub(crate) fn promise(&mut self, what: impl Into<String>, measured: String, budget: &str, held: bool) {
        self.line(what.into(), measured, budget, Held::Anywhere(held));
    }

    /// A figure without a budget.
    pub(crate) fn figure(&mut self, what: impl Into<String>, measured: String) {
        self.line(what.into(), measured, "", Held::Open);
    }

    fn line(&mut self, what: String, measured: String, budget: &str, held: Held) {
        let budget = budget.to_owned();
        self.lines.push(Line { part: self.part.clone(), what, measured, budget, held });
    }

    /// The raw samples behind a line.
    pub(crate) fn raw(&mut self, name: &str, value: Value) {
        self.figures.insert(name.to_owned(), value);
    }

    /// The promises that are not kept.
    pub(crate) fn broken(&self) -> Vec<String> {
        let broken = self.lines.iter().filter(|line| line.held == Held::Anywhere(false));
        broken.map(|line| format!("{}: {}, not {}", line.what, line.measured, line.budget)).collect()
    }

    /// How the medians of all series, and all single numbers, differ from those of an older run.
    pub(crate) fn against(&self, older: &Value) -> String {
        let mut text = format!("{:<32}  {:>12}  {:>12}  ratio\n", "p50 in ms, or number", "now", "baseline");
        let head = text.len();
        for (name, figure) in &self.figures {
            let (now, then) = (numbers(name, figure), numbers(name, &older["figures"][name]));
            for (name, now) in now {
                if let Some((_, then)) = then.iter().find(|(other, then)| *other == name && *then > 0.0) {
                    let _ = writeln!(text, "{name:<32}  {now:>12.2}  {then:>12.2}  {:>5.2}", now / then);
                }
            }
        }
        if text.len() == head {
            text += "the baseline has none of the series of this run\n";
        }
        text
    }

    /// What was measured in groups, and where they are: their common median says nothing. None if nothing was.
    pub(crate) fn groups(&self) -> Option<String> {
        let told = |(name, figure): (&String, &Value)| {
            let groups = figure["groups_ms"].as_array()?.iter().filter_map(Value::as_f64);
            let groups: Vec<_> = groups.map(|group| format!("{group:.2}")).collect();
            Some(format!("{} (around {} ms)", name.replace('_', " "), groups.join(", ")))
        };
        let all: Vec<_> = self.figures.iter().filter_map(told).collect();
        (!all.is_empty()).then(|| format!("In groups, so that the median says nothing: {}.", all.join("; ")))
    }

    /// The table as people read it: a blank line between parts, and the column of any width at the end.
    pub(crate) fn text(&self) -> String {
        let width = |pick: fn(&Line) -> &str, head: &str| {
            let widths = self.lines.iter().map(|line| pick(line).chars().count());
            widths.max().unwrap_or(0).max(head.len())
        };
        let (first, second) = (width(|line| &line.what, "what"), width(|line| &line.budget, "budget"));
        let mut text = format!("{:first$}  held  {:second$}  measured\n", "what", "budget");
        let mut part = "";
        for line in &self.lines {
            if line.part != part {
                text.push('\n');
                part = &line.part;
            }
            let held = match line.held {
                Held::Open => "-",
                Held::Quiet(true) | Held::Anywhere(true) => "yes",
                Held::Quiet(false) | Held::Anywhere(false) => "NO",
            };
            let _ =
                writeln!(text, "{:first$}  {held:4}  {:second$}  {}", line.what, line.budget, line.measured);
        }
        text
    }

    /// The lines of a record, for people; its samples stay behind. None if it is no record of this program.
    pub(crate) fn of(record: &Value) -> Option<Self> {
        let line = |line: &Value| {
            let text = |name: &str| Some(line[name].as_str()?.to_owned());
            let held = match (line["held"].as_bool(), line["anywhere"].as_bool()?) {
                (None, _) => Held::Open,
                (Some(held), true) => Held::Anywhere(held),
                (Some(held), false) => Held::Quiet(held),
            };
            let [part, what, measured, budget] =
                [text("part")?, text("what")?, text("measured")?, text("budget")?];
            Some(Line { part, what, measured, budget, held })
        };
        let lines = record["lines"].as_array()?.iter().map(line).collect::<Option<_>>()?;
        Some(Self { lines, ..Self::default() })
    }

    /// Everything as JSON.
    pub(crate) fn json(&self) -> Value {
        let line = |line: &Line| {
            let (held, anywhere) = match line.held {
                Held::Open => (None, false),
                Held::Quiet(held) => (Some(held), false),
                Held::Anywhere(held) => (Some(held), true),
            };
            json!({ "part": line.part, "what": line.what, "measured": line.measured, "budget": line.budget,
                    "held": held, "anywhere": anywhere })
        };
        json!({ "lines": self.lines.iter().map(line).collect::<Vec<_>>(), "figures": self.figures })
    }
}

/// What can be compared of a raw figure: of a series its median, of numbers all by their names.
fn numbers(name: &str, figure: &Value) -> Vec<(String, f64)> {
    match (figure.as_f64(), figure.as_object()) {
        (Some(number), _) => vec![(name.to_owned(), number)],
        (_, Some(series)) if series.contains_key("p50_ms") => numbers(name, &figure["p50_ms"]),
        (_, Some(numbers_of)) => {
            numbers_of.iter().flat_map(|(of, figure)| numbers(&format!("{name} {of}"), figure)).collect()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::stats::Samples;

    fn series(values: &[u64]) -> Value {
        let mut samples = Samples::new();
        for value in values {
            samples.add(Duration::from_millis(*value));
        }
        samples.json()
    }

    #[test]
    fn medians_are_compared_with_those_of_the_same_name() {
        let (mut older, mut now) = (Table::default(), Table::default());
        older.raw("add", series(&[20, 20, 20]));
        older.raw("gone", series(&[1]));
        now.raw("add", series(&[10, 30, 99]));
        now.raw("fresh", series(&[1]));
        now.raw("count", json!(3));
        now.raw("bytes", json!({ "plugin": 30, "image": [1, 2] }));
        older.raw("bytes", json!({ "plugin": 20 }));
        let text = now.against(&older.json());
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(
            lines,
            [
                vec!["p50", "in", "ms,", "or", "number", "now", "baseline", "ratio"],
                vec!["add", "30.00", "20.00", "1.50"],
                vec!["bytes", "plugin", "30.00", "20.00", "1.50"],
            ]
        );
        assert!(now.against(&json!({ "figures": {} })).contains("none of the series"));
    }

    #[test]
    fn groups_are_told_with_the_name_of_their_series() {
        let mut table = Table::default();
        table.raw("shared_del", series(&[20, 21, 20, 22, 21, 40, 41, 40, 42, 41]));
        table.raw("add", series(&[20, 21, 20, 22, 21, 20, 21, 22, 21, 20]));
        let told = "In groups, so that the median says nothing: shared del (around 21.00, 41.00 ms).";
        assert_eq!(table.groups().as_deref(), Some(told));
        assert_eq!(Table::default().groups(), None);
    }

    #[test]
    fn parts_stand_apart_and_the_widest_column_is_the_last() {
        let mut table = Table::default();
        table.begin("one");
        table.figure("a", "1".to_owned());
        table.budget("long", "22".to_owned(), "< 30 ms", true);
        table.begin("two");
        table.figure("b", "3".to_owned());
        let text = table.text();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "what  held  budget   measured");
        assert_eq!(lines[1..4], ["", "a     -              1", "long  yes   < 30 ms  22"]);
        assert_eq!(lines[4..], ["", "b     -              3"]);
    }

    #[test]
    fn times_of_an_emulated_machine_have_no_budget() {
        let mut table = Table::new(true);
        table.budget("a time", "90 ms".to_owned(), "< 5 ms", false);
        table.budget("a ratio", "1.1".to_owned(), "< 1", false);
        let lines = table.json()["lines"].clone();
        assert_eq!((&lines[0]["held"], &lines[0]["budget"]), (&Value::Null, &json!("")));
        assert_eq!(lines[1]["held"], json!(false));
    }

    #[test]
    fn only_what_holds_anywhere_is_checked() {
        let mut table = Table::default();
        table.budget("a time", "9 ms".to_owned(), "< 5 ms", false);
        table.promise("a ratio", "1.0".to_owned(), "<= 2", true);
        assert_eq!(table.broken(), Vec::<String>::new());
        table.promise("refused", "3".to_owned(), "0", false);
        assert_eq!(table.broken(), ["refused: 3, not 0"]);
        assert_eq!(table.text().matches("  NO  ").count(), 2, "{}", table.text());
        assert_eq!(
            table.json()["lines"][2],
            json!({ "part": "", "what": "refused", "measured": "3", "budget": "0", "held": false, "anywhere": true })
        );
    }

    #[test]
    fn the_table_of_a_record_is_the_one_that_was_recorded() {
        let mut table = Table::default();
        table.begin("one");
        table.figure("a", "1".to_owned());
        table.budget("b", "2 ms".to_owned(), "< 1 ms", false);
        table.begin("two");
        table.promise("c", "0".to_owned(), "0", true);
        let again = Table::of(&table.json()).expect("a record");
        assert_eq!(again.text(), table.text());
        assert_eq!(again.json()["lines"], table.json()["lines"]);
        assert!(Table::of(&json!({ "lines": [{ "what": "a" }] })).is_none());
        assert!(Table::of(&json!({ "modes": [] })).is_none());
    }
}
