//! Runs named stages one after the other, goes on after a failure, and ends with a summary in which every
//! stage appears: passed, failed, deselected, or not run because something it needs failed.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};

/// Something to run.
pub(crate) struct Stage<C> {
    /// Its name on the command line and in the summary.
    pub(crate) name: &'static str,
    /// What it does.
    pub(crate) about: &'static str,
    /// A stage that must not have failed before.
    pub(crate) needs: Option<&'static str>,
    /// The work.
    pub(crate) run: fn(&C) -> Result<()>,
}

/// How a stage ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Passed,
    Failed(String),
    Deselected,
    NotRun(&'static str),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passed => f.write_str("passed"),
            // The whole of it stands below the table.
            Self::Failed(why) => {
                write!(
                    f,
                    "FAILED: {}",
                    why.lines().next().unwrap_or_default().chars().take(90).collect::<String>()
                )
            }
            Self::Deselected => f.write_str("deselected on the command line"),
            Self::NotRun(needs) => write!(f, "NOT RUN: {needs} failed"),
        }
    }
}

/// Which stages are wanted: all, only some, or all but some.
#[derive(Default)]
pub(crate) struct Choice {
    pub(crate) only: Vec<String>,
    pub(crate) skip: Vec<String>,
}

impl Choice {
    fn wants(&self, name: &str) -> bool {
        let named = |list: &[String]| list.iter().any(|other| other == name);
        (self.only.is_empty() || named(&self.only)) && !named(&self.skip)
    }

    /// Refuses names that are no stage: a misspelled `--skip` must not run, a misspelled `--only` not pass.
    fn check<C>(&self, stages: &[Stage<C>]) -> Result<()> {
        for name in self.only.iter().chain(&self.skip) {
            let names: Vec<_> = stages.iter().map(|stage| stage.name).collect();
            ensure!(
                names.contains(&name.as_str()),
                "there is no stage {name}; there are: {}",
                names.join(", ")
            );
        }
        Ok(())
    }
}

/// Runs the chosen stages in order; fails if one did.
pub(crate) fn run<C>(context: &C, stages: &[Stage<C>], choice: &Choice) -> Result<()> {
    choice.check(stages)?;
    let started = Instant::now();
    let mut ends: Vec<(&'static str, End, Duration)> = Vec::new();
    for (number, stage) in stages.iter().enumerate() {
        let clock = Instant::now();
        let end = if !choice.wants(stage.name) {
            End::Deselected
        } else if let Some(needs) = stage.needs.filter(|needs| has_failed(&ends, needs)) {
            End::NotRun(needs)
        } else {
            eprintln!("\n── {}/{} {}: {}", number + 1, stages.len(), stage.name, stage.about);
            match (stage.run)(context) {
                Ok(()) => End::Passed,
                Err(error) => {
                    let why = format!("{error:#}");
                    eprintln!("   {}", why.lines().next().unwrap_or_default());
                    End::Failed(why)
                }
            }
        };
        ends.push((stage.name, end, clock.elapsed()));
    }
    conclude(&ends, started.elapsed())
}

fn has_failed(ends: &[(&str, End, Duration)], name: &str) -> bool {
    ends.iter().any(|(other, end, _)| *other == name && matches!(end, End::Failed(_) | End::NotRun(_)))
}

fn conclude(ends: &[(&str, End, Duration)], total: Duration) -> Result<()> {
    eprintln!("\n── summary");
    for (name, end, time) in ends {
        eprintln!("   {name:<12} {:>7.1} s  {end}", time.as_secs_f64());
    }
    for (name, end, _) in ends {
        if let End::Failed(why) = end {
            eprintln!("\n── why {name} failed: {}\n", why.trim_end());
        }
    }
    let count = |wanted: fn(&End) -> bool| ends.iter().filter(|(_, end, _)| wanted(end)).count();
    let passed = count(|end| *end == End::Passed);
    let failed = count(|end| matches!(end, End::Failed(_) | End::NotRun(_)));
    let deselected = count(|end| *end == End::Deselected);
    eprintln!("   {passed} passed, {failed} failed, {deselected} deselected in {:.1} s", total.as_secs_f64());
    if failed > 0 {
        bail!("{failed} of {} stages failed", ends.len());
    }
    ensure!(passed > 0, "every stage was deselected: nothing was tested");
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    type Log = RefCell<Vec<&'static str>>;

    fn stages() -> [Stage<Log>; 3] {
        [
            Stage {
                name: "build",
                about: "",
                needs: None,
                run: |log| {
                    log.borrow_mut().push("build");
                    bail!("no compiler")
                },
            },
            Stage {
                name: "world",
                about: "",
                needs: Some("build"),
                run: |log| {
                    log.borrow_mut().push("world");
                    Ok(())
                },
            },
            Stage {
                name: "unit",
                about: "",
                needs: None,
                run: |log| {
                    log.borrow_mut().push("unit");
                    Ok(())
                },
            },
        ]
    }

    fn outcome(only: &[&str], skip: &[&str]) -> (Vec<&'static str>, String) {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let log = Log::default();
        let result = run(&log, &stages(), &Choice { only: owned(only), skip: owned(skip) });
        (log.into_inner(), result.map_or_else(|error| error.to_string(), |()| "ok".to_owned()))
    }

    #[test]
    fn a_failure_stops_only_what_needs_it() {
        assert_eq!(outcome(&[], &[]), (vec!["build", "unit"], "2 of 3 stages failed".into()));
    }

    #[test]
    fn stages_can_be_chosen() {
        assert_eq!(outcome(&["unit"], &[]), (vec!["unit"], "ok".into()));
        assert_eq!(outcome(&[], &["build"]), (vec!["world", "unit"], "ok".into()));
    }

    #[test]
    fn choosing_nothing_or_nonsense_is_no_success() {
        assert_eq!(outcome(&["unit"], &["unit"]).1, "every stage was deselected: nothing was tested");
        assert_eq!(outcome(&["unti"], &[]).1, "there is no stage unti; there are: build, world, unit");
    }
}
