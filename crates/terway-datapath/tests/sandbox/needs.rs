//! What a test needs of the kernel, found by asking the kernel. A test whose kernel lacks something fails and says
//! so, unless `TERWAY_DESELECTED` names a file: then it is left out, and the file gets a line with file, test and
//! reason. `cargo xtask` prints those lines.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use libtest_mimic::{Arguments, Trial};

/// One thing a kernel may lack.
#[derive(Clone, Copy)]
pub(crate) struct Need {
    /// What it is.
    pub(crate) what: &'static str,
    /// Shell commands that fail without it.
    pub(crate) probe: &'static str,
}

/// A test that fails by panicking.
pub(crate) fn trial(name: impl Into<String>, test: impl FnOnce() + Send + 'static) -> Trial {
    Trial::test(name, move || {
        test();
        Ok(())
    })
}

/// Runs or lists trials, each with what it needs.
pub(crate) fn run(
    arguments: &Arguments,
    trials: impl IntoIterator<Item = (Trial, &'static [Need])>,
) -> ExitCode {
    let trials =
        if arguments.list { trials.into_iter().map(|(trial, _)| trial).collect() } else { judge(trials) };
    libtest_mimic::run(arguments, trials).exit_code()
}

/// Trials as this kernel runs, fails or leaves them out.
fn judge(trials: impl IntoIterator<Item = (Trial, &'static [Need])>) -> Vec<Trial> {
    let mut known: Vec<(&str, Option<String>)> = Vec::new();
    let mut lacks = |need: &Need| {
        if let Some((_, lack)) = known.iter().find(|(what, _)| *what == need.what) {
            return lack.clone();
        }
        let lack = ask(need);
        known.push((need.what, lack.clone()));
        lack
    };
    let judged = trials.into_iter().map(|(trial, needs)| {
        let lacking: Vec<_> = needs.iter().filter_map(&mut lacks).collect();
        if lacking.is_empty() { trial } else { without(trial, &lacking.join("; ")) }
    });
    judged.collect()
}

/// What the kernel says against it.
fn ask(need: &Need) -> Option<String> {
    let output = Command::new("sh").args(["-c", need.probe]).output().unwrap();
    // A missing program is no missing kernel.
    assert_ne!(output.status.code(), Some(127), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8_lossy(&output.stderr);
    let why = said.lines().next().unwrap_or_default();
    (!output.status.success()).then(|| format!("the kernel has no {} ({why})", need.what))
}

fn without(trial: Trial, reason: &str) -> Trial {
    let name = trial.name().to_owned();
    let Some(list) = std::env::var_os("TERWAY_DESELECTED").map(PathBuf::from) else {
        let why = format!(
            "{reason}; another kernel may: cargo xtask lab --test {} {name}",
            env!("CARGO_CRATE_NAME")
        );
        return Trial::test(name, move || Err(why.into()));
    };
    let line = format!("{}\t{name}\t{reason}\n", env!("CARGO_CRATE_NAME"));
    let file = OpenOptions::new().create(true).append(true).open(&list);
    file.and_then(|mut file| file.write_all(line.as_bytes())).unwrap();
    trial.with_ignored_flag(true)
}
