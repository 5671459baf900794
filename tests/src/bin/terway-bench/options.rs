//! What the command line asks for. The text for people is `options.txt`, which `cargo xtask bench --help` shows as well.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

/// All options, for people.
pub(crate) const TEXT: &str = include_str!("options.txt");

/// See [`TEXT`].
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) binaries: PathBuf,
    pub(crate) out: PathBuf,
    /// Where worlds keep their files: on a real disk, which the sandbox's `/run` is not.
    pub(crate) state: PathBuf,
    /// A page with a place for the figures.
    pub(crate) page: Option<PathBuf>,
    /// An older record to compare with.
    pub(crate) baseline: Option<PathBuf>,
    /// A record of another kernel, to show behind this one's figures.
    pub(crate) beside: Option<PathBuf>,
    /// The parts to measure; all if there is none.
    pub(crate) only: Vec<String>,
    pub(crate) check: bool,
    pub(crate) rounds: usize,
    pub(crate) attachments: u32,
    pub(crate) pods: usize,
    pub(crate) churn: Duration,
}

impl Options {
    /// Reads the words behind the program's name. `own` is the folder of this program; `parts` are those there are.
    pub(crate) fn parse(words: &[String], own: &Path, parts: &[&str]) -> Result<Self> {
        let mut options = Self {
            binaries: own.to_owned(),
            out: "bench.json".into(),
            state: PathBuf::new(),
            page: None,
            baseline: None,
            beside: None,
            only: Vec::new(),
            check: false,
            rounds: 40,
            attachments: 200,
            pods: 500,
            churn: Duration::from_mins(1),
        };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let value =
                words.next().with_context(|| format!("{word} needs a value; the options are\n{TEXT}"))?;
            options.set(word, value, parts)?;
        }
        ensure!(
            options.page.is_none() || options.only.is_empty(),
            "--page shows a whole run; leave --only out"
        );
        // Its folder goes into configurations, which want absolute paths.
        options.out = std::path::absolute(&options.out)?;
        options.state = options.out.with_extension("state");
        Ok(options)
    }

    fn set(&mut self, word: &str, value: &str, parts: &[&str]) -> Result<()> {
        let number = || -> Result<u32> {
            let number = value.parse().ok().filter(|number| *number > 0);
            number.with_context(|| format!("{word} needs a number from 1 on, not {value:?}"))
        };
        match word {
            "--bin-dir" => self.binaries = value.into(),
            "--out" => self.out = value.into(),
            "--rounds" => self.rounds = usize::try_from(number()?)?,
            "--attachments" => self.attachments = number()?,
            "--pods" => self.pods = usize::try_from(number()?)?,
            "--churn" => self.churn = Duration::from_secs(number()?.into()),
            "--page" => self.page = Some(value.into()),
            "--baseline" => self.baseline = Some(value.into()),
            "--beside" => self.beside = Some(value.into()),
            "--only" => {
                ensure!(
                    parts.contains(&value),
                    "--only {value}: there is no such part; there are {}",
                    parts.join(", ")
                );
                self.only.push(value.to_owned());
            }
            "--check" => {
                ensure!(
                    value == "yes",
                    "--check needs the word yes, not {value:?}; leave it out to check nothing"
                );
                self.check = true;
            }
            _ => bail!("unknown option {word}; the options are\n{TEXT}"),
        }
        Ok(())
    }

    /// Whether a part is to be measured.
    pub(crate) fn wants(&self, part: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == part)
    }

    /// The older record, read and understood: before the first measurement, for a name with a slip in it costs minutes.
    pub(crate) fn older(&self) -> Result<Option<Value>> {
        self.baseline.as_deref().map(|path| record("--baseline", path)).transpose()
    }

    /// The other kernel's record, likewise.
    pub(crate) fn other_kernel(&self) -> Result<Option<Value>> {
        self.beside.as_deref().map(|path| record("--beside", path)).transpose()
    }

    /// How much is measured, for readers of the figures.
    pub(crate) fn amount(&self) -> String {
        let Self { rounds, attachments, pods, churn, .. } = self;
        format!(
            "{rounds} rounds, {attachments} pods at once and {pods} on a node at most, churn for {} s",
            churn.as_secs()
        )
    }

    /// Where everything that is written goes.
    pub(crate) fn folder(&self) -> &Path {
        self.out.parent().unwrap_or(Path::new("."))
    }
}

