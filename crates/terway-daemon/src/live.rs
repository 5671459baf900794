//! Settings and facts that may change while the daemon runs.

use crate::node_facts::NodeFacts;
use crate::settings::Settings;

/// What is in force.
#[derive(Clone, Debug)]
pub struct Live {
    /// The operator's wishes.
    pub settings: Settings,
    /// The node.
    pub facts: NodeFacts,
    /// Whether the facts are those of an earlier life of the daemon, because the cloud did not answer.
    pub remembered: bool,
}
