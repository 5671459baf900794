//! Which plugins may stand beside ours in the CNI configuration of a node whose pods get whole ENIs. Packets of such an
//! ENI do not pass the node: a plugin that filters, accelerates or counts them there would be installed, say that all
//! is well, and do nothing. So those are left out and named; the reference plugins, which work on the pod or on the
//! node's own ports, stay. On a node with shared ENIs every chain is as the operator wants it.

use serde_json::Value;
use terway_types::NodeMode;

/// Reference plugins that do what they say beside a whole ENI.
const WELCOME: [&str; 4] = ["bandwidth", "firewall", "portmap", "tuning"];

/// A configuration as it may be installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// The file's content.
    pub content: Vec<u8>,
    /// The types of the plugins that are not in it any more.
    pub refused: Vec<String>,
}

/// What no runtime could use.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// It is no JSON.
    #[error("is not JSON")]
    Json(#[from] serde_json::Error),
    /// It is no list of plugins.
    #[error("has no list `plugins`")]
    NoPlugins,
    /// One of the plugins is none; it is told by its place, from 0 on.
    #[error("plugins[{0}] has no `type`")]
    NoType(usize),
}

/// Leaves out what has no business on a node in this mode.
pub fn allowed(source: Vec<u8>, mode: NodeMode) -> Result<Chain, ChainError> {
    let mut list: Value = serde_json::from_slice(&source)?;
    let plugins = list.get_mut("plugins").and_then(Value::as_array_mut).ok_or(ChainError::NoPlugins)?;
    let kind = |plugin: &Value| plugin.get("type").and_then(Value::as_str).map(str::to_owned);
    if let Some(place) = plugins.iter().position(|plugin| kind(plugin).is_none()) {
        return Err(ChainError::NoType(place));
    }
    let mut refused = Vec::new();
    plugins.retain(|plugin| {
        let kind = kind(plugin).unwrap_or_default();
        let stays = mode != NodeMode::Exclusive || kind == "terway" || WELCOME.contains(&&*kind);
        refused.extend((!stays).then_some(kind));
        stays
    });
    let content = if refused.is_empty() { source } else { serde_json::to_vec_pretty(&list)? };
    Ok(Chain { content, refused })
}

/// What the operator is told; nothing if nothing was refused.
pub fn complaint(refused: &[String]) -> Option<String> {
    (!refused.is_empty()).then(|| {
        format!(
            "the CNI configuration is installed without {}: no custom chain on a node in exclusive mode, because \
             packets of a pod's own ENI do not pass the node, so there is no eBPF acceleration and no NetworkPolicy for \
             them; use nodes with shared ENIs for pods that need these, security groups otherwise",
            refused.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn list(kinds: &[&str]) -> Vec<u8> {
        let plugins: Vec<Value> = kinds.iter().map(|kind| json!({ "type": kind, "x": 1 })).collect();
        json!({ "cniVersion": "1.0.0", "name": "terway", "plugins": plugins }).to_string().into_bytes()
    }

    fn kinds(content: &[u8]) -> Vec<String> {
        let list: Value = serde_json::from_slice(content).unwrap();
        let plugins = list["plugins"].as_array().unwrap();
        plugins.iter().map(|plugin| plugin["type"].as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn a_custom_chain_is_refused_beside_whole_enis_only() {
        let source = list(&["terway", "portmap", "cilium-cni", "tuning", "calico"]);
        let chain = allowed(source.clone(), NodeMode::Exclusive).unwrap();
        assert_eq!(kinds(&chain.content), ["terway", "portmap", "tuning"]);
        assert_eq!(chain.refused, ["cilium-cni", "calico"]);
        let beside_shared = allowed(source.clone(), NodeMode::Shared).unwrap();
        assert_eq!(beside_shared, Chain { content: source, refused: vec![] });
        let told = complaint(&chain.refused).unwrap();
        for word in ["cilium-cni, calico", "exclusive mode", "NetworkPolicy", "shared ENIs"] {
            assert!(told.contains(word), "{told}");
        }
    }

    #[test]
    fn what_is_welcome_is_left_byte_by_byte() {
        let source = list(&["terway", "bandwidth"]);
        let chain = allowed(source.clone(), NodeMode::Exclusive).unwrap();
        assert_eq!(chain, Chain { content: source, refused: vec![] });
        assert_eq!(complaint(&[]), None);
    }

    #[test]
    fn what_no_runtime_could_use_is_refused_in_every_mode() {
        for (source, why) in [
            ("{", "is not JSON"),
            (r#"{"type": "terway"}"#, "has no list `plugins`"),
            (r#"{"plugins": [{"type": "terway"}, {"kind": "tuning"}]}"#, "plugins[1] has no `type`"),
        ] {
            for mode in [NodeMode::Exclusive, NodeMode::Shared, NodeMode::VpcRoute] {
                assert_eq!(allowed(source.into(), mode).unwrap_err().to_string(), why, "{source}");
            }
        }
    }
}
