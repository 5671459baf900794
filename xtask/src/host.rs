//! The machine's own network, which no test and no demonstration may change: recorded before, compared after.

use std::process::Command;

use anyhow::{Result, bail};

use crate::workspace::output;

/// What a person would look at. Addresses are left out: leases renew themselves.
const LOOKS: &[&[&str]] = &[
    &["-o", "-br", "link", "show"],
    &["-4", "rule", "show"],
    &["-6", "rule", "show"],
    &["-4", "route", "show", "table", "all"],
    &["-6", "route", "show", "table", "all", "proto", "157"],
    &["netns", "list"],
];

/// Runs `work` and fails if the machine's links, rules, routes or named namespaces differ afterwards.
pub(crate) fn unchanged(work: impl FnOnce() -> Result<()>) -> Result<()> {
    let before = record()?;
    work()?;
    match first_difference(&before, &record()?) {
        None => Ok(()),
        Some(line) => bail!("the machine's own network is not as it was before: {line}"),
    }
}

fn record() -> Result<Vec<String>> {
    let mut lines = Vec::new();
    for words in LOOKS {
        let text = output(Command::new("ip").args(*words))?;
        let shown = format!("ip {}", words.join(" "));
        lines.extend(String::from_utf8_lossy(&text).lines().map(|line| format!("{shown}: {}", line.trim())));
    }
    Ok(lines)
}

/// The first line that one of the two has and the other has not.
fn first_difference(before: &[String], after: &[String]) -> Option<String> {
    let gone = before.iter().find(|line| !after.contains(line)).map(|line| format!("gone: {line}"));
    gone.or_else(|| after.iter().find(|line| !before.contains(line)).map(|line| format!("new: {line}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_gone_or_new_is_named() {
        let lines = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(first_difference(&lines("a b"), &lines("b a")), None);
        assert_eq!(first_difference(&lines("a b"), &lines("b")), Some("gone: a".to_owned()));
        assert_eq!(first_difference(&lines("a"), &lines("a c")), Some("new: c".to_owned()));
    }
}
