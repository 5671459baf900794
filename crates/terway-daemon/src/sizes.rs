//! How large the pool may be, as the operator wishes it: checked against itself here, and against the node in
//! `targets`.

use terway_types::NodeMode;

use crate::config::Config;
use crate::json_keys::Problem;

/// The operator's wishes about sizes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sizes {
    /// Idle ENIs or addresses to keep at least.
    pub min_idle: u32,
    /// Idle ENIs or addresses to keep at most.
    pub max_idle: u32,
    /// Idle ENIs or addresses to reach once after the start.
    pub warm_up: u32,
    /// Shared ENIs to keep at least.
    pub min_enis: u32,
    /// ENIs of ours at most, if the operator says so.
    pub max_eni: Option<u32>,
    /// Share of the instance's ENIs we may use, and what is added to it.
    pub eni_cap: (f64, i32),
    /// Addresses per family of a shared ENI at most, if the operator says so.
    pub max_ip_per_eni: Option<u32>,
    /// With prefixes instead of single addresses: how many IPv4 prefixes to have from the start.
    pub prefixes: Option<u32>,
}

impl Sizes {
    /// Reads the sizes, and adds what does not fit together.
    pub fn check(config: &Config, mode: NodeMode, problems: &mut Vec<Problem>) -> Self {
        let mut wrong = |path: &str, message: String| problems.push(Problem::new(path, message));
        let min_eni = config.min_eni.filter(|count| *count > 0);
        let min_pool = config.min_pool_size.unwrap_or(0);
        let max_idle = config.max_pool_size.unwrap_or(0);
        // `min_eni` is a number of ENIs, so only where the pool counts ENIs does it stand for the least idle.
        let (floor_key, min_idle) = match (mode, min_eni) {
            (NodeMode::Exclusive, Some(count)) => ("min_eni", count),
            _ => ("min_pool_size", min_pool),
        };
        if min_idle > max_idle {
            wrong(floor_key, format!("{min_idle} is more than max_pool_size, {max_idle}"));
        }
        let (least_key, least) = match (mode, min_eni) {
            (NodeMode::Shared, count) => ("min_eni", count.unwrap_or(0)),
            (NodeMode::Exclusive | NodeMode::VpcRoute, _) => (floor_key, min_idle),
        };
        if let Some(max_eni) = config.max_eni.filter(|count| *count > 0 && *count < least) {
            wrong("max_eni", format!("{max_eni} is less than {least_key}, {least}"));
        }
        if let Some(ratio) = config.eni_cap_ratio.filter(|ratio| !(*ratio > 0.0 && *ratio <= 1.0)) {
            wrong("eni_cap_ratio", format!("{ratio} is not above 0 and at most 1"));
        }
        if config.max_ip_per_eni == Some(0) {
            wrong("max_ip_per_eni", "0 leaves no room for an ENI's primary address".to_owned());
        }
        if config.enable_ip_prefix && config.max_ip_per_eni == Some(1) {
            wrong("max_ip_per_eni", "1 leaves no room for a prefix beside the primary address".to_owned());
        }
        if let Some(count) = config.ipv6_prefix_count.filter(|count| *count > 1) {
            wrong("ipv6_prefix_count", format!("{count} is more than 1, which holds 65536 addresses"));
        }
        Self {
            min_idle,
            max_idle,
            warm_up: config.ip_warm_up_size.unwrap_or(0),
            min_enis: min_eni.unwrap_or(0),
            max_eni: config.max_eni.filter(|count| *count > 0),
            eni_cap: (config.eni_cap_ratio.unwrap_or(1.0), config.eni_cap_shift.unwrap_or(0)),
            max_ip_per_eni: config.max_ip_per_eni,
            prefixes: config.enable_ip_prefix.then(|| config.ipv4_prefix_count.unwrap_or(0)),
        }
    }
}

/// What was said and concerns ENIs, of which a node in VPC mode has none of its own making.
pub fn unheeded_without_enis(config: &Config) -> Vec<&'static str> {
    let sized = |size: Option<u32>| size.is_some_and(|size| size > 0);
    let own = [
        ("vswitches", !config.vswitches.is_empty()),
        ("security_group", config.security_group.is_some()),
        ("security_groups", !config.security_groups.is_empty()),
        ("max_pool_size", sized(config.max_pool_size)),
        ("min_pool_size", sized(config.min_pool_size)),
        ("ip_warm_up_size", sized(config.ip_warm_up_size)),
        ("max_eni", sized(config.max_eni)),
        ("min_eni", sized(config.min_eni)),
    ];
    let said = own.into_iter().filter_map(|(key, said)| said.then_some(key));
    said.chain(unheeded_when_exclusive(config)).collect()
}

/// What was said about sizes and concerns ENIs shared by several pods, which this node has none of.
pub fn unheeded_when_exclusive(config: &Config) -> Vec<&'static str> {
    [
        ("max_ip_per_eni", config.max_ip_per_eni.is_some()),
        ("enable_ip_prefix", config.enable_ip_prefix),
        ("ipv4_prefix_count", config.ipv4_prefix_count.is_some_and(|count| count > 0)),
        ("ipv6_prefix_count", config.ipv6_prefix_count.is_some_and(|count| count > 0)),
        ("eni_selection_policy", config.eni_selection_policy.is_some()),
    ]
    .into_iter()
    .filter_map(|(key, said)| said.then_some(key))
    .collect()
}
