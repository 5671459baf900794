//! What became of each test, from the events the test files told.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use super::job::{DESELECTED, Job, Program, RELEASE};
use super::test_files::deselections;

/// How a test ended.
#[derive(Clone, Debug, PartialEq, Eq)]
enum End {
    Passed,
    Failed(String),
    /// It began and never ended.
    Unfinished,
    Deselected(String),
}

/// One test in one kernel.
#[derive(Debug)]
struct Row {
    kernel: String,
    file: String,
    test: String,
    end: End,
}

/// All tests of all guests.
#[derive(Debug, Default)]
pub(super) struct Report {
    rows: Vec<Row>,
    /// Of each kernel by its release what it is.
    kernels: BTreeSet<(String, String)>,
    /// What went wrong with whole files.
    wrong: Vec<String>,
}

/// An event as the test harness writes it.
#[derive(Deserialize)]
struct Event {
    #[serde(rename = "type")]
    about: String,
    #[serde(rename = "event")]
    what: String,
    name: Option<String>,
    stdout: Option<String>,
}

impl Report {
    /// Takes in what a guest left in its folder, whose kernel is told in words.
    pub(super) fn add(&mut self, folder: &Path, job: &Job, kernel_is: &str) -> Result<()> {
        let read = |name: &str| {
            let path = folder.join(name);
            fs::read_to_string(&path).with_context(|| format!("failed to read {}", path.display()))
        };
        let kernel = read(RELEASE)?;
        self.kernels.insert((kernel.clone(), kernel_is.to_owned()));
        for program in &job.programs {
            let mut ends = ends(&read(&program.output())?);
            for line in deselections(&folder.join(DESELECTED))? {
                if line.file == program.name && ends.contains_key(&line.test) {
                    ends.insert(line.test, End::Deselected(line.reason));
                }
            }
            self.judge(program, &read(&program.end())?, &ends, &read(&program.errors())?);
            self.rows.extend(ends.into_iter().map(|(test, end)| {
                Row {
                    kernel: kernel.clone(),
                    file: [Some(&*program.name), program.part.as_deref()]
                        .into_iter()
                        .flatten()
                        .collect::<Vec<_>>()
                        .join(" "),
                    test,
                    end,
                }
            }));
        }
        Ok(())
    }

    fn judge(&mut self, program: &Program, ended: &str, ends: &BTreeMap<String, End>, errors: &str) {
        let failed = ends.values().any(|end| matches!(end, End::Failed(_) | End::Unfinished));
        if failed || ended != "exit status: 0" {
            self.wrong.push(format!("{} ended with {ended}; it said:\n{}", program.name, errors.trim_end()));
        }
    }

    /// Whether nobody ran anything.
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Why tests were deselected, each reason once.
    fn reasons(&self) -> Vec<&str> {
        let mut reasons = Vec::new();
        for row in &self.rows {
            if let End::Deselected(why) = &row.end
                && !reasons.contains(&why.as_str())
            {
                reasons.push(why.as_str());
            }
        }
        reasons
    }

    /// Why tests failed, below the table: reasons have many lines.
    fn failures(&self) -> impl Iterator<Item = (&Row, &str)> {
        self.rows.iter().filter_map(|row| match &row.end {
            End::Failed(why) => Some((row, why.trim_end())),
            _ => None,
        })
    }

    fn count(&self, wanted: impl Fn(&End) -> bool) -> usize {
        self.rows.iter().filter(|row| wanted(&row.end)).count()
    }

    /// Good if every test passed or was deselected, and at least one passed.
    pub(super) fn verdict(&self) -> Result<()> {
        if !self.wrong.is_empty() {
            bail!("{}", self.wrong.join("\n"));
        }
        if self.count(|end| *end == End::Passed) == 0 {
            bail!("the guest's kernel could run none of the tests: nothing was tested");
        }
        Ok(())
    }
}

