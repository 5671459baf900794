//! The network configuration on standard input: the keys the specification defines, typed; everything
//! else kept as it came and readable by key.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::environment;
use crate::error::{CniError, code};
use crate::version::Version;

/// A network configuration as one plugin of the list gets it.
#[derive(Clone, Debug, PartialEq)]
pub struct NetConf {
    /// The version that input and output have.
    pub version: Version,
    /// The network's name.
    pub name: String,
    /// The plugin's name, as the runtime looked it up.
    pub plugin: Option<String>,
    /// Every version the list's author allows; the runtime has chosen from it already.
    pub offered_versions: Vec<String>,
    /// What the configuration declares the plugin to be able to do.
    pub capabilities: BTreeMap<String, bool>,
    /// What the runtime hands over for the declared capabilities.
    runtime_config: Map<String, Value>,
    raw: Map<String, Value>,
}

/// The standard keys, for their types.
#[derive(Deserialize)]
struct Standard {
    #[serde(rename = "cniVersion")]
    version: Option<String>,
    #[serde(rename = "cniVersions")]
    offered_versions: Option<Vec<String>>,
    name: Option<String>,
    #[serde(rename = "type")]
    plugin: Option<String>,
    capabilities: Option<BTreeMap<String, bool>>,
    #[serde(rename = "runtimeConfig")]
    runtime_config: Option<Map<String, Value>>,
}

impl NetConf {
    /// Reads and checks the standard keys: types (code 6), version (code 1), name (code 7).
    pub(crate) fn read(stdin: &[u8]) -> Result<Self, CniError> {
        if stdin.trim_ascii().is_empty() {
            let msg = "there is no network configuration on standard input";
            return Err(CniError::new(code::DECODING_FAILURE, msg));
        }
        let raw: Map<String, Value> = from_slice(stdin)?;
        let standard: Standard = from_slice(stdin)?;
        let text = standard.version.as_deref().unwrap_or(Version::UNSAID);
        let version = Version::parse(text)
            .ok_or_else(|| incompatible(format!("cniVersion {text:?} is not supported"), Version::ALL[0]))?;
        let name = standard.name.filter(|name| !name.is_empty()).ok_or_else(|| {
            CniError::new(code::INVALID_NETWORK_CONFIG, "the network configuration has no name")
        })?;
        environment::name(&name).map_err(|broken| {
            CniError::new(code::INVALID_NETWORK_CONFIG, format!("the network's name {name:?} {broken}"))
        })?;
        Ok(Self {
            version,
            name,
            plugin: standard.plugin,
            offered_versions: standard.offered_versions.unwrap_or_default(),
            capabilities: standard.capabilities.unwrap_or_default(),
            runtime_config: standard.runtime_config.unwrap_or_default(),
            raw,
        })
    }

    /// The value of a key; null counts as absent. A wrong type is code 6 with the path.
    pub fn key<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, CniError> {
        typed(key, self.raw.get(key))
    }

    /// What the runtime hands over for a capability; null counts as absent. A wrong type is code 6.
    pub fn capability<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, CniError> {
        typed(&format!("runtimeConfig.{name}"), self.runtime_config.get(name))
    }

    /// Everything that came, by key.
    pub fn raw(&self) -> &Map<String, Value> {
        &self.raw
    }
}

/// Code 1, with the versions that would do.
pub(crate) fn incompatible(msg: String, since: Version) -> CniError {
    let supported: Vec<&str> =
        Version::ALL.into_iter().filter(|version| *version >= since).map(Version::as_str).collect();
    CniError::new(code::INCOMPATIBLE_VERSION, msg)
        .details(format!("supported versions: {}", supported.join(", ")))
}

/// The `cniVersion` on standard input as text, however broken the rest is: errors and VERSION repeat it.
pub(crate) fn version_text(stdin: &[u8]) -> Option<String> {
    let raw: Map<String, Value> = serde_json::from_slice(stdin).ok()?;
    let text = raw.get("cniVersion")?.as_str()?;
    let looks_like_one = text.len() <= 32 && text.bytes().all(|c| c.is_ascii_digit() || c == b'.');
    (looks_like_one && !text.is_empty()).then(|| text.to_owned())
}

fn from_slice<T: DeserializeOwned>(stdin: &[u8]) -> Result<T, CniError> {
    let mut input = serde_json::Deserializer::from_slice(stdin);
    let value = serde_path_to_error::deserialize(&mut input).map_err(|error| undecodable("", &error))?;
    input.end().map_err(|error| {
        CniError::new(code::DECODING_FAILURE, format!("failed to decode the network configuration: {error}"))
    })?;
    Ok(value)
}

