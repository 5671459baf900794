//! Programs under callgrind: a script in place of each, and its profiles read back.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

/// Instructions by the crate they were spent in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Profile {
    /// All of them.
    pub(crate) total: u64,
    /// By crate; `other` has no name, or one that tells no crate.
    pub(crate) crates: BTreeMap<String, u64>,
}

/// A program that is started under callgrind by a script of its name.
pub(crate) struct Counted {
    folder: PathBuf,
    name: &'static str,
}

impl Counted {
    /// Writes the script `folder/name`. `from_start` says whether counting begins with the program, or when told.
    pub(crate) fn new(folder: &Path, name: &'static str, program: &Path, from_start: bool) -> Result<Self> {
        let counted = Self { folder: folder.to_owned(), name };
        let script = format!(
            "#!/bin/sh\nexec /usr/bin/valgrind --quiet --tool=callgrind --instr-atstart={} --compress-strings=no \
             --compress-pos=no --callgrind-out-file='{}' --vgdb-prefix='{}' '{}' \"$@\"\n",
            if from_start { "yes" } else { "no" },
            counted.profile().display(),
            counted.prefix().display(),
            program.display(),
        );
        let path = folder.join(name);
        fs::write(&path, script).with_context(|| format!("failed to write {}", path.display()))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        Ok(counted)
    }

    fn profile(&self) -> PathBuf {
        self.folder.join(format!("{}.profile", self.name))
    }

    fn prefix(&self) -> PathBuf {
        self.folder.join(format!("{}.vgdb", self.name))
    }

    /// The profile of the run that has just ended.
    pub(crate) fn of_last_run(&self) -> Result<Profile> {
        let profile = read(&self.profile())?;
        fs::remove_file(self.profile())?;
        Ok(profile)
    }

    /// Begins to count in a running program.
    pub(crate) fn begin(&self, pid: u32) -> Result<()> {
        self.tell(pid, &["instrumentation", "on"])
    }

    /// Begins anew at zero.
    pub(crate) fn zero(&self, pid: u32) -> Result<()> {
        self.tell(pid, &["zero"])
    }

    /// What a running program has spent since the last dump, which is number `dump`.
    pub(crate) fn since(&self, pid: u32, dump: usize) -> Result<Profile> {
        self.tell(pid, &["dump"])?;
        read(&self.folder.join(format!("{}.profile.{dump}", self.name)))
    }

    fn tell(&self, pid: u32, words: &[&str]) -> Result<()> {
        let output = Command::new("vgdb")
            .arg(format!("--vgdb-prefix={}", self.prefix().display()))
            .arg(format!("--pid={pid}"))
            .args(words)
            .stdin(Stdio::null())
            .output()
            .context("failed to run vgdb, which comes with valgrind")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "vgdb {} failed: {}", words.join(" "), said.trim());
        Ok(())
    }
}

fn read(path: &Path) -> Result<Profile> {
    let text = fs::read_to_string(path).with_context(|| format!("no profile {}", path.display()))?;
    let profile = parse(&text);
    ensure!(profile.total > 0, "{} counts nothing", path.display());
    Ok(profile)
}

/// Adds up what each function spent itself. The line after `calls=` is what the called one spent.
fn parse(text: &str) -> Profile {
    let mut profile = Profile::default();
    let (mut place, mut called) = (String::new(), false);
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("fn=") {
            crate_of(name).clone_into(&mut place);
        } else if line.starts_with("calls=") {
            called = true;
        } else if line.starts_with(|first: char| first.is_ascii_digit() || matches!(first, '+' | '-' | '*')) {
            let cost = line.split_whitespace().nth(1).and_then(|cost| cost.parse::<u64>().ok()).unwrap_or(0);
            if !called {
                profile.total += cost;
                *profile.crates.entry(place.clone()).or_default() += cost;
            }
            called = false;
        }
    }
    profile
}

/// The crate that a function's name begins with, also where it is a trait's or a closure's: `<a::B as c::D>::e`.
fn crate_of(name: &str) -> &str {
    let name = name.trim_start_matches(|sign: char| !sign.is_ascii_alphabetic() && sign != '_');
    let end = name.find(|sign: char| !sign.is_ascii_alphanumeric() && sign != '_').unwrap_or(name.len());
    match name.split_at(end) {
        (first, rest) if rest.starts_with("::") => first,
        ("impl" | "dyn" | "mut" | "const", rest) => crate_of(rest),
        // A trait for a type of the language (`<u8 as a::B>`), or C.
        (_, rest) => rest.split_once(" as ").map_or("other", |(_, of)| crate_of(of)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_counted_where_they_are_and_calls_are_not_counted_twice() {
        let text = "events: Ir\nfn=terway::add::add\n0 100\ncfn=serde_json::de::from_str\ncalls=1 0\n0 40\n+3 7\n\
                    fn=<serde_json::de::Deserializer as serde::de::Deserializer>::deserialize_map\n0 40\ntotals: 147\n";
        let profile = parse(text);
        assert_eq!(profile.total, 147);
        assert_eq!(profile.crates, BTreeMap::from([("terway".into(), 107), ("serde_json".into(), 40)]));
    }

    #[test]
    fn names_tell_their_crate() {
        for (name, wanted) in [
            ("terway_datapath::apply::apply", "terway_datapath"),
            ("<&mut serde_json::de::Deserializer<R> as serde::Deserializer>::deserialize_str", "serde_json"),
            ("<[T] as netlink_packet_core::traits::Emitable>::emit", "netlink_packet_core"),
            ("<u8 as core::fmt::Display>::fmt", "core"),
            ("memcpy", "other"),
            ("(below main)", "other"),
        ] {
            assert_eq!(crate_of(name), wanted, "{name}");
        }
    }
}
