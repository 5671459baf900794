//! What the operator and the instance type ask of the pool.

use std::time::Duration;

use terway_types::{SecurityGroupId, Subnets, VSwitchId};

/// What attachments get.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// A whole ENI each. The water marks count ENIs.
    Exclusive,
    /// An address per family of an ENI they share. The water marks count addresses (pairs in dual stack).
    Shared(Sharing),
    /// An address per family out of ranges that the VPC's route table leads to this node, one per family. No cloud is
    /// asked for anything.
    Routed(Subnets),
}

/// How ENIs are shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sharing {
    /// Addresses per family that one ENI takes, the primary one included: 1 to what the instance type allows.
    pub per_eni: u32,
    /// Addresses come out of prefixes (16 of a /28) instead of one by one.
    pub prefixes: bool,
    /// Addresses or prefixes that one assign call asks for at most; the cloud's limit is 10.
    pub assign_batch: u32,
    /// Which ENI gives the next address.
    pub eni_policy: EniPolicy,
    /// ENIs to keep at least, even with all addresses idle.
    pub min_enis: u32,
}

/// Which ENI gives the next address. Neither policy makes an ENI while another one has an idle address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum EniPolicy {
    /// The fullest one, so that others become empty and can go.
    #[default]
    MostIps,
    /// The emptiest one, so that traffic spreads.
    LeastIps,
}

/// Which vSwitch a new ENI gets its addresses from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum VSwitchPolicy {
    /// The first one of the list.
    Ordered,
    /// Any.
    Random,
    /// The one with the most free addresses, as last read.
    #[default]
    MostFree,
}

/// How surplus leaves the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ReleasePace {
    /// Pause between two releases; nothing is released before a surplus has lasted this long.
    pub interval: Duration,
    /// All surplus at once after the pause, instead of one ENI.
    pub quick: bool,
}

/// Shrinking a pool that has been quiet, down to the low water mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Reclaim {
    /// How long nothing was allocated or released before the first batch.
    pub after: Duration,
    /// Pause between batches.
    pub interval: Duration,
    /// Addresses (or ENIs in exclusive mode) per batch; at least 1.
    pub batch: u32,
    /// The interval varies by up to this many thousandths of itself.
    pub jitter_permille: u16,
}

/// The pool's targets and time limits. Checked by whoever builds it: `min_idle <= max_idle`, at least one
/// vSwitch and one security group, every duration above zero except `quarantine`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolSettings {
    /// What attachments get.
    pub mode: Mode,
    /// Idle ENIs or addresses to keep at least.
    pub min_idle: u32,
    /// Idle ENIs or addresses to keep at most.
    pub max_idle: u32,
    /// Idle ENIs or addresses to reach once after the start, before `min_idle` and `max_idle` rule.
    pub warm_up: u32,
    /// ENIs of ours at most, in any phase: the instance's limit less its primary ENI. ENIs of others on the
    /// instance are subtracted by the pool as it sees them.
    pub max_enis: u32,
    /// How surplus leaves.
    pub release: ReleasePace,
    /// Shrinking when quiet, if wanted.
    pub reclaim: Option<Reclaim>,
    /// Where new ENIs get their addresses, all of the node's zone.
    pub vswitches: Vec<VSwitchId>,
    /// The order in which they are used.
    pub vswitch_policy: VSwitchPolicy,
    /// The security groups of new ENIs.
    pub security_groups: Vec<SecurityGroupId>,
    /// Whether attachments get an IPv6 address besides IPv4.
    pub ipv6: bool,
    /// Minimum rest of a released ENI or address.
    pub quarantine: Duration,
    /// Longest rest, however long it is still mentioned.
    pub quarantine_max: Duration,
    /// How far apart two looks at the cloud must be to count as two proofs: longer than its reads may be stale.
    pub consistency: Duration,
    /// How long an attached ENI may take to show its netdev before it is detached again.
    pub link_timeout: Duration,
    /// How long a released ENI's netdev may take to come home before the pool says so.
    pub home_timeout: Duration,
    /// How long a cloud operation may take before the pool takes it for lost and looks again. Longer than the
    /// driver's own limits.
    pub operation_timeout: Duration,
    /// First pause after a failed cloud operation; doubles up to `retry_max`.
    pub retry_first: Duration,
    /// Longest pause after failed cloud operations.
    pub retry_max: Duration,
    /// Creations and attachments under way at once, at most. The pool begins with few, and asks for more at once while
    /// none is refused.
    pub parallel: u32,
    /// Starts every token of this node: cluster and node, so that tokens never clash. At most 26 ASCII
    /// characters, for the token has at most 64.
    pub token_prefix: String,
    /// Distinguishes this life of the daemon from earlier ones in tokens, besides the time of its start.
    pub generation: u64,
    /// Where the pool's random choices start from.
    pub seed: u64,
}
