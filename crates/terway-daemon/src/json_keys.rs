//! Reads a JSON object key by key, so that one look at a file finds everything wrong with it: values of
//! the wrong type with their place, and keys nobody asked for with the one that was probably meant.

use std::fmt;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// One thing wrong with a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where, as a path from the document's root, e.g. `vswitches.cn-hangzhou-h[1]`.
    pub path: String,
    /// What, as a fragment.
    pub message: String,
}

impl Problem {
    /// A problem at a place.
    pub fn new(path: impl Into<String>, message: impl fmt::Display) -> Self {
        Self { path: path.into(), message: message.to_string() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "{}: {}", self.path, self.message)
        }
    }
}

/// An object whose keys are taken one after the other.
#[derive(Debug)]
pub struct Keys {
    left: Map<String, Value>,
    asked: Vec<&'static str>,
    problems: Vec<Problem>,
}

impl Keys {
    /// Reads a document that must be one JSON object.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        match serde_json::from_str(text) {
            Ok(Value::Object(left)) => Ok(Self { left, asked: Vec::new(), problems: Vec::new() }),
            Ok(_) => Err(Problem::new("", "must be a JSON object")),
            Err(error) => Err(Problem::new("", format_args!("is not JSON: {error}"))),
        }
    }

    /// The value of a key; `None` when it is absent, `null`, or wrong (which is kept as a problem).
    pub fn take<T: DeserializeOwned>(&mut self, key: &'static str) -> Option<T> {
        self.asked.push(key);
        let value = self.left.remove(key).filter(|value| !value.is_null())?;
        serde_path_to_error::deserialize(value)
            .map_err(|error| {
                let inner = error.path().to_string();
                let path = match inner.as_str() {
                    "." => key.to_owned(),
                    index if index.starts_with('[') => format!("{key}{index}"),
                    name => format!("{key}.{name}"),
                };
                self.problems.push(Problem::new(path, error.into_inner()));
            })
            .ok()
    }

    /// A text; empty ones count as absent, as templates like to leave them behind.
    pub fn text(&mut self, key: &'static str) -> Option<String> {
        self.take(key).filter(|text: &String| !text.is_empty())
    }

    /// A text read by `parse`.
    pub fn parsed<T, E: fmt::Display>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let text = self.text(key)?;
        parse(&text).map_err(|error| self.problems.push(Problem::new(key, error))).ok()
    }

    /// Everything wrong so far, and every key that is left over.
    pub fn finish(mut self) -> Vec<Problem> {
        for key in self.left.keys() {
            let message = match nearest(key, &self.asked) {
                Some(known) => format!("unknown key; did you mean `{known}`?"),
                None => "unknown key".to_owned(),
            };
            self.problems.push(Problem::new(key, message));
        }
        self.problems
    }
}

/// The known name that differs least, if it differs little enough to be a slip.
fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let (distance, best) = known.iter().map(|known| (edits(name, known), *known)).min()?;
    (distance <= 1 + name.len() / 5).then_some(best)
}

/// Levenshtein's distance: single-character insertions, removals and replacements.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distance_counts_single_edits() {
        assert_eq!(edits("max_eni", "max_eni"), 0);
        assert_eq!(edits("max_enis", "max_eni"), 1);
        assert_eq!(edits("", "abc"), 3);
        assert_eq!(edits("kitten", "sitting"), 3);
    }

    #[test]
    fn everything_wrong_is_reported_at_once() {
        let mut keys = Keys::parse(r#"{"a": "x", "b": {"z": [1, "y"]}, "maxx": 1, "zzzzzzzz": 2}"#).unwrap();
        assert_eq!(keys.take::<u32>("a"), None);
        assert_eq!(keys.take::<std::collections::BTreeMap<String, Vec<u32>>>("b"), None);
        assert_eq!(keys.take::<u32>("max"), None);
        let problems: Vec<String> = keys.finish().iter().map(ToString::to_string).collect();
        assert_eq!(
            problems,
            [
                "a: invalid type: string \"x\", expected u32",
                "b.z[1]: invalid type: string \"y\", expected u32",
                "maxx: unknown key; did you mean `max`?",
                "zzzzzzzz: unknown key",
            ]
        );
    }

    #[test]
    fn a_document_that_is_no_object_is_one_problem() {
        assert_eq!(Keys::parse("[]").unwrap_err().to_string(), "must be a JSON object");
        assert!(Keys::parse("{").unwrap_err().to_string().starts_with("is not JSON: "));
    }
}
