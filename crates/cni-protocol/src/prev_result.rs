//! `prevResult`: what the plugins before made (ADD), or what the whole list made (CHECK, DEL). Typed for
//! reading, and kept as it came, so that no entry of another plugin is lost when it is passed on.

use serde_json::{Map, Value};

use crate::error::CniError;
use crate::netconf::typed;
use crate::result::CniResult;
use crate::version::Version;

/// A previous result.
#[derive(Clone, Debug, PartialEq)]
pub struct PrevResult {
    /// Its contents.
    pub result: CniResult,
    raw: Map<String, Value>,
}

impl PrevResult {
    /// Reads the key `prevResult`; null counts as absent.
    pub(crate) fn read(conf: &Map<String, Value>) -> Result<Option<Self>, CniError> {
        const KEY: &str = "prevResult";
        let value = conf.get(KEY);
        let Some(raw) = typed(KEY, value)? else { return Ok(None) };
        Ok(typed(KEY, value)?.map(|result| Self { result, raw }))
    }

    /// The result as it came.
    pub fn raw(&self) -> &Map<String, Value> {
        &self.raw
    }

    /// The result as it came, and `ours` behind it.
    pub(crate) fn followed_by(&self, ours: &CniResult, version: Version) -> Value {
        let mut object = self.raw.clone();
        object.insert("cniVersion".to_owned(), version.as_str().into());
        ours.append_to(&mut object, version);
        Value::Object(object)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::result::{Interface, IpConfig};

    fn read(value: &Value) -> Result<Option<PrevResult>, CniError> {
        PrevResult::read(json!({ "prevResult": value }).as_object().unwrap())
    }

    #[test]
    fn d3_null_and_empty_are_no_errors() {
        assert_eq!(PrevResult::read(&Map::new()), Ok(None));
        assert_eq!(read(&Value::Null), Ok(None));
        assert_eq!(read(&json!({})).unwrap().unwrap().result, CniResult::default());
        let nulls = json!({"interfaces": null, "ips": null, "routes": null, "dns": null});
        assert_eq!(read(&nulls).unwrap().unwrap().result, CniResult::default());
    }

    #[test]
    fn wrong_types_are_named_by_path() {
        for (value, place) in [
            (json!([]), "at prevResult:"),
            (json!({"ips": [{"address": "10.0.0.0.5"}]}), "at prevResult.ips[0].address:"),
            (json!({"ips": [{"address": "10.0.0.5/24", "gateway": "x"}]}), "at prevResult.ips[0].gateway:"),
            (
                json!({"ips": [{"address": "10.0.0.5/24", "interface": -1}]}),
                "at prevResult.ips[0].interface:",
            ),
            (json!({"interfaces": [{"name": 1}]}), "at prevResult.interfaces[0].name:"),
            (json!({"routes": [{"dst": 1}]}), "at prevResult.routes[0].dst:"),
        ] {
            let error = read(&value).unwrap_err();
            assert!(error.msg.contains(place), "{}", error.msg);
        }
    }

    #[test]
    fn a4_entries_of_others_stay_as_they_came() {
        let theirs = json!({
            "cniVersion": "1.0.0",
            "interfaces": [{"name": "dummy0", "colour": "red"}],
            "ips": [{"address": "192.168.0.2/24", "interface": 0}],
            "dns": {"nameservers": ["1.1.1.1"]},
            "extra": [1, 2],
        });
        let ours = CniResult {
            interfaces: vec![Interface { name: "eth0".to_owned(), ..Interface::default() }],
            ips: vec![IpConfig {
                address: "10.0.0.5/24".parse().unwrap(),
                gateway: None,
                interface: Some(0),
            }],
            dns: Some(crate::Dns::default()),
            ..CniResult::default()
        };
        let both = read(&theirs).unwrap().unwrap().followed_by(&ours, Version::V1_0_0);
        let expected = json!({
            "cniVersion": "1.0.0",
            "interfaces": [{"name": "dummy0", "colour": "red"}, {"name": "eth0"}],
            "ips": [
                {"address": "192.168.0.2/24", "interface": 0},
                {"address": "10.0.0.5/24", "interface": 1},
            ],
            "dns": {"nameservers": ["1.1.1.1"]},
            "extra": [1, 2],
        });
        assert_eq!(both, expected);
        let unchanged = read(&theirs).unwrap().unwrap().followed_by(&CniResult::default(), Version::V1_0_0);
        assert_eq!(unchanged, theirs);
    }
}
