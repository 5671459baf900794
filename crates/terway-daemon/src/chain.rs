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

/// Leaves out what has no business on a node in this mode. What is no list of plugins is left as it is.
pub fn allowed(source: Vec<u8>, mode: NodeMode) -> Chain {
    let as_it_is = |content| Chain { content, refused: Vec::new() };
    let parsed = match mode {
        NodeMode::Exclusive => serde_json::from_slice::<Value>(&source).ok(),
        NodeMode::Shared | NodeMode::VpcRoute => None,
    };
    let Some(mut list) = parsed else { return as_it_is(source) };
    let Some(plugins) = list.get_mut("plugins").and_then(Value::as_array_mut) else {
        return as_it_is(source);
    };
    let mut refused = Vec::new();
    plugins.retain(|plugin| {
        let kind = plugin.get("type").and_then(Value::as_str).unwrap_or_default();
        let stays = kind == "terway" || WELCOME.contains(&kind);
        refused.extend((!stays).then(|| kind.to_owned()));
        stays
    });
    match serde_json::to_vec_pretty(&list) {
        Ok(content) if !refused.is_empty() => Chain { content, refused },
        _ => as_it_is(source),
    }
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
        let chain = allowed(source.clone(), NodeMode::Exclusive);
        assert_eq!(kinds(&chain.content), ["terway", "portmap", "tuning"]);
        assert_eq!(chain.refused, ["cilium-cni", "calico"]);
        assert_eq!(allowed(source.clone(), NodeMode::Shared), Chain { content: source, refused: vec![] });
        let told = complaint(&chain.refused).unwrap();
        for word in ["cilium-cni, calico", "exclusive mode", "NetworkPolicy", "shared ENIs"] {
            assert!(told.contains(word), "{told}");
        }
    }

    #[test]
    fn what_is_welcome_or_no_list_is_left_byte_by_byte() {
        for source in [list(&["terway", "bandwidth"]), b"{\"type\": \"terway\"}".to_vec(), b"{".to_vec()] {
            let chain = allowed(source.clone(), NodeMode::Exclusive);
            assert_eq!(chain, Chain { content: source, refused: vec![] });
        }
        assert_eq!(complaint(&[]), None);
    }
}
