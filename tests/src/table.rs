//! The reachability matrix of one kernel as values, written to files and read from them; and the one table of several
//! kernels: what one has not is taken from the next that has it.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::reach::{Cell, Row};

/// What was tried in one kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matrix {
    kernel: String,
    modes: Vec<Mode>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Mode {
    name: String,
    rows: Vec<Line>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    path: String,
    /// Of IPv4 and IPv6.
    words: [Word; 2],
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Word {
    Yes,
    No,
    /// What the kernel has not.
    Lacking(String),
}

impl Matrix {
    /// What came of each mode.
    pub fn new(kernel: String, modes: &[(&str, Vec<Row>)]) -> Self {
        let line = |row: &Row| Line { path: row.path.to_owned(), words: [word(&row.v4), word(&row.v6)] };
        let mode = |(name, rows): &(&str, Vec<Row>)| Mode {
            name: (*name).to_owned(),
            rows: rows.iter().map(line).collect(),
        };
        Self { kernel, modes: modes.iter().map(mode).collect() }
    }

    /// Reads what [`Self::write`] wrote.
    pub fn read(file: &Path) -> Result<Self> {
        let text = fs::read(file).with_context(|| format!("failed to read {}", file.display()))?;
        let value = serde_json::from_slice(&text).context("no JSON")?;
        Self::of(&value).with_context(|| format!("{} holds no matrix", file.display()))
    }

    /// Writes it for [`Self::read`].
    pub fn write(&self, file: &Path) -> Result<()> {
        fs::write(file, self.value().to_string())
            .with_context(|| format!("failed to write {}", file.display()))
    }

    fn value(&self) -> Value {
        let line = |line: &Line| json!([line.path, line.words[0].text(), line.words[1].text()]);
        let mode = |mode: &Mode| json!({ "mode": mode.name, "rows": mode.rows.iter().map(line).collect::<Vec<_>>() });
        json!({ "kernel": self.kernel, "modes": self.modes.iter().map(mode).collect::<Vec<_>>() })
    }

    fn of(value: &Value) -> Option<Self> {
        let line = |line: &Value| {
            let text = |at: usize| line[at].as_str();
            Some(Line { path: text(0)?.to_owned(), words: [Word::of(text(1)?), Word::of(text(2)?)] })
        };
        let mode = |mode: &Value| {
            let rows = mode["rows"].as_array()?.iter().map(line).collect::<Option<_>>()?;
            Some(Mode { name: mode["mode"].as_str()?.to_owned(), rows })
        };
        let modes = value["modes"].as_array()?.iter().map(mode).collect::<Option<_>>()?;
        Some(Self { kernel: value["kernel"].as_str()?.to_owned(), modes })
    }
}

/// One row per path, one column per mode and family; behind it which kernel ran what. The first kernel's modes and paths
/// are those of all.
pub fn table(kernels: &[Matrix]) -> String {
    let Some(first) = kernels.first() else { return String::new() };
    let mut text = String::from("| path |");
    let mut under = String::from("|---|");
    for mode in &first.modes {
        // Writing to a String cannot fail.
        let _ = write!(text, " {0}, IPv4 | {0}, IPv6 |", mode.name);
        under += "---|---|";
    }
    text = format!("{text}\n{under}\n");
    let mut used = vec![false; kernels.len()];
    for line in first.modes.first().map_or(&[][..], |mode| &mode.rows) {
        let _ = write!(text, "| {} |", line.path);
        for mode in &first.modes {
            for family in [0, 1] {
                let (word, number) = found(kernels, &mode.name, &line.path, family);
                used[number] = true;
                let _ = write!(text, " {word}{} |", mark(number));
            }
        }
        text.push('\n');
    }
    let _ = writeln!(text, "\nWithout a mark: Linux {}, the kernel of the machine.", first.kernel);
    for (number, kernel) in kernels.iter().enumerate().skip(1).filter(|(number, _)| used[*number]) {
        let lacks = lacks(first).join(", ");
        let _ = writeln!(
            text,
            "{}: Linux {}, a guest of the lab (`cargo xtask lab --build-kernel`); the machine's kernel has no {lacks}.",
            mark(number).trim(),
            kernel.kernel
        );
    }
    text
}

fn mark(kernel: usize) -> String {
    if kernel == 0 { String::new() } else { format!(" {}", "*".repeat(kernel)) }
}

/// What the first kernel that could try it says, and which that is; the first and no mark where none could.
fn found(kernels: &[Matrix], mode: &str, path: &str, family: usize) -> (String, usize) {
    let word = |kernel: &Matrix| {
        let mode = kernel.modes.iter().find(|one| one.name == mode)?;
        Some(mode.rows.iter().find(|line| line.path == path)?.words[family].clone())
    };
    let words: Vec<_> = kernels.iter().map(word).collect();
    let tried = |word: &Option<Word>| matches!(word, Some(Word::Yes | Word::No));
    let number = words.iter().position(tried).unwrap_or_default();
    // Where nobody tried: what the last one asked has not.
    let said =
        words.iter().find(|word| tried(word)).or_else(|| words.iter().rev().find(|word| word.is_some()));
    let text = match said {
        Some(Some(Word::Yes)) => "yes".to_owned(),
        Some(Some(Word::No)) => "NO".to_owned(),
        Some(Some(Word::Lacking(what))) => format!("kernel without {what}"),
        _ => "not tried".to_owned(),
    };
    (text, number)
}

fn lacks(kernel: &Matrix) -> Vec<String> {
    let words = kernel.modes.iter().flat_map(|mode| &mode.rows).flat_map(|line| &line.words);
    let mut all: Vec<_> = words
        .filter_map(|word| match word {
            Word::Lacking(what) => Some(what.clone()),
            _ => None,
        })
        .collect();
    all.sort();
    all.dedup();
    all
}

fn word(cell: &Cell) -> Word {
    match cell {
        Cell::Held => Word::Yes,
        Cell::Broken(_) => Word::No,
        Cell::Lacking(what) => Word::Lacking((*what).to_owned()),
    }
}

impl Word {
    fn text(&self) -> &str {
        match self {
            Self::Yes => "yes",
            Self::No => "NO",
            Self::Lacking(what) => what,
        }
    }

    fn of(text: &str) -> Self {
        match text {
            "yes" => Self::Yes,
            "NO" => Self::No,
            what => Self::Lacking(what.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    fn row(path: &'static str, cell: fn() -> Cell) -> Row {
        Row { path, v4: cell(), v6: cell() }
    }

    fn matrix(kernel: &str, children: fn() -> Cell) -> Matrix {
        let pairs = vec![row("there", || Cell::Held), row("back", || Cell::Broken(anyhow!("lost")))];
        let children = vec![row("there", children), row("back", children)];
        Matrix::new(kernel.to_owned(), &[("pairs", pairs), ("children", children)])
    }

    #[test]
    fn what_a_kernel_has_not_is_taken_from_the_next_and_marked() {
        let (own, guests) = (matrix("6.18", || Cell::Lacking("IPVlan")), matrix("6.12", || Cell::Held));
        assert_eq!(
            table(&[own.clone(), guests]),
            "| path | pairs, IPv4 | pairs, IPv6 | children, IPv4 | children, IPv6 |\n|---|---|---|---|---|\n\
             | there | yes | yes | yes * | yes * |\n| back | NO | NO | yes * | yes * |\n\n\
             Without a mark: Linux 6.18, the kernel of the machine.\n\
             *: Linux 6.12, a guest of the lab (`cargo xtask lab --build-kernel`); the machine's kernel has no IPVlan.\n"
        );
        assert!(
            table(&[own]).contains("| there | yes | yes | kernel without IPVlan | kernel without IPVlan |")
        );
    }

    #[test]
    fn a_matrix_is_read_as_it_was_written() {
        let folder = std::env::temp_dir().join(format!("terway-matrix-{}", std::process::id()));
        let written = matrix("6.18", || Cell::Lacking("IPVlan"));
        written.write(&folder).unwrap();
        let read = Matrix::read(&folder).unwrap();
        fs::remove_file(&folder).unwrap();
        assert_eq!(read, written);
    }
}
