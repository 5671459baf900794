//! What the node as a whole needs for its pods: the check of the IPv6 sources of those that speak through the node's stack,
//! and in VPC mode a word about the addresses of its range that no pod has. Made at the start, looked after each minute, and
//! at once when the host guard hears that something of it was taken away.
//!
//! Task: one, until dropped.

use std::sync::Arc;
use std::time::Duration;

use ipnetwork::IpNetwork;
use terway_datapath::kernel::{KernelError, Netns};
use terway_datapath::{source_check, unassigned};
use terway_types::NodeMode;
use terway_types::fault::chain;
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::events::Events;
use crate::node::{Node, Serving};

/// How often.
const SLOW: Duration = Duration::from_mins(1);

/// Who looks after it.
#[derive(Debug)]
pub struct NodeWide {
    /// Whether pods have IPv6 and speak through the node's stack.
    pub checks_sources: bool,
    /// The ranges that the VPC's route table leads to the node.
    pub ranges: Vec<IpNetwork>,
    /// Says that something may be missing.
    pub touched: Arc<Notify>,
    /// Where the operator hears of what is wrong with it.
    pub events: Arc<Events>,
}

impl NodeWide {
    /// What a serving node's mode and ranges ask for.
    pub fn of(serving: &Serving, node: &Node) -> Self {
        let (mode, ranges) = (serving.standing.mode, serving.live.borrow().facts.pod_ranges);
        let ranges = ranges.v4.map(IpNetwork::V4).into_iter().chain(ranges.v6.map(IpNetwork::V6));
        Self {
            checks_sources: mode != NodeMode::Exclusive && serving.interface.ipv6,
            ranges: ranges.filter(|_| mode == NodeMode::VpcRoute).collect(),
            touched: Arc::default(),
            events: Arc::clone(&node.events),
        }
    }

    /// Looks after it until dropped.
    pub async fn keep(self) {
        let (mut told, mut first) = (None, true);
        loop {
            match self.make(first) {
                Ok(()) => (told, first) = (None, false),
                Err(wrong) if told.as_ref() == Some(&wrong) => {}
                Err(wrong) => {
                    self.events.note("NodeStateFailed", wrong.clone());
                    told = Some(wrong);
                }
            }
            let _woken = timeout(SLOW, self.touched.notified()).await;
        }
    }

    /// Quick enough for the daemon's own thread: a few requests.
    fn make(&self, first: bool) -> Result<(), String> {
        let host = Netns::current().map_err(|error| chain(&error))?;
        let ranges = if first { unassigned::drop_others(&self.ranges, &host) } else { Ok(()) };
        let ranges = ranges.and_then(|()| unassigned::hold(&self.ranges, &host));
        let sources = if self.checks_sources { source_check::install(&host) } else { Ok(false) };
        let failed = |what: &str, outcome: Result<bool, KernelError>| {
            outcome.map_err(|error| format!("{what}: {}", chain(&error))).err()
        };
        let unchecked = "the IPv6 sources of pods are not checked on the node (it needs the kernel module \
                         nft_fib_ipv6), only by the VPC";
        let wrong = [
            failed("packets to unassigned addresses of the node's range go back to the VPC", ranges),
            failed(unchecked, sources),
        ];
        let wrong: Vec<_> = wrong.into_iter().flatten().collect();
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ")) }
    }
}
