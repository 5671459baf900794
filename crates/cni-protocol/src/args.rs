//! Plugin arguments, which reach a plugin in two ways: `CNI_ARGS` (`K=V;K=V`, in any order) and the
//! `args.cni` object of the configuration. Where both say the same, the object wins (CONVENTIONS.md).

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// The key that asks plugins to accept arguments they do not know.
const IGNORE_UNKNOWN: &str = "IgnoreUnknown";

/// What the runtime wants the plugin to know besides the configuration.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Args {
    variable: BTreeMap<String, String>,
    object: Map<String, Value>,
    ignore_unknown: bool,
}

impl Args {
    /// Reads both sources. Every offender of `CNI_ARGS` is named in the error.
    pub(crate) fn read(variable: &str, object: Map<String, Value>) -> Result<Self, Vec<String>> {
        let mut offenders = Vec::new();
        let mut pairs = BTreeMap::new();
        for pair in variable.split(';').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some((key, value)) if !key.is_empty() => {
                    pairs.insert(key.to_owned(), value.to_owned());
                }
                _ => offenders.push(format!("CNI_ARGS holds {pair:?}, which is not of the form KEY=VALUE")),
            }
        }
        let ignore_unknown = match pairs.remove(IGNORE_UNKNOWN).map(|flag| flag.to_lowercase()).as_deref() {
            Some("1" | "true") => true,
            None | Some("0" | "false") => false,
            Some(flag) => {
                offenders.push(format!("CNI_ARGS says {IGNORE_UNKNOWN}={flag}, which is no boolean"));
                false
            }
        };
        if offenders.is_empty() {
            Ok(Self { variable: pairs, object, ignore_unknown })
        } else {
            Err(offenders)
        }
    }

    /// The argument's value as text: from `args.cni` if it is a text, number or boolean there, else
    /// from `CNI_ARGS`. Empty texts count as absent.
    pub fn get(&self, key: &str) -> Option<String> {
        let from_object = match self.object.get(key) {
            Some(Value::String(text)) => Some(text.clone()),
            Some(value @ (Value::Number(_) | Value::Bool(_))) => Some(value.to_string()),
            _ => None,
        };
        from_object.or_else(|| self.variable.get(key).cloned()).filter(|text| !text.is_empty())
    }

    /// The `args.cni` object, for arguments that are more than text.
    pub fn object(&self) -> &Map<String, Value> {
        &self.object
    }

    /// The keys of `CNI_ARGS` that are not in `known`, unless the runtime asked to ignore such.
    pub fn unknown(&self, known: &[&str]) -> Vec<&str> {
        if self.ignore_unknown {
            return Vec::new();
        }
        self.variable.keys().map(String::as_str).filter(|key| !known.contains(key)).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(variable: &str, object: &Value) -> Args {
        Args::read(variable, object.as_object().cloned().unwrap_or_default()).unwrap()
    }

    #[test]
    fn pairs_come_in_any_order() {
        let one = read("K8S_POD_NAME=web;IgnoreUnknown=1;K8S_POD_UID=7", &json!({}));
        let other = read("K8S_POD_UID=7;K8S_POD_NAME=web;IgnoreUnknown=true;", &json!({}));
        assert_eq!(one, other);
        assert_eq!(one.get("K8S_POD_NAME").as_deref(), Some("web"));
        assert_eq!(one.get("IgnoreUnknown"), None);
        assert!(one.unknown(&[]).is_empty());
    }

    #[test]
    fn values_may_hold_equal_signs_and_be_empty() {
        let args = read("A=b=c;B=", &json!({}));
        assert_eq!(args.get("A").as_deref(), Some("b=c"));
        assert_eq!(args.get("B"), None);
        assert_eq!(args.unknown(&["A"]), ["B"]);
    }

    #[test]
    fn e14_the_object_wins() {
        let args = read("A=variable;B=variable", &json!({"A": "object", "C": 7, "D": ["x"]}));
        assert_eq!(args.get("A").as_deref(), Some("object"));
        assert_eq!(args.get("B").as_deref(), Some("variable"));
        assert_eq!(args.get("C").as_deref(), Some("7"));
        assert_eq!(args.get("D"), None);
        assert_eq!(args.object()["D"], json!(["x"]));
    }

    #[test]
    fn every_broken_pair_is_named() {
        let offenders = Args::read("A;=b;C=d;IgnoreUnknown=maybe", Map::new()).unwrap_err();
        assert_eq!(offenders.len(), 3, "{offenders:?}");
        assert!(offenders[0].contains("\"A\"") && offenders[1].contains("\"=b\""));
        assert!(offenders[2].contains("IgnoreUnknown=maybe"));
    }
}
