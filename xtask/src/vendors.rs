//! Scenarios are about nodes and pods on whatever cloud there is: they name no vendor. What differs between clouds is
//! in one file, and a scenario about what only one of them has is a file of its own.

use std::path::Path;

/// Folders whose code must not know whose cloud it runs on.
const NEUTRAL: &[&str] = &["tests/world", "tests/src", "tests/clients", "tests/morning"];

/// Parts of any word.
const NAMES: &[&str] = &["aliyun", "alibaba", "alicloud", "tencent", "qcloud", "lingjun"];
/// Products of theirs, as whole words.
const PRODUCTS: &[&str] = &["ecs", "cvm", "eflo", "tke", "rrsa", "ack"];

/// Words that may stand in a file all the same.
struct Exception {
    file: &'static str,
    /// None: all.
    words: &'static [&'static str],
    why: &'static str,
}

const EXCEPTIONS: &[Exception] = &[
    Exception { file: "tests/src/cloud.rs", words: &[], why: "where the clouds differ, for all others" },
    Exception { file: "tests/world/lingjun.rs", words: &[], why: "about nodes that one cloud has" },
    Exception { file: "tests/world/main.rs", words: &["lingjun"], why: "lists that file" },
    Exception {
        file: "tests/src/world.rs",
        words: &["lingjun"],
        why: "a key of the simulated cloud's description",
    },
    Exception { file: "tests/morning/door.rs", words: &["lingjun"], why: "a field of that description" },
    Exception { file: "tests/src/node.rs", words: &["ecs", "eflo"], why: "flags of terwayd" },
];

/// The vendors that a file at `path` (from the root) with this text names, as sentences; and exceptions nobody needs.
pub(crate) fn violations(path: &Path, text: &str) -> Vec<String> {
    let place = path.to_string_lossy();
    if !NEUTRAL.iter().any(|folder| path.starts_with(folder)) {
        return Vec::new();
    }
    let exception = EXCEPTIONS.iter().find(|exception| place == exception.file);
    let mut excused = false;
    let mut found = Vec::new();
    for (at, line) in text.lines().enumerate() {
        for word in words(line).filter_map(|word| vendor(&word)) {
            if exception
                .is_some_and(|exception| exception.words.is_empty() || exception.words.contains(&word))
            {
                excused = true;
            } else {
                found.push(format!("{place}:{}: a scenario names no vendor, but this says {word:?}", at + 1));
            }
        }
    }
    if let Some(exception) = exception.filter(|_| !excused) {
        found.push(format!("{place}: names no vendor, so it needs no exception ({})", exception.why));
    }
    found
}

/// The words of a line, in lower case.
fn words(line: &str) -> impl Iterator<Item = String> {
    line.split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_ascii_lowercase)
}

/// The name in this word.
fn vendor(word: &str) -> Option<&'static str> {
    let name = NAMES.iter().find(|name| word.contains(**name));
    name.or_else(|| PRODUCTS.iter().find(|product| word == **product)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(path: &str, text: &str) -> Vec<String> {
        violations(Path::new(path), text)
    }

    #[test]
    fn a_vendor_is_named_with_file_and_line() {
        let found =
            of("tests/world/pool.rs", "fn x() {\n    let cloud = Cloud::Aliyun; // by_eflo, not decs\n}\n");
        let says =
            |word| format!("tests/world/pool.rs:2: a scenario names no vendor, but this says {word:?}");
        assert_eq!(found, [says("aliyun"), says("eflo")]);
        assert_eq!(of("tests/clients/replay.rs", "/// As TencentCloud's TKE does.").len(), 2, "comments too");
    }

    #[test]
    fn other_folders_may_and_exceptions_are_narrow() {
        assert_eq!(of("crates/terway-cloud/src/lib.rs", "mod aliyun;"), [""; 0]);
        assert_eq!(of("tests/src/cloud.rs", "Aliyun, Tencent, ECS"), [""; 0]);
        assert_eq!(of("tests/world/main.rs", "mod lingjun;"), [""; 0]);
        assert_eq!(of("tests/world/main.rs", "mod lingjun; // aliyun").len(), 1);
    }

    #[test]
    fn an_exception_nobody_needs_is_named() {
        let found = of("tests/src/node.rs", "fn x() {}");
        assert_eq!(
            found,
            ["tests/src/node.rs: names no vendor, so it needs no exception (flags of terwayd)"]
        );
    }
}