/// A part of the configuration as a typed value, at a path that is known.
pub(crate) fn typed<T: DeserializeOwned>(at: &str, value: Option<&Value>) -> Result<Option<T>, CniError> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(value) => {
            serde_path_to_error::deserialize(value).map(Some).map_err(|error| undecodable(at, &error))
        }
    }
}

fn undecodable(at: &str, error: &serde_path_to_error::Error<serde_json::Error>) -> CniError {
    // A question mark is a place that was not read so far.
    let inner = error.path().to_string();
    let path = match (at, inner.trim_end_matches(['?', '.'])) {
        ("", "") => String::new(),
        ("", inner) => format!(" at {inner}"),
        (at, "") => format!(" at {at}"),
        (at, inner) if inner.starts_with('[') => format!(" at {at}{inner}"),
        (at, inner) => format!(" at {at}.{inner}"),
    };
    let msg = format!("failed to decode the network configuration{path}: {}", error.inner());
    CniError::new(code::DECODING_FAILURE, msg)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<NetConf, CniError> {
        NetConf::read(text.as_bytes())
    }

    #[test]
    fn e10_broken_json_is_code_6_with_the_place() {
        let faults = [
            ("", "no network configuration on standard input"),
            (" \n", "no network configuration on standard input"),
            ("{", "configuration: EOF while parsing an object at line 1 column 1"),
            (r#"{"capabilities":{"bandwidth":"#, "at capabilities.bandwidth: EOF"),
            ("[]", "expected a map"),
            ("null", "expected a map"),
            ("{} x", "trailing characters"),
            ("\u{0}", "line 1"),
            (r#"{"cniVersion":1}"#, "at cniVersion:"),
            (r#"{"cniVersions":["1.0.0",2]}"#, "at cniVersions[1]:"),
            (r#"{"capabilities":{"bandwidth":"yes"}}"#, "at capabilities.bandwidth:"),
            (r#"{"runtimeConfig":[]}"#, "at runtimeConfig:"),
        ];
        for (text, place) in faults {
            let error = read(text).unwrap_err();
            assert_eq!(error.code, code::DECODING_FAILURE, "{text}");
            assert!(error.msg.contains(place), "{text}: {}", error.msg);
        }
    }

    #[test]
    fn v5_v6_unknown_versions_are_code_1_with_the_supported_list() {
        for text in [r#"{"name":"n"}"#, r#"{"cniVersion":"0.2.0"}"#, r#"{"cniVersion":"1.2.0","name":"n"}"#] {
            let error = read(text).unwrap_err();
            assert_eq!(error.code, code::INCOMPATIBLE_VERSION, "{text}");
            assert_eq!(error.details, "supported versions: 0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0");
        }
        assert!(read(r#"{"name":"n"}"#).unwrap_err().msg.contains("0.1.0"));
    }

    #[test]
    fn e7_the_name_is_needed_and_checked() {
        for name in ["", "a/b", "../x", "-a", "a b"] {
            let error = read(&format!(r#"{{"cniVersion":"1.0.0","name":{name:?}}}"#)).unwrap_err();
            assert_eq!(error.code, code::INVALID_NETWORK_CONFIG, "{name}");
        }
        assert_eq!(read(r#"{"cniVersion":"1.0.0"}"#).unwrap_err().code, code::INVALID_NETWORK_CONFIG);
    }

    #[test]
    fn v4_e11_offered_versions_and_unknown_keys_are_accepted() {
        let conf = read(
            r#"{"cniVersion":"1.0.0","cniVersions":["1.0.0","1.1.0"],"name":"n","type":"t","colour":"red",
                "capabilities":{"bandwidth":true},"runtimeConfig":{"bandwidth":{"ingressRate":8}},"args":null}"#,
        )
        .unwrap();
        assert_eq!(conf.offered_versions, ["1.0.0", "1.1.0"]);
        assert_eq!(conf.key::<String>("colour"), Ok(Some("red".to_owned())));
        assert_eq!(conf.key::<String>("shape"), Ok(None));
        assert!(conf.capabilities["bandwidth"]);
        let error = conf.capability::<BTreeMap<String, bool>>("bandwidth").unwrap_err();
        assert!(error.msg.contains("at runtimeConfig.bandwidth.ingressRate:"), "{}", error.msg);
    }
}
