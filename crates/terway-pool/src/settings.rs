//! What the operator and the instance type ask of the pool.

use std::time::Duration;

use terway_types::{SecurityGroupId, VSwitchId};

/// The pool's targets and time limits. Checked by whoever builds it: `min_idle <= max_idle`, at least one
/// vSwitch and one security group, every duration above zero except `quarantine`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolSettings {
    /// Idle ENIs to keep at least.
    pub min_idle: u32,
    /// Idle ENIs to keep at most.
    pub max_idle: u32,
    /// ENIs of ours at most, in any phase: the instance's limit less its primary ENI.
    pub max_enis: u32,
    /// Where new ENIs get their addresses, in order of preference.
    pub vswitches: Vec<VSwitchId>,
    /// The security groups of new ENIs.
    pub security_groups: Vec<SecurityGroupId>,
    /// Whether new ENIs get an IPv6 address.
    pub ipv6: bool,
    /// Minimum rest of a released ENI.
    pub quarantine: Duration,
    /// How long an attached ENI may take to show its netdev before it is detached again.
    pub link_timeout: Duration,
    /// How long a released ENI's netdev may take to come home before the pool says so.
    pub home_timeout: Duration,
    /// First pause after a failed cloud operation; doubles up to `retry_max`.
    pub retry_first: Duration,
    /// Longest pause after failed cloud operations.
    pub retry_max: Duration,
    /// Creations and attachments under way at once.
    pub parallel: u32,
    /// Starts every token of this node: cluster and node, so that tokens never clash. At most 26 ASCII
    /// characters, for the token has at most 64.
    pub token_prefix: String,
    /// Distinguishes this life of the daemon from earlier ones in tokens, besides the time of its start.
    pub generation: u64,
}
