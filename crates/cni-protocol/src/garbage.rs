//! The list GC carries: which attachments are still valid. Absent, null and empty are three different
//! things, because runtimes produce all three (CRI-O a null, libcni without arguments nothing at all).

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::environment;
use crate::error::{CniError, code};
use crate::netconf::typed;
use crate::request::Attachment;

/// The key of the specification, and the one old runtimes send besides or instead.
const KEYS: [&str; 2] = ["cni.dev/valid-attachments", "cni.dev/attachments"];

/// What a runtime says about the attachments that must stay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValidAttachments {
    /// Nothing: nobody can tell what is garbage.
    Absent,
    /// An explicit null: none is valid, as a runtime with an empty list may write it.
    Null,
    /// These are valid; there may be none.
    Listed(Vec<Attachment>),
}

#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "containerID")]
    container_id: String,
    ifname: String,
}

impl ValidAttachments {
    /// Reads both keys. If they differ, whatever one of them lists is valid: keeping is the safe side.
    pub(crate) fn read(raw: &Map<String, Value>) -> Result<Self, CniError> {
        let mut valid = Self::Absent;
        for key in KEYS {
            let Some(value) = raw.get(key) else { continue };
            valid = match (valid, read_list(key, value)?) {
                (Self::Listed(mut one), Some(more)) => {
                    one.extend(more);
                    Self::Listed(one)
                }
                (Self::Absent | Self::Null, Some(list)) => Self::Listed(list),
                (Self::Absent, None) => Self::Null,
                (known, None) => known,
            };
        }
        if let Self::Listed(list) = &mut valid {
            list.sort();
            list.dedup();
        }
        Ok(valid)
    }
}

/// The list under one key; none for null. A malformed entry refuses the whole list: a list that is only
/// half understood must not decide what is deleted.
fn read_list(key: &str, value: &Value) -> Result<Option<Vec<Attachment>>, CniError> {
    let Some(entries) = typed::<Vec<Entry>>(key, Some(value))? else { return Ok(None) };
    let mut list = Vec::with_capacity(entries.len());
    for (at, entry) in entries.into_iter().enumerate() {
        for (field, text, verdict) in [
            ("containerID", &entry.container_id, environment::name(&entry.container_id)),
            ("ifname", &entry.ifname, environment::interface_name(&entry.ifname)),
        ] {
            verdict.map_err(|broken| {
                CniError::new(code::INVALID_NETWORK_CONFIG, format!("{key}[{at}].{field} {text:?} {broken}"))
            })?;
        }
        list.push(Attachment { container_id: entry.container_id, ifname: entry.ifname });
    }
    Ok(Some(list))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(raw: &Value) -> Result<ValidAttachments, CniError> {
        ValidAttachments::read(raw.as_object().unwrap())
    }

    fn attachment(container_id: &str) -> Attachment {
        Attachment { container_id: container_id.to_owned(), ifname: "eth0".to_owned() }
    }

    #[test]
    fn g1_absent_null_empty_and_listed_differ() {
        let (new, old) = (KEYS[0], KEYS[1]);
        let list = json!([{"containerID": "a", "ifname": "eth0"}]);
        let other = json!([{"containerID": "b", "ifname": "eth0"}]);
        let cases = [
            (json!({}), ValidAttachments::Absent),
            (json!({ new: null }), ValidAttachments::Null),
            (json!({ old: null }), ValidAttachments::Null),
            (json!({ new: null, old: null }), ValidAttachments::Null),
            (json!({ new: [] }), ValidAttachments::Listed(vec![])),
            (json!({ new: [], old: null }), ValidAttachments::Listed(vec![])),
            (json!({ new: null, old: [] }), ValidAttachments::Listed(vec![])),
            (json!({ new: list }), ValidAttachments::Listed(vec![attachment("a")])),
            (json!({ old: list }), ValidAttachments::Listed(vec![attachment("a")])),
            (json!({ new: list, old: list }), ValidAttachments::Listed(vec![attachment("a")])),
            (
                json!({ new: other, old: list }),
                ValidAttachments::Listed(vec![attachment("a"), attachment("b")]),
            ),
        ];
        for (raw, expected) in cases {
            assert_eq!(read(&raw), Ok(expected), "{raw}");
        }
    }

    #[test]
    fn a_malformed_list_is_refused_as_a_whole() {
        let good = json!({"containerID": "a", "ifname": "eth0"});
        for (entry, expected, place) in [
            (json!({"containerID": "a"}), code::DECODING_FAILURE, "ifname"),
            (json!({"containerID": 7, "ifname": "eth0"}), code::DECODING_FAILURE, "[1].containerID"),
            (
                json!({"containerID": "../a", "ifname": "eth0"}),
                code::INVALID_NETWORK_CONFIG,
                "[1].containerID",
            ),
            (json!({"containerID": "a", "ifname": ""}), code::INVALID_NETWORK_CONFIG, "[1].ifname"),
        ] {
            let error = read(&json!({ KEYS[0]: [good, entry] })).unwrap_err();
            assert_eq!(error.code, expected, "{entry}");
            assert!(error.msg.contains(place), "{}", error.msg);
        }
        assert_eq!(read(&json!({ KEYS[0]: {} })).unwrap_err().code, code::DECODING_FAILURE);
    }
}
