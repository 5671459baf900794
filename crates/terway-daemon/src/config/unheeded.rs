//! Keys that existing files carry and that nothing here heeds. Their types are checked all the same; those that
//! say something are named with the reason, so that nobody waits for an effect.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::json_keys::Keys;

/// The pause of one retried operation in `backoff_override`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct Backoff {
    #[serde(rename = "InitialDelay")]
    _initial_delay: Option<i64>,
    #[serde(rename = "Duration")]
    _duration: Option<i64>,
    #[serde(rename = "Factor")]
    _factor: Option<f64>,
    #[serde(rename = "Jitter")]
    _jitter: Option<f64>,
    #[serde(rename = "Steps")]
    _steps: Option<i64>,
    #[serde(rename = "Cap")]
    _cap: Option<i64>,
}

/// An entry of `extra_routes`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExtraRoute {
    #[serde(rename = "dst")]
    _dst: String,
}

/// An entry of `eni_tag_block_list`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tag {
    #[serde(rename = "key")]
    _key: String,
    #[serde(rename = "value")]
    _value: String,
}

/// Reads them all, and answers those that say something.
pub(super) fn read_unheeded(keys: &mut Keys) -> Vec<(&'static str, &'static str)> {
    const TRUNKS: &str = "concerns ENIs of kinds that this build does not make";
    const NOWHERE: &str = "has no use anywhere";
    const CLUSTER: &str = "concerns the Kubernetes API, which this daemon does not call";
    const OURS: &str = "is not needed: only ENIs made by this daemon are managed";
    let mut found = Vec::new();
    let mut heard = |key, reason, given| {
        if given {
            found.push((key, reason));
        }
    };
    macro_rules! unheeded {
        ($($key:literal: $type:ty, $reason:expr;)*) => {
            $(heard($key, $reason, keys.take::<$type>($key).is_some());)*
        };
    }
    for key in ["version", "region_id"] {
        keys.take::<Value>(key);
    }
    for (key, reason) in
        [("prefix", NOWHERE), ("ipam_type", "is decided: ENIs are managed by the node itself")]
    {
        heard(key, reason, keys.text(key).is_some());
    }
    unheeded! {
        "extra_routes": Vec<ExtraRoute>, NOWHERE;
        "eni_tag_block_list": Vec<Tag>, OURS;
    }
    heard(
        "resource_group_id",
        "is not passed on yet: ENIs go to the default resource group",
        keys.text("resource_group_id").is_some(),
    );
    heard("enable_eni_trunking", TRUNKS, keys.take::<bool>("enable_eni_trunking") == Some(true));
    unheeded! {
        "custom_stateful_workload_kinds": Vec<String>, CLUSTER;
        "backoff_override": BTreeMap<String, Backoff>, "concerns retries, whose pauses are fixed";
        "disable_device_plugin": bool, "concerns the device plugin, which this mode has not";
        "kube_client_qps": f64, CLUSTER;
        "kube_client_burst": u32, CLUSTER;
        "enable_patch_pod_ips": bool, CLUSTER;
    }
    found
}