/// The tests that began, each with its end.
fn ends(events: &str) -> BTreeMap<String, End> {
    let mut ends = BTreeMap::new();
    for line in events.lines() {
        let Ok(event) = serde_json::from_str::<Event>(line) else { continue };
        let Some(name) = event.name.filter(|_| event.about == "test") else { continue };
        let end = match event.what.as_str() {
            "ok" => End::Passed,
            "started" => End::Unfinished,
            // Until its reason is known.
            "ignored" => End::Deselected("without a reason".to_owned()),
            _ => End::Failed(event.stdout.unwrap_or_default()),
        };
        ends.insert(name, end);
    }
    ends
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passed => f.write_str("passed"),
            Self::Failed(_) => f.write_str("FAILED"),
            Self::Unfinished => f.write_str("DID NOT END"),
            Self::Deselected(_) => f.write_str("deselected"),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widest = |head: &str, column: fn(&Row) -> &str| {
            self.rows.iter().map(|row| column(row).len()).max().unwrap_or(0).max(head.len())
        };
        let heads = ["KERNEL", "FILE", "TEST"];
        let (kernel, file, test) = (
            widest(heads[0], |row| &row.kernel),
            widest(heads[1], |row| &row.file),
            widest(heads[2], |row| &row.test),
        );
        let reasons = self.reasons();
        writeln!(f, "{:kernel$}  {:file$}  {:test$}  OUTCOME", heads[0], heads[1], heads[2])?;
        for row in &self.rows {
            write!(f, "{:kernel$}  {:file$}  {:test$}  {}", row.kernel, row.file, row.test, row.end)?;
            match reasons.iter().position(|reason| row.end == End::Deselected((*reason).to_owned())) {
                Some(place) => writeln!(f, " ({})", place + 1)?,
                None => writeln!(f)?,
            }
        }
        for (release, what) in &self.kernels {
            writeln!(f, "{release} is {what}")?;
        }
        for (place, reason) in reasons.iter().enumerate() {
            writeln!(f, "({}) {reason}", place + 1)?;
        }
        for (row, why) in self.failures() {
            writeln!(f, "{} {} FAILED: {why}", row.file, row.test)?;
        }
        let passed = self.count(|end| *end == End::Passed);
        let deselected = self.count(|end| matches!(end, End::Deselected(_)));
        let failed = self.rows.len() - passed - deselected;
        writeln!(f, "{passed} passed, {failed} failed, {deselected} deselected")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(events: &str, ended: &str) -> Report {
        let mut report = Report::default();
        let program = Program {
            name: "file".into(),
            part: None,
            environment: BTreeMap::new(),
            path: "file".into(),
            arguments: Vec::new(),
            directory: "/".into(),
        };
        let ends = ends(events);
        report.judge(&program, ended, &ends, "panicked");
        report.kernels.insert(("6.1".into(), "a kernel".into()));
        report.rows.extend(ends.into_iter().map(|(test, end)| Row {
            kernel: "6.1".into(),
            file: "file".into(),
            test,
            end,
        }));
        report
    }

    const BEGUN: &str = r#"{ "type": "suite", "event": "started", "test_count": 2 }
        { "type": "test", "event": "started", "name": "a" }"#;

    #[test]
    fn a_test_that_never_ends_is_a_failure() {
        let report = report(BEGUN, "exit status: 0");
        assert_eq!(
            report.verdict().unwrap_err().to_string(),
            "file ended with exit status: 0; it said:\npanicked"
        );
        assert_eq!(
            report.to_string(),
            "KERNEL  FILE  TEST  OUTCOME\n\
             6.1     file  a     DID NOT END\n\
             6.1 is a kernel\n\
             0 passed, 1 failed, 0 deselected\n"
        );
    }

    #[test]
    fn failures_and_a_bad_end_are_failures() {
        let failed = format!(
            "{BEGUN}\n{}",
            r#"{ "type": "test", "name": "a", "event": "failed", "stdout": "why\n" }"#
        );
        let report = report(&failed, "exit status: 101");
        assert!(report.verdict().is_err());
        let told = report.to_string();
        assert!(told.contains("6.1     file  a     FAILED\n"), "{told}");
        assert!(told.contains("\nfile a FAILED: why\n"), "{told}");
    }

    #[test]
    fn nothing_run_is_no_success() {
        let ignored = format!("{BEGUN}\n{}", r#"{ "type": "test", "name": "a", "event": "ignored" }"#);
        let report = report(&ignored, "exit status: 0");
        assert!(report.verdict().unwrap_err().to_string().contains("nothing was tested"));
        let passed = format!("{BEGUN}\n{}", r#"{ "type": "test", "name": "a", "event": "ok" }"#);
        assert!(self::report(&passed, "exit status: 0").verdict().is_ok());
        assert!(self::report(&passed, "signal: 9 (SIGKILL)").verdict().is_err());
    }
}