/// A file that an earlier run wrote.
fn record(option: &str, path: &Path) -> Result<Value> {
    let text = fs::read(path).with_context(|| format!("{option}: failed to read {}", path.display()))?;
    let record: Value =
        serde_json::from_slice(&text).with_context(|| format!("{option} {}: no JSON", path.display()))?;
    ensure!(
        record["figures"].is_object() && record["lines"].is_array(),
        "{option} {}: no record of this program, it has no \"figures\" and \"lines\"",
        path.display()
    );
    Ok(record)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options> {
        let words: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
        Options::parse(&words, Path::new("/own"), &["churn", "paths"])
    }

    fn refusal(line: &str) -> String {
        format!("{:#}", parse(line).expect_err("it must be refused"))
    }

    #[test]
    fn every_option_of_the_text_is_taken() {
        let sample = |option: &str| match option {
            "--only" => "paths",
            "--check" => "yes",
            "--bin-dir" | "--out" | "--baseline" | "--beside" | "--page" => "/a/b",
            _ => "7",
        };
        let names: Vec<_> = TEXT.lines().filter_map(|line| line.trim().split(' ').next()).collect();
        let names: Vec<_> = names.into_iter().filter(|name| name.starts_with("--")).collect();
        assert_eq!(names.len(), 11, "{names:?}");
        let together = names.iter().filter(|name| **name != "--page");
        let line: Vec<_> = together.map(|name| format!("{name} {}", sample(name))).collect();
        let options = parse(&line.join(" ")).expect("all of them at once");
        assert_eq!((options.rounds, options.attachments, options.pods, options.check), (7, 7, 7, true));
        assert_eq!(options.state, Path::new("/a/b.state"));
        assert!(options.wants("paths") && !options.wants("churn"));
        assert!(parse("").expect("no option is needed").wants("churn"));
        assert_eq!(parse("--page /a/b").expect("a page").page, Some("/a/b".into()));
    }

    #[test]
    fn every_part_is_in_the_text() {
        let words: Vec<_> = TEXT.split([' ', ',', '\n']).collect();
        for (part, _) in crate::PARTS {
            assert!(words.contains(part), "{part}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused_by_its_name() {
        assert!(refusal("--rounds").contains("--rounds needs a value"));
        assert!(refusal("--rounds none").contains("--rounds needs a number from 1 on, not \"none\""));
        assert!(refusal("--pods 0").contains("--pods needs a number from 1 on"));
        assert!(refusal("--only all").contains("--only all: there is no such part; there are churn, paths"));
        assert!(refusal("--only paths --page /a/b").contains("--page shows a whole run"));
        assert!(refusal("--check no").contains("needs the word yes"));
        assert!(refusal("--round 3").contains("unknown option --round; the options are\n  --rounds N"));
    }

    #[test]
    fn a_baseline_that_is_none_is_refused_before_anything_is_measured() {
        let told = |path: &str| {
            format!(
                "{:#}",
                parse(&format!("--baseline {path}")).expect("options").older().expect_err("no record")
            )
        };
        assert!(told("/no/such/file").contains("--baseline: failed to read /no/such/file"));
        assert!(told("/proc/self/status").contains("no JSON"));
        let beside = parse("--beside /proc/self/status").expect("options").other_kernel();
        assert!(
            format!("{:#}", beside.expect_err("no record")).contains("--beside /proc/self/status: no JSON")
        );
        assert!(parse("").expect("options").older().expect("none is fine").is_none());
    }
}
