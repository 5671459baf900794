//! How the story is told: numbered chapters with times while it runs, and one table at the end.

use std::fmt::Display;
use std::time::{Duration, Instant};

/// What happened so far.
pub(crate) struct Report {
    start: Instant,
    rows: Vec<Row>,
}

struct Row {
    title: String,
    held: bool,
    finding: String,
}

impl Report {
    pub(crate) fn new() -> Self {
        Self { start: Instant::now(), rows: Vec::new() }
    }

    /// Starts a chapter.
    pub(crate) fn chapter(&self, title: &str) {
        println!("\n[{:6.2} s] {title}", self.start.elapsed().as_secs_f64());
    }

    /// What a chapter showed, for the table.
    pub(crate) fn finding(&mut self, title: &str, held: bool, finding: impl Display) {
        let finding = finding.to_string();
        line(format!("{} {title}: {finding}", if held { "ok:" } else { "FAILED:" }));
        self.rows.push(Row { title: title.to_owned(), held, finding });
    }

    /// Prints the table; whether everything held.
    pub(crate) fn close(&self) -> bool {
        let width = self.rows.iter().map(|row| row.title.chars().count()).max().unwrap_or(0);
        println!("\n{:width$}   ok   what was seen", "promise");
        for row in &self.rows {
            let padding = width - row.title.chars().count();
            let mark = if row.held { "yes" } else { "NO " };
            println!("{}{}   {mark}  {}", row.title, " ".repeat(padding), row.finding);
        }
        println!("\n{:.1} s altogether", self.start.elapsed().as_secs_f64());
        self.rows.iter().all(|row| row.held)
    }
}

/// One line of detail.
pub(crate) fn line(text: impl Display) {
    println!("           {text}");
}

/// A duration as people read it.
pub(crate) fn ms(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1000.0)
}

/// A rate as people read it.
pub(crate) fn rate(bytes_per_second: f64) -> String {
    let bits = bytes_per_second * 8.0;
    if bits >= 1e9 { format!("{:.2} Gbit/s", bits / 1e9) } else { format!("{:.1} Mbit/s", bits / 1e6) }
}
