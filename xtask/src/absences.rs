//! What must appear nowhere, or only in named places: the invariants of `ARCHITECTURE.md` that a search
//! can see. A search knows no syntax, so each pattern is spelled the way rustfmt spells it.

use std::path::Path;

/// A text that must not occur.
struct Absence {
    pattern: &'static str,
    /// Folders it is about, from the root.
    inside: &'static [&'static str],
    /// Path endings where it may stand nevertheless.
    except: &'static [&'static str],
    why: &'static str,
}

const ABSENCES: &[Absence] = &[
    Absence {
        pattern: "process::Command",
        inside: &["crates/"],
        // Tests read the kernel back by `ip -j`, which must not be our own reader.
        except: &["/tests/", "/tests.rs"],
        why: "no program of ours starts another program",
    },
    Absence {
        pattern: "#[tokio::main",
        inside: &["crates/", "tests/"],
        except: &["/main.rs"],
        why: "only a program decides about its runtime",
    },
    Absence {
        pattern: "#[ignore",
        inside: &["crates/", "tests/", "xtask/"],
        except: &["xtask/src/absences.rs"],
        why: "a test never passes by doing nothing",
    },
    Absence {
        pattern: "allow(unsafe_code",
        inside: &["crates/", "tests/", "xtask/"],
        except: &["xtask/src/absences.rs"],
        why: "unsafe code is forbidden in the whole workspace",
    },
    Absence {
        pattern: "std::fs",
        inside: &["crates/terway-types/src", "crates/terway-pool/src", "crates/cni-protocol/src"],
        except: &[],
        why: "pure crates do no I/O",
    },
];

/// Prose may speak of what code must not contain.
fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with("//")
}

/// The absences that a file at `path` (from the root) with this text breaks, as sentences.
pub(crate) fn violations(path: &Path, text: &str) -> Vec<String> {
    let place = path.to_string_lossy();
    let concerns = |absence: &&Absence| {
        absence.inside.iter().any(|folder| place.starts_with(folder))
            && !absence.except.iter().any(|ending| place.contains(ending))
    };
    let found = ABSENCES.iter().filter(concerns).flat_map(|absence| {
        let lines =
            text.lines().enumerate().filter(|(_, line)| line.contains(absence.pattern) && !is_comment(line));
        lines.map(|(at, _)| format!("{place}:{}: `{}`: {}", at + 1, absence.pattern, absence.why))
    });
    let run = examples(text).into_iter().map(|line| {
        format!("{place}:{line}: an example in documentation is run by no stage: make it a test, or mark it as text")
    });
    found.chain(run).collect()
}

/// The lines at which documentation has an example that rustdoc would run. There is none, so no stage asks rustdoc, which
/// takes most of a minute to find none.
fn examples(text: &str) -> Vec<usize> {
    let fence = |line: &str| {
        let line = line.trim_start();
        let said = line.strip_prefix("///").or_else(|| line.strip_prefix("//!"))?;
        said.trim_start().strip_prefix("```").map(|language| language.trim().to_owned())
    };
    let fences = text.lines().enumerate().filter_map(|(at, line)| Some((at + 1, fence(line)?)));
    // Every other one ends what the one before began.
    fences.step_by(2).filter(|(_, language)| language != "text").map(|(at, _)| at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absence_names_file_line_and_reason() {
        let found =
            violations(Path::new("crates/terway-cni/src/add.rs"), "use a;\nuse std::process::Command;\n");
        assert_eq!(
            found,
            ["crates/terway-cni/src/add.rs:2: `process::Command`: no program of ours starts another program"]
        );
    }

    #[test]
    fn an_example_that_nobody_would_run_is_named() {
        let picture = "//! ```text\n//! a -- b\n//! ```\n";
        let place = Path::new("crates/terway-types/src/mac.rs");
        assert_eq!(violations(place, picture), [""; 0]);
        let example = format!("{picture}    /// ```\n    /// assert!(true);\n    /// ```\n");
        let found = violations(place, &example);
        assert!(found.len() == 1 && found[0].starts_with("crates/terway-types/src/mac.rs:4: an example"));
    }

    #[test]
    fn named_places_are_left_out() {
        let command = "use std::process::Command;";
        for place in ["crates/terway-datapath/tests/kernel.rs", "tests/src/node.rs", "xtask/src/workspace.rs"]
        {
            assert_eq!(violations(Path::new(place), command), [""; 0], "{place}");
        }
        assert_eq!(violations(Path::new("crates/terway-daemon/src/main.rs"), "#[tokio::main]"), [""; 0]);
        assert_eq!(violations(Path::new("crates/terway-pool/src/engine.rs"), "/// no std::fs here"), [""; 0]);
        assert_eq!(violations(Path::new("crates/terway-pool/src/engine.rs"), "use std::fs;").len(), 1);
    }
}
